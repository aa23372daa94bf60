"""Whatever an application raises, and wherever: it costs its own request, never a worker that serves others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import fetch
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import RawClient, close_frame

APPLICATION = APPLICATIONS / "faults.py"
FAULTS = ("uwsgi", "sys.exit", "KeyboardInterrupt", "SystemError", "Odd", "ValueError", "MemoryError")
ELSEWHERE = ("in_greenlet", "in_raw_greenlet", "in_callback", "in_timer", "in_gevent_signal_handler")
KINDS = {
    "alone": [],
    "master": ["--master"],
    "threads": ["--threads", "10"],
    "threads-master": ["--threads", "10", "--master"],
}


@pytest.fixture(scope="module", params=KINDS)
def server(request: Any) -> Iterator[Server]:
    with Server(APPLICATION, *KINDS[request.param]) as server:
        yield server
        finish(server, allow_traceback=True)


@pytest.fixture
def bystander(server: Server) -> Iterator[RawClient]:
    """A WebSocket that is still there, and still served, at the end of the test."""
    before = fetch(server.addresses[0]).text
    with RawClient.open(server.port) as chat:
        yield chat
        chat.send_text("still here")
        chat.expect_text("still here")
    assert fetch(server.addresses[0]).text == before


def tracebacks(server: Server) -> int:
    return server.log.count("Traceback (most recent call last)")


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("where", ELSEWHERE)
def test_outside_of_a_request_it_is_logged_once(server: Server, bystander: RawClient, where: str, what: str) -> None:
    if "--threads" in server.name:
        pytest.skip("native threads have no hub")
    before = tracebacks(server)
    assert fetch(server.addresses[0], f"/{where}?{what}").status == 200
    eventually(lambda: tracebacks(server) > before)
    bystander.send_text("another turn")
    bystander.expect_text("another turn")
    assert tracebacks(server) == before + 1


@pytest.mark.parametrize("what", FAULTS)
def test_in_a_thread_of_the_applications(server: Server, bystander: RawClient, what: str) -> None:
    assert fetch(server.addresses[0], f"/in_thread?{what}").status == 200


@pytest.mark.parametrize("what", FAULTS)
def test_a_signal_handler_raises_in_the_servers_code_in_vain(server: Server, bystander: RawClient, what: str) -> None:
    if "--threads" in server.name:
        pytest.skip("only the main thread sets handlers")
    before = tracebacks(server)
    assert fetch(server.addresses[0], f"/in_later_signal_handler?{what}").status == 200
    eventually(lambda: tracebacks(server) == before + 1)


def test_a_signal_handler_may_raise_in_the_application(server: Server, bystander: RawClient) -> None:
    if "--threads" in server.name:
        pytest.skip("only the main thread sets handlers")
    assert fetch(server.addresses[0], "/in_signal_handler?ValueError").status == 500


def test_a_thread_interrupts_the_main_one_in_vain(server: Server, bystander: RawClient) -> None:
    assert fetch(server.addresses[0], "/interrupts_main").status == 200


@pytest.mark.parametrize("what", [*FAULTS, "GreenletExit"])
def test_a_request_that_raises_is_answered_and_has_its_line(server: Server, bystander: RawClient, what: str) -> None:
    if what == "uwsgi":
        pytest.skip("it is inside of a request")
    before = server.log.count(f"GET /here?{what} => ")
    response = fetch(server.addresses[0], f"/here?{what}")
    assert response.status == 500
    eventually(lambda: server.log.count(f"GET /here?{what} => ") == before + 1)


@pytest.mark.parametrize("what", ["sys.exit", "KeyboardInterrupt", "GreenletExit", "Odd"])
def test_a_body_that_raises_is_cut_off_and_has_its_line(server: Server, bystander: RawClient, what: str) -> None:
    before = server.log.count(f"GET /later?{what} => ")
    with pytest.raises((OSError, AssertionError, EOFError)):
        fetch(server.addresses[0], f"/later?{what}")
    eventually(lambda: server.log.count(f"GET /later?{what} => ") == before + 1)


@pytest.mark.parametrize("what", ["sys.exit", "KeyboardInterrupt", "GreenletExit", "Odd", "SystemError"])
def test_a_websocket_that_raises_is_closed_with_1011(server: Server, bystander: RawClient, what: str) -> None:
    with RawClient.open(server.port, f"/here?{what}") as chat:
        chat.send_text("fault")
        chat.expect_close(1011)
        chat.send(close_frame(1011))
        chat.expect_eof()


@pytest.mark.parametrize("raising", ["sys.exit(1)", "1 / 0", "uwsgi.websocket_recv()", "(_ for _ in ()).throw(Odd)"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_runs_at_the_end_may_raise(serve: Any, kind: str, raising: str) -> None:
    hooks = (
        "import atexit\n"
        f"def end():\n    sys.stderr.write('the end\\n')\n    {raising}\n"
        "uwsgi.atexit = end\n"
        "atexit.register(end)\n"
    )
    server = serve(APPLICATION.read_text() + hooks, *KINDS[kind], allow_traceback=True)
    assert server.stop() == 0
    assert server.log.count("the end") == 2
    assert "goodbye" in server.log
    assert "could not be loaded" not in server.log


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
@pytest.mark.parametrize("raising", ["1 / 0", "sys.exit(0)", "raise Odd"])
def test_a_hook_after_the_fork_that_raises_is_told_as_what_it_is(options: list[str], raising: str) -> None:
    with pytest.raises(AssertionError) as failed:
        Server(APPLICATION.read_text() + f"def hook():\n    {raising}\nuwsgi.post_fork_hook = hook\n", *options)
    assert "exit status 1;" in str(failed.value)
    assert "post_fork_hook failed" in str(failed.value)
    assert "could not be loaded" not in str(failed.value)
    assert str(failed.value).count("in hook") == 1


def test_a_loop_that_cannot_go_on_ends_its_worker(serve: Any) -> None:
    """The application has closed what the event loop waits by."""
    server = serve(
        "import gevent, os\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    if environ['PATH_INFO'] == '/close':\n"
        "        os.close(gevent.get_hub().loop.fileno())\n"
        "    return [b'%d' % os.getpid()]\n",
        "--master",
        allow_traceback=True,
    )
    first = int(fetch(server.addresses[0]).text)
    fetch(server.addresses[0], "/close")
    server.wait_for_log(rf"worker 1 \(pid: {first}\) died", 10)
    eventually(lambda: int(fetch(server.addresses[0]).text) != first, 10)
    assert "could not be loaded" not in server.log
    os.kill(server.pid, signal.SIGINT)
