"""A WebSocket whose application runs in native threads.

It is a ``Connection``, in the hub's care like any other, with a *lock*: one thread at a time is inside, be it the
hub's or another. The usual messages never see the hub. A thread that waits for its client is *lent* the stream and
reads for itself; once it has been elsewhere for a while, ``StandbyReader`` has the hub read. A thread that sends writes
on the spot. All else, and whatever needs the event loop, is the hub's to do, by way of ``HubCalls``.

Only what does not wait is done inside the lock. A thread that parks in the hub, or calls it, gives the lock back
meanwhile.

A stream that is more than a socket (TLS, HTTP/2) belongs to the hub alone: there, each message that does not wait
already costs a call of the hub.

Each public name of ``Connection`` is decided on: it is declared here, written here, or a test says why it needs
neither.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from functools import wraps
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from uwsgi_ws.errors import ConnectionClosed
from uwsgi_ws.hub.hub_calls import HubCalls, in_hub
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.hub.wakeup import Wakeup
from uwsgi_ws.protocol.websocket.engine import OPEN
from uwsgi_ws.protocol.websocket.messages import Message
from uwsgi_ws.protocol.websocket.speed import short_message
from uwsgi_ws.request.acceptor import Acceptor
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.stats import Stats
from uwsgi_ws.threads.outbox import ThreadOutbox, make_lock, outside
from uwsgi_ws.threads.standby import StandbyReader
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.live import ConnectionSettings
from uwsgi_ws.websocket.outbox import Outbox

__all__ = ["ThreadAcceptor", "ThreadConnection"]

P = ParamSpec("P")
R = TypeVar("R")
Method = TypeVar("Method", bound=Callable[..., Any])

_LENT = object()


def in_the_hub(method: Method) -> Method:
    """Return a method that does the same, done by the hub inside the lock."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return in_hub(self._inside, method, *args, **kwargs)

    return cast("Method", call)


