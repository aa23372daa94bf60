"""Attached daemons: which pidfiles tell of a process, and when what is started again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.eventually import eventually

from uwsgi_ws.options import Options
from uwsgi_ws.options.values import DaemonSpec, SmartDaemon
from uwsgi_ws.process.children import reap
from uwsgi_ws.process.daemons import Daemons, _alive


@pytest.mark.parametrize("text", ["-1", "0", "1", "", "x", "999999999"])
def test_a_pidfile_of_nobody_tells_of_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert _alive(str(tmp_path / "pid")) == 0
    assert _alive(str(tmp_path / "none")) == 0


def test_a_pidfile_tells_of_a_process_that_lives(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    assert _alive(str(tmp_path / "pid")) == os.getpid()


def buried(daemons: Daemons, pid: int) -> bool:
    """Take note of the death of a process, once it has come."""
    dead: list[int] = []
    eventually(lambda: dead.extend(each for each, _ in reap()) or pid in dead, 10)
    return daemons.exited(pid, 0)


def test_one_that_ends_soon_is_started_again_later_each_time() -> None:
    daemons = Daemons(Options(attach_daemon=(DaemonSpec("exit 1"),)))
    pauses = []
    for _ in range(3):
        daemons._daemons[0].next_at = 0.0
        daemons.look()
        assert buried(daemons, daemons._daemons[0].pid)
        pauses.append(round(daemons.due[0] - time.monotonic()))
    assert pauses == [1, 2, 4]
    assert not daemons.live


def test_they_end_with_the_instance_whatever_they_have_started(tmp_path: Path) -> None:
    daemons = Daemons(
        Options(
            attach_daemon=(DaemonSpec(f"sleep 600 & echo $! >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; wait"),)
        )
    )
    daemons.look()
    eventually((tmp_path / "pid").exists, 10)
    assert daemons.live
    daemons.stop()
    assert buried(daemons, daemons._daemons[0].pid)
    assert not daemons.live
    child = int((tmp_path / "pid").read_text())

    def is_gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"

    eventually(is_gone, 10)


def test_one_that_does_not_end_is_killed() -> None:
    daemons = Daemons(Options(attach_daemon=(DaemonSpec("trap '' TERM; sleep 600"),)))
    daemons.look()
    daemons.stop()
    daemons._daemons[0].kill_at = 0.0
    daemons.look()
    assert buried(daemons, daemons._daemons[0].pid)


def test_after_a_reload_it_runs_anew_at_once_but_one_with_a_pidfile_stays(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    smart = SmartDaemon(f"touch {tmp_path}/started", str(tmp_path / "pid"), 0.0)
    daemons = Daemons(
        Options(
            attach_daemon=(DaemonSpec("exec sleep 600", reload_signal=int(signal.SIGINT)),),
            smart_attach_daemon=(smart,),
        )
    )
    daemons.look()
    first = daemons._daemons[0].pid
    daemons.renew()
    assert buried(daemons, first)
    daemons.look()
    assert daemons._daemons[0].pid not in (0, first)
    assert daemons._daemons[1].pid == 0
    assert daemons.due[1] > time.monotonic()
    daemons.stop()
    assert buried(daemons, daemons._daemons[0].pid)
