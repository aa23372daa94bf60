"""The master's fifo, and what its letters do."""

from __future__ import annotations

import errno
import os
import select
import stat
from pathlib import Path

import pytest

from uwsgi_ws.process.fifo import Fifo
from uwsgi_ws.process.orders import Orders


def write(path: Path, letters: str) -> None:
    """Write as a shell does that opens and closes the file each time."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, letters.encode("latin-1"))
    os.close(fd)


def test_letters_are_read_in_order_and_a_writer_that_closes_ends_nothing(tmp_path: Path) -> None:
    fifo = Fifo(str(tmp_path / "fifo"))
    assert stat.S_ISFIFO(os.stat(tmp_path / "fifo").st_mode)
    assert fifo.take() == ""
    write(tmp_path / "fifo", "r")
    write(tmp_path / "fifo", "p\n")
    assert fifo.take() == "rp\n"
    write(tmp_path / "fifo", "\xff")
    assert fifo.take() == "\xff"
    assert fifo.take() == ""
    fifo.remove()
    assert not (tmp_path / "fifo").exists()


def test_only_its_owner_reads_and_only_their_group_writes_too(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        fifo = Fifo(str(tmp_path / "fifo"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "fifo").st_mode) == 0o620
    fifo.remove()


def test_a_fifo_that_is_there_is_taken_over_and_one_that_is_gone_is_no_error_at_the_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    inode = os.stat(tmp_path / "fifo").st_ino
    fifo = Fifo(str(tmp_path / "fifo"))
    assert os.stat(tmp_path / "fifo").st_ino == inode
    (tmp_path / "fifo").unlink()
    fifo.remove()


def test_its_file_is_removed_wherever_the_process_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fifo = Fifo("fifo")
    monkeypatch.chdir("/")
    fifo.remove()
    assert not (tmp_path / "fifo").exists()


def test_another_file_is_not_taken_for_a_fifo_and_stays_open_nowhere(tmp_path: Path) -> None:
    (tmp_path / "fifo").write_text("data")
    open_before = os.listdir("/proc/self/fd")
    with pytest.raises(ValueError, match="is there, and no fifo"):
        Fifo(str(tmp_path / "fifo"))
    assert os.listdir("/proc/self/fd") == open_before
    assert (tmp_path / "fifo").read_text() == "data"


def test_a_fifo_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot make .*: No such file or directory"):
        Fifo(str(tmp_path / "none" / "fifo"))


def test_each_letter_does_what_it_orders_and_others_are_told_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    paths = [tmp_path / "one", tmp_path / "two"]
    orders = Orders(
        [Fifo(str(path)) for path in paths],
        {"rR": lambda: done.append("reload"), "q": lambda: done.append("stop")},
    )
    orders.carry_out()
    write(paths[0], "Rr\n")
    write(paths[1], " q")
    orders.carry_out()
    assert done == ["reload", "reload", "stop"]
    assert capfd.readouterr() == ("", "")
    write(paths[0], "+x")
    orders.carry_out()
    said = "".join(capfd.readouterr())
    assert "'+' has no effect, the number of workers is that of --processes" in said
    assert "'x' has no effect, it is not known" in said
    assert len(done) == 3
    orders.remove()
    assert not any(path.exists() for path in paths)


def test_the_master_is_woken_by_a_letter_of_any_fifo(tmp_path: Path) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    orders = Orders([Fifo(str(path)) for path in paths], {"q": lambda: None})
    poll = select.poll()
    orders.register(poll)
    assert poll.poll(0) == []
    write(paths[1], "q")
    assert len(poll.poll(5_000)) == 1
    orders.remove()


def test_one_that_is_made_and_cannot_be_opened_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_file(*arguments: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("uwsgi_ws.process.fifo.open_file", open_file)
    with pytest.raises(ValueError, match="Too many open files"):
        Fifo(str(tmp_path / "fifo"))
    assert not (tmp_path / "fifo").exists()
