"""The worker process: how it stops and starts again, how many it serves at once, and what ``uwsgi`` tells of it."""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch, request_bytes
from support.server import APPLICATIONS, ROOT, Program, Server
from support.websocket_client import CLOSE
from support.workers import BEGIN_WAIT, address, echo, is_closed, open_chat

APPLICATION = APPLICATIONS / "who.py"

NO_ADDRESS = Program((sys.executable, "-m", "uwsgi_ws"), r"spawned uwsgi_ws worker")


def send_signal(server: Server, number: int) -> None:
    os.kill(server.pid, number)


def wait_for_reload(server: Server, times: int = 1) -> None:
    eventually(lambda: server.log.count("spawned uwsgi_ws worker") == 1 + times, 20)


# Stopping


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGINT, ()),
        (signal.SIGQUIT, ()),
        (signal.SIGTERM, ()),
        (signal.SIGTERM, ("--die-on-term",)),
        (signal.SIGTERM, ("--reload-on-term", "--die-on-term")),
    ],
)
def test_a_stop_closes_websockets_with_1001_and_lets_applications_finish(
    serve: Any, number: int, options: tuple[str, ...]
) -> None:
    server = serve(APPLICATION, *options)
    idle = HttpClient(address(server))
    assert idle.request("GET", "/").status == 200
    busy = HttpClient(address(server))
    busy.send(BEGIN_WAIT)
    with open_chat(server) as first, open_chat(server) as second:
        echo(first, "hello")
        echo(second, "hello")
        begun = time.monotonic()
        send_signal(server, number)
        idle.assert_ended()
        is_closed(first, 1001, "server stops")
        is_closed(second, 1001, "server stops")
    # Nobody else gets in, and who was in is served.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(server))
    busy.send(b"en")
    response = busy.read_response()
    assert response.status == 200
    assert response.says_close
    busy.assert_ended()
    idle.close()
    busy.close()
    assert server.wait() == 0
    assert time.monotonic() - begun < 5
    assert server.log.count("the application's finally has run") == 2
    assert server.log.count("GET /chat =>") == 2
    assert "closed 1001" in server.log
    assert server.log.endswith("goodbye to uwsgi_ws.\n")


