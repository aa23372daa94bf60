"""A WebSocket handed over to its application, which speaks the protocol itself: by a library that wants the socket.

The application gets one end of a socket pair, and a tunnel joins the other one to the client's stream. So what it has
is a socket indeed: with a descriptor to select on, for greenlets and threads, over TLS and HTTP/2 too, and with the
bytes that came together with the handshake. Were it the client's own socket, TLS would be missing, and the server could
not say anything to the client when it stops.

The tunnel reads none of the messages. It knows where the application's frames end, and there it pings a client that is
silent, and says goodbye in place of an application that did not.
"""

from __future__ import annotations

import logging
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.hub.own import OwnSocket
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.net.stream import SocketStream
from uwsgi_ws.protocol.websocket.boundary import FrameBoundary
from uwsgi_ws.protocol.websocket.frames import PING, CloseCode, encode, encode_close
from uwsgi_ws.protocol.websocket.keepalive import Action, KeepalivePolicy
from uwsgi_ws.websocket.tunnel import CLOSE_TIMEOUT, FramedWay, Tunnel, Way

if TYPE_CHECKING:
    from uwsgi_ws.net.base import Stream

__all__ = ["HandedOver", "SocketPair"]

_PING = encode(PING, b"")
#: Seconds for a library to answer the client's close frame when its application has returned.
_PATIENCE = 1.0

_log = logging.getLogger("uwsgi_ws.websocket")


class SocketPair:
    """The application's socket, and the server's stream at its other end.

    Raises:
        OSError: no descriptors are left.
    """

    def __init__(self, poller: Poller, timers: Timers, *, has_threads: bool) -> None:
        ours, self.theirs = socket.socketpair()  # patched or not, as the application's other sockets
        self.ours = OwnSocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
        self.ours.setblocking(False)
        self.stream = SocketStream(self.ours, poller, timers, has_threads=has_threads)

    def close(self) -> None:
        """Give both up."""
        self.stream.close()
        self.theirs.close()


