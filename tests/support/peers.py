"""Other people's programs and libraries that a test needs.

Where one is missing the test is skipped and says why. Continuous integration installs them all and sets
``UWSGI_WS_REQUIRE_PEERS=1``, which turns the skip into a failure, so that a test cannot go quiet unnoticed.
"""

from __future__ import annotations

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """End the test: a skip, or a failure where every peer has to be there."""
    __tracebackhide__ = True
    if os.environ.get("UWSGI_WS_REQUIRE_PEERS") == "1":
        pytest.fail(f"{reason} (and UWSGI_WS_REQUIRE_PEERS=1)")
    pytest.skip(reason)


def require_program(*names: str) -> str:
    """Return the path of the first of these programs that is installed."""
    __tracebackhide__ = True
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    missing(f"no {' or '.join(names)} on PATH")


def require_module(name: str) -> ModuleType:
    """Import and return a module."""
    __tracebackhide__ = True
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        missing(f"no module {name}: {exc}")
