"""Finds and imports applications as uWSGI does, so that relative files and templates are found."""

from __future__ import annotations

import glob
import importlib
import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from uwsgi_ws.errors import BootError
from uwsgi_ws.wsgi.runner import Application

__all__ = ["add_paths", "load", "use_virtualenv"]


def add_paths(patterns: tuple[str, ...]) -> None:
    """Put directories, glob patterns among them, and the current one in front of ``sys.path``."""
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)) or [pattern]:
            sys.path.insert(0, path)
    sys.path.insert(0, ".")


def use_virtualenv(directory: str) -> None:
    """Import packages of another virtual environment, made by the same version of Python.

    Raises:
        BootError: it is none, or of another version.
    """
    packages = Path(directory, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
    if not packages.is_dir():
        raise BootError(f"--virtualenv: no {packages}: not a virtual environment of this version of Python")
    import site

    before = list(sys.path)
    site.addsitedir(str(packages))
    added = [path for path in sys.path if path not in before]
    sys.path[:] = [*added, *before]


def load(target: str, callable_name: str = "application") -> Application:
    """Return an application.

    Args:
        target: ``FILE.py``, ``FILE.py:CALLABLE``, ``MODULE`` or ``MODULE:CALLABLE``; anything with a slash or ending
            in ``.py`` or ``.wsgi`` before the colon is a file.
        callable_name: Used when ``target`` names none.

    Raises:
        BootError: there is no such file, module or callable.
        Exception: whatever the application's own code raises while it is imported.
    """
    place, _, name = target.partition(":")
    name = name.removesuffix("()") or callable_name
    if "/" in place or place.endswith((".py", ".wsgi")):
        module = _import_file(Path(place))
    else:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as exc:
            if exc.name is not None and (place == exc.name or place.startswith(exc.name + ".")):
                raise BootError(f"no module named {exc.name!r} (sys.path: {os.pathsep.join(sys.path)})") from exc
            raise
    application = module
    for part in name.split("."):
        try:
            application = getattr(application, part)
        except AttributeError:
            raise BootError(f"{place} has no {name!r}: name the application with --callable") from None
    if not callable(application):
        raise BootError(f"{name!r} of {place} is a {type(application).__name__}, not a callable")
    return application


class _UncachedLoader(SourceFileLoader):
    """Compiles the file each time, as uWSGI does.

    A .pyc is told to be stale by the second and the size of its source, so that a reload could bring back the code of
    a moment ago.
    """

    def get_code(self, fullname: str) -> CodeType:
        """See importlib.abc.InspectLoader."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_file(path: Path) -> object:
    # uWSGI's name for it; in sys.modules, as Flask finds templates by the module's __file__.
    stem = str(path)
    for suffix in (".py", ".wsgi"):
        stem = stem.removesuffix(suffix)
    name = "uwsgi_file_" + stem.replace("/", "_").replace(".", "_")
    if not path.is_file():
        raise BootError(f"no file {path} (in {os.getcwd()})")
    loader = _UncachedLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
