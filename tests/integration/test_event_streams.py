"""Server-Sent Events of channels: what pages get, how slow and dead clients fare, and what is left of ended streams."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support.event_source import EndOfEvents, Event, EventSource, open_events
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import APPLICATIONS, Server, finish

Serve = Callable[..., Server]

APPLICATION = APPLICATIONS / "event_streams.py"
OPTIONS = ("--websockets-ping-freq", "0.2")


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def server(request: Any) -> Iterator[Server]:
    options = (*OPTIONS, "--websockets-max-outbox", "64", "--channel-history", "kept*=3")
    with Server(APPLICATION, request.param, "10", *options) as server:
        yield server
        finish(server, allow_traceback=True)


def address(server: Server) -> tuple[str, int]:
    return server.addresses[0]


def publish(server: Server, message: str | bytes, channel: str = "news") -> None:
    headers = [("X-Binary", "1")] if isinstance(message, bytes) else []
    body = message.encode() if isinstance(message, str) else message
    with HttpClient(address(server)) as client:
        assert client.request("POST", f"/publish?{channel}", headers, body).status == 200


def held(server: Server) -> dict[str, int]:
    counts: dict[str, int] = json.loads(fetch(address(server), "/held").body)
    return counts


def follow(server: Server, target: str = "/events") -> EventSource:
    return open_events(address(server), target)


@pytest.mark.parametrize("target", ["/events", "/wrapped"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_page_gets_what_is_published(server: Server, target: str, version: str) -> None:
    with open_events(address(server), target, version=version) as events:
        assert events.status == 200
        assert events.headers["cache-control"] == "no-cache, no-transform"
        assert events.headers["x-accel-buffering"] == "no"
        assert ("transfer-encoding" in events.headers) == (version == "HTTP/1.1")
        publish(server, " lines\nof\r\ntext\r")
        assert events.next() == Event(" lines\nof\ntext\n")
        publish(server, "")
        assert events.next() == Event("")
        publish(server, b"\0\xff")
        assert events.next() == Event("AP8=", "binary")
        events.wait_for_comment()


def test_an_application_adds_events_and_headers_of_its_own(server: Server) -> None:
    with follow(server, "/own?news&sports") as events:
        assert events.headers["x-mine"] == "yes"
        assert events.next() == Event("hello", "welcome")
        assert events.next() == Event("AP8=", "binary")
        publish(server, "goal", "sports")
        assert events.next() == Event("goal")


def test_clients_are_told_to_come_back_at_different_times(server: Server) -> None:
    told = set()
    for _ in range(8):
        with follow(server) as events:
            events.wait_for_comment()
            assert events.retry is not None
            assert 1_000 <= events.retry <= 3_000
            told.add(events.retry)
    assert len(told) > 3


def test_head_has_no_stream(server: Server) -> None:
    for target in ("/events", "/wrapped"):
        response = fetch(address(server), target, method="HEAD")
        assert (response.status, response.get("Content-Type")) == (200, "text/event-stream")
    eventually(lambda: held(server)["subscribers"] == 0)


def test_a_stream_that_is_not_returned_ends_with_the_request(server: Server) -> None:
    assert fetch(address(server), "/left").body == b"another body"
    assert fetch(address(server), "/raises").status == 500
    assert fetch(address(server), "/twice").status == 500
    assert fetch(address(server), "/wrong").status == 500
    eventually(lambda: held(server)["EventStream"] == held(server)["subscribers"] == 0)


def come_back(server: Server, target: str, last_id: str, by: str) -> EventSource:
    if by == "header":
        events = open_events(address(server), target, ("Last-Event-ID", last_id))
    else:
        events = open_events(address(server), f"{target}&lastEventId={quote(last_id)}")
    events.last_id = last_id
    return events


@pytest.fixture
def channel() -> str:
    return f"kept-{next(_numbers)}"


_numbers = itertools.count()


@pytest.mark.parametrize("by", ["header", "parameter"])
@pytest.mark.parametrize("target", ["/events", "/wrapped"])
def test_a_client_that_comes_back_gets_what_it_has_missed(server: Server, channel: str, target: str, by: str) -> None:
    target = f"{target}?{channel}"
    with open_events(address(server), target) as events:
        events.wait_for_comment()
        begin = events.last_id  # it has one before there is a message
        publish(server, "first", channel)
        first = events.next()
        assert (first.data, begin != first.id) == ("first", True)
    publish(server, "second", channel)
    publish(server, "third", channel)
    for since, missed in (first.id, ["second", "third"]), (begin, ["first", "second", "third"]):
        with come_back(server, target, since, by) as events:
            assert [events.next().data for _ in missed] == missed
            assert events.next().kind == "recovered"
            third = events.last_id
    with come_back(server, target, third, by) as events:
        assert events.next() == Event("", "recovered", third)
        publish(server, "fourth", channel)
        assert events.next().data == "fourth"


def test_a_client_is_told_where_messages_may_be_missing(server: Server, channel: str) -> None:
    """In the place where they are missing: before those that are still kept."""
    with follow(server, f"/events?{channel}") as events:
        publish(server, "0", channel)
        last_id = events.next().id
    for number in range(1, 6):
        publish(server, str(number), channel)
    with come_back(server, f"/events?{channel}", last_id, "header") as events:
        assert events.next() == Event(channel, "gap", last_id)
        assert [events.next().data for _ in range(3)] == ["3", "4", "5"]
        publish(server, "6", channel)
        assert events.next().data == "6"
    for what in ("nothing-7", "x", "a b", "- -", "\xff"):
        with come_back(server, f"/events?{channel}", what, "header") as events:
            assert events.next().kind == "gap"
            publish(server, "7", channel)
            assert events.next().data == "7"


def test_one_id_stands_for_the_positions_on_several_channels(server: Server, channel: str) -> None:
    one, other = channel, channel + "-other"
    target = f"/events?{one}&{other}"
    with follow(server, target) as events:
        publish(server, "a", one)
        publish(server, "b", other)
        assert [events.next().data for _ in range(2)] == ["a", "b"]
        last_id = events.last_id
    publish(server, "c", one)
    publish(server, "d", other)
    for _ in range(2):
        with come_back(server, target, last_id, "parameter") as events:
            assert [events.next().data for _ in range(2)] == ["c", "d"]
            assert events.next().kind == "recovered"
    for number in range(5):
        publish(server, str(number), other)
    with come_back(server, target, last_id, "header") as events:
        found = [events.next() for _ in range(5)]
        assert [event.data for event in found] == ["c", other, "2", "3", "4"]
        assert found[1].kind == "gap"
    with come_back(server, f"/events?{one}&{other}&news", last_id, "header") as events:
        assert {events.next().data for _ in range(3)} == {one, other, "news"}  # an id of two is none of three


def test_a_channel_that_keeps_nothing_has_no_ids_and_among_others_a_gap(server: Server, channel: str) -> None:
    with follow(server, "/events?news") as events:
        publish(server, "x")
        assert events.next() == Event("x")
    with follow(server, f"/events?{channel}&news") as events:
        publish(server, "x")
        assert events.next().data == "x"
        last_id = events.last_id
    with come_back(server, f"/events?{channel}&news", last_id, "header") as events:
        assert events.next().kind == "gap"


def test_a_client_may_begin_with_what_is_kept_however_much_it_is(server: Server, channel: str) -> None:
    """More than may wait for a slow client (here 64 KiB)."""
    for number in range(3):
        publish(server, f"{number}" + "x" * 100_000, channel)
    with follow(server, f"/oldest?{channel}") as events:
        assert [events.next().data[0] for _ in range(3)] == ["0", "1", "2"]


def test_an_application_says_what_a_page_gets(server: Server, channel: str) -> None:
    with follow(server, f"/encoded?{channel}") as events:
        for text in ("x", "secret", "raise", "y"):
            publish(server, text, channel)
        assert json.loads(events.next().data) == [channel, "x"]
        last = events.next()
        assert json.loads(last.data) == [channel, "y"]
    with come_back(server, f"/encoded?{channel}", "gone-1", "header") as events:
        assert events.next() == Event(f"Gap {channel}", "gap", "gone-1")


def test_a_page_may_be_a_member(server: Server, channel: str) -> None:
    def members() -> Any:
        return json.loads(fetch(address(server), f"/members?{channel}").body)

    with follow(server, f"/encoded?{channel}") as events:
        with follow(server, f"/member?{channel}"):
            assert events.next().kind == "joined"
            assert members() == [{"name": "Ann"}]
        assert events.next().kind == "left"
        assert members() == []


def open_slowly(server: Server, target: str) -> EventSource:
    """Open a stream for a client whose kernel takes next to nothing by itself."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.settimeout(10)
    sock.connect(address(server))
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return EventSource(sock)


