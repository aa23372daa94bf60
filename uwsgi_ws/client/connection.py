"""One WebSocket connection from the client's end, over a blocking socket: for tests, scripts and terminals.

The engine is the server's own. It reads frames that are not masked as well, so all that is the client's is to mask what
it sends (RFC 6455 5.3) and to ask for the WebSocket (4.1). permessage-deflate is not asked for.

No wait is without an end, unless the caller says so, and each error says what it waited for. Nothing here knows gevent:
where the standard library is patched, a wait lets other greenlets run. One thread at a time uses a connection.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from uwsgi_ws.errors import ConnectionClosed, Error
from uwsgi_ws.protocol.http.grammar import FIELD_VALUE, TOKEN
from uwsgi_ws.protocol.websocket.engine import OPEN, WebSocket
from uwsgi_ws.protocol.websocket.frames import MASKED, NORMAL_ENDS, TEXT, encode_close
from uwsgi_ws.protocol.websocket.handshake import accept_value
from uwsgi_ws.protocol.websocket.messages import Sendable, as_message
from uwsgi_ws.protocol.websocket.speed import unmask

__all__ = ["ClientConnection", "HandshakeRefused", "Headers", "Target", "connect"]

#: Header fields by name, or as pairs where a name comes more than once.
Headers = Mapping[str, str] | Iterable[tuple[str, str]]

#: Bytes of one message, unless told: tests send large ones, and a mistake shall not fill the memory.
MAX_MESSAGE_SIZE = 64 << 20
#: Bytes of a refusal's body that are read, and characters of it that an error shows.
_MOST_BODY, _MOST_SHOWN = 1 << 20, 300
#: nginx's way to write a socket's path and the URL's in one.
_UNIX = re.compile(r"(?:(?:ws|http)://)?unix:(?P<file>[^:]+)(?::(?P<path>.*))?", re.DOTALL)


class HandshakeRefused(Error):
    """The server has answered the opening handshake, and not with a WebSocket.

    Args:
        url: What was asked for.
        status: Of the answer.
        phrase: Of the answer's status line.
        headers: The answer's; names in any case.
        body: Of the answer, the first MiB of it.
        why: What is wrong with an answer of 101.
    """

    def __init__(
        self, url: str, status: int, phrase: str, headers: http.client.HTTPMessage, body: bytes, why: str = ""
    ) -> None:
        text = why or body[: _MOST_SHOWN * 4].decode("utf-8", "backslashreplace").strip()
        shown = text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + " ..."
        super().__init__(f"{url}: refused with {status} {phrase}".rstrip() + (f": {shown}" if shown else ""))
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.body = body


class Target(NamedTuple):
    """Where a URL leads.

    Attributes:
        url: As errors show it.
        address: Host and port, or the path of a unix socket.
        host: The Host header.
        resource: The request's target.
        is_secure: Whether TLS is spoken.
    """

    url: str
    address: tuple[str, int] | str
    host: str
    resource: str
    is_secure: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """Read ``ws://``, ``wss://``, ``http://`` and ``https://`` URLs, and ``unix:FILE:/PATH``.

        Raises:
            ValueError: It is none of these.
        """
        if unix := _UNIX.fullmatch(url):
            return cls(url, unix["file"], "localhost", _encoded(unix["path"] or "/"), False)
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
            raise ValueError(f"not the URL of a WebSocket, such as ws://localhost:8080/ws: {url!r}")
        is_secure = parts.scheme in ("wss", "https")
        port = parts.port or (443 if is_secure else 80)
        resource = _encoded(parts.path or "/") + (f"?{_encoded(parts.query)}" if parts.query else "")
        return cls(url, (parts.hostname, port), parts.netloc.rpartition("@")[2], resource, is_secure)


def _encoded(text: str) -> str:
    """Encode what may not stand in a request line; what is encoded stays."""
    return quote(text, safe="/?:@!$&'()*+,;=-._~%[]")


def connect(
    url: str,
    *,
    subprotocols: Sequence[str] = (),
    headers: Headers = (),
    origin: str | None = None,
    timeout: float | None = 5.0,
    tls: ssl.SSLContext | None = None,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> ClientConnection:
    """Open a WebSocket.

    Args:
        url: See ``Target.of``.
        subprotocols: To ask for, the best one first.
        headers: Further ones; one that the handshake has anyway, such as Host, takes its place.
        origin: The Origin header, by which a server tells pages apart; browsers send it always.
        timeout: Seconds that each wait of the connection may take; None waits for ever.
        tls: How to trust and to identify, for ``wss``; by default as the system does.
        max_message_size: Bytes of a message that is still taken; a larger one ends the connection with 1009.

    Raises:
        HandshakeRefused: The server answers otherwise; with status, headers and body.
        OSError: It cannot be reached; a TimeoutError when it does not answer.
        ValueError: No such URL, or a header that may not be sent.
    """
    target = Target.of(url)
    key = base64.b64encode(os.urandom(16)).decode()
    fields = {
        "Host": target.host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
    }
    if subprotocols:
        fields["Sec-WebSocket-Protocol"] = ", ".join(subprotocols)
    if origin is not None:
        fields["Origin"] = origin
    further = list(headers.items() if isinstance(headers, Mapping) else headers)
    replaced = {name.lower() for name, _ in further}
    lines = [(name, value) for name, value in fields.items() if name.lower() not in replaced] + further
    _check(lines)
    request = f"GET {target.resource} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    sock = _reach(target, timeout, tls)
    try:
        try:
            sock.sendall(request.encode("latin-1"))
            response = http.client.HTTPResponse(_Unbuffered(sock), method="GET")  # type: ignore[arg-type]  # it makes files
            response.begin()
        except TimeoutError:
            raise TimeoutError(f"{url}: no answer to the opening handshake within {timeout:g} s") from None
        except (OSError, http.client.HTTPException) as exc:
            raise ConnectionError(f"{url}: the server ended the opening handshake without an answer: {exc}") from exc
        _check_answer(target, response, key, subprotocols)
    except BaseException:
        sock.close()
        raise
    return ClientConnection(sock, target.url, response.headers, timeout, max_message_size)


def _check(lines: Iterable[tuple[str, str]]) -> None:
    for name, value in lines:
        if not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            raise ValueError(f"not a header that may be sent: {name!r} with {value!r}")


def _reach(target: Target, timeout: float | None, tls: ssl.SSLContext | None) -> socket.socket:
    try:
        if isinstance(target.address, str):
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.settimeout(timeout)
                sock.connect("\0" + target.address[1:] if target.address.startswith("@") else target.address)
            except BaseException:
                sock.close()
                raise
        else:
            sock = socket.create_connection(target.address, timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.is_secure:
                context = tls or ssl.create_default_context()
                try:
                    sock = context.wrap_socket(sock, server_hostname=target.address[0])
                except BaseException:
                    sock.close()
                    raise
    except TimeoutError:
        raise TimeoutError(f"{target.url}: cannot be reached within {timeout:g} s") from None
    except OSError as exc:
        # OSError makes it one of the kind that the number says.
        raise OSError(exc.errno, f"{target.url}: {exc.strerror or exc}") from exc
    return sock


class _Unbuffered:
    """Has http.client read no byte too many: what follows the head is WebSocket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.RawIOBase:
        return self._sock.makefile("rb", 0)


