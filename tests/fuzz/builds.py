"""The package's two builds side by side in one process.

The compiled one is what is imported usually. The other is made of the Python sources, once more, with modules of its
own: no class of one build knows those of the other, so what they give is compared by name and value.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["PACKAGE", "Build", "builds", "raised"]

PACKAGE = Path(__file__).resolve().parents[2] / "uwsgi_ws"
MakeLoader = Callable[[str, str], Loader]


class Build:
    """One build of the package.

    Attributes:
        name: ``in use`` or ``Python``.
    """

    name = "in use"

    def module(self, name: str) -> Any:
        """Return a module, named without the package."""
        return importlib.import_module(f"uwsgi_ws.{name}")


class PythonBuild(Build):
    """The Python sources, imported apart from what is in use.

    Args:
        make_loader: Loads a source file under a name.
    """

    name = "Python"

    def __init__(self, make_loader: MakeLoader = SourceFileLoader) -> None:
        self._modules: dict[str, ModuleType] = {}
        self._finder = _Finder(make_loader)

    def module(self, name: str) -> Any:
        with self._inside():
            return importlib.import_module(f"uwsgi_ws.{name}")

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Have imports see this build's modules of the package, and none of the other's."""
        others = _taken_out()
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, self._finder)  # type: ignore[arg-type]  # all of the protocol that is asked for
        try:
            yield
        finally:
            sys.meta_path.remove(self._finder)  # type: ignore[arg-type]
            self._modules = _taken_out()
            sys.modules.update(others)


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == "uwsgi_ws" or name.startswith("uwsgi_ws.")]
    return {name: sys.modules.pop(name) for name in names}


class _Finder:
    """Finds our modules as source files only."""

    def __init__(self, make_loader: MakeLoader) -> None:
        self._make_loader = make_loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        first, *rest = fullname.split(".")
        if first != "uwsgi_ws":
            return None
        place = PACKAGE.joinpath(*rest)
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not file.exists():
            return None
        folders = [str(place)] if place.is_dir() else None
        loader = self._make_loader(fullname, os.fspath(file))
        return spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=folders)


def builds(make_loader: MakeLoader = SourceFileLoader) -> list[Build]:
    """Return the build that is in use, and that of Python if it is another one."""
    if importlib.import_module("uwsgi_ws._build").name() == "compiled":
        return [PythonBuild(make_loader), Build()]
    return [PythonBuild(make_loader)]


def raised(error: BaseException) -> tuple[str, str]:
    """Return what two builds' errors have in common."""
    return type(error).__name__, str(error)
