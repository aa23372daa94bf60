"""Finding applications: the notations, the errors, and what is left behind."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgi_ws.errors import BootError
from uwsgi_ws.wsgi import loader

SOURCE = """
def application(environ, start_response): ...
class Other:
    def app(self, environ, start_response): ...
other = Other()
number = 5
def create():
    def made(environ, start_response): ...
    return made
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with applications, in front of ``sys.path`` as the server would have it."""
    for name in (
        "app.py",
        "app.wsgi",
        "with.dots/my-app.py",
        "loaderpkg/__init__.py",
        "loaderpkg/mod.py",
        "loaderpkg/wsgi.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SOURCE)
    (tmp_path / "broken.py").write_text("import no_such_library")
    (tmp_path / "half.py").write_text("whole = False\nraise RuntimeError('half-way')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    loader.add_paths(())
    sys.path_importer_cache.clear()  # what it has for "." is the folder of the test before
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "module"),
    [
        ("app.py", "uwsgi_file_app"),
        ("./app.py", "uwsgi_file_app"),
        ("app.wsgi", "uwsgi_file_app"),
        ("with.dots/my-app.py", "uwsgi_file_with_dots_my-app"),
        ("app", "app"),
        ("loaderpkg.mod", "loaderpkg.mod"),
        ("loaderpkg", "loaderpkg"),
    ],
)
def test_a_module_has_the_name_that_uwsgi_gives_it(target: str, module: str) -> None:
    application = loader.load(target)
    assert application.__module__ == module
    assert Path(str(sys.modules[module].__file__)).exists()


@pytest.mark.parametrize("name", ["loaderpkg.wsgi", "loaderpkg.wsgi:application"])
def test_a_module_called_wsgi_is_a_module_and_a_file_called_so_a_file(folder: Path, name: str) -> None:
    assert loader.load(name).__module__ == "loaderpkg.wsgi"
    assert loader.load_module(name).__module__ == "loaderpkg.wsgi"
    (folder / "loaderpkg.wsgi").write_text(SOURCE)
    assert loader.load(name).__module__ == "uwsgi_file_loaderpkg"
    assert loader.load_module(name).__module__ == "loaderpkg.wsgi"


def test_a_module_is_never_a_file_nor_a_file_a_module(folder: Path) -> None:
    (folder / "plain").write_text(SOURCE)
    (folder / "a:b.py").write_text(SOURCE)
    assert loader.load_file("plain").__module__ == "uwsgi_file_plain"
    assert loader.load_file("a:b.py").__module__ == "uwsgi_file_a:b"
    with pytest.raises(BootError, match=r"no file loaderpkg\.mod"):
        loader.load_file("loaderpkg.mod")
    with pytest.raises(BootError, match=r"no module named 'app.py' .*; app.py is a file, for --wsgi-file"):
        loader.load_module("app.py")


def test_parentheses_behind_the_callables_name_call_it() -> None:
    assert loader.load("app.py:create()").__name__ == "made"
    assert loader.load_module("loaderpkg.mod:create()").__name__ == "made"
    assert loader.load("app.py", "create()").__name__ == "made"
    with pytest.raises(BootError, match="has no 'missing'"):
        loader.load("app.py:missing()")


def test_the_callables_name_may_have_dots() -> None:
    assert loader.load("app.py:other.app").__name__ == "app"
    assert loader.load("app.py", "other.app").__name__ == "app"
    assert loader.load("app.py:application", "other.app").__name__ == "application"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("missing.py", r"no file missing.py \(in .*\)"),
        ("loaderpkg/", "no file loaderpkg"),
        ("missing", "no module named 'missing'"),
        ("loaderpkg.missing", "no module named 'loaderpkg.missing'"),
        ("missing.mod", "no module named 'missing'"),
        ("app.py:missing", "app.py has no 'missing': name the application with --callable"),
        ("app.py:other.missing", "has no 'other.missing'"),
        ("app:number", "'number' of app is a int, not a callable"),
    ],
)
def test_a_wrong_target_is_the_users_mistake(target: str, problem: str) -> None:
    with pytest.raises(BootError, match=problem):
        loader.load(target)


def test_the_applications_own_error_is_left_alone() -> None:
    for target in ("broken", "broken.py"):
        with pytest.raises(ModuleNotFoundError, match="no_such_library"):
            loader.load(target)
    with pytest.raises(RuntimeError, match="half-way"):
        loader.load("half.py")
    assert "uwsgi_file_half" not in sys.modules


PASTE = """
[app:main]
use = call:loaderpkg.mod:make
name = {name}

[app:other]
use = call:loaderpkg.mod:make
name = other

[loggers]
keys = root, paste
[handlers]
keys = file
[formatters]
keys =
[logger_root]
handlers =
[logger_paste]
qualname = paste_test
handlers = file
level = INFO
[handler_file]
class = FileHandler
args = (r"%(here)s/log",)
"""


def test_an_application_may_be_described_by_paste_deployment(folder: Path) -> None:
    (folder / "loaderpkg" / "mod.py").write_text("def make(settings, name): return lambda *_: [name]")
    (folder / "site.ini").write_text(PASTE.format(name="main"))
    for target, name in ("config:site.ini", "main"), ("site.ini", "main"), (f"config:{folder}/site.ini#other", "other"):
        assert list(loader.load_paste(target)({}, print)) == [name]
    assert not (folder / "log").exists()
    loader.load_paste("config:site.ini", has_logging=True)
    logger = logging.getLogger("paste_test")
    logger.info("logged")
    logger.handlers.pop().close()
    assert (folder / "log").read_text() == "logged\n"
    with pytest.raises(BootError, match=r"^no file /.*/none\.ini"):
        loader.load_paste("config:none.ini")


def test_paths_may_be_patterns_and_the_current_folder_comes_first(folder: Path) -> None:
    loader.add_paths(("with*", "missing"))
    assert sys.path[:3] == [".", "missing", "with.dots"]


def test_a_virtual_environments_packages_come_first(folder: Path) -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "venv/lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "loader_test_package.py").touch()
    (packages / "more.pth").write_text(f"{folder}{os.sep}with.dots\n")
    loader.use_virtualenv("venv")
    assert sys.path[0].endswith("site-packages")
    assert f"{folder}/with.dots" in sys.path
    __import__("loader_test_package")


def test_a_virtual_environment_of_another_version_is_refused(folder: Path) -> None:
    (folder / "venv/lib/python2.7/site-packages").mkdir(parents=True)
    with pytest.raises(BootError, match="not a virtual environment of this version of Python"):
        loader.use_virtualenv("venv")


def test_a_file_changed_within_the_same_second_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .pyc of the same second and size would pass for the new source's."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "app.py"
    for body in ("1", "2"):
        file.write_text(f"def application(environ, start_response):\n    return {body}\n")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        assert loader.load(str(file))({}, None) == int(body)
