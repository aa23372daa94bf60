"""When a child that ends too early is started again, and what the kernel tells of its end."""

from __future__ import annotations

import os
import signal
from time import monotonic

import pytest

from uwsgi_ws.options import Options
from uwsgi_ws.process.children import ChildKind, RestartBackoff, cause, exit_status, reap, send
from uwsgi_ws.process.daemons import Daemons


def test_each_early_end_puts_the_next_start_off_further() -> None:
    backoff = RestartBackoff((0.0, 10.0, 20.0))
    waits = []
    for _ in range(4):
        before = monotonic()
        backoff.fail()
        waits.append(round(backoff.next_at - before))
    assert waits == [0, 10, 20, 20]
    backoff.succeed()
    before = monotonic()
    backoff.fail()
    assert round(backoff.next_at - before) == 0


def test_daemons_are_a_kind_of_children() -> None:
    kind: ChildKind = Daemons(Options())
    assert not kind.live
    assert kind.due == []
    assert not kind.exited(os.getpid(), 0)
    kind.look()
    kind.renew()
    kind.stop()


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        (lambda: os._exit(0), 0, "exit status 0"),
        (lambda: os._exit(3), 3, "exit status 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 137, "killed by signal 9"),
    ],
    ids=["0", "3", "killed"],
)
def test_a_childs_end_is_told_as_a_shell_does(end: object, status: int, words: str) -> None:
    pid = os.fork()
    if not pid:
        end()  # type: ignore[operator]
    _, found = os.waitpid(pid, 0)
    assert (exit_status(found), cause(found)) == (status, words)
    send(pid, signal.SIGTERM)  # has ended already: without effect


def test_children_that_have_ended_are_all_taken() -> None:
    pids = set()
    for number in range(3):
        pid = os.fork()
        if not pid:
            os._exit(number)
        pids.add(pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert {pid for pid, _ in reap()} == pids
    assert reap() == []