def _check_answer(target: Target, response: http.client.HTTPResponse, key: str, subprotocols: Sequence[str]) -> None:
    headers = response.headers
    if response.status != 101:
        # http.client has it return all that it asks for.
        response.fp = io.BufferedReader(response.fp)
        try:
            body = response.read(_MOST_BODY)
        except (OSError, http.client.HTTPException):
            body = b""
        raise HandshakeRefused(target.url, response.status, response.reason, headers, body)
    why = ""
    if headers.get("Sec-WebSocket-Accept", "").strip() != accept_value(key):
        why = "its Sec-WebSocket-Accept does not belong to our key"
    elif (chosen := headers.get("Sec-WebSocket-Protocol")) is not None and chosen not in subprotocols:
        why = f"it chose the subprotocol {chosen!r}, which was not asked for"
    elif headers.get("Sec-WebSocket-Extensions"):
        why = f"it chose {headers['Sec-WebSocket-Extensions']!r}, and no extension was asked for"
    if why:
        raise HandshakeRefused(target.url, 101, response.reason, headers, b"", why)


class ClientConnection:
    """An open WebSocket; iterating gives messages until the server closes normally (1000, 1001 or without a code).

    Args:
        sock: Where the opening handshake has been answered; it becomes the connection's.
        url: As errors show it.
        headers: Of the server's answer.
        timeout: Seconds that each wait may take; None waits for ever.
        max_message_size: Bytes of a message that is still taken.

    Attributes:
        url: As given.
        headers: Of the server's answer.
        subprotocol: What the server chose; None for none.
        timeout: As given; it may be changed.
    """

    def __init__(
        self,
        sock: socket.socket,
        url: str,
        headers: http.client.HTTPMessage,
        timeout: float | None,
        max_message_size: int,
    ) -> None:
        self._sock = sock
        self._engine = WebSocket(max_message_size, takes_unmasked=True)
        self._count = 0
        self._has_said_goodbye = False  # a close frame has gone out, of which the engine does not know
        self.url = url
        self.headers = headers
        self.subprotocol: str | None = headers.get("Sec-WebSocket-Protocol")
        self.timeout = timeout

    # How it stands

    @property
    def is_open(self) -> bool:
        """Whether messages may be sent, as far as is known: only a wait notices that the server has closed."""
        return self._engine.state is OPEN

    @property
    def close_code(self) -> int | None:
        """The close code: the server's, or ours where we closed first; None while it is open.

        1005 for a close frame without a code, 1006 when the stream just ended.
        """
        code: int | None = self._engine.close_code
        return code

    @property
    def close_reason(self) -> str:
        """The close frame's reason, often empty."""
        reason: str = self._engine.close_reason
        return reason

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once the connection has ended."""
        return self._sock.fileno()

    # Messages

    def send(self, message: Sendable) -> None:
        """Send ``str`` as text, anything bytes-like as binary.

        Raises:
            ConnectionClosed: It has ended; ``code`` and ``reason`` say how.
            TimeoutError: The server does not read.
            TypeError: Neither.
        """
        opcode, payload = as_message(message)
        self._notice_end()
        frame = self._engine.encode(opcode, payload)
        self._write(frame, f"the server to take a message of {len(payload)} bytes")

    def send_json(self, value: object) -> None:
        """Send a value as JSON, in a text message."""
        self.send(json.dumps(value))

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Return the next message: str if it is text, bytes if binary.

        Args:
            timeout: Seconds to wait; by default the connection's.

        Raises:
            ConnectionClosed: It has ended; ``code`` and ``reason`` say how.
            TimeoutError: No message came.
        """
        deadline = self._deadline(timeout)
        while (message := self._take()) is None:
            self._read(deadline, f"message {self._count + 1}", timeout)
        return message

    def recv_json(self, timeout: float | None = None) -> Any:
        """Return the value of the next message, which holds JSON; as ``recv``.

        Raises:
            ValueError: It does not.
        """
        message = self.recv(timeout)
        try:
            return json.loads(message)
        except ValueError as exc:
            raise ValueError(f"{self.url}: not JSON but {message!r:.300}") from exc

    def recv_now(self) -> str | bytes | None:
        """Return the next message if it is there; None when it is not. Raises as ``recv``."""
        if (message := self._take()) is None:
            self._sock.settimeout(0.0)
            while message is None and self._receive():
                message = self._take()
        return message

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the server closes with 1000, 1001 or no code; otherwise raise, as ``recv``."""
        while True:
            try:
                message = self.recv()
            except ConnectionClosed as exc:
                if exc.__cause__ is None and exc.code in NORMAL_ENDS:
                    return
                raise
            yield message

    def ping(self, payload: bytes | str = b"", timeout: float | None = None) -> float:
        """Ask the server for a sign of life, and return the seconds until it came. Messages wait meanwhile.

        Args:
            payload: Up to 125 bytes; by default random ones.
            timeout: Seconds to wait; by default the connection's.

        Raises:
            ConnectionClosed: It has ended.
            TimeoutError: No answer came.
            ValueError: The payload is too long.
        """
        begun = monotonic()
        deadline = self._deadline(timeout)
        self.begin_ping(payload)
        while self.is_ping_open:
            if self._engine.state is not OPEN:
                raise self._engine.closed_error()
            self._read(deadline, "the answer to a ping", timeout)
        return monotonic() - begun

    def begin_ping(self, payload: bytes | str = b"") -> None:
        """Send a ping, and wait for nothing; ``is_ping_open`` tells whether it has been answered."""
        self._notice_end()
        self._engine.ping(payload.encode() if isinstance(payload, str) else payload or os.urandom(4))
        self._flush()

    @property
    def is_ping_open(self) -> bool:
        """Whether the last ping is not answered yet, as far as is known."""
        return self._engine.ping_payload is not None

    # The end

    def close(self, code: int | None = 1000, reason: str = "", timeout: float | None = None) -> None:
        """Close it, and wait for the server's close frame; without effect when it has ended. Messages are dropped.

        Args:
            code: The close code; None for none.
            reason: Up to 123 bytes.
            timeout: Seconds to wait; by default the connection's.

        Raises:
            TimeoutError: The server did not answer; the connection is gone nevertheless.
            ValueError: A code that may not be sent, or a reason that is too long; nothing was sent.
        """
        deadline = self._deadline(timeout)
        self._engine.close(code, reason)
        self._engine.messages.clear()
        try:
            self._flush()
            while not self._engine.finished:
                self._read(deadline, "the server's close frame", timeout)
            self._flush()
        finally:
            self.drop()

    def finish(self, code: int = 1000, timeout: float | None = None) -> list[str | bytes]:
        """Close it, and return all messages that come before the server's close frame.

        An application may still answer what came before ours. ``close_code`` is the server's answer then, which
        repeats ours unless the application has closed first. Arguments and errors as in ``close``.
        """
        deadline = self._deadline(timeout)
        messages: list[str | bytes] = []
        frame = encode_close(code)
        try:
            # Past the engine, for which it stays open: after our close frame it would deliver no message.
            self._write(frame, "the server to take the close frame")
            self._has_said_goodbye = True
            while (message := self._take()) is not None or self._engine.state is OPEN:
                if message is None:
                    self._read(deadline, "the server's close frame", timeout)
                else:
                    messages.append(message)
        except ConnectionClosed:
            pass
        finally:
            self.drop()
        return messages

    def drop(self) -> None:
        """End the connection without a word, as a client does whose network is gone."""
        self._engine.receive_eof()
        self._sock.close()

    def __enter__(self) -> ClientConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it with 1000; after an exception just drop it, which must not be hidden by a second one."""
        if kind is None:
            self.close()
        else:
            self.drop()

    # Bytes

    def _deadline(self, timeout: float | None) -> float | None:
        seconds = self.timeout if timeout is None else timeout
        return None if seconds is None else monotonic() + seconds

    def _take(self) -> str | bytes | None:
        """Return a message that has come; None when there is none, but may be.

        Raises:
            ConnectionClosed: None will come.
        """
        engine = self._engine
        if not engine.messages:
            self._notice_end()
            engine.check_open()
            return None
        message: Any = engine.messages.popleft()  # never a piece of one: none is asked for
        opcode, payload = message
        if engine.has_rest:
            engine.receive(b"")
        self._count += 1
        return payload.decode() if opcode == TEXT else bytes(payload)

    def _notice_end(self) -> None:
        """Carry out the end that the server has caused, once its messages have been taken."""
        engine = self._engine
        if engine.ending is not None and not engine.messages:
            engine.settle()
        if engine.output:
            self._flush()
        if engine.finished and not engine.messages:
            self._sock.close()

    def _read(self, deadline: float | None, what: str, timeout: float | None) -> None:
        left = None if deadline is None else deadline - monotonic()
        if left is None or left > 0:
            self._sock.settimeout(left)
            if self._receive():
                return
        raise TimeoutError(self._waited_for(what, self.timeout if timeout is None else timeout))

    def _receive(self) -> bool:
        """Take bytes from the server; return False when none came in time."""
        try:
            data = self._sock.recv(65_536)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:  # a reset is an end, too
            data = b""
        if data:
            self._engine.receive(data)
            if self._engine.output:
                self._flush()
        else:
            self.drop()  # what came before is still delivered
        return True

    def _flush(self) -> None:
        output = b"".join(map(_masked, self._engine.take_output()))
        if self._has_said_goodbye:
            return  # nothing comes after a close frame (5.5.1)
        try:
            self._sock.settimeout(self.timeout)
            self._sock.sendall(output)
        except OSError:
            pass  # the end of the stream tells

    def _write(self, frame: bytes, what: str) -> None:
        try:
            self._sock.settimeout(self.timeout)
            self._sock.sendall(_masked(frame))
        except TimeoutError:
            raise TimeoutError(self._waited_for(what, self.timeout)) from None
        except OSError:
            # The server has closed: its close frame, and what it sent before, lies in our buffer.
            self._sock.settimeout(0.0)
            while self._sock.fileno() >= 0 and self._receive():
                pass
            self.drop()
            raise self._engine.closed_error() from None

    def _waited_for(self, what: str, seconds: float | None) -> str:
        came = f"{self._count} message{'' if self._count == 1 else 's'} came before"
        return f"{self.url}: waited {seconds or 0:g} s for {what}; {came}"


def _masked(frame: bytes) -> bytes:
    """Return a frame of the engine's as a client sends it."""
    size = frame[1]
    end = 2 if size < 126 else 4 if size == 126 else 10
    key = os.urandom(4)
    return bytes((frame[0], size | MASKED)) + frame[2:end] + key + unmask(key, frame[end:])
