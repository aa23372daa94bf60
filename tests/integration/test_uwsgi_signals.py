"""``uwsgi.register_signal``, timers, crons and watched files: each way of running, with and without a master."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.peers import require_program
from support.server import APPLICATIONS, UWSGI, UWSGI_WS, Program, Server, ServerFailed
from support.shared_memory import ask
from support.workers import wait_for_workers

Start = Callable[..., Any]
APPLICATION = APPLICATIONS / "signals.py"
GREENLETS, THREADS, SERIAL = ("--gevent", "10"), ("--threads", "4"), ()
MODES = [GREENLETS, THREADS, SERIAL]
TWO = ("--master", "--processes", "2")


class Instance:
    """A server, and what its handlers have noted."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    @property
    def notes(self) -> list[tuple[str, int, int, int]]:
        """What ran: its name, the signal, the worker and its process."""
        try:
            lines = (self.folder / "notes").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(words[0], *map(int, words[-3:])) for words in map(str.split, lines)]  # type: ignore[misc]

    def ran(self, name: str) -> list[int]:
        """Return the workers that a handler ran in, in order."""
        return [worker for which, _, worker, _ in self.notes if which == name]

    def wait_for(self, name: str, count: int = 1) -> list[int]:
        return eventually(lambda: len(found := self.ran(name)) >= count and found, 15)

    def ask(self, *lines: str) -> list[Any]:
        return ask(self.server, *lines)


@pytest.fixture
def begin(serve: Start, tmp_path: Path) -> Callable[..., Instance]:
    def begin(mode: tuple[str, ...], *options: str, **kwargs: Any) -> Instance:
        slow = kwargs.pop("slow", "1")
        server = serve(
            APPLICATION,
            *options,
            concurrency=mode,
            env={"FOLDER": str(tmp_path), "SLOW": slow},
            allow_traceback=True,
            **kwargs,
        )
        if "--processes" in options:
            wait_for_workers(server, 2)
        return Instance(server, tmp_path)

    return begin


