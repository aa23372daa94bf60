"""A live WebSocket connection, the hub's half: what goes on whatever the application does.

Bytes come whenever the stream has some. Pings are answered, pongs noted and the closing handshake completed without the
application's help. A short message that the application waits for goes straight to it (``take_if_simple``). Others wait
for ``recv``; past ``HIGH_WATER`` bytes of them the stream is left alone, and TCP slows the peer down. What one read has
brought beyond that stays in the engine as it came.

``tick`` is called by the worker's timers, never more often than needed: keepalive, a peer that takes nothing, a
closing handshake that does not end.

Only greenlets of one hub may use a connection. The engine never switches greenlets, so its calls need no lock. Native
threads use one by way of ``threads.connection``, which lets one of them at a time, or the hub, inside a lock, and
extends the hooks at the end of the class.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.overflow import Overflow
from uwsgi_ws.errors import ConnectionClosed, KeepaliveTimeout
from uwsgi_ws.hub import greenlets
from uwsgi_ws.hub.poller import Poller, Receiver
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.log import escape
from uwsgi_ws.net.base import Stream
from uwsgi_ws.net.readiness import Readiness
from uwsgi_ws.protocol.websocket.deflate import Agreement, Compressors
from uwsgi_ws.protocol.websocket.engine import HIGH_WATER, OPEN, Tap, WebSocket
from uwsgi_ws.protocol.websocket.frames import CloseCode
from uwsgi_ws.protocol.websocket.keepalive import Action, KeepalivePolicy
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD
from uwsgi_ws.protocol.websocket.prepared import Prepared
from uwsgi_ws.protocol.websocket.speed import short_message
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.detached import Detached
from uwsgi_ws.websocket.outbox import Outbox
from uwsgi_ws.websocket.rate import RateLimit
from uwsgi_ws.websocket.transcript import GuardedTrace, LogTrace

__all__ = ["ConnectionSettings", "LiveConnection"]

greenlets.prepare()

#: Seconds for the peer to answer our close frame.
CLOSE_TIMEOUT = 5.0
#: Seconds for the application to take, and answer, the messages that came before the peer's close frame or fault.
PATIENCE = 1.0
#: Seconds that a finished connection waits for the peer to hang up, so that our last frame is not lost by a reset.
LINGER = 1.0

_log = logging.getLogger("uwsgi_ws.websocket")


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What a worker's connections have in common.

    Args:
        max_message_size: Bytes allowed in one received message.
        keepalive: When to ping and when to give up.
        send_timeout: Seconds that a peer may take no bytes while some wait for it.
        max_outbox: Bytes of broadcast messages that may wait for a slow peer.
        messages_per_second: Frames that a peer may send in a second, of any kind; 0 is no limit.
        bytes_per_second: Bytes that a peer may send in a second; 0 is no limit.
        takes_unmasked: Whether a peer's frames may come unmasked.
        is_traced: Whether the log gets a transcript of each.
        compressors: The worker's, where permessage-deflate is offered; None where it is not.
    """

    max_message_size: int
    keepalive: KeepalivePolicy
    send_timeout: float
    max_outbox: int
    messages_per_second: int
    bytes_per_second: int
    takes_unmasked: bool
    is_traced: bool
    compressors: Compressors | None = None


