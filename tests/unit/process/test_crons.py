"""Commands of ``--cron``: run by the minute, kept from piling up, and ended where a limit says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.clocks import Hands, hands_of
from support.eventually import eventually
from support.workers import children

from uwsgi_ws.options import parse
from uwsgi_ws.process import crons as crons_module
from uwsgi_ws.process.crons import Crons


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return hands_of(crons_module, monkeypatch)


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """But for those of other tests, such as the engines that a session starts once."""
    before = set(children(os.getpid()))
    yield
    assert set(children(os.getpid())) <= before


def reap(crons: Crons) -> None:
    """Tell of a child's end."""
    pid, status = os.waitpid(-1, 0)
    assert crons.exited(pid, status)


def test_a_command_runs_once_a_minute(hands: Hands, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    crons = Crons(parse(["--cron", f"-1 -1 -1 -1 -1 echo $((1 + 1)) >> {notes}", "--cron2", "month=13 false"]))
    for count in (1, 1, 2):
        crons.look()
        eventually(lambda expected=count: lines(notes) == expected)
        hands.go_on(31)
    assert notes.read_text() == "2\n2\n"
    for _ in range(2):
        reap(crons)
    assert not crons.exited(os.getpid(), 0)
    crons.stop()
    hands.go_on(600)
    crons.look()
    assert (crons.live, crons.due) == (False, [])


@pytest.mark.parametrize("options", [["--unique-cron", "-1 -1 -1 -1 -1 "], ["--cron2", "unique=1 "]])
def test_a_unique_one_is_left_out_while_it_runs(hands: Hands, tmp_path: Path, options: list[str]) -> None:
    fifo, notes = tmp_path / "fifo", tmp_path / "notes"
    os.mkfifo(fifo)
    crons = Crons(parse([options[0], f"{options[1]}echo >> {notes}; cat {fifo}"]))
    crons.look()
    for _ in range(3):
        hands.go_on(60)
        crons.look()
    fifo.write_text("")
    reap(crons)
    hands.go_on(60)
    crons.look()
    fifo.write_text("")
    reap(crons)
    assert lines(notes) == 2


def test_one_that_never_ends_does_not_pile_up(hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crons_module, "_MOST_RUNNING", 2)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    crons = Crons(parse(["--cron", f"-1 -1 -1 -1 -1 read x < {fifo}"]))
    for _ in range(4):
        crons.look()
        hands.go_on(60)
    with fifo.open("w", buffering=1) as both:
        both.write("\n\n")
        for _ in range(2):  # before the end is closed: one of them may not have opened its own yet
            reap(crons)


@pytest.mark.parametrize(
    ("options", "is_killed"),
    [
        (["--cron-harakiri", "5", "--cron2", "minute=-1 "], True),
        (["--cron2", "harakiri=5 "], True),
        (["--cron-harakiri", "5", "--cron2", "harakiri=0 "], False),
    ],
)
def test_one_that_takes_too_long_is_killed(hands: Hands, tmp_path: Path, options: list[str], is_killed: bool) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    crons = Crons(parse([*options[:-1], f"{options[-1]}cat {fifo}"]))
    crons.look()
    assert crons.due == ([505.0] if is_killed else [])
    hands.go_on(5)
    crons.look()
    assert crons.due == []
    if not is_killed:
        fifo.write_text("")
    reap(crons)
