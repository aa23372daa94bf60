"""``import uwsgidecorators``: uWSGI's where it is installed, else ours; and ``uwsgi.set_user_harakiri``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.http_client import HttpClient
from support.peers import require_program
from support.server import APPLICATIONS, UWSGI, UWSGI_WS, Program, Server, ServerFailed
from support.shared_memory import ask
from support.workers import wait_for_workers

Start = Callable[..., Server]
APPLICATION = APPLICATIONS / "decorated.py"
MODES = [("--gevent", "10"), ("--threads", "4"), ()]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with uWSGI's own module."""
    found = list(
        Path(require_program("uwsgi")).resolve().parents[1].glob("lib/python3*/site-packages/uwsgidecorators.py")
    )
    assert found, "uWSGI was installed without its decorators"
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "uwsgidecorators.py").write_bytes(found[0].read_bytes())
    return folder


LINES = [
    "ran[0][0]",
    "locked(5, other=6)",
    "uwsgi.is_locked()",
    "raised(failing)",
    "uwsgi.is_locked()",
    "threaded(5)",
    "slow(0)",
    "uwsgi.set_user_harakiri(5)",
    "uwsgi.set_user_harakiri(0)",
    "uwsgi.set_user_harakiri('x')",
    "uwsgi.set_user_harakiri(2**40)",
    "uwsgi.i_am_the_spooler()",
]


def start(serve: Start, mode: tuple[str, ...], *options: str) -> Server:
    return serve(APPLICATION, *options, concurrency=mode)


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_they_do_what_uwsgis_do(serve: Start, theirs: Path, mode: tuple[str, ...]) -> None:
    program = Program((*UWSGI.command, "--master", "--processes", "2"), UWSGI.ready)
    with Server(APPLICATION, program=program) as server:
        expected = ask(server, *LINES)
    with_ours = start(serve, mode, "--processes", "2")
    wait_for_workers(with_ours, 2)
    assert ask(with_ours, *LINES) == expected
    with_theirs = start(serve, mode, "--processes", "2", "--pythonpath", str(theirs))
    wait_for_workers(with_theirs, 2)
    assert ask(with_theirs, *LINES) == expected
    where = "hasattr(uwsgidecorators, '__file__')"
    assert (ask(with_ours, where), ask(with_theirs, where)) == ([False], [True])


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_each_worker_runs_what_is_for_it(serve: Start, mode: tuple[str, ...]) -> None:
    server = start(serve, mode, "--processes", "2")
    wait_for_workers(server, 2)
    seen = set()
    for _ in range(300):
        worker, ran = ask(server, "uwsgi.worker_id()", "ran")
        assert ran == ([("each", 1)] if worker == 1 else [("each", 2), ("second", 2)])
        seen.add(worker)
        if len(seen) == 2:
            break
    assert seen == {1, 2}


def test_no_master_is_needed(serve: Start) -> None:
    server = start(serve, MODES[0])
    assert ask(server, "ran", "slow(0)", "uwsgi.masterpid()") == [[("each", 1)], "done", 0]


def test_what_is_not_here_tells_so(serve: Start) -> None:
    server = start(serve, MODES[0])
    advice = "start the program as a service of its own, or by --attach-daemon"
    assert ask(server, "for_mule(1)") == [f"ValueError: no mule configured, and there are none here: {advice}"]
    server.wait_for_log("@mule: there are no mules here, in_mule never runs")
    for name, text in zip(("_spool", "_spoolraw", "_spoolforever"), ask(server, "spools")[0], strict=True):
        assert text.startswith(
            f"NotImplementedError: you have to enable the uWSGI spooler to use @{name[1:]} decorator"
        )


def test_what_needs_signals_tells_so_where_there_are_none(serve: Start, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import uwsgi, uwsgidecorators\n"
        "for name in ('register_signal', 'signal_registered', 'add_timer', 'register_rpc'):\n"
        "    vars(uwsgi).pop(name, None)\n"
        "uwsgidecorators.timer(5)(print)\n"
    )
    with pytest.raises(ServerFailed, match=r"@timer needs uwsgi\.add_timer, which is not here"):
        serve(tmp_path / "app.py", program=UWSGI_WS, allow_traceback=True)


@pytest.mark.parametrize("mode", MODES[:2], ids=" ".join)
def test_a_request_ends_when_it_takes_longer_than_it_set(serve: Start, mode: tuple[str, ...]) -> None:
    """An exception where it waits; and nobody else is ended."""
    server = serve(APPLICATION, concurrency=mode, allow_traceback=True)
    with HttpClient(server.addresses[-1]) as client:
        client.send_request("POST", "/", body=b"slow(9)")
        assert ask(server, "slow(0)") == ["done"]
        assert client.read_response().status == 500
    server.wait_for_log("HARAKIRI ON WORKER 1 CORE [0-9]+: POST / has taken longer than the 1 seconds that it set")
    assert ask(server, "slow(0)") == ["done"]


@pytest.mark.parametrize("mode", [MODES[0], MODES[2]], ids=" ".join)
def test_a_worker_is_replaced_whose_request_cannot_be_ended(serve: Start, mode: tuple[str, ...]) -> None:
    options = ("--no-monkey-patch",) if mode else ()
    server = serve(APPLICATION, "--master", *options, concurrency=mode)
    before = ask(server, "os.getpid()")
    with HttpClient(server.addresses[-1]) as client, pytest.raises((AssertionError, ConnectionError, EOFError)):
        client.request("POST", "/", body=b"uwsgi.set_user_harakiri(1)\nslow(9)")
    server.wait_for_log("and does not yield: its worker is killed")
    wait_for_workers(server, 2)
    assert ask(server, "os.getpid()") != before


def test_a_limit_that_was_taken_back_ends_nothing(serve: Start) -> None:
    server = start(serve, MODES[2], "--master")
    lines = [
        "uwsgi.set_user_harakiri(1)",
        "uwsgi.set_user_harakiri(0)",
        "time.sleep(2.5)",
        "uwsgi.set_user_harakiri(1)",
    ]
    assert ask(server, *lines) == [None] * 4
    assert ask(server, "time.sleep(1.5)", "locked(1)") == [None, (1, None, True)]  # the one before has ended


def test_outside_of_the_server_there_are_none() -> None:
    code = "import uwsgi_ws, importlib.util; print(importlib.util.find_spec('uwsgidecorators'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "None\n"