class LiveConnection(Receiver):
    """One open WebSocket, as the worker sees it.

    Its slots hold what the application's half needs too: a second object would cost each idle connection some hundred
    bytes, and each message a call.

    Args:
        stream: Where the bytes go; the connection owns it from now on.
        path: The request's path, for the application.
        subprotocol: The one agreed on, if any.
        agreement: What has been agreed on about compression; None for none.
    """

    takes_simple = True
    __slots__ = (
        "_bus",
        "_close_by",
        "_engine",
        "_handed",
        "_heard_at",
        "_is_closed",
        "_is_paused",
        "_is_ping_pending",
        "_outbox",
        "_pinged_at",
        "_poller",
        "_rate_limit",
        "_raw",
        "_readiness",
        "_settings",
        "_stats",
        "_stream",
        "_timers",
        "_waiter",
        "_waiting",
        "bytes_received",
        "bytes_sent",
        "detached",
        "label",
        "latency",
        "messages_received",
        "messages_sent",
        "path",
        "subprotocol",
        "wheel_slot",
    )

    def __init__(
        self,
        stream: Stream,
        settings: ConnectionSettings,
        poller: Poller,
        timers: Timers,
        stats: Stats,
        *,
        path: str = "",
        subprotocol: str | None = None,
        agreement: Agreement | None = None,
    ) -> None:
        deflate = None
        if agreement is not None and settings.compressors is not None:
            deflate = settings.compressors.deflate(agreement)
        self._engine = WebSocket(settings.max_message_size, settings.takes_unmasked, None, deflate)
        self._stream = stream
        self._raw: Any = stream.raw  # a socket to write to without further ado
        self._settings = settings
        self._poller = poller
        self._handed: Any = None  # the message for the waiter that is being switched to
        self._timers = timers
        self._stats = stats
        self._waiter: Any = None  # the greenlet parked in recv
        self._waiting: list[Any] | None = None  # greenlets that want to receive after it
        self._outbox: Outbox | None = None
        self._readiness: Readiness | None = None
        self._bus: Bus | None = None  # once a channel has been joined
        self._rate_limit: RateLimit | None = None
        if settings.messages_per_second or settings.bytes_per_second:
            self._rate_limit = RateLimit(self, settings.messages_per_second, settings.bytes_per_second)
        self._is_paused = False
        self._is_closed = False
        self._is_ping_pending = False
        self._heard_at = monotonic()
        self._pinged_at = 0.0
        self._close_by = 0.0  # when an unfinished closing is cut short
        self.wheel_slot = 0
        self.path = path
        self.subprotocol = subprotocol
        #: What the application has left it to, once it has called ``detach``.
        self.detached: Detached | None = None
        #: By which it is counted; None while it is not.
        self.label: tuple[str, str] | None = None
        #: Seconds between the last ping that was answered and its pong; None before.
        self.latency: float | None = None
        # Messages, and bytes of their payloads sent; bytes received count everything after the handshake.
        self.messages_received = 0
        self.messages_sent = 0
        self.bytes_received = 0
        self.bytes_sent = 0

    def start(self, early: bytes = b"") -> None:
        """Begin to receive; ``early`` came together with the opening handshake."""
        if self._settings.is_traced:
            # The worker's newest WebSocket is this one.
            self._engine.trace_to(LogTrace(self._stats.websockets))
            self._trace(f"= OPEN {escape(self.path)}")
        freq = self._settings.keepalive.ping_freq
        if freq:
            self._timers.schedule(self, self._heard_at + freq)
        if early:
            self.receive(early)
        if not self._is_closed and not self._is_paused:
            self._start_receiving()

    # What any greenlet may use

    @property
    def is_open(self) -> bool:
        """Whether messages may be sent."""
        return self._engine.state is OPEN

    @property
    def is_ended(self) -> bool:
        """Whether the stream is closed as well: the closing handshake is over, one way or another."""
        return self._is_closed

    @property
    def has_messages(self) -> bool:
        """Whether a message waits to be taken."""
        return bool(self._engine.messages)

    @property
    def has_unmasked(self) -> bool:
        """Whether the peer has sent frames that were not masked, which ``--websockets-lenient`` lets in."""
        return self._engine.has_unmasked

    @property
    def frames_received(self) -> int:
        """Frames of all kinds that the engine has seen begin; without what ``speed.short_message`` delivers."""
        return self._engine.frames_received

    @property
    def close_code(self) -> int | None:
        """How the connection ended (``ConnectionClosed.code``); None while it is open."""
        return self._engine.close_code

    @property
    def close_reason(self) -> str:
        """Why the connection ended, in the words of the side that ended it first."""
        return self._engine.close_reason

    @property
    def trace(self) -> Callable[[str], object] | None:
        """What is called with each line of the transcript; None is none, as it is without ``--websockets-trace``.

        It may be set at any time. It must neither wait nor use the connection; one that raises is switched off. The end
        of the connection does so, too.
        """
        trace = self._engine.trace
        return trace.function if isinstance(trace, GuardedTrace) else trace

    @trace.setter
    def trace(self, trace: Callable[[str], object] | None) -> None:
        if trace is None or isinstance(trace, LogTrace):
            self._engine.trace_to(trace)
        elif callable(trace):
            self._engine.trace_to(GuardedTrace(trace, self.path))
        else:
            raise TypeError(f"a trace is callable or None, not {type(trace).__name__}")

    def tap_to(self, tap: Tap | None) -> None:
        """Have somebody told of what comes and goes, with payloads, until the connection ends; None: nobody.

        It is for those who operate the server: applications have ``trace``. Called by any thread, as that.
        """
        self._engine.tap_to(tap)

    def _trace(self, line: str) -> None:
        if self._engine.trace is not None:
            self._engine.trace(line)

    def closed_error(self) -> ConnectionClosed:
        """Return the exception that tells how the connection ended; it must not be open any more."""
        return self._engine.closed_error()

    def _check_is_open(self) -> None:
        if self._engine.state is not OPEN:
            raise self.closed_error()

    def offer(self, prepared: Prepared, overflow: Overflow = Overflow.CLOSE) -> bool:
        """Send a message soon, without waiting and from anywhere in the hub; return whether it was taken.

        Args:
            prepared: The message, shared by all who get it.
            overflow: What is given up when ``ConnectionSettings.max_outbox`` bytes wait for the peer already.
        """
        engine = self._engine
        if engine.state is not OPEN:
            return False
        if overflow is Overflow.CONFLATE and engine.deflate is not None and engine.deflate.has_takeover:
            overflow = Overflow.DROP  # what waits may be what later messages refer to
        if not self._own_outbox().offer(engine.frame_of(prepared), overflow):
            self._trace("! the peer is too slow: this one is lost")
            return False
        self.messages_sent += 1
        self.bytes_sent += prepared.size
        return True

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping of up to 125 bytes; ``latency`` tells how long its pong took.

        Raises:
            ConnectionClosed: the connection has ended.
            ValueError: the payload is too long.
        """
        self._engine.ping(payload)
        self._is_ping_pending = True
        self._pinged_at = monotonic()
        self._write_output()

    def close(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake and return; it is completed in the background, in bounded time.

        Messages already sent go out before the close frame. Without effect when the connection is closing.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999; None sends an empty close frame.
            reason: At most 123 bytes of UTF-8.

        Raises:
            ValueError: a code or reason that may not be sent; nothing was.
        """
        if self._engine.state is not OPEN:
            return
        self._engine.close(code, reason)
        if self._engine.finished:
            self._finish()
            return
        self._close_by = monotonic() + CLOSE_TIMEOUT
        self._timers.schedule(self, self._close_by)
        self._write_output()
        self._on_close()

    def abort(self) -> None:
        """Drop the connection at once, without a closing handshake; the peer sees 1006."""
        self._engine.receive_eof()
        self._end_stream()

    def forsake(self) -> None:
        """End the connection in this copy of the process without telling the peer: it belongs to the original."""
        self._engine.receive_eof()

    def trim(self) -> None:
        """Hold as little as before the first message."""
        self._engine.trim()

    def release(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Close the connection, if it is open, and drop what waits: the application is done with it."""
        self.close(code)
        self._engine.messages.clear()
        if self._is_paused:
            self._resume()  # or the peer's close frame would never be seen
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None

    # What the hub calls

    def take_if_simple(self, data: bytes) -> Any:
        """Take a whole short message if the application waits for one. The hot path: keep it short."""
        if self._waiter is not None and self._engine.is_idle:
            message = short_message(data)
            if message is not None:
                self._heard_at = self._poller.now
                self.bytes_received += len(data)
                self._stats.websocket_bytes_received += len(data)
                self._handed = message
                return self._waiter
        return None

    def receive(self, data: bytes) -> None:
        """Take bytes of the stream, whatever they are."""
        waiter = self.take_if_simple(data)
        if waiter is not None:
            greenlets.switch(waiter)
            return
        self._heard_at = monotonic()
        self.bytes_received += len(data)
        self._stats.websocket_bytes_received += len(data)
        if data:
            self._receive_anything(data)
        else:
            self._engine.receive_eof()
            self._end_stream()

    def _receive_anything(self, data: bytes) -> None:
        engine = self._engine
        try:
            needs_attention = engine.receive(data)
        except Exception:
            self._engine_failed()
            return
        if needs_attention:
            self._on_attention()
        if engine.messages:
            if self._waiter is not None:
                self._waiter.switch()
            elif self.detached is not None:
                self.detached.look()
            if engine.messages:
                if not self._is_closed and self._backlog() > HIGH_WATER:
                    self._is_paused = True
                    self._stream.pause_receiving()
                if self._readiness is not None:
                    self._readiness.set(True)

    def _engine_failed(self) -> None:
        """End this connection, as the engine raised: a fault of ours, not the peer's. The worker goes on."""
        _log.exception("%s: the protocol engine failed", self.path)
        self.abort()

    def _backlog(self) -> int:
        """Return what the waiting messages hold; asked only while the application is behind, so it is not counted."""
        return sum([len(message[1]) + MESSAGE_OVERHEAD for message in self._engine.messages])

    def _intake(self) -> Receiver:
        """Return who takes the stream's bytes."""
        # Not kept in an attribute: without a limit it would refer to its own object, a cycle.
        return self if self._rate_limit is None else self._rate_limit

    def _start_receiving(self) -> None:
        self._stream.start_receiving(self._intake())

    def _settle(self) -> None:
        """Carry out the peer's ending: the application has answered what came before, or had its time."""
        self._engine.settle()
        self._finish()

    def _poll(self) -> None:
        try:
            data = self._stream.recv_now()
        except OSError:
            data = b""
        if data is not None:
            self._intake().receive(data)

    def _resume(self) -> None:
        """Take note that a message was taken: a paused stream may go on, and a Readiness may change."""
        engine = self._engine
        if engine.messages or engine.ending is not None:
            return
        if self._readiness is not None and engine.state is OPEN:
            self._readiness.set(False)
        if self._is_paused and not self._is_closed:
            self._is_paused = False
            if engine.has_rest:
                self._receive_rest()
            if not self._is_paused and not self._is_closed:
                self._start_receiving()

    def _receive_rest(self) -> None:
        """Go on with bytes that were read before; any greenlet may call it."""
        engine = self._engine
        try:
            needs_attention = engine.receive(b"")
        except Exception:
            self._engine_failed()
            return
        if needs_attention:
            self._on_attention()
        if engine.messages:
            if self._backlog() > HIGH_WATER:
                self._is_paused = True
            if self._waiter is not None:
                self._poller.hub.loop.run_callback(self._wake_waiter)
            elif self.detached is not None:
                self.detached.look()
            if self._readiness is not None:
                self._readiness.set(True)

    def _write_output(self) -> None:
        """Send the control frames that the engine has made; what does not go now waits in the outbox."""
        for frame in self._engine.take_output():
            self._write_control(frame)

    def _write_control(self, frame: bytes) -> None:
        if self._is_closed:
            return
        outbox = self._outbox
        if outbox is not None and not outbox.is_empty:
            if self._engine.state is OPEN or self._engine.finished:
                outbox.put_control(frame)
            else:
                outbox.put_last(frame)
            return
        try:
            sent = self._stream.send(frame)
        except OSError:
            self._on_write_error()
            return
        if sent < len(frame):
            self._own_outbox().put_rest(memoryview(frame)[sent:])

    def _own_outbox(self) -> Outbox:
        if self._outbox is None:
            self._outbox = self._make_outbox()
        return self._outbox

    # What the outbox tells

    def outbox_waits(self) -> None:
        """Look whether the peer takes bytes in time."""
        self._timers.schedule(self, monotonic() + self._settings.send_timeout)

    def outbox_is_empty(self) -> None:
        """Hang up, if that had to wait for what has gone."""
        if self._engine.finished:
            self._stream.shutdown()

    def outbox_lost(self) -> None:
        """End the connection: the peer is gone."""
        self._on_write_error()

    def outbox_overflows(self) -> None:
        """Close the connection: the peer is too slow."""
        _log.warning("%s: the peer is too slow for what is broadcast to it", self.path)
        assert self._outbox is not None
        self._outbox.drop_queued()
        self.close(CloseCode.POLICY_VIOLATION, "too slow")

    # Time

    def tick(self, now: float) -> float | None:
        """Do what is due now (see ``hub.wheel.Scheduled``)."""
        if self._is_closed:
            return None
        due: list[float] = []
        if self._outbox is not None and self._outbox.waits_for_kernel:
            stalled_by = self._outbox.progress_at + self._settings.send_timeout
            if now >= stalled_by:
                _log.warning("%s: the peer took no bytes for %g s", self.path, self._settings.send_timeout)
                self._trace("% the peer took no bytes for too long")
                self.abort()
                return None
            due.append(stalled_by)
        if self._engine.ending is not None and now >= self._close_by:
            self._trace("% messages not taken for too long")
            self._settle()
        if self._engine.ending is not None:
            due.append(self._close_by)
        elif self._engine.state is not OPEN:
            if now >= self._close_by:
                self._trace("% the peer did not hang up")
                self.abort()
                return None
            due.append(self._close_by)
        elif self._settings.keepalive.ping_freq:
            due.append(self._keep_alive(now))
        return min(due) if due and not self._is_closed else None

    def _keep_alive(self, now: float) -> float:
        """Ping, or give the peer up, as the policy says; return when to look again."""
        if self._is_paused:
            self._heard_at = now  # its bytes wait in the kernel: we do not read them
        policy = self._settings.keepalive
        # A peer that takes our bytes is alive as well: our ping may wait behind what it has not read yet.
        progress_at = self._heard_at if self._outbox is None else max(self._heard_at, self._outbox.progress_at)
        action, due = policy.judge(progress_at, self._pinged_at, now)
        if action is Action.PING:
            self._trace("% ping due")
            self.ping(int(now * 1000).to_bytes(8, "big"))
        elif action is Action.FAIL:
            self._trace("% no answer to a ping")
            _log.warning("%s: no PONG received in %g seconds", self.path, policy.pong_tolerance)
            self._engine.fail(KeepaliveTimeout(f"no answer to a ping in {policy.pong_tolerance:g} seconds"))
            self._finish()
            return self._close_by
        return due

    # Ending

    def _finish(self) -> None:
        """Send the engine's last frame, hang up, and wait for the peer to do so: nothing more is wanted from it."""
        outbox = self._outbox
        if outbox is not None:
            outbox.flush()  # answers to what came before; what the kernel does not take is lost
            outbox.drop_queued()
        self._write_output()
        if self._is_closed:
            return
        if outbox is None or not outbox.waits_for_kernel:
            self._stream.shutdown()
        self._close_by = monotonic() + LINGER
        self._timers.schedule(self, self._close_by)
        if self._is_paused:
            self._is_paused = False
            self._start_receiving()  # to see the peer hang up
        self._on_close()

    def _end_stream(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None  # they know each other
        self._rate_limit = None  # they, too
        self._engine.trace_to(None)  # it may know this connection
        self._engine.tap_to(None)
        self._timers.cancel(self)
        self._stream.close()
        self._on_close()

    def _wake_waiter(self) -> None:
        if self._waiter is not None:
            self._waiter.switch()

    def __repr__(self) -> str:
        state = self._engine.state.name.lower()
        return f"<Connection {self.path or '?'} {state}{'' if self.is_open else f' {self.close_code}'}>"

    # Hooks, which threads.connection extends

    def _on_attention(self) -> None:
        """Do what the engine asks for besides delivering messages."""
        engine = self._engine
        if self._is_ping_pending and engine.ping_payload is None:
            self._is_ping_pending = False
            self.latency = latency = monotonic() - self._pinged_at
            self._stats.measures.pings.observe(latency)
        if engine.finished:
            self._finish()
            return
        if engine.output:
            self._write_output()
        if engine.ending is not None and not self._is_closed:
            self._is_paused = True
            self._stream.pause_receiving()
            self._close_by = monotonic() + PATIENCE
            self._timers.schedule(self, self._close_by)
        elif engine.has_rest and not self._is_closed:
            self._is_paused = True
            self._stream.pause_receiving()

    def _on_close(self) -> None:
        """Leave the channels, and have the hub wake the greenlet that waits: the connection is not open any more."""
        if self._bus is not None:
            self._bus.leave_all(self)
        if self._readiness is not None:
            self._readiness.set(True)
        if self._waiter is not None:
            self._poller.hub.loop.run_callback(self._wake_waiter)
        elif self.detached is not None:
            self.detached.look()

    def _on_write_error(self) -> None:
        """End the connection, as a write failed: the peer is gone. Its last frames may still be there to read."""
        self._trace("! a write failed")
        for _ in range(16):
            if self._is_closed:
                return
            try:
                data = self._stream.recv_now()
            except OSError:
                break
            if not data or self._engine.finished or self._engine.has_rest:
                break
            self._engine.receive(data)
        self._engine.receive_eof()
        self._end_stream()

    def _make_outbox(self) -> Outbox:
        return Outbox(
            self, self._stream, self._poller.hub, self._poller.cork, self._stats, limit=self._settings.max_outbox
        )
