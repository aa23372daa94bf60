"""Broadcasts, and answers that share a write: in order, waited for by nobody, and bounded for a slow peer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import RawClient, text

Serve = Callable[..., Server]

APPLICATION = APPLICATIONS / "broadcasting.py"


# Without monkey patching a blocking call is what it is in uWSGI: the worker stands still. With threads there is none.
@pytest.fixture(scope="module", params=[("--no-monkey-patch",), ("--threads", "50")], ids=["gevent", "threads"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("broadcast")
    program = folder / "app.py"
    program.write_text(APPLICATION.read_text())
    with Server(program, "--websockets-max-outbox", "256", *request.param) as server:
        yield server
        finish(server, allow_traceback=False)


def connect(server: Server, path: str, **how: int) -> RawClient:
    return RawClient.open(server.port, path, **how)


def wait_for_members(server: Server, count: int) -> None:
    def has_them() -> bool:
        counter.send_text("?")
        return counter.read_frame().payload == b"%d" % count

    with connect(server, "/count") as counter:
        eventually(has_them)
        counter.finish()


def test_everybody_gets_every_message_in_order(server: Server) -> None:
    clients = [connect(server, "/room") for _ in range(20)]
    wait_for_members(server, 20)
    clients[0].send_text("here")
    for client in clients:
        client.expect_text("here")
    clients[3].send(b"".join(text(f"m{number}") for number in range(200)))
    for client in clients:
        for number in range(200):
            client.expect_text(f"m{number}")
    for client in clients:
        client.finish()


def test_one_may_be_excluded_and_who_took_it_is_counted(server: Server) -> None:
    first, second = connect(server, "/stay"), connect(server, "/others")
    wait_for_members(server, 2)
    second.send_text("hello")
    first.expect_text("hello")
    second.expect_text("taken by 1")
    first.finish()
    second.send_text("again")
    second.expect_text("taken by 0")
    second.finish()


def test_broadcasts_sends_and_pings_keep_the_order_of_the_calls(server: Server) -> None:
    with connect(server, "/mixed") as client:
        client.send(text("a") + text("b"))
        expected = [f"{message} {number}" for message in "ab" for number in range(1, 6)]
        seen: list[str] = []
        pings: list[tuple[bytes, int]] = []
        while len(seen) < len(expected) or len(pings) < 2:
            found = client.read_frame()
            if found.opcode == 9:
                pings.append((found.payload, len(seen)))
            else:
                seen.append(found.payload.decode())
        assert seen == expected
        # A ping goes behind what was sent before it: a pong says that the peer has had all of that.
        assert pings == [(b"a", 4), (b"b", 9)]
        client.finish()


def test_what_cannot_be_sent_is_refused_with_a_reason(server: Server) -> None:
    with connect(server, "/wrong") as client:
        client.expect_text("a message is str or bytes-like, not int")
        client.expect_text("a message is str or bytes-like, not NoneType")
        client.expect_text("'never' is not a valid Overflow")
        client.expect_text("0")


def flood(server: Server, how: str) -> tuple[RawClient, list[int]]:
    """Have 26 MB broadcast to a client that does not read; return it and how many took each message."""
    slow = connect(server, "/stay", receive_buffer=4_096)
    slow.send(text("x"))
    wait_for_members(server, 1)
    with connect(server, "/flood") as source:
        source.send_text(how)
        taken = json.loads(source.read_frame().payload)
        source.finish()
    return slow, taken


def numbers(client: RawClient) -> tuple[list[int], int | None]:
    """Read all that comes: the messages' numbers, and the close code."""
    seen = []
    while True:
        found = client.read_frame()
        if found.opcode == 8:
            return seen, int.from_bytes(found.payload[:2], "big")
        seen.append(int(found.payload[:6]))
        if seen[-1] == 399:
            return seen, None


def test_a_slow_subscriber_is_closed_and_nobody_else_waits_for_it(server: Server) -> None:
    slow, taken = flood(server, "close")
    assert taken == [1] * sum(taken) + [0] * (400 - sum(taken))
    assert 0 < sum(taken) < 400
    seen, code = numbers(slow)
    assert seen == list(range(len(seen)))
    assert code == 1008
    server.wait_for_log("too slow for what is broadcast")
    slow.close()


def test_a_slow_subscriber_may_lose_the_newest_messages(server: Server) -> None:
    slow, taken = flood(server, "drop")
    assert 0 < sum(taken) < 400, "26 MB do not fit"
    kept = [number for number, took in enumerate(taken) if took]
    seen = [int(slow.read_frame().payload[:6]) for _ in kept]
    assert seen == kept
    slow.finish()


def test_a_slow_subscriber_may_get_the_newest_message_instead_of_those_that_wait(server: Server) -> None:
    slow, taken = flood(server, "conflate")
    assert taken == [1] * 400
    seen, _ = numbers(slow)
    assert seen[-1] == 399
    assert seen == sorted(set(seen))
    assert len(seen) < 200
    slow.finish()


def test_pipelined_messages_are_answered_in_order(server: Server) -> None:
    with connect(server, "/others") as client:
        client.send(b"".join(text(f"{number}") for number in range(3_000)))
        for _ in range(3_000):
            client.expect_text("taken by 0")
        client.finish()


def test_answers_to_many_in_one_turn_come_to_whom_they_belong(server: Server) -> None:
    clients = [connect(server, "/echo") for _ in range(20)]
    for turn in range(30):
        os.kill(server.pid, signal.SIGSTOP)  # so that all are there when it looks
        for number, client in enumerate(clients):
            client.send(text(f"{turn} {number}") * 2)
        os.kill(server.pid, signal.SIGCONT)
        for number, client in enumerate(clients):
            client.expect_text(f"{turn} {number}")
            client.expect_text(f"{turn} {number}")
    for client in clients:
        client.finish()


def test_an_answer_does_not_wait_for_the_next_computation(server: Server, tmp_path: Path) -> None:
    """The application blocks on a pipe before its second answer; the first must be out by then."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with connect(server, "/blocked") as client:
        client.send(text("first") + text(str(pipe)) + text("third"))
        client.expect_text("first")
        pipe.write_text("second")
        client.expect_text("second")
        client.finish()


def test_the_worker_s_memory_is_bounded_by_what_may_wait(server: Server) -> None:
    flood(server, "drop")[0].reset()
    before = peak_memory(server)
    for how in ("drop", "conflate", "close"):
        flood(server, how)[0].reset()
    assert peak_memory(server) < before + 4_000, "26 MB were broadcast each time, and 256 KiB may wait"


def peak_memory(server: Server) -> int:
    """Return the most that the worker has ever held, in KiB."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")