class HandedOver(Tunnel):
    """Stands where a ``Connection`` would, for all that the server wants of one.

    Args:
        client: The client's stream, after the opening handshake.
        pair: Its stream becomes the tunnel's.
        keepalive: When to ping the client and when to give it up.
        path: The request's path, for the log.
    """

    has_unmasked = False
    detached = None
    # What only who reads the messages could tell.
    messages_received = messages_sent = close_code = "-"
    label: tuple[str, str]  # by which it is counted

    def __init__(self, client: Stream, pair: SocketPair, timers: Timers, keepalive: KeepalivePolicy, path: str) -> None:
        super().__init__(client, pair.stream, timers, keepalive.ping_freq)
        self._up: _ToApplication
        self._down: _FromApplication
        self._sock = pair.ours
        self._path = path
        self._keepalive = keepalive
        self._pinged_at = 0.0
        self._is_shut = False
        self._sent = 0  # bytes that the client had taken when the closing was last looked at

    def start(self, early: bytes) -> None:
        """Begin to carry bytes, and go on until both sides have ended; ``early`` came with the opening handshake."""
        self._end.rawlink(lambda event: self._stop())
        if self._idle_timeout:
            self._timers.schedule(self, self._heard_at + self._idle_timeout)
        self._start(early, b"")

    @property
    def bytes_sent(self) -> int:
        """Bytes that the client has been sent."""
        return self._down.count

    @property
    def bytes_received(self) -> int:
        """Bytes that the application has been sent."""
        return self._up.count

    def fileno(self) -> int:
        """Return the descriptor of the client's socket."""
        return self._streams[0].fileno()

    def close(self, code: int, reason: str) -> None:
        """See Tunnel. What the application has sent before goes out before."""
        if self.is_open:
            self._down.look()
        super().close(code, reason)

    def release(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """The application is done with it: send what it has sent, then a close frame if that had none."""
        in_hub(self._release, code)

    def _release(self, code: int) -> None:
        if self.is_ended:
            return
        self._down.look()
        self.is_open = False
        self._down.last_word = encode_close(code)
        if self._up.has_close:
            # Libraries tell the application of the client's close frame first, and answer it next, in another thread.
            self._close_by = monotonic() + _PATIENCE
            self._timers.schedule(self, self._close_by)
        else:
            self._shut()

    def _shut(self) -> None:
        """Take no more of the application's than is there already."""
        self._is_shut = True
        try:
            self._sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it has closed its end
        self._close_by = monotonic() + CLOSE_TIMEOUT
        self._timers.schedule(self, self._close_by)

    def abort(self) -> None:
        """Drop the client at once."""
        self.end()

    def forsake(self) -> None:
        """Do nothing: in a copy of the process the stream is no longer the client's."""

    def tick(self, now: float) -> float | None:
        """See Tunnel; a client that still takes what the application has sent has its time."""
        if now >= self._close_by and not self._is_shut and self._down.last_word:
            self._shut()
            return self._close_by
        if now >= self._close_by and self._down.is_held and self._down.count > self._sent:
            self._sent = self._down.count
            self._close_by = now + CLOSE_TIMEOUT
        return super().tick(now)

    def heard(self, stream: Stream) -> None:
        """See Tunnel; only the client is waited for."""
        if stream is self._streams[0]:
            super().heard(stream)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"HandedOver has no {name}: the application has taken the socket, and speaks the protocol")

    # Hooks of Tunnel

    def _tick_open(self, now: float) -> float | None:
        if self._up.is_held:
            self._heard_at = now  # what the client has sent waits in the kernel: we do not read it
        action, due = self._keepalive.judge(self._heard_at, self._pinged_at, now)
        if action is Action.PING:
            self._pinged_at = now
            if not self._down.insert(_PING):
                self._heard_at = now  # the application is in the middle of a frame
        elif action is Action.FAIL:
            _log.warning("%s: no PONG received in %g seconds", self._path, self._keepalive.pong_tolerance)
            self.end()
            return None
        return due

    def _make_up(self, client: Stream, backend: Stream) -> Way:
        return _ToApplication(self, client, backend)

    def _make_down(self, backend: Stream, client: Stream) -> FramedWay:
        return _FromApplication(self, backend, client)


class _ToApplication(Way):
    """The direction to the application, which may have closed its end with its last frames still on the way."""

    def __init__(self, tunnel: Tunnel, source: Stream, sink: Stream) -> None:
        super().__init__(tunnel, source, sink)
        self._boundary = FrameBoundary()

    @property
    def has_close(self) -> bool:
        """Whether the client has sent a close frame."""
        return self._boundary.has_close

    def _passed(self, data: bytes) -> bytes:
        self._boundary.follow(data)
        return data

    def _on_broken(self) -> bool:
        self._rest = memoryview(b"")
        return True


class _FromApplication(FramedWay):
    """The direction to the client.

    Attributes:
        last_word: The close frame to send at the application's end, if it has sent none.
    """

    last_word = b""

    def receive(self, data: bytes) -> None:
        """See Receiver."""
        if not data and self.last_word and not self._is_over:
            self.say_last(self.last_word)
        super().receive(data)

    def look(self) -> None:
        """Pass on what is there already."""
        if self.is_held:
            return
        try:
            data = self._source.recv_now()
        except OSError:
            return  # the next read sees it
        if data:
            self.receive(data)

    def insert(self, frame: bytes) -> bool:
        """Send a frame between the application's; return False in the middle of one.

        It is not sent when the client takes nothing, or has been told the last word.
        """
        if not self._boundary.is_here:
            return False
        if not (self.is_held or self.has_ended or self._is_over or self._boundary.has_close) and not self._write(
            memoryview(frame)
        ):
            self._source.pause_receiving()
        return True
