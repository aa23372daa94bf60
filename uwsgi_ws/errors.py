"""The exceptions that we raise on purpose: who is at fault, what ends, and what the peer is told.

Every other module may import this one, and it imports nothing of ours. Code that catches an exception asks it for its
status or close code, not for its class.

::

    Error                        every exception that we raise on purpose, but for the last one
    ├── PeerError                the peer broke a protocol: its connection ends, nothing else does
    │   ├── RequestError         an HTTP request that cannot be served: ``status`` and ``reason`` are the response
    │   │   ├── BodyError        its body; also an OSError
    │   │   └── HandshakeError   it is no opening handshake; also an OSError
    │   ├── RecordError          a companion's record: its request is answered with 502, or closed with 1011
    │   └── FrameError           a WebSocket's frame: the connection fails with ``close_code`` 1002
    │       ├── InvalidText      1007
    │       ├── InvalidDeflate   1007
    │       ├── MessageTooBig    1009
    │       └── KeepaliveTimeout 1011: there was no frame at all
    ├── ClientGone               a response could not be sent; also an OSError
    ├── ConnectionClosed         the WebSocket has ended, as the application sees it; also an OSError
    ├── InvalidState             the caller's mistake: nothing was written
    ├── OptionError              a setting that cannot be used; also a ValueError
    │   └── OptionErrors         several of them
    ├── ChannelError             a channel's message cannot be published or received; also an OSError
    └── BootError                the server cannot start: the process ends with ``exit_status``
    RequestTimeout               ends a request that takes too long; a BaseException
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BodyError",
    "BootError",
    "ChannelError",
    "ClientGone",
    "ConnectionClosed",
    "Error",
    "FrameError",
    "HandshakeError",
    "InvalidDeflate",
    "InvalidState",
    "InvalidText",
    "KeepaliveTimeout",
    "MessageTooBig",
    "OptionError",
    "OptionErrors",
    "PeerError",
    "RecordError",
    "RequestError",
    "RequestTimeout",
]


class Error(Exception):
    """Every exception we raise on purpose."""


class PeerError(Error):
    """The peer broke a protocol; its connection ends, nothing else does."""


class RequestError(PeerError):
    """An HTTP request that cannot be served; knows how to answer.

    Args:
        status: The HTTP status code of the answer (400, 408, 413, 414, 431, 501, 505 ...).
        reason: One plain sentence for the log and the response body; never text of the peer's.
    """

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class BodyError(RequestError, OSError):
    """A request body that is malformed, too large, late or cut short.

    Applications meet it in ``wsgi.input``; it is an OSError, as PEP 3333 servers raise there.
    """

    def __str__(self) -> str:
        return self.reason


class ClientGone(Error, OSError):
    """A response could not be sent: the client left, or took nothing for too long. No peer is left to answer."""

    def __str__(self) -> str:
        return str(self.args[0])


class HandshakeError(RequestError, OSError):
    """An opening handshake that breaks a MUST of RFC 6455 4.2.1.

    It is an OSError as well, because that is what uWSGI's ``websocket_handshake`` raises.
    """

    def __str__(self) -> str:
        return self.reason


class RecordError(PeerError):
    """A companion does not speak its protocol.

    Args:
        message: What is wrong.
        said: What came, its first bytes, for the log.
    """

    #: Bytes of what came that the log shows.
    SHOWN = 60

    def __init__(self, message: str, said: bytes = b"") -> None:
        super().__init__(message)
        self.said = said


class FrameError(PeerError):
    """The peer broke RFC 6455's framing; the connection fails with ``close_code`` and ``close_reason``.

    The message tells the log what happened; the reason is all that the peer hears.
    """

    close_code = 1002
    close_reason = "protocol error"


class InvalidText(FrameError):
    """A text message or close reason is not UTF-8 (RFC 6455 8.1)."""

    close_code = 1007
    close_reason = "invalid UTF-8"


class InvalidDeflate(FrameError):
    """A compressed message cannot be inflated (RFC 7692 7.2.2)."""

    close_code = 1007
    close_reason = "invalid compressed data"


class MessageTooBig(FrameError):
    """A message is longer than the limit, its fragments counted together.

    Args:
        size: Bytes the message would have had at least.
        limit: Bytes allowed.
    """

    close_code = 1009
    close_reason = "message too big"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"message of at least {size} bytes, {limit} allowed")
        self.size = size
        self.limit = limit


class KeepaliveTimeout(FrameError):
    """The peer did not answer a ping in time; it may not be there any more to read the close frame."""

    close_code = 1011
    close_reason = "no answer to a ping"


class ConnectionClosed(Error, OSError):
    """The WebSocket connection has ended; the application should return.

    An OSError, because uWSGI raises IOError at the same places.

    Args:
        code: The close code of the end that closed first: the peer's (1005 if its close frame had none), or ours, also
            when we failed the connection (then ``__cause__`` says why). 1006 when the stream just ended.
        reason: The reason that was received or sent with it, often empty.
        is_clean: True when the closing handshake was completed (RFC 6455 7.1.4).
    """

    def __init__(self, code: int, reason: str = "", *, is_clean: bool = False) -> None:
        code = int(code)  # a bare number, for applications and the log
        super().__init__(f"connection closed: {code}{' ' + reason if reason else ''}")
        self.code = code
        self.reason = reason
        self.is_clean = is_clean

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidState(Error):
    """The caller's mistake, such as accepting a handshake twice; nothing was written."""


class RequestTimeout(BaseException):
    """Raised in a request that takes too long (``--harakiri``).

    No ``except Exception`` of the application's stops it.
    """


class OptionError(Error, ValueError):
    """An option that cannot be used; names the option, the value and where it came from.

    Args:
        option: The option as the user wrote it, e.g. ``--gevent``.
        problem: What is wrong, with the value, e.g. ``'x' is not a whole number``.
        source: Where it came from: ``command line``, ``FILE:LINE`` or an environment variable's name.
    """

    def __init__(self, option: str, problem: str, source: str = "command line") -> None:
        super().__init__(f"{option}: {problem} ({source})")
        self.option = option
        self.problem = problem
        self.source = source

    @property
    def each(self) -> tuple[OptionError, ...]:
        """The errors, each to be told in a line of its own."""
        return (self,)


class OptionErrors(OptionError):
    """Several errors that are told together; ``option`` and the rest are the first one's.

    Args:
        errors: At least one.
    """

    def __init__(self, errors: Sequence[OptionError]) -> None:
        first = errors[0]
        super().__init__(first.option, first.problem, first.source)
        self._errors = tuple(errors)

    @property
    def each(self) -> tuple[OptionError, ...]:
        """The errors, in the order in which they were found."""
        return self._errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self._errors)


class ChannelError(Error, OSError):
    """A message could not be published, or no message can be received; OSError is what uWSGI 1.5-dev raised there."""

    def __str__(self) -> str:
        return str(self.args[0])


class BootError(Error):
    """The server cannot start; one line tells why, and the process ends with ``exit_status``."""

    def __init__(self, message: str, exit_status: int = 1) -> None:
        super().__init__(message)
        self.exit_status = exit_status
