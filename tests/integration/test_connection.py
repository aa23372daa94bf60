"""A live connection as applications meet it: uWSGI's functions and our own API, over a real socket."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawClient,
    close_frame,
    frame,
    handshake,
    text,
)

Serve = Callable[..., Server]

UWSGI = APPLICATIONS / "uwsgi_connection.py"

TYPED = APPLICATIONS / "typed_connection.py"


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def uwsgi(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(UWSGI, request.param, "50") as server:
        yield server
        finish(server, allow_traceback=True)  # /fault has one


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def typed(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(TYPED, request.param, "50") as server:
        yield server
        finish(server, allow_traceback=False)


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(server: Server) -> bool:
    """Whether the server, left alone, uses hardly any CPU time."""
    begun = cpu_seconds(server)
    time.sleep(0.3)  # an interval to measure over
    return cpu_seconds(server) - begun < 0.1


# uWSGI's functions


def test_recv_nb_is_empty_without_a_message_and_one_call_per_select_gets_them_all(uwsgi: Server) -> None:
    """UWSGI issue 1241: several messages in one packet, one recv_nb for each time the descriptor is readable."""
    with RawClient.open(uwsgi.port, "/poll") as client:
        client.expect_text("b''")
        messages = [f"message {number}" for number in range(20)]
        client.send(b"".join(map(text, messages)))
        for message in messages:
            client.expect_text(message)
        client.send(frame(PING, b"?"))
        client.expect_pong(b"?")
        client.send_text("and on")
        client.expect_text("and on")
        assert is_idle(uwsgi), "the descriptor is readable, but nothing is there"
        client.send(text("last") + close_frame(1000))
        begun = time.monotonic()
        client.expect_text("last")
        client.expect_close(1000)
        assert time.monotonic() - begun < 0.7, "the descriptor did not tell of the end"


def test_recv_nb_and_recv_take_from_the_same_queue(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/mixed") as client:
        client.send(text("one") + text("two"))
        client.expect_text("one")
        client.expect_text("two")


def test_any_greenlet_or_thread_may_act_by_a_request_context_and_none_without(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/context") as client:
        client.send_text("hello")
        client.expect_text("SystemError: you can call uwsgi api function only from the main callable")
        client.expect_binary(b"hello")


@pytest.mark.parametrize("uwsgi", ["--gevent"], indirect=True)
def test_greenlets_of_the_application_inherit_its_request(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/child") as client:
        client.expect_text("from a child")
        client.expect_text("from a grandchild")


@pytest.mark.parametrize("end", ["close", "eof", "reset", "fault"])
def test_after_the_end_every_call_fails_at_once_in_uwsgi_s_words(uwsgi: Server, end: str) -> None:
    seen, descriptors_seen = uwsgi.log.count("latched "), uwsgi.log.count("fd True")
    with RawClient.open(uwsgi.port, "/latch") as client:
        {
            "close": lambda: client.send(close_frame(1000)),
            "eof": client.half_close,
            "reset": client.reset,
            "fault": lambda: client.send(frame(3)),
        }[end]()
        eventually(lambda: uwsgi.log.count("latched ") > seen)
    line = [line for line in uwsgi.log.splitlines() if "latched " in line][-1]
    recv = "OSError: unable to receive websocket message errno=None"
    send = "OSError: unable to send websocket message errno=None"
    binary = "OSError: unable to send websocket binary message errno=None"
    assert line.partition("latched ")[2].split("|") == [recv, recv, recv, send, binary]
    eventually(lambda: uwsgi.log.count("fd True") > descriptors_seen)


def test_what_is_sent_may_be_str_or_bytes_and_nothing_else(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/types") as client:
        for payload in ("é".encode(), "é".encode(), b"t", b"", b""):
            assert client.read_frame() == (True, TEXT, payload)
            assert client.read_frame() == (True, BINARY, payload)
        client.expect_text("OSError: unable to complete websocket handshake errno=None")
        client.expect_text("TypeError: Invalid argument! errno=None")


def test_without_a_handshake_there_is_nothing_to_receive(uwsgi: Server) -> None:
    with RawClient(uwsgi.port) as client:
        client.send(b"GET /plain HTTP/1.0\r\nHost: x\r\n\r\n")
        assert client.read_response().status == 200
        assert client.read_all() == (
            b"OSError: unable to complete websocket handshake errno=None"
            b"|OSError: unable to receive websocket message errno=None"
        )


def test_disconnect_drops_the_connection_and_the_application_goes_on(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/disconnect") as client:
        client.expect_text("now")
        client.expect_eof()
    uwsgi.wait_for_log("disconnect None")
    uwsgi.wait_for_log("then OSError: unable to send websocket message")


def test_frames_of_several_senders_never_interleave_however_slow_the_reader(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/crowd", receive_buffer=16_384) as client:
        counts: dict[bytes, list[int]] = {b"a": [], b"b": [], b"c": []}
        for _ in range(30):
            fin, opcode, payload = client.read_frame()
            letter = payload[:1]
            assert (fin, opcode) == (True, BINARY)
            assert payload == letter * len(payload)
            counts[letter].append(len(payload))
        assert all(sizes == [1_000_000, 1] * 5 for sizes in counts.values())
        client.expect_close(1000)


def test_a_pong_overtakes_the_messages_queued_for_a_slow_reader(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/stuck", receive_buffer=4_096) as client:
        uwsgi.wait_for_log("queued")
        client.send(frame(PING, b"over") + text("taken"))
        uwsgi.wait_for_log("heard taken")
        order = [client.read_frame() for _ in range(21)]
        assert [payload[0] for _, opcode, payload in order if opcode == BINARY] == list(range(20))
        place = order.index((True, PONG, b"over"))
        assert place <= 8, "the kernel's buffers and the message half-way out are before it, the queue behind it"
        client.send_text("usable")
        client.expect_text("usable")


@pytest.mark.parametrize("uwsgi", ["--gevent"], indirect=True)
def test_a_timeout_around_recv_leaves_the_connection_usable(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/timeout") as client:
        client.expect_text("patient")
        client.send(text("one") + text("two"))
        client.expect_text("one")
        client.expect_text("two")
        client.finish()


def test_two_may_receive_at_once(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/receivers") as client:
        messages = [f"{number}" for number in range(10)]
        for message in messages:
            client.send_text(message)
        assert sorted(client.read_frame().payload.decode() for _ in messages) == messages
        client.send(close_frame(1000))
        client.expect_close(1000)


def test_an_application_that_returns_closes_with_1000(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/back") as client:
        client.expect_close(1000)
        client.send(close_frame(1000))
        client.expect_eof()


def test_an_application_that_fails_closes_with_1011_and_logs_its_traceback(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/fault") as client:
        client.expect_close(1011)
        client.send(close_frame(1011))
        client.expect_eof()
    uwsgi.wait_for_log("ValueError: a fault of the application's")


# The ends of a connection


def test_a_half_closed_socket_ends_the_connection_without_a_busy_loop(uwsgi: Server) -> None:
    before = uwsgi.log.count("fragile ended")
    with (
        RawClient.open(uwsgi.port, "/fragile") as receiver,
        RawClient(uwsgi.port) as beginner,
        RawClient.open(uwsgi.port, "/poll") as poller,
    ):
        poller.expect_text("b''")
        for client in (receiver, beginner, poller):
            client.half_close()
        eventually(lambda: uwsgi.log.count("fragile ended: unable to receive websocket message") > before)
        for client in (receiver, beginner, poller):
            client.expect_eof()
        assert is_idle(uwsgi)


def test_a_refused_peer_that_never_hangs_up_is_dropped_in_bounded_time(typed: Server) -> None:
    before = descriptors(typed)
    with RawClient.open(typed.port, "/echo") as client:
        assert descriptors(typed) > before
        client.send(frame(3))
        client.expect_close(1002, "protocol error")
        client.expect_eof()
        eventually(lambda: descriptors(typed) <= before, deadline=4.0)


def test_a_reset_in_the_middle_of_a_message_ends_the_connection(uwsgi: Server) -> None:
    before = uwsgi.log.count("fragile ended")
    client = RawClient.open(uwsgi.port, "/fragile")
    client.send(text("half", fin=False))
    client.reset()
    eventually(lambda: uwsgi.log.count("fragile ended") > before)


def test_a_reset_while_the_server_sends_ends_the_sender(typed: Server) -> None:
    before = descriptors(typed)
    client = RawClient.open(typed.port, "/flood", receive_buffer=4_096)
    client.read(1_000)
    client.reset()
    eventually(lambda: descriptors(typed) <= before)


def test_the_unfinished_fragment_of_one_connection_never_reaches_another(uwsgi: Server) -> None:
    with RawClient.open(uwsgi.port, "/echo") as one, RawClient.open(uwsgi.port, "/echo") as two:
        for client, word in ((one, "one"), (two, "two")):
            client.send(text(f"from {word}, ", fin=False) + frame(PING))
            client.expect_pong(b"")
        for client, word in ((two, "two"), (one, "one")):
            client.send(frame(CONTINUATION, f"to {word}".encode()))
            client.expect_text(f"from {word}, to {word}")


def test_a_place_is_free_again_after_every_kind_of_end(serve: Serve) -> None:
    server = serve(UWSGI, "--gevent", "1")
    for round_number in range(2):
        with RawClient(server.port) as client:
            client.send(handshake("/echo", headers=[("Sec-WebSocket-Version", "8")]))
            assert client.read_response().status == 426
        with RawClient.open(server.port, "/echo") as client:
            client.send(frame(3))
            client.expect_close(1002, "protocol error")
        RawClient.open(server.port, "/echo").reset()
        with RawClient.open(server.port, "/echo") as client:
            client.half_close()
        with RawClient.open(server.port, "/disconnect") as client:
            client.expect_text("now")
        RawClient(server.port).reset()
        with RawClient.open(server.port, "/echo") as client:
            client.send_text(f"round {round_number}")
            client.expect_text(f"round {round_number}")
            client.finish()


def test_descriptors_and_memory_return_to_where_they_were(uwsgi: Server) -> None:
    def resident() -> int:
        return int(Path(f"/proc/{uwsgi.pid}/statm").read_text().split()[1]) * 4096

    def cycle(number: int) -> None:
        with RawClient.open(uwsgi.port, "/poll" if number % 3 == 0 else "/echo") as client:
            client.send(frame(BINARY, b"x" * 10_000, fin=number % 2 == 0))
            match number % 4:
                case 0:
                    client.reset()
                case 1:
                    client.half_close()
                case 2:
                    client.send(close_frame(1000))
                case _:
                    client.send(frame(3))

    for number in range(60):
        cycle(number)
    # Whatever earlier tests left behind is on its way out too.
    eventually(lambda: (now := descriptors(uwsgi)) and time.sleep(0.1) is None and descriptors(uwsgi) == now)
    open_before, resident_before = descriptors(uwsgi), resident()
    for number in range(200):
        cycle(number)
    eventually(lambda: descriptors(uwsgi) <= open_before)
    assert resident() - resident_before < 4_000_000


# Our own API


@pytest.mark.parametrize(("code", "counted"), [(1000, 1000), (1001, 1001), (None, 1005)])
def test_iteration_ends_when_the_peer_closes_normally(typed: Server, code: int | None, counted: int) -> None:
    with RawClient.open(typed.port, "/echo") as client:
        client.send(text("text") + frame(BINARY, b"binary"))
        client.expect_text("text")
        client.expect_binary(b"binary")
        client.send(close_frame(code))
        client.expect_close(code)
        client.expect_eof()
    typed.wait_for_log(f"iteration ended with {counted} '' False")


def test_iteration_raises_when_the_peer_closes_otherwise(typed: Server) -> None:
    with RawClient.open(typed.port, "/echo") as client:
        client.send(close_frame(3000, b"because"))
        client.expect_close(3000)
    typed.wait_for_log("iteration raised 3000 'because' True NoneType")


def test_iteration_raises_when_the_stream_just_ends(typed: Server) -> None:
    RawClient.open(typed.port, "/echo").reset()
    typed.wait_for_log("iteration raised 1006 '' False NoneType")


def test_iteration_raises_with_the_cause_when_we_failed_the_connection(typed: Server) -> None:
    with RawClient.open(typed.port, "/echo") as client:
        client.send(frame(TEXT, b"\xff"))
        client.expect_close(1007, "invalid UTF-8")
    typed.wait_for_log(r"iteration raised 1007 '.*' False InvalidText")


def test_accept_agrees_on_a_subprotocol_and_adds_headers(typed: Server) -> None:
    with RawClient(typed.port) as client:
        headers = [("Sec-WebSocket-Protocol", "v0, v1, v2"), ("Origin", "https://example.org")]
        client.send(handshake("/facts?x=1", headers=headers))
        response = client.read_response()
        assert (response.status, response.headers["x-extra"]) == (101, "1")
        assert response.headers["sec-websocket-protocol"] == "v2"
        client.expect_text("/facts v2 True None")
        client.expect_close(1000)


def test_accept_refuses_a_foreign_origin(typed: Server) -> None:
    with RawClient(typed.port) as client:
        client.send(handshake("/facts", headers=[("Origin", "https://example.org.evil.test")]))
        assert client.read_response().status == 403


def test_recv_gives_none_once_its_timeout_has_passed(typed: Server) -> None:
    with RawClient.open(typed.port, "/patient") as client:
        client.expect_text("none")
        client.send_text("here")
        client.expect_text("here")
        client.expect_close(1000)


def test_a_message_may_be_taken_in_pieces_as_they_come(typed: Server) -> None:
    with RawClient.open(typed.port, "/streaming") as client:
        client.send(text("Hel", fin=False))
        client.expect_text("Hel")
        client.send(frame(PING, b"between"))
        client.expect_pong(b"between")
        euro = "€".encode()
        client.send(frame(CONTINUATION, b"lo " + euro[:1], fin=False))
        client.expect_text("lo ")
        client.send(frame(CONTINUATION, euro[1:]))
        client.expect_text("€")
        client.expect_text("end str 7")
        client.send(frame(BINARY, b"whole"))
        client.expect_binary(b"whole")
        client.expect_text("end bytes 5")
        client.send_text("usual")
        client.expect_text("usual")
        client.expect_close(1000)


def test_streaming_that_waits_in_vain_loses_nothing(typed: Server) -> None:
    with RawClient.open(typed.port, "/impatient") as client:
        client.expect_text("late")
        client.send(text("in ", fin=False) + frame(PING))
        client.expect_pong(b"")
        client.send(frame(CONTINUATION, b"parts"))
        client.expect_text("in parts")
        client.finish()


def test_whoever_stops_streaming_early_gets_the_next_message_next(typed: Server) -> None:
    with RawClient.open(typed.port, "/taste") as client:
        client.send(text("first piece", fin=False))
        client.expect_text("first piece")
        client.send(frame(CONTINUATION, b", second", fin=False) + frame(CONTINUATION, b", third") + text("next"))
        client.expect_text("next")
        client.expect_close(1000)


def test_a_ping_measures_the_latency(typed: Server) -> None:
    with RawClient.open(typed.port, "/latency") as client:
        assert client.read_frame() == (True, PING, b"now")
        client.send(frame(PONG, b"now") + text("go on"))
        client.expect_text("True")
        client.expect_text("too long")


def test_anything_bytes_like_is_sent_as_binary_and_nothing_else(typed: Server) -> None:
    with RawClient.open(typed.port, "/buffers") as client:
        for message in (b"bytes", b"array", b"view"):
            client.expect_binary(message)
        client.expect_text("text")
        for _ in range(3):
            client.expect_text("TypeError")


def test_after_close_everything_raises_with_our_code(typed: Server) -> None:
    with RawClient.open(typed.port, "/bye") as client:
        client.expect_close(4000, "bye")
        client.send(text("crossed") + frame(PING) + close_frame(4000))
        client.expect_eof()
    eventually(lambda: len(re.findall("closed 4000 bye", typed.log)) == 4)


def test_a_close_code_that_may_not_be_sent_is_refused_and_the_connection_stays_open(typed: Server) -> None:
    with RawClient.open(typed.port, "/wrong_code") as client:
        for _ in range(5):
            client.expect_text("refused")
        client.send_text("open")
        client.expect_text("open")
        client.finish()


def test_a_fault_inside_a_with_block_closes_with_1011(typed: Server) -> None:
    with RawClient.open(typed.port, "/block") as client:
        client.expect_text("in")
        client.expect_close(1011)


def test_close_from_elsewhere_wakes_the_receiver(typed: Server) -> None:
    with RawClient.open(typed.port, "/late_close") as client:
        client.expect_close(4001, "from elsewhere")
    typed.wait_for_log("woken 4001 from elsewhere")


def test_a_peer_that_never_answers_our_close_frame_is_dropped_in_bounded_time(typed: Server) -> None:
    with RawClient.open(typed.port, "/bye") as client:
        client.expect_close(4000, "bye")
        client.expect_eof()
