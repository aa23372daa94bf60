"""The transcript of a connection, in the log and for the application, however applications run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.server import Server
from support.websocket_client import PING, PONG, RawClient, close_frame, frame, text

Serve = Callable[..., Server]

APPLICATION = """\
import threading

import uwsgi_ws

lines = []


def echo(ws):
    for message in ws:
        ws.send(message)


def told(ws):
    # Each message, and the transcript up to then. The handshake is over a moment before an application goes on.
    ws.send("ready")
    ws.trace = lines.append
    ws.send("set")
    for message in ws:
        if message == "off":
            ws.trace = None
        answer = f"{message}: {lines}"
        lines.clear()
        ws.send(answer)


def elsewhere(ws):
    # Set by another thread, while this one waits.
    ready = threading.Event()

    def watch():
        ws.trace = lines.append
        ready.set()

    threading.Thread(target=watch).start()
    ready.wait(10)
    ws.send(ws.recv())
    ws.send(str(lines))


def wrong(ws):
    def fail(line):
        raise (SystemExit if ws.path == "/exits/wrong" else RuntimeError)(f"no use for {line}")

    for trace in (1, "x"):
        try:
            ws.trace = trace
        except TypeError as exc:
            ws.send(str(exc))
    ws.trace = fail
    ws.ping()
    for message in ws:
        ws.send(f"{message}, {ws.trace}")


def application(environ, start_response):
    with uwsgi_ws.accept(environ) as ws:
        globals()[environ["PATH_INFO"].rpartition("/")[2]](ws)
    return []
"""


@pytest.fixture(params=[("--gevent", "100"), ("--threads", "20")], ids=["gevent", "threads"])
def concurrency(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param  # type: ignore[no-any-return]


def transcripts(server: Server) -> dict[str, list[str]]:
    """The lines of each connection by its number, without what the log puts before them."""
    found: dict[str, list[str]] = {}
    for line in server.log.splitlines():
        if line.startswith("[uwsgi_ws.websocket] INFO: "):
            name, _, told = line.removeprefix("[uwsgi_ws.websocket] INFO: ").partition(" ")
            found.setdefault(name, []).append(told)
    return found


def test_the_log_shows_a_conversation_of_each_connection(serve: Serve, concurrency: tuple[str, ...]) -> None:
    server = serve(APPLICATION, "--websockets-trace", *concurrency)
    with RawClient.open(server.port, "/a%0A/echo") as first, RawClient.open(server.port, "/echo") as second:
        first.send(text("secret"))
        first.expect_text("secret")
        second.send(text("x") + text("yz"))
        second.expect_text("x")
        second.expect_text("yz")
        first.send(frame(PING, b"ping"))
        first.expect_pong(b"ping")
        first.send(close_frame(1001))
        first.read_frame()
        second.send(frame(3))
        second.read_frame()
    server.wait_for_log("CLOSED 1001")
    server.wait_for_log("CLOSED 1002")
    one, two = transcripts(server).values()
    assert one == [
        r"= OPEN /a\x0a/echo", "< TEXT 6", "> TEXT 6", "< PING 4", "> PONG 4",
        "< CLOSE 2", "= CLOSING 1001", "> CLOSE 2", "= CLOSED 1001",
    ]  # fmt: skip
    assert sorted(two[1:5]) == ["< TEXT 1", "< TEXT 2", "> TEXT 1", "> TEXT 2"]
    assert two[5:] == ["! 1002 reserved opcode 0x3", "= CLOSING 1002", "> CLOSE 16", "= CLOSED 1002"]
    assert [name.split("/")[1] for name in transcripts(server)] == ["1", "2"]
    assert "secret" not in server.log


def test_the_log_shows_what_time_does(serve: Serve, concurrency: tuple[str, ...]) -> None:
    options = ("--websockets-ping-freq", "1", "--websockets-pong-tolerance", "1")
    server = serve(APPLICATION, "--websockets-trace", *options, *concurrency)
    with RawClient.open(server.port, "/echo") as client:
        _, opcode, payload = client.read_frame()
        assert opcode == PING
        client.send(frame(PONG, payload))
        client.read_frame()
        client.read_frame()
    server.wait_for_log("= CLOSED")
    [lines] = transcripts(server).values()
    assert lines[:4] == ["= OPEN /echo", "% ping due", "> PING 8", "< PONG 8"]
    assert lines[4:8] == ["% ping due", "> PING 8", "% no answer to a ping", "! 1011 no answer to a ping in 1 seconds"]


def test_without_the_option_the_log_has_nothing_of_it(serve: Serve) -> None:
    server = serve(APPLICATION)
    with RawClient.open(server.port, "/echo") as client:
        client.send(text("x"))
        client.read_frame()
        client.send(close_frame(1000))
        client.read_frame()
    server.stop()
    assert transcripts(server) == {}


def test_an_application_may_read_it_and_stop(serve: Serve, concurrency: tuple[str, ...]) -> None:
    server = serve(APPLICATION, *concurrency)
    with RawClient.open(server.port, "/told") as client:
        client.expect_text("ready")
        client.expect_text("set")
        client.send(text("one"))
        client.expect_text("one: ['> TEXT 3', '< TEXT 3']")
        client.send(frame(PING, b"ping") + text("two"))
        client.expect_pong(b"ping")
        client.expect_text("two: ['> TEXT 29', '< PING 4', '> PONG 4', '< TEXT 3']")
        client.send(text("off"))
        client.read_frame()
        client.send(text("more"))
        client.expect_text("more: []")


def test_another_thread_may_set_it(serve: Serve, concurrency: tuple[str, ...]) -> None:
    server = serve(APPLICATION, *concurrency)
    with RawClient.open(server.port, "/elsewhere") as client:
        client.send(text("x"))
        client.expect_text("x")
        assert b"> TEXT 1" in client.read_frame().payload


@pytest.mark.parametrize(("path", "error"), [("/wrong", "RuntimeError"), ("/exits/wrong", "SystemExit")])
def test_one_that_fails_is_switched_off_and_costs_nothing_else(
    serve: Serve, concurrency: tuple[str, ...], path: str, error: str
) -> None:
    server = serve(APPLICATION, *concurrency, allow_traceback=True)
    with RawClient.open(server.port, path) as client:
        client.expect_text("a trace is callable or None, not int")
        client.expect_text("a trace is callable or None, not str")
        client.expect(PING, b"")
        for _ in range(2):
            client.send(text("x"))
            client.expect_text("x, None")
    server.wait_for_log(f"{error}: no use for > PING 0")
    assert server.log.count("the connection's trace failed") == 1
