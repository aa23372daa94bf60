"""Which build of the hot path runs: compiled or pure Python.

One rule: a compiled module lies beside a Python source of the same name and interface, and Python prefers it. It is
made from that source with the types of the ``.pxd`` beside it, or from a ``.pyx`` where pointers are the clearer tool.
With the environment variable UWSGI_WS_PURE_PYTHON set to anything but 0, this module's finder steps before them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec, spec_from_file_location
from types import ModuleType

__all__ = ["choose", "is_free_threaded", "name"]


class _SourceFinder:
    """Finds our modules as Python source only; beside each extension there is one."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if not fullname.startswith("uwsgi_ws."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.origin.endswith(tuple(EXTENSION_SUFFIXES)):
            return None  # source already: the usual finders will do
        folder, _, file = spec.origin.rpartition(os.sep)
        return spec_from_file_location(fullname, os.path.join(folder, file.partition(".")[0] + ".py"))


def choose() -> None:
    """Act on UWSGI_WS_PURE_PYTHON; before any module of the hot path is imported."""
    if os.environ.get("UWSGI_WS_PURE_PYTHON", "0") not in ("", "0"):
        sys.meta_path.insert(0, _SourceFinder)


def is_free_threaded() -> bool:
    """Say whether this interpreter is a build that runs threads side by side, without a global lock (PEP 703)."""
    return "t" in sys.abiflags  # sysconfig says it, too, but would read what the interpreter was built with


def name() -> str:
    """Say which build is in use, for ``--version`` and the start-up lines."""
    spec = find_spec("uwsgi_ws.protocol.websocket.engine")
    if spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES)):
        return "compiled"
    return f"pure Python, masking by {'wsaccel' if find_spec('wsaccel') else 'Python'}"