@pytest.mark.parametrize(
    ("mode", "options"), [*itertools.product(MODES, [TWO, ()]), (SERIAL, (*TWO, "--lazy-apps"))], ids=str
)
def test_whatever_raises_a_signal_its_handler_runs(
    begin: Callable[..., Instance], mode: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """Also in one worker alone, and never twice where each worker has registered the same."""
    instance = begin(mode, *options)
    workers = 2 if "--processes" in options else 1
    assert instance.ask("uwsgi.signal(15)", "uwsgi.signal(16)", "uwsgi.signal(20)", "uwsgi.signal(21)") == [None] * 4
    instance.wait_for("hand")
    instance.wait_for("cron")
    (instance.folder / "watched").write_text("")
    instance.wait_for("file")
    instance.wait_for("first", 2)
    assert set(instance.ran("first")) == {1}
    assert set(instance.ran("everywhere")) == set(range(1, workers + 1))
    if workers == 2:
        assert instance.wait_for("second") == [2]
    assert abs(len(instance.ran("timer")) - len(instance.ran("first"))) <= 1
    assert len(instance.wait_for("twice", 2)) == 2
    assert (len(instance.ran("hand")), len(instance.ran("file"))) == (1, 1)
    instance.wait_for("no-request")
    assert bool(instance.ran("own-thread")) is (mode == THREADS)
    instance.server.wait_for_log(r"the handler of signal 16(?s:.)*SystemExit")


def test_a_slow_handler_holds_up_neither_requests_nor_the_others_and_does_not_pile_up(
    begin: Callable[..., Instance],
) -> None:
    instance = begin(GREENLETS, slow="0.7")
    assert instance.ask(*["uwsgi.signal(17)"] * 3, "uwsgi.add_timer(17, 1)") == [None] * 4
    instance.wait_for("begins")
    assert instance.ask("1 + 1") == [2]
    instance.wait_for("begins", 4)
    order = [name for name, number, *_ in instance.notes if number == 17]
    assert order == (["begins", "ends"] * 4)[: len(order)]  # one at a time
    assert instance.ran("timer")


@pytest.mark.parametrize("mode", [GREENLETS, SERIAL], ids=" ".join)
def test_a_worker_that_its_handler_kills_is_replaced_and_goes_on(
    begin: Callable[..., Instance], mode: tuple[str, ...]
) -> None:
    instance = begin(mode, *TWO)
    assert instance.ask("uwsgi.signal(18)") == [None]
    (victim,) = instance.wait_for("killed")
    wait_for_workers(instance.server, 3)
    instance.server.wait_for_log("killed by signal 9")
    count = instance.ran("everywhere").count(victim)
    eventually(lambda: instance.ran("everywhere").count(victim) > count, 15)
    assert len(instance.ran("killed")) == 1


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_a_child_that_a_handler_forks_does_not_go_on_as_a_worker(
    begin: Callable[..., Instance], mode: tuple[str, ...]
) -> None:
    instance = begin(mode)
    instance.ask("uwsgi.signal(19)", "uwsgi.signal(15)")
    instance.wait_for("forked")
    instance.wait_for("hand")
    assert len(instance.ran("hand")) == 1


@pytest.mark.parametrize("options", [TWO, ()], ids=" ".join)
def test_after_a_reload_timers_go_on_once(begin: Callable[..., Instance], options: tuple[str, ...]) -> None:
    instance = begin(GREENLETS, *options)
    instance.wait_for("first")
    before = {pid for *_, pid in instance.notes}
    os.kill(instance.server.pid, signal.SIGHUP)
    wait_for_workers(instance.server, 2 * (2 if options else 1))
    if options:
        instance.server.wait_for_log("the old ones leave")
    count = len(instance.ran("first"))
    instance.wait_for("first", count + 2)
    notes = instance.notes
    assert not options or {pid for *_, pid in notes[-4:]}.isdisjoint(before)
    timer, first = (sum(name == wanted for name, *_ in notes) for wanted in ("timer", "first"))
    assert abs(timer - first) <= 1  # each second once, whoever was asked
    if options:
        assert len(instance.ran("cron")) <= 2  # a minute may have passed by


def test_a_handler_is_waited_for_when_its_worker_leaves(begin: Callable[..., Instance]) -> None:
    instance = begin(GREENLETS, "--master")
    instance.ask("uwsgi.signal(17)")
    instance.wait_for("begins")
    assert instance.server.stop(signal.SIGTERM) == 0
    assert instance.ran("ends")


def test_harakiri_ends_a_handler_that_takes_too_long(begin: Callable[..., Instance]) -> None:
    instance = begin(GREENLETS, "--harakiri", "1", slow="30")
    instance.ask("uwsgi.signal(17)")
    instance.server.wait_for_log(r"the handler of signal 17(?s:.)*longer than 1 seconds \(--harakiri\)")
    assert instance.ran("begins")
    instance.ask("uwsgi.signal(15)")
    instance.wait_for("hand")


def test_a_signal_that_nobody_takes_is_said_once(begin: Callable[..., Instance]) -> None:
    instance = begin(GREENLETS, "--master")
    instance.ask(*["uwsgi.signal(77)", "uwsgi.signal(22)"] * 2, "uwsgi.signal(15)")
    instance.wait_for("hand")
    for problem in ("signal 77 is dropped: nobody has registered it", "it is for worker 9, and there are only 1"):
        instance.server.wait_for_log(problem)
        assert instance.server.log.count(problem) == 1


def test_options_raise_signals_too(begin: Callable[..., Instance], tmp_path: Path) -> None:
    touched, folder = tmp_path / "touched", tmp_path / "folder"
    folder.mkdir()
    instance = begin(
        GREENLETS,
        *("--timer", "15 1", "--touch-signal", f"{touched} 21", "--fs-signal", f"{folder} 14", *TWO),
        *("--cron", f"-1 -1 -1 -1 -1 echo ran by $PPID > {tmp_path}/cron"),
    )
    assert instance.ask("uwsgi.masterpid()") == [instance.server.pid]
    instance.wait_for("hand")
    touched.write_text("")
    (folder / "new").write_text("")
    assert instance.wait_for("second") == [2]
    instance.wait_for("file")
    eventually(lambda: (tmp_path / "cron").exists() and (tmp_path / "cron").read_text())
    assert (tmp_path / "cron").read_text() == f"ran by {instance.server.pid}\n"
    instance.server.wait_for_log(r'\[uwsgi-cron\] command ".*" running with pid [0-9]+ exited after 0 second')


CALLS = """
signal_registered(15) | signal_registered(99) | signal_registered(15 + 256) | signal_registered("1")
register_signal(1.5, "", print) | register_signal(99, b"", print) | register_signal(99, None, print)
register_signal(99, "a\\0", print) | add_timer(99, 1.5) | add_timer(99, 2**31) | add_timer(99, -2**31 - 1)
add_timer(99, 0) | add_timer(99, 60) | add_timer(99, 60) | add_rb_timer(99, 60) | add_rb_timer(99, 60, 3)
add_rb_timer(99, "1") | add_cron(99, 1, 1, 1, 1, 1) | add_cron(99, -1, 99, -1, -1, -1) | add_cron(99, 1, 1, 1, 1, None)
add_file_monitor(99, "/nowhere") | add_file_monitor(99, b"/") | add_file_monitor(99, 5000 * "x")
signal(15) | signal(99) | signal("x") | signal(15 + 256)
register_signal(98, "", print) | signal_registered(98) | register_signal(98, "worker2", print)
"""
LINES = [f"uwsgi.{line.strip()}" for line in CALLS.replace("|", "\n").splitlines() if line.strip()]


def test_types_and_errors_are_uwsgis(begin: Callable[..., Instance], tmp_path: Path) -> None:
    require_program("uwsgi")
    program = Program((*UWSGI.command, "--master"), UWSGI.ready)
    with Server(APPLICATION, program=program, env={"FOLDER": str(tmp_path)}) as server:
        theirs = ask(server, *LINES)
    ours = begin(GREENLETS, "--master").ask(*LINES)
    assert dict(zip(LINES, ours, strict=True)) == dict(zip(LINES, theirs, strict=True))
    assert theirs[:3] == [True, None, True]


def test_uwsgis_own_decorators_work_with_them(begin: Callable[..., Instance], tmp_path: Path) -> None:
    found = list(
        Path(require_program("uwsgi")).resolve().parents[1].glob("lib/python3*/site-packages/uwsgidecorators.py")
    )
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/uwsgidecorators.py").write_bytes(found[0].read_bytes())
    instance = begin(GREENLETS, "--master", "--pythonpath", str(tmp_path / "theirs"))
    assert instance.ask("uwsgidecorators.__file__") == [str(tmp_path / "theirs/uwsgidecorators.py")]
    instance.ask("uwsgi.signal(15)")
    for name in ("hand", "cron", "timer", "first"):
        instance.wait_for(name)


REFUSED = {
    "uwsgi.register_signal(97, 'mule1', print)": "ValueError: unable to register signal: 'mule1': there are no m",
    "uwsgi.register_signal(97, 'spooler', print)": "ValueError: unable to register signal: 'spooler': there is n",
    "uwsgi.register_signal(97, 'all', print)": "ValueError: unable to register signal: 'all' is none of worker",
    "uwsgi.register_signal(97, '', 5)": "TypeError: register_signal() argument 3 must be callable, not int",
    "uwsgi.signal(1, '127.0.0.1:1')": "OSError: unable to deliver signal 1 to node 127.0.0.1:1: signals stay in",
}


def test_what_cannot_be_says_why(begin: Callable[..., Instance]) -> None:
    answers = begin(GREENLETS).ask(*REFUSED)
    assert [answer[: len(error)] for answer, error in zip(answers, REFUSED.values(), strict=True)] == [
        *REFUSED.values()
    ]


def test_a_signal_is_registered_once_before_there_are_workers(serve: Start, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import uwsgi\nuwsgi.register_signal(1, '', print)\nuwsgi.register_signal(1, '', print)\n"
    )
    with pytest.raises(ServerFailed, match="ValueError: unable to register signal"):
        serve(tmp_path / "app.py", "--master", program=UWSGI_WS, allow_traceback=True)


def test_what_is_raised_while_it_is_loaded_waits(serve: Start, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os, uwsgi\n"
        "uwsgi.register_signal(1, 'workers', lambda number: print('handled', number, uwsgi.worker_id()))\n"
        "uwsgi.signal(1)\n"
        "application = print\n"
    )
    for options in (TWO, ()):
        server = serve(tmp_path / "app.py", *options)
        server.wait_for_log("handled 1 1")
        if options:
            server.wait_for_log("handled 1 2")
        assert server.log.count("handled 1 1") == 1


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--cron", "* * * * * x", "write -1 for *"),
        ("--cron", "1 1 1 1 x", "MINUTE HOUR DAY MONTH WEEKDAY COMMAND"),
        ("--unique-cron", "1 1 1 1 1", "MINUTE HOUR DAY MONTH WEEKDAY COMMAND"),
        ("--cron2", "minute=1,second=2 x", "'second=2' is none of minute"),
        ("--cron2", "legion=a x", "there is no legion"),
        ("--cron2", "minute=x x", "'minute=x' is no number"),
        ("--cron2", "minute=1", "has no command"),
        ("--timer", "256 1", "'SIGNAL SECONDS'"),
        ("--rbtimer", "1", "'SIGNAL SECONDS'"),
        ("--touch-signal", "file", "'FILE SIGNAL'"),
        ("--fs-signal", "file 256", "'FILE SIGNAL'"),
    ],
)
def test_what_is_not_understood_is_refused(option: str, value: str, problem: str) -> None:
    from uwsgi_ws.options import parse

    with pytest.raises(ValueError, match=problem.replace("*", r"\*")) as caught:
        parse([option, value])
    assert option in str(caught.value)
