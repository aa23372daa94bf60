"""Finding files below a directory."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
from support.growth import growth

from uwsgi_ws.request import static
from uwsgi_ws.request.static import Directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "public/deep").mkdir(parents=True)
    (tmp_path / "public/a.txt").write_text("a")
    (tmp_path / "public/deep/index.html").write_text("index")
    (tmp_path / "public/deep/b.txt").symlink_to("../a.txt")
    (tmp_path / "public/out").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("secret")
    return tmp_path


@pytest.mark.parametrize("unit", ["a/", "deep/../", "./"])
def test_the_length_of_a_path_costs_next_to_nothing(folder: Path, unit: str) -> None:
    """It is the client's to choose. Each part was a system call, and more where nothing exists."""
    directory = Directory(str(folder / "public"), ("index.html",))

    def find(size: int) -> None:
        for _ in range(20):
            directory.find("/" + unit * (size // len(unit)) + "x")

    assert growth(find, 40, 8_000) < 100


def test_the_same_is_found_when_descriptors_have_run_out(folder: Path) -> None:
    directory = Directory(str(folder / "public"), ("index.html",))
    paths = ("/a.txt", "/a.txt/", "/deep", "/deep/", "/deep/b.txt", "/out", "/../secret", "/gone", "", "/deep/../a.txt")
    usual = [directory.find(path) for path in paths]
    assert [file and os.path.basename(file.path) for file in usual] == [
        "a.txt", None, "index.html", "index.html", "a.txt", None, None, None, None, "a.txt",
    ]  # fmt: skip
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        assert [directory.find(path) for path in paths] == usual
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(highest)


@pytest.mark.parametrize(
    ("number", "status"), [(errno.EACCES, 403), (errno.ENOENT, 403), (errno.EMFILE, 503), (errno.ENFILE, 503)]
)
def test_a_file_that_cannot_be_opened_is_to_blame_only_if_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    file = Directory(str(folder / "public"), ("index.html",)).find("/a.txt")
    assert file is not None

    def fail(*args: object) -> int:
        raise OSError(number, os.strerror(number))

    answered: list[int] = []
    monkeypatch.setattr(static, "respond_status", lambda request, code: answered.append(code))
    monkeypatch.setattr(os, "open", fail)
    static.send_file(object(), file)  # type: ignore[arg-type]
    assert answered == [status]
