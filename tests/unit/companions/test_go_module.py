"""``uwsgi_ws go-module``: what it writes, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from uwsgi_ws.cli import main as run_server
from uwsgi_ws.companions.go_module import main

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "uwsgi_ws/companions/go"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program_files() -> set[str]:
    return {path.name for path in SOURCES.iterdir() if not path.name.endswith("_test.go")}


@pytest.mark.parametrize(
    ("given", "replace"),
    [("uwsgi", "./uwsgi"), ("./a/b/", "./a/b"), ("../uwsgi", "../uwsgi"), ("{}/x", "{}/x")],
)
def test_it_writes_the_module_and_says_how_to_use_it(
    given: str, replace: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "program").mkdir()
    monkeypatch.chdir(folder / "program")
    assert run_server(["go-module", given.format(folder)]) == 0
    assert {path.name for path in Path(given.format(folder)).iterdir()} == program_files()
    said, errors = capfd.readouterr()
    assert f"    require uwsgi v0.0.0\n    replace uwsgi => {replace.format(folder)}\n" in said
    assert errors == ""


def test_a_folder_that_has_something_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/main.go").write_text("package main\n")
    assert main(["mine"]) == 1
    assert [path.name for path in Path("mine").iterdir()] == ["main.go"]
    assert capfd.readouterr().err == "uwsgi_ws: 'mine' is not empty: remove what is there, or name another folder\n"


def test_what_cannot_be_written_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    for given, error in ("file", "'file': File exists"), ("file/x", "'file/x': Not a directory"):
        assert main([given]) == 1
        assert capfd.readouterr().err == f"uwsgi_ws: cannot write {error}\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    Path("closed").mkdir(0o500)
    assert main(["closed"]) == 1
    assert "Permission denied" in capfd.readouterr().err


def test_a_wheel_has_the_module(tmp_path: Path) -> None:
    """Of the checkout's files, built as pip builds it but without the compiled modules, which take long."""
    (tmp_path / "source").mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "uwsgi_ws", "uwsgi-stubs"):
        (tmp_path / "source" / name).symlink_to(ROOT / name)
    (tmp_path / "source" / "uwsgidecorators-stubs").symlink_to(ROOT / "uwsgidecorators-stubs")
    build = "from setuptools import setup; setup(script_args=['-q', 'bdist_wheel', '-d', '..'])"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path / "source", check=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "installed"], check=True)
    with zipfile.ZipFile(wheel) as archive:
        packed = {Path(name).name for name in archive.namelist() if name.startswith("uwsgi_ws/companions/go/")}
    assert packed == program_files()
    command = [sys.executable, "-m", "uwsgi_ws", "go-module", "out"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "UWSGI_WS_PURE_PYTHON": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=60)
    assert {path.name for path in (tmp_path / "out").iterdir()} == program_files()
