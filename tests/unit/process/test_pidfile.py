"""The files that tell the process id of the instance."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import Options, parse
from uwsgi_ws.process.pidfile import PidFile

OURS = f"{os.getpid()}\n"


def pid_file(path: Path | str | None, *, changes_user: bool = False) -> PidFile:
    return PidFile("pidfile", None if path is None else str(path), Options().error, users=(), changes_user=changes_user)


def test_it_holds_the_process_id_from_write_to_remove(tmp_path: Path) -> None:
    file = pid_file(tmp_path / "pid")
    assert not (tmp_path / "pid").exists()
    file.write()
    assert (tmp_path / "pid").read_text() == OURS
    file.remove()
    assert not (tmp_path / "pid").exists()
    file.remove()


def test_what_an_earlier_process_has_left_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("123456789012345678901234567890\n")
    pid_file(tmp_path / "pid").write()
    assert (tmp_path / "pid").read_text() == OURS


def test_without_an_option_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = pid_file(None, changes_user=True)
    file.reserve()
    file.write()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_application_may_change_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = pid_file("pid")
    monkeypatch.chdir("/")
    file.write()
    assert (tmp_path / "pid").read_text() == OURS
    file.remove()
    assert not (tmp_path / "pid").exists()


def test_one_that_cannot_be_written_is_an_error_of_the_option(tmp_path: Path) -> None:
    options = parse(["--pidfile", str(tmp_path / "none" / "pid"), "--http", ":0"])
    with pytest.raises(OptionError, match=r"^--pidfile: cannot write '.*/none/pid': No such file or directory"):
        PidFile.of(options, "pidfile").write()


def test_after_a_reload_it_is_only_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pid_file(tmp_path / "none" / "pid").write(is_a_reload=True)
    assert "cannot write" in "".join(capfd.readouterr())


def test_one_that_is_reserved_is_open_before_the_user_changes_and_written_once(tmp_path: Path) -> None:
    file = pid_file(tmp_path / "pid", changes_user=True)
    file.reserve()
    assert (tmp_path / "pid").read_text() == ""
    (tmp_path / "pid").rename(tmp_path / "moved")  # what is open is written, whatever is there now
    file.write()
    assert (tmp_path / "moved").read_text() == OURS
    file.write()
    assert (tmp_path / "pid").read_text() == OURS


def test_nothing_is_reserved_where_the_user_stays(tmp_path: Path) -> None:
    pid_file(tmp_path / "pid").reserve()
    assert not (tmp_path / "pid").exists()


def test_a_reserved_one_that_is_never_written_is_closed_and_removed(tmp_path: Path) -> None:
    open_before = os.listdir("/proc/self/fd")
    file = pid_file(tmp_path / "pid", changes_user=True)
    file.reserve()
    file.remove()
    assert os.listdir("/proc/self/fd") == open_before
    assert not (tmp_path / "pid").exists()


def test_a_pidfile_may_be_no_regular_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    pid_file(f"/proc/self/fd/{writing}").write()
    assert os.read(reading, 100).decode() == OURS
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("arguments", "reserves"), [((), False), (("--uid", str(os.getuid())), True), (("--gid", str(os.getgid())), True)]
)
def test_options_say_whether_the_user_will_change(tmp_path: Path, arguments: tuple[str, ...], reserves: bool) -> None:
    options = parse(["--safe-pidfile", str(tmp_path / "pid"), "--http", ":0", *arguments])
    file = PidFile.of(options, "safe-pidfile")
    file.reserve()
    assert (tmp_path / "pid").exists() == reserves
    file.remove()


def test_one_that_cannot_be_written_to_the_end_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = pid_file(tmp_path / "pid")
    monkeypatch.setattr("uwsgi_ws.process.pidfile.os.write", write)
    with pytest.raises(OptionError, match="No space left"):
        file.write()
    assert not (tmp_path / "pid").exists()