FLOOD, SIZE = 14, 500_000  # more than the kernel keeps for a client


def flood(server: Server) -> None:
    for number in range(FLOOD):
        publish(server, f"{number:4}" + "x" * SIZE, "flood")


@pytest.mark.parametrize("target", ["/slow/drop", "/slow/conflate", "/wrapped/slow/drop"])
def test_a_slow_client_loses_what_is_too_much(server: Server, target: str) -> None:
    """As much waits as for a WebSocket (--websockets-max-outbox, here 64 KiB), beside what the kernel takes."""
    with open_slowly(server, f"{target}?flood") as events:
        flood(server)
        got = [int(event.data[:4]) for event in events.until_comment()]
        assert len(got) < FLOOD
        if "conflate" in target:
            assert got == [*range(len(got) - 1), FLOOD - 1]
        else:
            assert got == [*range(len(got))]
        publish(server, "last", "flood")
        if "drop" in target:
            assert events.next() == Event("flood", "gap")
        assert events.next() == Event("last")


@pytest.mark.parametrize("target", ["/slow/close", "/wrapped/slow/close"])
def test_the_stream_of_a_slow_client_is_cut_off(server: Server, target: str) -> None:
    with open_slowly(server, f"{target}?flood") as events:
        flood(server)
        server.wait_for_log(f"{target}: the client is too slow")
        with pytest.raises((AssertionError, OSError, EndOfEvents)):
            events.until_comment()
    eventually(lambda: held(server)["EventStream"] == 0)


