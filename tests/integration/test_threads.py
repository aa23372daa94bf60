"""``--threads``: what is different when applications run in native threads; the rest is tested by fixture parameter."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import APPLICATIONS, Server, ServerFailed, finish
from support.websocket_client import PING, TEXT, RawClient, close_frame, frame

Serve = Callable[..., Server]

APPLICATION = APPLICATIONS / "native_threads.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, "--threads", "8") as server:
        yield server
        finish(server, allow_traceback=False)


def get(server: Server, target: str) -> str:
    return fetch(("127.0.0.1", server.port), target).body.decode()


def test_the_standard_library_is_the_interpreter_s_own(server: Server) -> None:
    facts = ["socket", "time", False, 8, None, b"8", 0, True, 1]
    assert get(server, "/facts") == repr(facts)


def test_threads_are_kept_with_what_is_their_own(server: Server) -> None:
    visits: dict[str, int] = {}
    for _ in range(20):
        thread, count = get(server, "/local").split()
        visits[thread] = visits.get(thread, 0) + 1
        assert int(count) == visits[thread]
    assert len(visits) <= 8


def test_who_blocks_a_thread_blocks_nobody_else(server: Server) -> None:
    address = ("127.0.0.1", server.port)
    with HttpClient(address) as waiting, RawClient.open(server.port, "/echo") as chat:
        waiting.send_request("GET", "/wait?one")
        server.wait_for_log("waits")
        chat.send_text("meanwhile")
        chat.expect_text("meanwhile")
        assert get(server, "/go?one") == "gone"
        assert waiting.read_response().body == b"True"
        chat.finish()


def test_slow_clients_hold_their_own_threads_only(server: Server) -> None:
    slow = [RawClient.open(server.port, "/flood", receive_buffer=4_096) for _ in range(4)]
    half = [HttpClient(("127.0.0.1", server.port)) for _ in range(2)]
    for client in half:
        client.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    with RawClient.open(server.port, "/echo") as chat:
        chat.send_text("quick")
        chat.expect_text("quick")
        chat.finish()
    for client in half:
        client.send(b"67890")
        assert client.read_response().body == b"10"
        client.close()
    for peer in slow:
        peer.reset()


def test_pings_and_the_closing_handshake_need_no_thread(server: Server) -> None:
    with RawClient.open(server.port, "/busy") as client:
        begun = time.monotonic()
        client.send(frame(PING, b"are you there") + close_frame(1000))
        client.expect_pong(b"are you there")
        client.expect_close(1000)
        assert time.monotonic() - begun < 1.5, "the application sleeps for two seconds"


def test_a_client_whose_thread_has_read_and_is_elsewhere_gets_its_pong(server: Server) -> None:
    with RawClient.open(server.port, "/away") as client:
        for text in ("one", "two"):
            client.send_text(text)
            client.expect_text(text)
        begun = time.monotonic()
        client.send(frame(PING, b"are you there"))
        client.expect_pong(b"are you there")
        assert time.monotonic() - begun < 0.5, "the application sleeps for a second"
        client.send_text("three")
        client.expect_text("back")
        client.expect_text("three")
        client.expect_close(1000)


def test_two_threads_that_receive_get_each_message_once(server: Server) -> None:
    with RawClient.open(server.port, "/pair") as client:
        for number in range(200):
            client.send_text(str(number))
            client.expect_text(str(number))
        client.finish()


def test_threads_send_while_one_receives_and_frames_do_not_mix(server: Server) -> None:
    with RawClient.open(server.port, "/told", receive_buffer=4_096) as client:
        client.send_text("go")
        client.expect_text("go")
        client.send(frame(PING, b"meanwhile"))
        sizes: dict[int, int] = {}
        pongs = 0
        while sum(sizes.values()) < 400:
            got = client.read_frame()
            if got.opcode == TEXT:
                assert got.payload == b"x" * len(got.payload)
                sizes[len(got.payload)] = sizes.get(len(got.payload), 0) + 1
            else:
                pongs += 1
        assert sizes == {number * 50: 4 for number in range(100)}
        client.send_text("enough")
        while pongs < 1:
            assert client.read_frame().payload == b"meanwhile"
            pongs += 1
        client.expect_text("all")
        client.expect_close(1000)


def test_a_client_that_goes_amid_sending_and_broadcasting_is_noticed_by_both(server: Server) -> None:
    for _ in range(20):
        with RawClient.open(server.port, "/noise") as client:
            for _ in range(20):
                assert client.read_frame().payload in (b"said", b"told")
            client.reset()
    with RawClient.open(server.port, "/echo") as client:
        client.send_text("still here")
        client.expect_text("still here")
        client.finish()


def test_without_a_descriptor_left_messages_come_by_way_of_the_hub(server: Server) -> None:
    with RawClient.open(server.port, "/crowded") as client:
        for text in ("one", "two"):
            client.send_text(text)
            client.expect_text(text)
        client.expect_close(1000)


def test_a_wait_ends_in_time_and_loses_nothing(server: Server) -> None:
    with RawClient.open(server.port, "/patient") as client:
        client.send_text("first")
        client.expect_text("first")
        client.expect_text("None")
        client.send_text("last")
        client.expect_text("last")
        client.expect_close(1000)


def test_the_application_s_own_threads_have_no_request(server: Server) -> None:
    assert get(server, "/outside") == "you can call uwsgi api function only from the main callable"


def test_a_lock_blocks_the_threads_that_want_it_and_nobody_else(server: Server) -> None:
    address = ("127.0.0.1", server.port)
    begun = time.monotonic()
    with HttpClient(address) as first, HttpClient(address) as second:
        first.send_request("GET", "/locked")
        second.send_request("GET", "/locked")
        server.wait_for_log("has the lock")
        assert get(server, "/facts")
        assert first.read_response().body == second.read_response().body == b"True"
    assert time.monotonic() - begun > 0.4, "one after the other"


def test_more_clients_than_threads_wait_for_their_turn(serve: Serve) -> None:
    server = serve(APPLICATION, "--threads", "2")
    address = ("127.0.0.1", server.port)
    clients = [HttpClient(address) for _ in range(6)]
    for client in clients:
        client.send_request("GET", "/sleep?0.1", headers=[("Connection", "close")])
    for client in clients:
        assert client.read_response().body == b"slept"
        client.close()


def test_the_more_threads_are_at_work_the_more_rarely_each_asks_for_the_interpreter(serve: Serve) -> None:
    server = serve(APPLICATION, "--threads", "200")
    usual = sys.getswitchinterval()
    assert float(get(server, "/interval")) == usual
    clients = [RawClient.open(server.port, "/echo") for _ in range(150)]
    assert usual < float(get(server, "/interval")) < 4 * usual
    for client in clients:
        client.finish()
        client.close()
    eventually(lambda: float(get(server, "/interval")) == usual)


def test_threads_and_greenlets_at_once_are_refused(serve: Serve) -> None:
    for option in (("--gevent", "100"), ("--gevent-monkey-patch",)):
        with pytest.raises(ServerFailed, match=f"--threads: .* not with {option[0]}"):
            Server(APPLICATION, "--threads", "4", *option)


def test_an_application_that_patches_the_library_itself_has_greenlets(serve: Serve) -> None:
    server = serve("from gevent import monkey\nmonkey.patch_all()\n" + APPLICATION.read_text(), "--threads", "4")
    server.wait_for_log("--threads 4: .* its threads are greenlets")
    clients = [RawClient.open(server.port, "/echo") for _ in range(3)]
    for client in clients:
        client.send_text("x")
    for client in clients:
        client.expect_text("x")
        client.finish()
        client.close()
    assert float(get(server, "/interval")) > 0


def test_a_stop_ends_the_applications_of_websockets_in_order(serve: Serve) -> None:
    server = serve(APPLICATION, "--threads", "4")
    with RawClient.open(server.port, "/echo") as client:
        client.send_text("x")
        client.expect_text("x")
        os.kill(server.pid, signal.SIGINT)
        client.expect_close(1001, "server stops")
        client.send(close_frame(1001))
        client.expect_eof()
    assert server.wait() == 0
    assert "echo is over 1001" in server.log


def test_a_thread_that_cannot_be_ended_ends_with_the_process(serve: Serve) -> None:
    server = serve(APPLICATION, "--threads", "2", "--reload-mercy", "0.2")
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send_request("GET", "/wait?never")
        server.wait_for_log("waits")
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 5


def test_harakiri_answers_for_threads_that_wait_and_for_those_that_cannot_be_reached(serve: Serve) -> None:
    server = serve(APPLICATION, "--threads", "4", "--harakiri", "1", allow_traceback=True)
    address = ("127.0.0.1", server.port)
    with HttpClient(address) as reading, HttpClient(address) as sleeping, RawClient.open(server.port, "/echo") as chat:
        reading.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        sleeping.send_request("GET", "/sleep?3")
        assert reading.read_response().status == 500
        assert sleeping.read_response().status == 500
        server.wait_for_log("^awake")
        assert sleeping.request("GET", "/count").body == b"0", "not what the late thread had to say"
        chat.send_text("still here")
        chat.expect_text("still here")
        chat.finish()
    server.wait_for_log(r"HARAKIRI ON WORKER 1 CORE [0-9]+: GET /sleep\?3 has taken [12] seconds")
    server.wait_for_log("the thread cannot be ended; this is what it does:\n(.*\n)*.*in sleep\n")
    server.wait_for_log(r"in body\n(.*\n)*.*RequestTimeout: longer than 1 seconds")
    assert get(server, "/facts")


def test_several_processes_of_threads_share_channels(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--threads", "4", processes=2)
    members: list[RawClient] = []
    workers = set()
    while len(workers) < 2:  # each holds four
        members.append(RawClient.open(server.port, "/room"))
        members[-1].send_text("who")
        workers.add(members[-1].read_frame().payload)
    eventually(lambda: get(server, "/count") == str(len(members)))
    members[0].send_text("hello")
    for member in members:
        member.expect_text("hello")
    for member in members:
        member.finish()
