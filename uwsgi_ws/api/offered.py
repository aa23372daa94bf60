"""Modules that applications find where no package of these names is installed.

A module of another package, installed or brought along by the application, always wins: it is what the application was
written with. So these are looked for behind all others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["offer"]

_fillers: dict[str, Callable[[ModuleType], None]] = {}


class _Finder:
    """Finds the modules that are on offer, and loads them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder: to import that takes a fiftieth of a start."""
        if fullname not in _fillers:
            return None
        is_package = any(name.startswith(f"{fullname}.") for name in _fillers)
        return ModuleSpec(fullname, _finder, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the interpreter."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module."""
        _fillers[module.__name__](module)


_finder: Any = _Finder()


def offer(name: str, fill: Callable[[ModuleType], None]) -> None:
    """Have ``import NAME`` find a module where it finds no other.

    Args:
        name: With those of its packages, which must be offered as well.
        fill: Gives the new module what it is to have.
    """
    _fillers[name] = fill
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