def test_a_client_that_takes_nothing_is_given_up(serve: Serve) -> None:
    server = serve(APPLICATION, *OPTIONS, "--socket-timeout", "0.5")
    with open_slowly(server, "/slow/conflate?flood"):
        flood(server)
        server.wait_for_log("the client took no bytes for 0.5 s")
        eventually(lambda: held(server)["EventStream"] == 0)


def test_ended_streams_hold_nothing(server: Server) -> None:
    """Greenlets, descriptors and subscribers included, whatever has ended the stream."""
    targets = ("/events", "/wrapped", "/own?news&sports")

    def round_of_ends() -> None:
        for target in targets:
            for leave in (EventSource.close, _reset, _talk):
                if leave is _talk and target == "/wrapped":
                    continue  # nobody looks at what its client sends
                events = follow(server, target)
                if "own" not in target:
                    publish(server, "here")
                    assert events.next() == Event("here")
                leave(events)
        for target in ("/left", "/raises", "/events"):
            fetch(address(server), target, method="HEAD" if target == "/events" else "GET")

    def held_at_rest() -> dict[str, int]:
        now = held(server)
        streams = {name: now.pop(name) for name in ("EventStream", "Outbox", "_Lookout", "subscribers")}
        assert set(streams.values()) == {0}
        # That of this request, and perhaps the last ones of threads. (What is kept of a channel is known for seconds.)
        assert now.pop("SocketStream") + now.pop("StreamRequest") <= 6
        return now

    round_of_ends()  # what is made once
    before = eventually(held_at_rest, 10)
    for _ in range(3):
        round_of_ends()

    def is_as_before() -> bool:
        after = held_at_rest()
        assert after["descriptors"] <= before["descriptors"]
        assert after["greenlets"] <= before["greenlets"] + 1  # a native thread is started when all others are busy
        return True

    eventually(is_as_before, 15)


