"""Tunnels of which either stream fails at its n-th call: between a client and a backend, and to an application."""

from __future__ import annotations

import socket
import weakref
from typing import Any

import gevent.socket
import pytest
from support.breaking import Worker, break_everywhere, ways_to_fail, working
from support.streams import MemoryStream, failing_streams
from support.websocket_client import close_frame, handshake, text

from uwsgi_ws.websocket.tunnel import Tunnel

ROOM = 1_000  # what the kernel takes at once
CLIENT = [text("hello"), text("x" * 20_000), text("cut")[:4], text("cut")[4:], close_frame(1000)]
BACKEND = [b"\x81\x05hello", b"\x82\x7f" + (70_000).to_bytes(8, "big"), b"x" * 70_000, b"\x88\x02\x03\xe8"]


def unused(environ: dict[str, Any], start_response: Any) -> Any:
    raise AssertionError


@ways_to_fail
@pytest.mark.parametrize("who", ["client", "backend"])
@pytest.mark.parametrize("ends", [False, True], ids=["the peers end", "the server closes"])
def test_a_tunnel_that_breaks_anywhere_on_either_side_closes_both(ends: bool, who: str, how: dict[str, Any]) -> None:
    sides = CLIENT, BACKEND
    if who == "backend":
        sides = BACKEND, CLIENT
    broken = 0
    with working(unused) as worker:
        for failing in failing_streams(*sides[0], room=ROOM, **how):
            other = MemoryStream(*sides[1], room=ROOM)
            ends_of: Any = (failing, other) if who == "client" else (other, failing)
            join(worker, failing, other, ends_of, has_to_close=ends)
            assert other.is_closed
            broken += failing.has_failed
    assert broken > len(sides[0])
    assert (b"hello" if who == "client" else text("hello")) in failing.sent


def join(worker: Worker, failing: MemoryStream, other: MemoryStream, ends_of: Any, *, has_to_close: bool) -> None:
    """Have a tunnel carry bytes until it ends; once the other stream has got some, it may have to close."""
    made: list[weakref.ref[Tunnel]] = []

    def carry() -> None:
        tunnel = Tunnel(*ends_of, worker.loop.timers, 60)
        made.append(weakref.ref(tunnel))
        tunnel.run(b"", b"")

    def go_on() -> None:
        other.go_on()
        tunnel = made[0]() if made else None
        if tunnel is not None and has_to_close and other.sent:
            tunnel.close(1001, "server stops")

    worker.run(failing, carry, go_on)


def library(environ: dict[str, Any], start_response: Any) -> Any:
    """Takes the socket, as libraries do, and speaks the protocol by itself."""
    taken: socket.socket = environ["werkzeug.socket"]()
    with gevent.socket.socket(fileno=taken.detach()) as sock:
        while data := sock.recv(50_000):
            sock.sendall(b"\x81\x05hello")
            if data.endswith(CLIENT[-1]):
                sock.sendall(b"\x82\x7f" + (70_000).to_bytes(8, "big") + b"x" * 70_000 + b"\x88\x02\x03\xe8")
                break
    raise ConnectionError("that was all")


@ways_to_fail
def test_a_websocket_handed_over_that_breaks_anywhere_leaves_nothing(how: dict[str, Any]) -> None:
    with working(library) as worker:
        stream = break_everywhere(worker, worker.http1, handshake(), *CLIENT, room=ROOM, **how)
    assert b"hello" in stream.sent
    assert stream.sent.count(b"x") > ROOM
