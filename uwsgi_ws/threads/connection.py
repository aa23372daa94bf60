"""A WebSocket whose application runs in native threads.

It is a ``Connection``, in the hub's care like any other, with a *gate*: one thread at a time is inside, be it the
hub's or another. The usual messages never see the hub. A thread that waits for its client is *lent* the stream and
reads for itself; once it has been elsewhere for a while, ``StandbyReader`` has the hub read. A thread that sends writes
on the spot. All else, and whatever needs the event loop, is the hub's to do, by way of ``HubCalls``.

Only what does not wait is done inside the gate. Whoever parks in the hub, or crosses over to it, goes out meanwhile.

A stream that is more than a socket (TLS, HTTP/2) belongs to the hub alone: there, each message that does not wait
already costs a crossing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar

from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.errors import ConnectionClosed
from uwsgi_ws.hub.hub_calls import HubCalls, in_hub
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.hub.wakeup import Wakeup
from uwsgi_ws.protocol.websocket.engine import OPEN
from uwsgi_ws.protocol.websocket.fast_path import short_message
from uwsgi_ws.protocol.websocket.messages import Message
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.request.acceptor import Acceptor
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.stats import Stats
from uwsgi_ws.threads.outbox import ThreadOutbox, make_gate, outside
from uwsgi_ws.threads.standby import StandbyReader
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.websocket.live import ConnectionSettings
from uwsgi_ws.websocket.outbox import Outbox

__all__ = ["ThreadAcceptor", "ThreadConnection"]

P = ParamSpec("P")
R = TypeVar("R")

_LENT = object()


class ThreadConnection(Connection):
    """A connection usable from any thread; see ``Connection`` for what its methods do.

    Args:
        args: As Connection's, and so the others.
        crossing: The worker's.
        relief: The worker's.

    Attributes:
        is_attended: A thread waits for the stream, which it has been lent.
        seen: See ``Lent``.
    """

    __slots__ = (
        "_bell",
        "_crossing",
        "_gate",
        "_is_lent",
        "_is_unattended",
        "_relief",
        "_told",
        "is_attended",
        "seen",
    )

    def __init__(self, *args: Any, crossing: HubCalls, relief: StandbyReader, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crossing = crossing
        self._relief = relief
        self._gate = make_gate()
        self._bell: Wakeup | None = None
        self._told: ConnectionClosed | None = None  # how it ended, for the thread that waited
        self._is_lent = False
        self._is_unattended = False  # a thread has read what needs the hub's attention
        self.is_attended = False
        self.seen = 0

    def _in_hub(self, function: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Have the hub call a method, inside the gate."""
        inside: Callable[..., R] = self._inside
        return in_hub(inside, function, *args, **kwargs)

    def _inside(self, function: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        with self._gate:
            return function(self, *args, **kwargs)

    # Receiving

    def recv_message(self, deadline: float | None = None) -> Message | None:
        """See Connection."""
        while True:
            with self._gate:
                message = self._take_waiting()
                if message is not None:
                    return message
                bell = None
                if self._is_lent and not self.is_attended and not self._crossing.is_here():
                    bell = self._bell
                    self.is_attended = True
            if bell is not None:
                self._listen(bell, deadline)
                if self._told is not None:
                    return None
                bell = None  # or its descriptor stays: the traceback of what ends a connection may know this frame
                message = self._read()
                if message is not None:
                    return message
                if deadline is not None and deadline <= monotonic():
                    return None
            else:
                outcome = self._in_hub(ThreadConnection._recv_in_hub, deadline, not self._crossing.is_here())
                if outcome is not _LENT:
                    return outcome  # type: ignore[no-any-return]  # a message, or None

    def closed_error(self) -> ConnectionClosed:
        """See Connection."""
        told, self._told = self._told, None
        return super().closed_error() if told is None else told

    def _take_waiting(self) -> Message | None:
        """Take a message that needs nothing else done; inside the gate."""
        messages: Any = self._engine.messages
        if not messages or len(messages[0]) != 2:
            return None
        if len(messages) == 1 and (self._is_paused or self._readiness is not None):
            return None  # somebody waits for the last one to be taken
        self.messages_received += 1
        return messages.popleft()  # type: ignore[no-any-return]  # no Piece: two items

    def _listen(self, bell: Wakeup, deadline: float | None) -> None:
        """Wait for bytes, or raise what whoever called us away has told."""
        try:
            self._crossing.wait(bell, deadline)
        finally:
            with self._gate:  # whoever ends the connection now is done with it before we look who woke us
                self.is_attended = False
            if not self._relief.is_awake:
                self._relief.note()
        bell.answer()

    def _read(self) -> Message | None:
        """Take the bytes that are there; return the message that they are, if they are no more than that."""
        with self._gate:
            if not self._is_lent:
                return None  # who has called us away has a reason, which the hub knows
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
                    with outside(self._gate):
                        self._engine_failed()
        if data == b"":
            self._in_hub(Connection.receive, b"")
        elif self._is_unattended:
            self._in_hub(ThreadConnection._attend)
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
            and engine.state is OPEN
            and engine.ending is None
            and not (engine.messages or engine.streaming)
            and not (self._is_lent or self._is_paused or self._waiter or self._waiting)
            and self._readiness is None
        )

    def _lend(self) -> bool:
        if self._bell is None:
            try:
                self._bell = Wakeup(self._stream.fileno())
            except OSError:
                return False  # no descriptor is left for it; the hub goes on reading
        self._stream.pause_receiving()
        self._bell.silence()
        self._is_lent = True
        self._relief.add(self)
        return True

    def take_back(self) -> None:
        """Have the hub read from now on, and whoever waits to read ask it. In the hub."""
        with self._gate:
            if self._is_lent:
                assert self._bell is not None, "made when it was lent"
                self._is_lent = False
                self._relief.discard(self)
                self._bell.ring()
                if not self._is_closed and not self._is_paused:
                    self._stream.start_receiving(self)

    def recv_now(self) -> Message | None:
        """See Connection."""
        with self._gate:
            message = self._take_waiting()
        return self._in_hub(Connection.recv_now) if message is None else message

    def recv_streaming(self, timeout: float | None = None) -> Iterator[str | bytes]:
        """See Connection."""
        pieces = Connection.recv_streaming(self, timeout)
        while (piece := self._in_hub(ThreadConnection._next_piece, pieces)) is not None:
            yield piece

    def _next_piece(self, pieces: Iterator[str | bytes]) -> str | bytes | None:
        self.take_back()
        return next(pieces, None)

    def fileno(self) -> int:
        """See Connection."""
        return self._in_hub(ThreadConnection._fileno)

    def _fileno(self) -> int:
        self.take_back()
        return Connection.fileno(self)

    # Sending

    def send_message(self, opcode: int, payload: bytes) -> None:
        """See Connection."""
        if self._stream.is_plain:
            with self._gate:
                Connection.send_message(self, opcode, payload)
        else:
            self._in_hub(Connection.send_message, opcode, payload)

    def _may_cork(self) -> bool:
        """See Connection. Only the hub has an end of its turn to hold anything for."""
        return self._crossing.is_here() and super()._may_cork()

    def offer(self, prepared: Prepared, overflow: Overflow = Overflow.CLOSE) -> bool:
        """See Connection."""
        return self._in_hub(Connection.offer, prepared, overflow)

    def ping(self, payload: bytes = b"") -> None:
        """See Connection."""
        self._in_hub(Connection.ping, payload)

    # Channels

    def join(self, channel: str, *, slow: str = "close") -> None:
        """See Connection."""
        self._in_hub(Connection.join, channel, slow=slow)

    def leave(self, channel: str) -> None:
        """See Connection."""
        self._in_hub(Connection.leave, channel)

    # Ending

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """See Connection."""
        self._in_hub(Connection.close, code, reason)

    def abort(self) -> None:
        """See Connection."""
        self._in_hub(Connection.abort)

    def release(self, code: int = 1000) -> None:
        """See Connection."""
        self._in_hub(Connection.release, code)

    # What the hub calls, and what needs the hub

    def hand_over(self, data: bytes) -> Any:
        """See Receiver."""
        with self._gate:
            return Connection.hand_over(self, data)

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        with self._gate:
            Connection.receive(self, data)

    def tick(self, now: float) -> float | None:
        """See Connection."""
        with self._gate:
            if self._is_unattended:  # its thread is on the way to the hub
                self._attend()
            return Connection.tick(self, now)

    def _attend(self) -> None:
        self._is_unattended = False
        super()._attend()
        if self._engine.ending is not None or self._is_paused:
            self.take_back()

    def _cease(self) -> None:
        super()._cease()
        if self._is_lent and self.is_attended and self._bell is not None:
            # How it ends is said now, to whoever waits: the peer may be gone before the thread is awake.
            self._told = self._engine.closed_error()
        self.take_back()
        if self._is_closed:
            self._bell = None  # an application may know us for longer

    def _park(self, deadline: float | None) -> Any:
        with outside(self._gate):
            return super()._park(None if deadline == math.inf else deadline)

    def _lose(self) -> None:
        with outside(self._gate):
            self._in_hub(Connection._lose)

    def _own_outbox(self) -> Outbox:
        if self._outbox is None:
            limit = self._settings.max_outbox
            self._outbox = ThreadOutbox(
                self, self._stream, self._poller.hub, self._poller.turn, self._stats, limit, self._gate
            )
        return self._outbox


class ThreadAcceptor(Acceptor):
    """Makes connections that threads may use.

    Args:
        settings: As Acceptor's, and so the others.
        poller: The worker's.
        clock: The worker's.
        stats: The worker's.
        crossing: The worker's.
    """

    def __init__(
        self, settings: ConnectionSettings, poller: Poller, clock: Timers, stats: Stats, crossing: HubCalls
    ) -> None:
        super().__init__(settings, poller, clock, stats)
        self._crossing = crossing
        self._relief = StandbyReader(crossing)

    def _connect(self, *args: Any, **kwargs: Any) -> Connection:
        return ThreadConnection(*args, crossing=self._crossing, relief=self._relief, **kwargs)

    def accept(
        self, request: Request, headers: Headers, subprotocol: str | None, reason: str = "Switching Protocols"
    ) -> Connection:
        """See Acceptor."""
        return in_hub(super().accept, request, headers, subprotocol, reason)
