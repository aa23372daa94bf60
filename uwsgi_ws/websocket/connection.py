"""A live WebSocket connection, the application's half: receiving, sending, channels, and waiting for them.

A frame is written by one ``send`` at once. What the kernel does not take, and what may wait for the end of the loop's
turn, goes into an outbox (see there).
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from gevent.exceptions import BlockingSwitchOutError

from uwsgi_ws.channels.bus import current_bus
from uwsgi_ws.channels.events import Encode, Membership
from uwsgi_ws.channels.overflow import GapPolicy, Slow
from uwsgi_ws.errors import ConnectionClosed
from uwsgi_ws.hub import greenlets
from uwsgi_ws.hub.own import refuse_copies
from uwsgi_ws.net.readiness import Readiness
from uwsgi_ws.protocol.websocket.engine import OPEN
from uwsgi_ws.protocol.websocket.frames import NORMAL_ENDS, TEXT, CloseCode
from uwsgi_ws.protocol.websocket.messages import Message, Sendable, as_message
from uwsgi_ws.websocket.detached import Detached
from uwsgi_ws.websocket.live import LiveConnection
from uwsgi_ws.websocket.outbox import COPY_LIMIT

__all__ = ["Connection"]

greenlets.prepare()

#: So many first answers to a peer are not corked, whatever the worker's other connections are like.
_UNHELD = 8

_NOTHING = object()


class Connection(LiveConnection):
    """One open WebSocket, usable from any greenlet.

    Iterating gives messages until the peer closes normally (1000 or 1001, or without a code).
    """

    __slots__ = ()

    # Receiving

    def recv(self, timeout: float | None = None) -> str | bytes | None:
        """Return the next whole message: str if it is text, bytes if binary.

        Args:
            timeout: Seconds to wait; None waits for ever, 0 only looks.

        Returns:
            The message with its fragments joined, or None once ``timeout`` has passed.

        Raises:
            ConnectionClosed: ``code`` and ``reason`` say how it ended, ``__cause__`` says why. Messages that came
                before the end are returned first.

        Source: RFC 6455 6.2.
        """
        message = self.recv_message(None if timeout is None else monotonic() + timeout)
        if message is None:
            self._check_is_open()
            return None
        opcode, payload = message
        return payload.decode() if opcode == TEXT else payload

    def recv_message(self, deadline: float | None = None) -> Message | None:
        """Return the next message as opcode and bytes.

        None once ``deadline`` (monotonic) has passed, and when none will come: ``closed_error`` tells why.
        """
        engine = self._engine
        while True:
            if engine.messages:
                message: Any = engine.messages.popleft()
                if self._is_paused or self._readiness is not None:
                    self._resume()
                if len(message) != 2:
                    continue  # a piece of a message that recv_streaming left unread; the caller wants the next one
            elif deadline is None and self._waiter is None and engine.is_idle:
                # The usual wait, ended by take_if_simple.
                self._waiter = greenlets.getcurrent()
                try:
                    self._poller.wait()
                finally:
                    self._waiter = None
                    if self._waiting:
                        self._wake_next_later()
                message = self._handed
                if message is None:
                    self._check_may_wait()
                    continue
                self._handed = None
            else:
                message = self._wait(deadline)
                if not message:
                    continue
                if message is _NOTHING:
                    return None
            self.messages_received += 1
            if message[0] == TEXT:
                self._stats.texts_received += 1
            else:
                self._stats.binaries_received += 1
            return message  # type: ignore[no-any-return]

    def recv_now(self) -> Message | None:
        """Return the next message if there is one; also looks at the socket itself, without waiting.

        Raises:
            ConnectionClosed: as in ``recv``.
        """
        if not self._engine.messages:
            if self._waiter is None and not self._is_paused and not self._is_closed:
                self._poll()
            if not self._engine.messages:
                if self._engine.ending is not None:
                    self._settle()
                self._check_is_open()
                return None
        return self.recv_message(0.0)

    def recv_streaming(self, timeout: float | None = None) -> Iterator[str | bytes]:
        """Yield the next message in pieces, as they arrive; memory holds ``HIGH_WATER`` bytes of it at most.

        Pieces of text end between characters. Pieces are cut where the network cuts them, not where the peer's
        fragments end. The limit on a message's size still holds. A caller that stops early loses the rest of the
        message.

        Args:
            timeout: Seconds to wait for each piece; None waits for ever.

        Raises:
            ConnectionClosed: as in ``recv``, also in the middle of a message.
            TimeoutError: no piece came in time.
        """
        engine = self._engine
        if not engine.messages:
            engine.stream_next(True)
        has_begun = False
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            while not engine.messages:
                if self._wait(None if timeout is None else monotonic() + timeout) is _NOTHING:
                    self._check_is_open()
                    if not has_begun:
                        engine.stream_next(False)  # else recv would miss the next message
                    raise TimeoutError(f"no piece of a message for {timeout} seconds")
            has_begun = True
            item = engine.messages.popleft()
            if self._is_paused or self._readiness is not None:
                self._resume()
            opcode, payload = item[0], item[1]
            is_whole = len(item) == 2
            is_final = is_whole or item[-1] is True
            if is_final:
                self.messages_received += 1
                if opcode == TEXT:
                    self._stats.texts_received += 1
                else:
                    self._stats.binaries_received += 1
            piece: str | bytes = decoder.decode(payload, is_final) if opcode == TEXT else payload
            if piece or is_whole:
                yield piece
            if is_final:
                return

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the peer closes with 1000, 1001 or no code; otherwise raise ConnectionClosed."""
        while True:
            try:
                message = self.recv()
            except ConnectionClosed as exc:
                if exc.__cause__ is None and exc.code in NORMAL_ENDS:
                    return
                raise
            assert message is not None, "recv without a timeout has a message"
            yield message

    # Sending

    def send(self, message: Sendable, *, compress: bool = True) -> None:
        """Send ``str`` as text, anything bytes-like as binary; returns when the kernel has taken all of it.

        Args:
            message: Copied, if it waits.
            compress: Whether it may go compressed, where that has been agreed on (``--websockets-deflate``). A secret
                beside text that others choose should not (CRIME).

        Raises:
            ConnectionClosed: it ended before or while the message went.
            TypeError: neither.

        Source: RFC 6455 6.1.
        """
        opcode, payload = as_message(message)
        if compress:
            self.send_message(opcode, payload)
        else:
            self.send_uncompressed(opcode, payload)

    def send_uncompressed(self, opcode: int, payload: bytes) -> None:
        """Send as ``send_message``, never compressed."""
        engine = self._engine
        frame = engine.encode_plain(opcode, payload)
        self._count_sent(opcode, len(payload))
        if not self._own_outbox().send(frame):
            raise engine.closed_error()

    def send_message(self, opcode: int, payload: bytes) -> None:
        """Send one message with an opcode of TEXT or BINARY; text is not checked. Errors as in ``send``."""
        engine = self._engine
        length = len(payload)
        if length > COPY_LIMIT and (self._outbox is None or self._outbox.is_empty):
            self._send_long(opcode, payload)
            return
        frame = engine.encode(opcode, payload)
        self.messages_sent += 1
        self.bytes_sent += length
        stats = self._stats
        stats.websocket_bytes_sent += length
        if opcode == TEXT:
            stats.texts_sent += 1
        else:
            stats.binaries_sent += 1
        if engine.messages and length <= COPY_LIMIT and self._may_cork():
            # One write for this answer and the next. (To cork it while other peers wait for theirs costs as much
            # as the fewer wake-ups save: peers that send as fast as they get answers do not sleep.)
            if not self._own_outbox().send_corked(frame):
                raise engine.closed_error()
            return
        if self._outbox is not None and not self._outbox.is_empty:
            if not self._outbox.send(frame):
                raise engine.closed_error()
            return
        try:
            sent = self._stream.send(frame) if self._raw is None else self._raw.send(frame)
            if sent == len(frame):
                return
        except OSError:
            self._on_write_error()
            raise engine.closed_error() from None
        if not self._own_outbox().send_rest(memoryview(frame)[sent:]):
            raise engine.closed_error()

    def _count_sent(self, opcode: int, size: int) -> None:
        self.messages_sent += 1
        self.bytes_sent += size
        self._stats.count_broadcast(opcode == TEXT, 1, size)

    def _send_long(self, opcode: int, payload: bytes) -> None:
        """Write a message past the outbox, which is empty, without copying it."""
        engine = self._engine
        header, body = engine.encode_long(opcode, payload)
        self._count_sent(opcode, len(payload))
        try:
            sent = self._stream.sendmsg([header, body]) - len(header)
            if sent == len(body):
                return
        except OSError:
            self._on_write_error()
            raise engine.closed_error() from None
        rest = memoryview(body)[sent:] if sent >= 0 else memoryview(header[sent:] + body)
        if not self._own_outbox().send_rest(rest):
            raise engine.closed_error()

    # Channels

    def join(
        self,
        channel: str,
        *,
        slow: Slow = "close",
        on_gap: GapPolicy = "ignore",
        since: str | None = None,
        encode: Encode | None = None,
        member: dict[str, Any] | None = None,
    ) -> Membership:
        """Have a channel's messages sent to the peer from now on, whatever the application does.

        Without effect when it has been joined already, but for the terms. It is left when the connection ends.

        Args:
            channel: Any name; a channel exists as long as it has subscribers.
            slow: What is given up when a peer does not take them in time, as in ``broadcast``.
            on_gap: What becomes of the connection when messages for this worker may have been lost: ``close`` it with
                1012, so that the peer comes back and asks for what it needs, or ``ignore``.
            since: First send what came after this position, which the peer has been told (see ``encode``): any text, it
                may be wrong. ``"oldest"`` sends all that is kept, ``"latest"`` nothing. It waits for that, a few
                seconds at most. A channel that has been joined already is joined anew.
            encode: A function that says how an event of the channel goes to the peer: it is given a ``Published``, a
                ``Gap``, a ``MemberJoined`` or a ``MemberLeft``, and returns str, bytes, or None for nothing. It is
                called once for each event and function, not for each peer, must not wait, and should not be made anew
                for each connection. Without it messages go as they are, and nothing else does.
            member: What others see of this connection, which is a member of the channel until it leaves: a dict that
                JSON holds, in at most 4,096 bytes (see ``uwsgi_ws.presence``). Another one changes what it says; None
                does not.

        Returns:
            Whether the peer has been sent all that came after ``since``, and where live messages begin.

        Raises:
            ConnectionClosed: the connection has ended.
            TypeError: ``member`` is no dict, or holds what JSON has not.
            ValueError: the name is longer than 65,535 bytes, no such ``slow`` or ``on_gap``, or ``member`` is too
                large.
        """
        self._check_is_open()
        self._bus = bus = current_bus()
        membership = bus.join(channel, self, slow, on_gap, since, encode, member)
        self._check_is_open()
        return membership

    def leave(self, channel: str) -> None:
        """Undo ``join``; without effect when the channel has not been joined."""
        if self._bus is not None:
            self._bus.leave(channel, self)

    # Without a greenlet

    def detach(
        self,
        on_message: Callable[[Connection, Any], object] | None = None,
        on_close: Callable[[Connection, ConnectionClosed], object] | None = None,
    ) -> tuple[()]:
        """Leave the connection to the server once the application has returned, which ends it otherwise.

        It is for many connections that mostly listen: nothing of the application's stays with one, neither a greenlet
        or thread nor the environ. Channels that were joined are sent on, pings, limits and a reload's drain are as
        ever. The access log has its line when the application returns. An application that raises has not detached it.
        Called again, by one of the functions too, it takes others from the next message on.

        Args:
            on_message: Called with this connection and each message, str or bytes, in order and one at a time, from
                when the application has returned; may wait, send, and receive. None drops messages. One that raises
                ends the connection with 1011.
            on_close: Called once with this connection and the ConnectionClosed that tells how it ended, after the last
                message.

        Returns:
            Nothing to send, for the application to return: ``return ws.detach(on_message=...)``.

        Raises:
            ConnectionClosed: the connection has ended.
            TypeError: what is no function.
        """
        for function in (on_message, on_close):
            if function is not None and not callable(function):
                raise TypeError(f"a function is called, not {type(function).__name__}")
        self._check_is_open()
        if self.detached is None:
            self.detached = Detached(self)
        self.detached.call(on_message, on_close)
        return ()

    # Waiting

    def fileno(self) -> int:
        """Return a descriptor that is readable exactly while a message or the end of the connection waits."""
        if self._readiness is None:
            self._readiness = Readiness()
            self._readiness.set(bool(self._engine.messages) or self._engine.state is not OPEN)
        return self._readiness.fileno()

    def _wait(self, deadline: float | None) -> Any:
        """Park until something may have come.

        Returns:
            A message that was handed over; something false, then look at the engine; or ``_NOTHING``, when the
            deadline has passed or the connection is not open any more.
        """
        engine = self._engine
        if engine.ending is not None:
            self._settle()
        if engine.state is not OPEN or (deadline is not None and deadline <= monotonic()):
            return _NOTHING
        if self._waiter is not None:
            return self._wait_for_turn(deadline)
        self._waiter = greenlets.getcurrent()
        try:
            woken_with = self._park(deadline)
            message, self._handed = self._handed, None
            return woken_with if message is None else message
        finally:
            self._waiter = None
            if self._waiting:
                self._wake_next_later()

    def _check_may_wait(self) -> None:
        """Refuse to wait in a callback of the hub: the bare switch would not notice."""
        if greenlets.getcurrent() is self._poller.hub:
            raise BlockingSwitchOutError("a connection cannot be waited for in a callback of the event loop")

    def _wait_for_turn(self, deadline: float | None) -> Any:
        """Park until no other greenlet is parked in recv; ``_NOTHING`` when that takes too long."""
        if self._waiting is None:
            self._waiting = []
        current = greenlets.getcurrent()
        self._waiting.append(current)
        try:
            return self._park(deadline)
        finally:
            self._waiting.remove(current)

    def _wake_next_later(self) -> None:
        self._poller.hub.loop.run_callback(self._wake_next)

    def _wake_next(self) -> None:
        if self._waiting and self._waiter is None:
            self._waiting[0].switch()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    # Hooks, which threads.connection extends

    def _may_cork(self) -> bool:
        """Return whether an answer may go out as late as at the end of the turn: not the first ones to a peer."""
        return self._poller.cork.may_cork(self._heard_at) and self.messages_sent > _UNHELD

    def _park(self, deadline: float | None) -> Any:
        """Switch to the hub; return what it is woken with, ``_NOTHING`` at the deadline."""
        refuse_copies()
        if deadline is None:
            return self._poller.hub.switch()
        timer = self._poller.hub.loop.timer(max(0.0, deadline - monotonic()))
        timer.start(greenlets.getcurrent().switch, _NOTHING)
        try:
            return self._poller.hub.switch()
        finally:
            timer.stop()
            timer.close()
