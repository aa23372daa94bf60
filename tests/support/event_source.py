"""A client for Server-Sent Events (HTML standard, 9.2), strict about the framing of the response."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from support.http_client import TIMEOUT, request_bytes


@dataclass(frozen=True)
class Event:
    """What a page gets."""

    data: str
    kind: str = "message"
    id: str = ""


class EndOfEvents(Exception):
    """The response has ended."""


class EventSource:
    """Reads the events of one response.

    Args:
        sock: What bytes come by: a socket, or a stream of HTTP/2.
        is_http1: Whether the response's head comes by it too, and perhaps chunks.

    Attributes:
        status: Of the response.
        headers: Of the response, their names in lower case.
        retry: Milliseconds after which the server wants its client back.
        comments: How many have come.
        last_id: The last id that has come: what a browser sends as Last-Event-ID.
    """

    def __init__(self, sock: Any, *, is_http1: bool = True, last_id: str = "") -> None:
        self.sock = sock
        self.status = 0
        self.headers: dict[str, str] = {}
        self.retry: int | None = None
        self.comments = 0
        self.last_id = last_id
        self._raw = bytearray()
        self._text = bytearray()
        self._is_chunked = False
        if is_http1:
            self._read_head()

    def __enter__(self) -> EventSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def next(self) -> Event:
        """Wait for the next event.

        Raises:
            EndOfEvents: the response has ended as it should: by its last chunk, or the end of the stream.
        """
        while (event := self._block()) is None:
            pass
        return event

    def until_comment(self) -> list[Event]:
        """Return the events that come before the next comment, which is sent when nothing else waits."""
        found = []
        comments = self.comments
        while comments == self.comments:
            event = self._block()
            if event is not None:
                found.append(event)
        return found

    def _block(self) -> Event | None:
        """Read to the next blank line; return the event that it ends, if there is one."""
        data: list[str] = []
        kind = "message"
        while line := self._line():
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not name:
                self.comments += 1
            elif name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                self.last_id = value
            else:
                assert name == "retry", line
                self.retry = int(value)
        return Event("\n".join(data), kind, self.last_id) if data else None

    def wait_for_comment(self) -> None:
        """Wait for a comment, before which no event may come."""
        assert self.until_comment() == []

    def wait_for_end(self) -> None:
        """Pass over comments until the response ends; an event fails."""
        try:
            event = self.next()
        except EndOfEvents:
            return
        raise AssertionError(f"{event} came")

    def _read_head(self) -> None:
        while b"\r\n\r\n" not in self._raw:
            self._fill()
        head, _, rest = bytes(self._raw).partition(b"\r\n\r\n")
        self._raw = bytearray(rest)
        line, *fields = head.decode().split("\r\n")
        self.status = int(line.split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        self._is_chunked = self.headers.get("transfer-encoding") == "chunked"

    def _line(self) -> str:
        while b"\n" not in self._text:
            self._text += self._piece()
        line, _, rest = bytes(self._text).partition(b"\n")
        self._text = bytearray(rest)
        return line.decode()

    def _piece(self) -> bytes:
        if not self._is_chunked:
            if not self._raw:
                self._fill(may_end=True)
            piece, self._raw = bytes(self._raw), bytearray()
            return piece
        while b"\r\n" not in self._raw:
            self._fill()
        size = int(bytes(self._raw).partition(b"\r\n")[0], 16)
        begin = self._raw.index(b"\r\n") + 2
        while len(self._raw) < begin + size + 2:
            self._fill()
        piece = bytes(self._raw[begin : begin + size])
        assert self._raw[begin + size : begin + size + 2] == b"\r\n"
        del self._raw[: begin + size + 2]
        if not size:
            raise EndOfEvents
        return piece

    def _fill(self, *, may_end: bool = False) -> None:
        data = self.sock.recv(65_536)
        if not data:
            if may_end:
                raise EndOfEvents
            raise AssertionError(f"the response was cut off; so far {bytes(self._raw)!r:.200}")
        self._raw += data


def open_events(
    address: tuple[str, int], target: str, *headers: tuple[str, str], version: str = "HTTP/1.1"
) -> EventSource:
    """Open an event stream, as a browser does."""
    sock = socket.create_connection(address, TIMEOUT)
    try:
        sock.sendall(request_bytes("GET", target, (("Accept", "text/event-stream"), *headers), version=version))
        return EventSource(sock)
    except BaseException:
        sock.close()
        raise