def _reset(events: EventSource) -> None:
    events.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    events.close()


def _talk(events: EventSource) -> None:
    """Send more than anybody would."""
    try:
        events.sock.sendall(b"x" * 200_000)
        while events.sock.recv(65_536):
            pass
    except OSError:
        pass
    events.close()


def test_streams_take_no_thread_and_no_turn(serve: Serve) -> None:
    """Neither of the two threads, and not the turn of a worker that runs one request at a time."""
    for options, streams in (("--threads", "2"), 2), (("--http-timeout", "60"), 5):
        server = serve(APPLICATION, *options, concurrency=())
        opened = [follow(server) for _ in range(1 if "--threads" in options else streams)]
        publish(server, "all can be served")
        for events in opened:
            assert events.next() == Event("all can be served")
            events.close()


def test_a_stream_has_a_place_of_the_worker(serve: Serve) -> None:
    """As a WebSocket has: it is not closed when others wait, and gives its place back when it ends."""
    server = serve(APPLICATION, "--gevent", "2", *OPTIONS)
    streams = [follow(server), follow(server)]
    with HttpClient(address(server)) as client:
        client.send_request("POST", "/publish?news", (), b"there is room")
        for events in streams:
            events.wait_for_comment()
        assert client.is_silent(0.6)
        streams[0].close()
        assert client.read_response().status == 200
    assert streams[1].next() == Event("there is room")
    streams[1].close()


def test_streams_count_as_websockets_where_these_are_limited(serve: Serve) -> None:
    server = serve(APPLICATION, "--websockets-max", "2", *OPTIONS)
    with follow(server) as events, follow(server, "/wrapped"):
        with follow(server) as refused:
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        events.close()
        eventually(lambda: held(server)["EventStream"] == 1)
        with follow(server) as another:
            assert another.status == 200


def test_a_request_that_is_ended_for_taking_long_is_no_stream(serve: Serve) -> None:
    server = serve(APPLICATION, "--harakiri", "1", *OPTIONS)
    with follow(server) as events:
        for _ in range(8):
            events.wait_for_comment()
        publish(server, "still there")
        assert events.next() == Event("still there")


@pytest.mark.parametrize("order", [signal.SIGHUP, signal.SIGTERM])
def test_a_stream_ends_properly_when_the_worker_does(serve: Serve, order: signal.Signals) -> None:
    """So that the browser comes back, to the worker's successor."""
    server = serve(APPLICATION, "--gevent", "10", "--master", *OPTIONS)
    with follow(server) as events, follow(server, "/wrapped") as wrapped:
        publish(server, "before")
        assert events.next() == wrapped.next() == Event("before")
        os.kill(server.pid, order)
        events.wait_for_end()
        wrapped.wait_for_end()
    if order == signal.SIGHUP:
        with follow(server) as events:
            publish(server, "after")
            assert events.next() == Event("after")
    server.wait_for_log("GET /events => generated")


def test_a_stream_is_never_compressed(serve: Serve) -> None:
    server = serve(APPLICATION, "--route", "^/ gzip:", *OPTIONS)
    with open_events(address(server), "/events", ("Accept-Encoding", "gzip")) as events:
        assert "content-encoding" not in events.headers
        publish(server, "at once")
        assert events.next() == Event("at once")


def test_a_route_that_answers_instead_ends_the_stream(serve: Serve) -> None:
    server = serve(APPLICATION, "--response-route-uri", "^/events send:instead", *OPTIONS)
    assert fetch(address(server), "/events").body == b"instead"
    eventually(lambda: held(server)["EventStream"] == 0)
