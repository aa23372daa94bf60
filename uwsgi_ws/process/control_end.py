"""A worker's end of the control socket: what it is asked by the master, it answers in packets.

A request names the process that it is for: a worker may find in its seat what its predecessor was asked.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from time import monotonic
from typing import Any

import gevent
from gevent.socket import wait_write

from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.channels.tally import Tally
from uwsgi_ws.errors import Error
from uwsgi_ws.process.watches import ChannelWatch, ConnectionWatch, Watch
from uwsgi_ws.protocol.websocket.frames import TEXT
from uwsgi_ws.server.census import describe, find, requests_with_websockets
from uwsgi_ws.server.server import Server

__all__ = ["MOST_ASKED", "ControlEnd"]

#: Bytes of a request.
MOST_ASKED = 65_536
_PIECE = 50  # connections of one packet: some 20 KiB
_LONG = 10_000  # characters of paths or names from which on a packet is full as well: JSON may take six bytes for each
_PATIENCE = 2.0  # seconds for the master to take a packet
_WATCH_EVERY = 0.1  # seconds between two looks at what has been collected
_SIGN_OF_LIFE = 5.0  # seconds after which a watch without events tells of itself, so that it ends if nobody hears
_TALLY_FOR = 10.0  # seconds for which channels are counted once somebody has asked for them
_LONGEST_NAME = 1_000  # characters of a channel's name; there is no other way to ask for a longer one


class ControlEnd:
    """Answers while the event loop runs.

    Args:
        sock: Its end; it stays open for the worker's successor.
        worker_id: 1 to N.
    """

    def __init__(self, sock: socket.socket, server: Server, worker_id: int) -> None:
        self._sock = sock
        self._server = server
        self._worker_id = worker_id
        self._watcher = server.hub.loop.io(sock.fileno(), 1, ref=False)
        self._tally: Tally | None = None
        self._tally_timer: Any = None
        self._watches: dict[int, Watch] = {}  # by the number of the question

    def start(self) -> None:
        """Answer from now on."""
        self._watcher.start(self._read)

    def _read(self) -> None:
        while True:
            try:
                request = json.loads(self._sock.recv(MOST_ASKED))
            except OSError:
                return
            if request["pid"] == os.getpid():
                gevent.spawn(self._answer, request)

    def _answer(self, request: dict[str, Any]) -> None:
        try:
            # Closed, whatever happens: a watch must not outlive the one who has asked for it.
            with closing(getattr(self, f"_{request['do']}")(request)) as pieces:
                for piece in pieces:
                    self._send({"id": request["id"], **piece})
            self._send({"id": request["id"], "is_last": True})
        except (Error, ValueError) as exc:
            self._send({"id": request["id"], "is_last": True, "error": str(exc)})
        except OSError:
            pass  # the master takes nothing: it is gone, or stands still

    def _send(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer, separators=(",", ":")).encode()
        while True:
            try:
                self._sock.send(data)
                return
            except BlockingIOError:
                wait_write(self._sock.fileno(), _PATIENCE)

    def _list(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        left = int(request["limit"])
        for number, (inner, websocket) in enumerate(requests_with_websockets(self._server), 1):
            if number % _PIECE == 0:
                gevent.sleep(0)  # many connections: others go on in between
            if inner.is_over:
                continue
            entry = describe(inner, websocket, self._worker_id)
            if not entry["path"].startswith(request["path"]) or not entry["peer"].startswith(request["peer"]):
                continue
            if not left:
                break
            left -= 1
            found.append(entry)
            if len(found) == _PIECE or sum(len(each["path"]) for each in found) > _LONG:
                yield {"connections": found}
                found = []
        yield {"connections": found}

    def _channels(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Tell of the channels that have subscribers here, those with the most first."""
        bus = current_bus()
        if self._tally is None:
            self._tally = Tally()
            bus.tally(self._tally)
        if self._tally_timer is not None:
            self._tally_timer.stop()
            self._tally_timer.close()
        self._tally_timer = self._server.hub.loop.timer(_TALLY_FOR, ref=False)  # one that has run fires at once
        self._tally_timer.start(self._end_tally)
        counts = self._tally.counts
        all_here = sorted(bus.here(), key=lambda each: -each[1] - each[2])
        found: list[dict[str, Any]] = []
        for name, websockets, subscriptions in all_here[: int(request["limit"])]:
            if len(name) > _LONGEST_NAME:
                continue
            messages, lost = counts.get(name, (0, 0))
            counted = {"websockets": websockets, "subscriptions": subscriptions, "messages": messages, "lost": lost}
            found.append({"name": name, "worker": self._worker_id, **counted})
            if len(found) == _PIECE or sum(len(each["name"]) for each in found) > _LONG:
                yield {"channels": found}
                found = []
                gevent.sleep(0)
        yield {"channels": found, "found": len(all_here)}

    def _end_tally(self) -> None:
        """Count no more: nobody has asked for a while."""
        self._tally = None
        current_bus().tally(None)

    def _watch(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Tell what passes, until the WebSocket ends or ``unwatch`` comes."""
        watch: Watch
        if "channel" in request:
            watch = ChannelWatch(current_bus(), request["channel"])
        else:
            websocket = find(self._server, request["connection"])
            if websocket is None:
                raise ValueError("there is no such connection")
            watch = ConnectionWatch(websocket)
        self._watches[request["id"]] = watch
        try:
            told_at = 0.0
            while True:
                is_last = watch.has_ended
                events, left_out = watch.take()
                if events or left_out or monotonic() > told_at + _SIGN_OF_LIFE:
                    told_at = monotonic()
                    yield {"events": events, "left_out": left_out} if left_out else {"events": events}
                if watch.has_more:
                    continue
                if is_last:
                    return
                gevent.sleep(_WATCH_EVERY)
        finally:
            self._watches.pop(request["id"], None)
            watch.stop()

    def _unwatch(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        watch = self._watches.get(request["of"])
        if watch is not None:
            watch.has_ended = True
        yield {}

    def _close(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        websocket = find(self._server, request["connection"])
        if websocket is not None:
            websocket.close(request["code"], request["reason"])
        yield {"closed": int(websocket is not None)}

    def _publish(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        current_bus().publish(request["channel"], TEXT, request["message"].encode())
        yield {"published": 1}
