"""Which build of the hot path runs: the compiled twin or the Python that it is made from.

The twin's modules lie beside their sources under the same names, and Python prefers them. With the environment
variable UWSGI_WS_PURE_PYTHON set to anything but 0, this module's finder steps before them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec, spec_from_file_location
from types import ModuleType

__all__ = ["choose", "name"]


class _SourceFinder:
    """Finds our modules as Python source only; those that have none do not exist."""

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
        source = os.path.join(folder, file.partition(".")[0] + ".py")
        if not os.path.exists(source):
            raise ModuleNotFoundError(f"{fullname} is compiled only, and UWSGI_WS_PURE_PYTHON is set", name=fullname)
        return spec_from_file_location(fullname, source)


def choose() -> None:
    """Act on UWSGI_WS_PURE_PYTHON; before any module of the hot path is imported."""
    if os.environ.get("UWSGI_WS_PURE_PYTHON", "0") not in ("", "0"):
        sys.meta_path.insert(0, _SourceFinder)


def name() -> str:
    """Say which build is in use, for ``--version`` and the start-up lines."""
    spec = find_spec("uwsgi_ws.protocol.websocket.engine")
    if spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES)):
        return "compiled"
    return "pure Python, masking by wsaccel"
