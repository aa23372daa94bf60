"""What a stream is to those who use one, whatever carries its bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from uwsgi_ws.hub.poller import Receiver

__all__ = ["ClientStream", "Stream"]


class Stream(Protocol):
    """Duplex bytes, scheduled by the hub.

    Read either by pulling (``recv``, ``recv_now``) or by being pushed to (``start_receiving``).
    """

    @property
    def is_plain(self) -> bool:
        """Whether it is just a socket: any thread, one at a time, may call ``send``, ``sendmsg`` and ``recv_now``."""

    @property
    def raw(self) -> Any:
        """The socket itself, if what is sent goes there as it is, so that a caller can spare a call; else None."""

    def send(self, data: Any) -> int:
        """Send what goes without waiting; return the bytes taken, 0 when none can go now.

        Raises:
            OSError: the connection is broken.
        """

    def sendmsg(self, buffers: list[Any]) -> int:
        """As ``send``, for several buffers."""

    def fileno(self) -> int:
        """Return the descriptor under it all, -1 once closed."""

    def recv(self, timeout: float | None) -> bytes:
        """Wait for bytes and return them; ``b""`` is the end of the stream.

        Raises:
            TimeoutError: nothing came for ``timeout`` seconds.
            OSError: the connection is broken.
        """

    def recv_now(self) -> bytes | None:
        """Return the bytes that are there; None when there are none, ``b""`` at the end of the stream."""

    def send_all(self, data: Any, timeout: float | None) -> None:
        """Write all of ``data``, waiting up to ``timeout`` seconds each time that the peer takes nothing.

        Raises:
            TimeoutError: no progress in time.
            OSError: the connection is broken.
        """

    def sendfile(self, fd: int, offset: int, count: int, timeout: float | None) -> int:
        """Write up to ``count`` bytes of a file; return the bytes written, 0 at its end. Raises as ``send_all``."""

    def start_receiving(self, receiver: Receiver) -> None:
        """Have ``receiver`` take the bytes as they come, and once ``b""`` at the end of the stream.

        Errors of the connection count as its end.
        """

    def pause_receiving(self) -> None:
        """Call the receiver no more until ``start_receiving`` is called again."""

    def when_writable(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the hub each time that ``send`` would take bytes, until ``stop_writing``."""

    def stop_writing(self) -> None:
        """End the calls of ``when_writable``."""

    def shutdown(self) -> None:
        """Send the end of the stream, after all that was sent; reading goes on.

        No error is raised where it cannot be sent.
        """

    def reset(self) -> None:
        """Close so that the peer cannot take what it has for the whole."""

    def close(self) -> None:
        """Give everything up; without effect the second time."""


class ClientStream(Stream, Protocol):
    """A stream that is all of a client's connection: one request after the other is answered on it."""

    def answer(self, data: bytes, timeout: float | None) -> None:
        """As ``send_all``, for the end of what the peer has asked for: it may go out at the end of the loop's turn.

        Nobody is told then if it cannot; reading tells that the connection is broken.
        """

    def progress(self) -> int:
        """Return how many bytes the peer has sent and taken so far; only the difference of two means something."""

    @property
    def waits_until(self) -> float:
        """The deadline of the present wait for the peer, or of the last one (monotonic)."""

    @property
    def is_waiting(self) -> bool:
        """Whether a greenlet waits for the peer."""

    def expire(self) -> None:
        """End a wait in progress as if its time were up; the hub calls it."""

    @property
    def has_unsent(self) -> bool:
        """Whether something of an ``answer`` has yet to go out."""
