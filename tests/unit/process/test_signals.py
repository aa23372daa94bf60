"""Signals of a process without an event loop: they wait until it looks, and none is lost over a fork."""

from __future__ import annotations

import os
import select
import signal

from support.child import in_child

from uwsgi_ws.process.signals import SignalQueue, ignore_terminal


def test_signals_are_read_in_order_and_only_those_that_were_asked_for() -> None:
    def work() -> str:
        signal.signal(signal.SIGUSR2, lambda number, frame: None)  # another's
        queue = SignalQueue([signal.SIGHUP, signal.SIGTERM])
        assert queue.take() == b""
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert select.select([queue], [], [], 10)[0]
        return str([signal.Signals(number).name for number in queue.take()])

    assert in_child(work) == "['SIGTERM', 'SIGHUP']"


def test_a_child_has_no_queue_and_its_signals_mean_what_they_do_by_default() -> None:
    def work() -> str:
        queue = SignalQueue([signal.SIGHUP, signal.SIGTERM])
        pid = queue.fork()
        if not pid:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(3)  # not reached
        _, status = os.waitpid(pid, 0)
        assert queue.take() == b""
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return signal.Signals(-os.waitstatus_to_exitcode(status)).name

    assert in_child(work) == "SIGTERM"


def test_a_signal_that_comes_during_a_fork_is_taken_by_the_parent() -> None:
    def work() -> str:
        queue = SignalQueue([signal.SIGTERM])
        here = os.getpid()
        os.register_at_fork(before=lambda: os.kill(here, signal.SIGTERM))
        pid = queue.fork()
        if not pid:
            os._exit(7)
        _, status = os.waitpid(pid, 0)
        assert select.select([queue], [], [], 10)[0]
        return f"{list(queue.take())} {os.waitstatus_to_exitcode(status)}"

    assert in_child(work) == f"[{int(signal.SIGTERM)}] 7"


def test_a_signal_to_the_child_is_not_taken_by_the_parent_however_early_it_comes() -> None:
    def work() -> str:
        queue = SignalQueue([signal.SIGTERM])
        os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
        pid = queue.fork()
        if not pid:
            os._exit(7)  # not reached
        _, status = os.waitpid(pid, 0)
        return f"{list(queue.take())} {os.waitstatus_to_exitcode(status)}"

    assert in_child(work) == f"[] {-signal.SIGTERM}"


def test_a_terminals_ctrl_c_does_nothing_and_a_program_that_is_started_does_not_ignore_it() -> None:
    def work() -> str:
        ignore_terminal()
        for number in (signal.SIGINT, signal.SIGQUIT):
            os.kill(os.getpid(), number)
        import subprocess

        return str(subprocess.run(["/bin/sh", "-c", "kill -INT $$; echo survived"], check=False).returncode)

    assert in_child(work) == str(-signal.SIGINT)