def outside_the_lock(method: Method) -> Method:
    """Return a method that does the same, done by the hub: it may wait there, so it must not keep the lock."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return in_hub(method, self, *args, **kwargs)

    return cast("Method", call)


def inside_the_lock(method: Method) -> Method:
    """Return a method that does the same, done inside the lock by the thread that calls it."""

    @wraps(method)
    def call(self: Any, *args: Any) -> Any:
        with self._lock:
            return method(self, *args)

    return cast("Method", call)


class ThreadConnection(Connection):
    """A connection usable from any thread; see ``Connection`` for what its methods do.

    Attributes:
        is_attended: A thread waits for the stream, which it has been lent.
        seen: See ``Lent``.
    """

    __slots__ = (
        "_hub_calls",
        "_is_lent",
        "_is_unattended",
        "_lock",
        "_standby",
        "_told",
        "_wakeup",
        "is_attended",
        "seen",
    )

    def __init__(self, *args: Any, hub_calls: HubCalls, standby: StandbyReader, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hub_calls = hub_calls
        self._standby = standby
        self._lock = make_lock()
        self._wakeup: Wakeup | None = None
        self._told: ConnectionClosed | None = None  # how it ended, for the thread that waited
        self._is_lent = False
        self._is_unattended = False  # a thread has read what needs the hub's attention
        self.is_attended = False
        self.seen = 0

    offer = in_the_hub(Connection.offer)
    ping = in_the_hub(Connection.ping)
    join = outside_the_lock(Connection.join)
    leave = in_the_hub(Connection.leave)
    close = in_the_hub(Connection.close)
    abort = in_the_hub(Connection.abort)
    release = in_the_hub(Connection.release)
    trim = in_the_hub(Connection.trim)
    take_if_simple = inside_the_lock(Connection.take_if_simple)
    receive = inside_the_lock(Connection.receive)
    tap_to = inside_the_lock(Connection.tap_to)

    def _in_hub(self, function: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Have the hub call a method, inside the lock."""
        inside: Callable[..., R] = self._inside
        return in_hub(inside, function, *args, **kwargs)

    def _inside(self, function: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            return function(self, *args, **kwargs)

    # Receiving

    def recv_message(self, deadline: float | None = None) -> Message | None:
        """Return the next message; a thread reads it itself where it may."""
        while True:
            with self._lock:
                message = self._take_waiting()
                if message is not None:
                    return message
                wakeup = None
                if self._is_lent and not self.is_attended and not self._hub_calls.is_here():
                    wakeup = self._wakeup
                    self.is_attended = True
            if wakeup is not None:
                self._listen(wakeup, deadline)
                if self._told is not None:
                    return None
                wakeup = None  # or its descriptor stays: the traceback of what ends a connection may know this frame
                message = self._read()
                if message is not None:
                    return message
                if deadline is not None and deadline <= monotonic():
                    return None
            else:
                outcome = self._in_hub(ThreadConnection._recv_in_hub, deadline, not self._hub_calls.is_here())
                if outcome is not _LENT:
                    return outcome  # type: ignore[no-any-return]  # a message, or None

    def closed_error(self) -> ConnectionClosed:
        """Return how it ended: what this thread was told, if it waited then."""
        told, self._told = self._told, None
        return super().closed_error() if told is None else told

    def _take_waiting(self) -> Message | None:
        """Take a message that needs nothing else done; inside the lock."""
        messages: Any = self._engine.messages
        if not messages or len(messages[0]) != 2:
            return None
        if len(messages) == 1 and (self._is_paused or self._readiness is not None):
            return None  # a paused stream or a Readiness must be told
        self.messages_received += 1
        return messages.popleft()  # type: ignore[no-any-return]  # no Piece: two items

    def _listen(self, wakeup: Wakeup, deadline: float | None) -> None:
        """Wait for bytes; raise what ``HubCalls.interrupt`` has left for this thread."""
        try:
            self._hub_calls.wait(wakeup, deadline)
        finally:
            with self._lock:  # an ending that is under way is complete before we look at why we woke
                self.is_attended = False
            if not self._standby.is_awake:
                self._standby.note()
        wakeup.raise_error()

    def _read(self) -> Message | None:
        """Take the bytes that are there; return the message that they are, if they are no more than that."""
        with self._lock:
            if not self._is_lent:
                return None  # it has been taken back, for a reason that the hub knows
            try:
                data = self._stream.recv_now()
            except OSError:
                data = b""
            if data:
                self._heard_at = monotonic()
                self.bytes_received += len(data)
                if self._engine.is_idle:
                    message = short_message(data)
                    if message is not None:
                        self.messages_received += 1
                        return message
                try:
                    self._is_unattended = self._engine.receive(data)
                except Exception:
                    with outside(self._lock):
                        self._engine_failed()
        if data == b"":
            self._in_hub(Connection.receive, b"")
        elif self._is_unattended:
            self._in_hub(ThreadConnection._on_attention)
        return None

    def _recv_in_hub(self, deadline: float | None, may_lend: bool) -> Any:
        """Wait for a message in the hub; return _LENT if the thread is to do so itself."""
        if may_lend and self._may_be_lent():
            self._poll()  # what has been read for the hub, and not yet been seen to, wakes no thread
            if self._may_be_lent() and self._lend():
                return _LENT
        self.take_back()
        return Connection.recv_message(self, math.inf if deadline is None else deadline)

    def _may_be_lent(self) -> bool:
        engine = self._engine
        return (
            self._stream.is_plain
            and self._rate_limit is None
            and engine.state is OPEN
            and engine.ending is None
            and not (engine.messages or engine.streaming)
            and not (self._is_lent or self._is_paused or self._waiter or self._waiting)
            and self._readiness is None
        )

    def _lend(self) -> bool:
        if self._wakeup is None:
            try:
                self._wakeup = Wakeup(self._stream.fileno())
            except OSError:
                return False  # no descriptor is left for it; the hub goes on reading
        self._stream.pause_receiving()
        self._wakeup.clear()
        self._is_lent = True
        self._standby.add(self)
        return True

    def take_back(self) -> None:
        """Have the hub read from now on, and a thread that waits to read ask the hub. Called in the hub."""
        with self._lock:
            if self._is_lent:
                assert self._wakeup is not None, "made when it was lent"
                self._is_lent = False
                self._standby.discard(self)
                self._wakeup.wake()
                if not self._is_closed and not self._is_paused:
                    self._start_receiving()

    def recv_now(self) -> Message | None:
        """Return the next message if there is one, without the hub where it is there already."""
        with self._lock:
            message = self._take_waiting()
        return self._in_hub(Connection.recv_now) if message is None else message

    def recv_streaming(self, timeout: float | None = None) -> Iterator[str | bytes]:
        """Yield the next message in pieces; the hub waits for each."""
        pieces = Connection.recv_streaming(self, timeout)
        while (piece := self._in_hub(ThreadConnection._next_piece, pieces)) is not None:
            yield piece

    def _next_piece(self, pieces: Iterator[str | bytes]) -> str | bytes | None:
        self.take_back()
        return next(pieces, None)

    @property
    def trace(self) -> Callable[[str], object] | None:
        """What is called with each line of the transcript; any thread may set it."""
        return super().trace

    @trace.setter
    def trace(self, trace: Callable[[str], object] | None) -> None:
        with self._lock:
            Connection.trace.__set__(self, trace)  # type: ignore[attr-defined]

    def fileno(self) -> int:
        """Return the descriptor to wait for; the hub reads from then on."""
        return self._in_hub(ThreadConnection._fileno)

    def _fileno(self) -> int:
        self.take_back()
        return Connection.fileno(self)

    # Sending

    def send_message(self, opcode: int, payload: bytes) -> None:
        """Send a message, without the hub where the stream is a plain socket."""
        if self._stream.is_plain:
            with self._lock:
                Connection.send_message(self, opcode, payload)
        else:
            self._in_hub(Connection.send_message, opcode, payload)

    def send_uncompressed(self, opcode: int, payload: bytes) -> None:
        """Send as ``send_message``, never compressed."""
        if self._stream.is_plain:
            with self._lock:
                Connection.send_uncompressed(self, opcode, payload)
        else:
            self._in_hub(Connection.send_uncompressed, opcode, payload)

    # What the hub calls, and what needs the hub

    def tick(self, now: float) -> float | None:
        """Do what is due now, and what a thread has left to the hub."""
        with self._lock:
            if self._is_unattended:  # its thread is on the way to the hub
                self._on_attention()
            return Connection.tick(self, now)

    # Hooks

    def _may_cork(self) -> bool:
        """Only the hub has an end of its turn to hold anything for."""
        return self._hub_calls.is_here() and super()._may_cork()

    def _on_attention(self) -> None:
        self._is_unattended = False
        super()._on_attention()
        if self._engine.ending is not None or self._is_paused:
            self.take_back()

    def _on_close(self) -> None:
        super()._on_close()
        if self._is_lent and self.is_attended and self._wakeup is not None:
            # The waiting thread is told now how it ends: the peer may be gone before the thread is awake.
            self._told = self._engine.closed_error()
        self.take_back()
        if self._is_closed:
            self._wakeup = None  # an application may know us for longer

    def _park(self, deadline: float | None) -> Any:
        with outside(self._lock):
            return super()._park(None if deadline == math.inf else deadline)

    def _on_write_error(self) -> None:
        with outside(self._lock):
            self._in_hub(Connection._on_write_error)

    def _make_outbox(self) -> Outbox:
        limit = self._settings.max_outbox
        return ThreadOutbox(self, self._stream, self._poller.hub, self._poller.cork, self._stats, limit, self._lock)


class ThreadAcceptor(Acceptor):
    """Makes connections that threads may use."""

    _has_threads = True

    def __init__(
        self, settings: ConnectionSettings, poller: Poller, timers: Timers, stats: Stats, hub_calls: HubCalls
    ) -> None:
        super().__init__(settings, poller, timers, stats)
        self._hub_calls = hub_calls
        self._standby = StandbyReader(hub_calls)

    def _connect(self, *args: Any, **kwargs: Any) -> Connection:
        return ThreadConnection(*args, hub_calls=self._hub_calls, standby=self._standby, **kwargs)

    def accept(
        self, request: Request, headers: Headers, subprotocol: str | None, reason: str = "Switching Protocols"
    ) -> Connection:
        """Have the hub accept."""
        return in_hub(super().accept, request, headers, subprotocol, reason)

    def hand_over(self, request: Request, headers: Headers, reason: str) -> socket.socket:
        """Have the hub hand over."""
        return in_hub(super().hand_over, request, headers, reason)