def test_an_application_may_stop_its_server(serve: Any) -> None:
    server = serve(APPLICATION)
    assert fetch(address(server), "/stop").status == 200
    assert server.wait() == 0


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
def test_sigterm_ends_process_1_while_the_application_loads(tmp_path: Path, options: list[str]) -> None:
    """The kernel keeps from it every signal that has no handler."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a pid namespace")
    (tmp_path / "app.py").write_text("import sys, time\nprint('loading')\nwhile True: time.sleep(0.01)\n")
    command = [*unshare, sys.executable, "-m", "uwsgi_ws", "--http", "a.sock", *options, "app.py"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=-1)
    assert process.stderr is not None
    try:
        lines = iter(process.stderr)
        assert any(line == b"loading\n" for line in lines)
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        assert process.wait(15) == (0 if options else 143)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("options", [[], ["--master"]], ids=["alone", "master"])
def test_sigterm_reloads_if_a_file_says_that_it_does_not_stop(serve: Any, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "a.ini").write_text("[uwsgi]\ndie-on-term = false\n")
    server = serve(APPLICATION, "--ini", str(tmp_path / "a.ini"), *options)
    send_signal(server, signal.SIGTERM)
    wait_for_reload(server)
    assert fetch(address(server)).status == 200


def test_a_stop_that_comes_while_the_next_program_begins_is_heard(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\nif 'UWSGI_WS_SOCKETS' in os.environ:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    server = serve(APPLICATION, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    send_signal(server, signal.SIGHUP)
    assert server.wait() == 143
    assert "SIGTERM received before it was up" in server.log


def test_a_peer_that_does_not_answer_the_close_frame_holds_nobody_up(serve: Any) -> None:
    server = serve(APPLICATION)
    with open_chat(server) as websocket:
        echo(websocket, "hello")
        begun = time.monotonic()
        send_signal(server, signal.SIGINT)
        assert websocket.read_frame().opcode == CLOSE
        assert server.wait() == 0
        assert time.monotonic() - begun < 9


# Reloading


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGHUP, ()), (signal.SIGTERM, ("--reload-on-term",))], ids=["SIGHUP", "SIGTERM"]
)
def test_a_reload_closes_websockets_with_1012_and_serves_again_under_the_same_pid(
    serve: Any, number: int, options: tuple[str, ...]
) -> None:
    server = serve(APPLICATION, *options)
    busy = HttpClient(address(server))
    busy.send(BEGIN_WAIT)
    with open_chat(server) as websocket:
        echo(websocket, "hello")
        send_signal(server, number)
        is_closed(websocket, 1012, "server restarts")
    busy.send(b"en")
    assert busy.read_response().status == 200
    busy.close()
    wait_for_reload(server)
    assert fetch(address(server)).text.split()[0] == str(server.pid)
    with open_chat(server) as websocket:
        echo(websocket, "again")
        websocket.finish()
    assert server.log.count("the application's finally has run") >= 1
    assert server.stop() == 0


def test_who_comes_during_a_reload_waits_and_is_served(serve: Any) -> None:
    server = serve(APPLICATION)
    port = address(server)[1]
    with HttpClient(address(server)) as busy, HttpClient(address(server)) as early:
        busy.send(BEGIN_WAIT)
        eventually(lambda: fetch(address(server)).status == 200)
        send_signal(server, signal.SIGHUP)
        server.wait_for_log("Gracefully killing worker 1")
        with HttpClient(address(server)) as late:
            late.send_request("GET", "/")
            early.send_request("GET", "/")  # it had connected before, and not asked for anything
            assert early.read_response().status == 200
            assert late.is_silent(0.2)
            busy.send(b"en")
            assert busy.read_response().status == 200
            assert late.read_response().status == 200
    assert address(server)[1] == port
    server.wait_for_log("http still bound on")


def test_an_application_may_reload_its_server(serve: Any) -> None:
    server = serve(APPLICATION)
    assert fetch(address(server), "/reload").status == 200
    wait_for_reload(server)
    assert fetch(address(server)).status == 200


def test_a_reload_starts_where_the_first_start_did_with_new_code(serve: Any, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "app.py").write_text(APPLICATION.read_text())
    server = serve(
        None,
        *("--http", "a.sock", "--chdir", "site", "--wsgi-file", "app.py", "--pidfile", "pid"),
        program=NO_ADDRESS,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    path = str(folder / "a.sock")
    for times in (1, 2):
        assert fetch(path).text == f"{server.pid} {folder}"
        (folder / "app.py").write_text(APPLICATION.read_text() + f"\nprint('version {times}', file=sys.stderr)\n")
        send_signal(server, signal.SIGHUP)
        wait_for_reload(server, times)
        assert f"version {times}" in server.log
        assert (folder / "pid").read_text() == f"{server.pid}\n"
    assert fetch(path).text == f"{server.pid} {folder}"
    assert server.stop() == 0


def test_a_stop_overrules_a_reload_in_progress(serve: Any) -> None:
    server = serve(APPLICATION)
    with HttpClient(address(server)) as busy:
        busy.send(BEGIN_WAIT)
        eventually(lambda: fetch(address(server)).status == 200)
        send_signal(server, signal.SIGHUP)
        server.wait_for_log("Gracefully killing worker 1")
        send_signal(server, signal.SIGINT)
        busy.send(b"en")
        assert busy.read_response().status == 200
    assert server.wait() == 0
    assert server.log.count("spawned uwsgi_ws worker") == 1


# How many at once


def test_the_next_client_waits_unaccepted_until_another_leaves(serve: Any) -> None:
    server = serve(APPLICATION, "--gevent", "2")
    with open_chat(server) as first, open_chat(server) as second:
        echo(first, "1")
        echo(second, "2")
        third = HttpClient(address(server))
        third.send_request("GET", "/")
        fourth = HttpClient(address(server))
        fourth.send_request("GET", "/")
        assert third.is_silent(0.3)
        assert len(established(server)) == 2  # the others are the kernel's still
        echo(second, "still here")
        first.finish()
        assert third.read_response().status == 200
        third.close()
        assert fourth.read_response().status == 200
        fourth.close()
        echo(second, "all the time")


def established(server: Server) -> list[str]:
    """The sockets that the process has besides its listener."""
    links = []
    for name in os.listdir(f"/proc/{server.pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{server.pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    inodes = {link[8:-1] for link in links if link.startswith("socket:")}
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return [row[2] for row in rows if row[9] in inodes and row[3] == "01"]


def test_a_connection_that_is_idle_already_loses_its_place_when_the_last_is_taken(serve: Any) -> None:
    with serve(APPLICATION, "--gevent", "2") as server, HttpClient(address(server)) as idle:
        idle.send(request_bytes("GET", "/"))
        assert idle.read_response().status == 200
        with HttpClient(address(server)) as busy:
            busy.send(BEGIN_WAIT)
            assert fetch(address(server), "/").status == 200  # it would wait for --http-timeout, 60 s
            busy.send(b"dy")
            assert busy.read_response().status == 200


def test_a_second_signal_hurries_a_stop(serve: Any) -> None:
    with serve(APPLICATION) as server, HttpClient(address(server)) as client:
        client.send(BEGIN_WAIT)
        eventually(lambda: fetch(address(server), "/").status == 200)
        began = time.monotonic()
        send_signal(server, signal.SIGINT)
        assert server.wait_for_log("stopping worker 1", 10)
        send_signal(server, signal.SIGINT)
        eventually(lambda: "goodbye" in server.log, 10)
        assert time.monotonic() - began < 8  # left alone it grants its requests 10 s


def test_an_idle_connection_gives_its_place_away_when_others_wait(serve: Any) -> None:
    server = serve(APPLICATION, "--gevent", "1")
    with HttpClient(address(server)) as first, HttpClient(address(server)) as second:
        second.send_request("GET", "/")
        assert first.request("GET", "/").says_close
        first.assert_ended()
        first.close()
        assert second.read_response().status == 200


# The uwsgi module

MODULE = APPLICATIONS / "process.py"


@pytest.fixture(scope="module")
def module_server() -> Iterator[Server]:
    options = ["--gevent", "10", "--env", "A=1", "--env", "B=2", "--static-index", "x", "-L"]
    with Server(MODULE, *options) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def ask(module_server: Server) -> Any:
    """Evaluate an expression in the application."""

    def evaluate(expression: str) -> Any:
        with HttpClient(address(module_server)) as client:
            response = client.request("POST", "/", body=expression.encode())
            assert response.status == 200, module_server.log[-2_000:]
            return ast.literal_eval(response.body.decode())

    return evaluate


def test_the_modules_attributes_have_uwsgis_types(module_server: Server, ask: Any) -> None:
    hostname = socket.gethostname().encode()
    for name, value in {
        "version": b"2.0.31",
        "version_info": (2, 0, 31, 0, b""),
        "hostname": hostname,
        "mode": b"",
        "loop": b"gevent",
        "numproc": 1,
        "cores": 10,
        "has_threads": 1,
        "buffer_size": 32_768,
        "unbit": None,
        "is_a_reload": False,
        "applications": None,
        "magic_table": {},
        "SPOOL_OK": -2,
        "SPOOL_RETRY": -1,
        "SPOOL_IGNORE": 0,
    }.items():
        assert ask(f"uwsgi.{name}") == value, name
        assert ask(f"type(uwsgi.{name}).__name__") == type(value).__name__, name
    opt = ask("uwsgi.opt")
    assert opt["http"] == b"127.0.0.1:0"
    assert opt["gevent"] == b"10"
    assert opt["env"] == [b"A=1", b"B=2"]
    assert opt["disable-logging"] is True
    assert ask("at_import") == (ask("uwsgi.started_on"), opt)
    assert abs(ask("uwsgi.started_on") - time.time()) < 60
    (fd,) = ask("uwsgi.sockets")
    assert os.readlink(f"/proc/{module_server.pid}/fd/{fd}").startswith("socket:")


def test_what_is_not_offered_does_not_exist(ask: Any) -> None:
    names = ["__file__", "mypid", "queue_push", "spool", "sharedarea_read", "signal_wait", "mule_msg"]
    assert ask(f"[name for name in {names!r} if hasattr(uwsgi, name)]") == []


def test_the_module_can_be_set_and_is_one_for_all(ask: Any) -> None:
    assert ask("setattr(uwsgi, 'post_fork_hook', 5)") is None
    assert ask("__import__('uwsgi').post_fork_hook") == 5
    assert ask("type(uwsgi).__name__, uwsgi.__name__") == ("module", "uwsgi")


def test_functions_tell_of_the_process(module_server: Server, ask: Any) -> None:
    assert ask("uwsgi.worker_id()") == 1
    assert ask("uwsgi.masterpid()") == 0
    assert ask("uwsgi.mule_id()") == 0
    assert ask("uwsgi.ready()") is True
    rss, vsz = ask("uwsgi.mem()")
    assert 10_000_000 < rss < vsz
    assert abs(ask("uwsgi.micros()") / 1e6 - time.time()) < 60
    assert ask("uwsgi.setprocname('a rather long name'), comm()") == (None, "a rather long n\n")
    assert ask("uwsgi.total_requests()") < ask("uwsgi.total_requests()")
    assert ask("uwsgi.request_id() == uwsgi.total_requests()") is True


def test_workers_tell_what_they_have_done(module_server: Server, ask: Any) -> None:
    ask("None")  # so that a response has been sent, whichever test is the first
    (worker,) = ask("uwsgi.workers()")
    assert worker["id"] == 1
    assert worker["pid"] == module_server.pid
    assert worker["status"] == b"busy"
    numbers = ["requests", "delta_requests", "signals", "exceptions", "rss", "vsz", "running_time", "last_spawn"]
    numbers += ["respawn_count", "tx", "avg_rt"]
    assert [name for name in numbers if type(worker[name]) is not int] == []
    assert worker["apps"] == []
    assert ask("uwsgi.workers()[0]['requests']") == worker["requests"] + 1
    assert ask("uwsgi.workers()[0]['tx']") > worker["tx"] > 0


def test_exceptions_are_counted(serve: Any) -> None:
    server = serve(MODULE, allow_traceback=True)
    with HttpClient(address(server)) as client:
        assert client.request("POST", "/", body=b"uwsgi.workers()[0]['exceptions']").text == "0"
        assert client.request("POST", "/", body=b"1/0").status == 500
        assert client.request("POST", "/", body=b"uwsgi.workers()[0]['exceptions']").text == "1"


def test_locks_are_held_by_one(ask: Any) -> None:
    assert ask("locking()") == [False, None, True, False, None, True, True, None, False, None]
    for function in ("lock", "unlock", "is_locked"):
        for number in (1, -1):
            assert ask(f"raised(uwsgi.{function}, {number})") == ("ValueError", "Invalid lock number")


def test_waiting_functions_are_those_of_uwsgi_under_gevent(ask: Any) -> None:
    assert ask("uwsgi.suspend(), uwsgi.green_schedule()") == (True, True)
    assert ask("uwsgi.ready_fd()") == -1
    assert ask("uwsgi.async_sleep(0)") == b""
    for function in ("wait_fd_read", "wait_fd_write"):
        assert ask(f"raised(uwsgi.{function}, 5)") == ("OSError", "unable to fd 5 to the event queue")
    assert ask("connected(), uwsgi.is_connected(99999)") == (True, False)


def test_variables_of_a_request(module_server: Server, ask: Any) -> None:
    assert ask("uwsgi.get_logvar('a')") is None
    assert ask("uwsgi.set_logvar('a', 'b'), uwsgi.get_logvar('a')") == (None, b"b")
    assert ask("uwsgi.set_logvar(b'a', b'b'), uwsgi.get_logvar(b'a')") == (None, b"b")
    assert ask("uwsgi.get_logvar('a')") is None  # it was another request's
    assert ask("raised(uwsgi.set_logvar, 5, 'b')[0]") == "TypeError"
    assert ask("logged()") == (True, None)
    module_server.wait_for_log("^a line of mine$")


def test_functions_that_need_a_request_say_so_outside_of_one(ask: Any) -> None:
    refusal = ("SystemError", "you can call uwsgi api function only from the main callable")
    for function in ("connection_fd", "websocket_recv", "websocket_recv_nb", "request_id", "disconnect"):
        assert ask(f"outside(uwsgi.{function})") == refusal
    # A greenlet that the application has spawned is taken for the request's own.
    assert ask("in_greenlet(uwsgi.connection_fd)") > 2
    assert ask("uwsgi.connection_fd() > 2") is True


def test_an_ordinary_request_is_no_websocket(ask: Any) -> None:
    assert ask("raised(uwsgi.websocket_handshake)") == ("HandshakeFailed", "unable to complete websocket handshake")
    for function in ("websocket_recv", "websocket_recv_nb"):
        assert ask(f"raised(uwsgi.{function})[1]") == "unable to receive websocket message"
    assert ask("raised(uwsgi.websocket_send, 'x')[1]") == "unable to send websocket message"
    assert ask("raised(uwsgi.websocket_send_binary, b'x')[1]") == "unable to send websocket binary message"


def test_accepting_can_be_switched_off_and_on(serve: Any) -> None:
    server = serve(MODULE)
    with HttpClient(address(server)) as inside:
        assert inside.request("POST", "/", body=b"uwsgi.accepting(0)").text == "None"
        with HttpClient(address(server)) as waiting:
            waiting.send_request("POST", "/", body=b"5")
            assert waiting.is_silent(0.2)
            assert inside.request("POST", "/", body=b"uwsgi.accepting()").text == "None"
            assert waiting.read_response().text == "5"
