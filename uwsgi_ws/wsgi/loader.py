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

__all__ = ["add_paths", "import_before", "load", "load_file", "load_module", "load_paste", "use_virtualenv"]


def add_paths(patterns: tuple[str, ...]) -> None:
    """Put directories, given by name or glob pattern, and the current one in front of ``sys.path``."""
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)) or [pattern]:
            sys.path.insert(0, path)
    sys.path.insert(0, ".")


def use_virtualenv(directory: str) -> None:
    """Import packages of another virtual environment, made by the same version of Python.

    Raises:
        BootError: It is no virtual environment, or of another version.
    """
    packages = Path(directory, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
    if not packages.is_dir():
        raise BootError(f"--virtualenv: no {packages}: not a virtual environment of this version of Python")
    import site

    before = list(sys.path)
    site.addsitedir(str(packages))
    added = [path for path in sys.path if path not in before]
    sys.path[:] = [*added, *before]


def import_before(name: str) -> None:
    """Import a module, or the file of that name if there is one (uWSGI's ``--import``)."""
    if Path(name).is_file():
        _import_file(Path(name))
        return
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(exc.name + ".")):
            raise BootError(f"no module and no file named {name!r}") from exc
        raise


def load(target: str, callable_name: str = "application") -> Application:
    """Return the application that ``target`` names: from a file if there is such a file, else from a module.

    Args:
        target: ``FILE``, ``FILE:CALLABLE``, ``MODULE`` or ``MODULE:CALLABLE``.
        callable_name: Used when ``target`` names none.

    Raises:
        BootError: there is no such file, module or callable.
        Exception: whatever the application's own code raises while it is imported.

    Source: uWSGI's plugins/python, ``uwsgi_python_magic`` and ``uwsgi_mount_loader``. They take all that ends in
    ``.wsgi`` for a file; Django's own module is called so.
    """
    source = target.partition(":")[0]
    is_module = all(part.isidentifier() for part in source.split(".")) and not source.endswith(".py")
    if is_module and not Path(source).is_file():
        return load_module(target, callable_name)
    return load_file(target, callable_name)


def load_file(target: str, callable_name: str = "application") -> Application:
    """Return the application in ``FILE`` or ``FILE:CALLABLE``; as ``load``."""
    source, _, name = target.partition(":")
    if Path(target).is_file():  # a colon may be part of its name
        source, name = target, ""
    return _callable_of(_import_file(Path(source)), source, name or callable_name)


def load_module(target: str, callable_name: str = "application") -> Application:
    """Return the application in ``MODULE`` or ``MODULE:CALLABLE``, whatever the module's name ends in; as ``load``."""
    source, _, name = target.partition(":")
    try:
        module = importlib.import_module(source)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (source == exc.name or source.startswith(exc.name + ".")):
            hint = f"; {source} is a file, for --wsgi-file" if Path(source).is_file() else ""
            raise BootError(f"no module named {exc.name!r} (sys.path: {os.pathsep.join(sys.path)}){hint}") from exc
        raise
    return _callable_of(module, source, name or callable_name)


def load_paste(target: str, callable_name: str = "", *, has_logging: bool = False) -> Application:
    """Return the application that a file of Paste Deployment describes, such as Pyramid's.

    Args:
        target: ``config:FILE[#NAME]``, or another of Paste Deployment's URIs.
        callable_name: Of no meaning here: the file names the application.
        has_logging: Whether logging is set up as the file says.

    Raises:
        BootError: Paste Deployment is not installed, or there is no such file.
        Exception: whatever it or the application raises.
    """
    try:
        from paste.deploy import loadapp
    except ImportError:
        raise BootError("needs the package PasteDeploy: pip install 'uwsgi_ws[paste]'") from None
    scheme, _, rest = target.partition(":") if ":" in target else ("config", "", target)
    path = os.path.abspath(rest.partition("#")[0])
    if scheme == "config" and not os.path.isfile(path):
        raise BootError(f"no file {path}")
    if has_logging and scheme == "config":
        import logging.config
        from configparser import ConfigParser

        # The section [uwsgi] may say a thing twice.
        parser = ConfigParser({"__file__": path, "here": os.path.dirname(path)}, strict=False, allow_no_value=True)
        parser.read(path)
        if parser.has_section("loggers"):
            logging.config.fileConfig(parser, disable_existing_loggers=False)
    application: Application = loadapp(f"{scheme}:{rest}", relative_to=os.getcwd())
    return application


def _callable_of(module: object, source: str, name: str) -> Application:
    """Return the object of that name; for ``NAME()`` what calling it returns, as in uWSGI: Flask's factories."""
    path = name.removesuffix("()")
    application = module
    for part in path.split("."):
        try:
            application = getattr(application, part)
        except AttributeError:
            hint = _candidates(module)
            raise BootError(f"{source} has no {path!r}: name the application with --callable{hint}") from None
    if path != name and callable(application):
        application = application()
    if not callable(application):
        hint = _candidates(module)
        raise BootError(f"{name!r} of {source} is a {type(application).__name__}, not a callable{hint}")
    return application


def _candidates(module: object) -> str:
    """Return a hint for an error: names in the module that may be the application, the likely ones first."""
    names = [
        name
        for name, value in getattr(module, "__dict__", {}).items()
        if not name.startswith("_") and _may_be_application(value, getattr(module, "__name__", None))
    ]
    names.sort(key=lambda name: name not in _USUAL_NAMES)
    if not names:
        return ""
    more = ", ..." if len(names) > _MOST_CANDIDATES else ""
    return f"; what can be called there is {', '.join(names[:_MOST_CANDIDATES])}{more}"


#: Names that applications often have.
_USUAL_NAMES = ("application", "app", "wsgi", "wsgi_app", "wsgi_application", "create_app")
_MOST_CANDIDATES = 5
_FUNCTIONS = ("function", "builtin_function_or_method", "cython_function_or_method")


def _may_be_application(value: object, module: str | None) -> bool:
    # Judged by type alone: some objects, such as Flask's `request`, raise on any attribute access.
    kind = type(value)
    if issubclass(kind, type) or not callable(value) or kind.__module__ in ("typing", "werkzeug.local"):
        return False
    # An imported function is a helper; a callable object may well be Flask's or Django's application.
    return kind.__name__ not in _FUNCTIONS or getattr(value, "__module__", None) == module


class _UncachedLoader(SourceFileLoader):
    """Compiles the file each time, as uWSGI does.

    A .pyc counts as fresh while the second and the size of its source are the same, so a reload could bring back the
    code of a moment ago.
    """

    def get_code(self, fullname: str) -> CodeType:
        """See importlib.abc.InspectLoader."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_file(path: Path) -> object:
    # uWSGI's name for the module; in sys.modules, as Flask finds templates by the module's __file__.
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
