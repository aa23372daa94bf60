"""``wsgi.input``: the request's body as a file, read from the client only as the application asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import index

from uwsgi_ws.request.base import Request

__all__ = ["BodyFile"]

#: The largest size that is taken as it is: longer than memory can be. Added to what was read, it still fits into a C
#: integer.
_LONGEST = sys.maxsize // 2


class BodyFile:
    """A request's body (PEP 3333). It never reads past the end, and holds one piece at a time.

    The rest of that piece begins at ``_start``: cutting off its front for each line would take quadratic time.

    Reading raises BodyError, an OSError, when the body is malformed, too large, late or cut short.
    """

    __slots__ = ("_at_end", "_held", "_request", "_start")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._held = b""
        self._start = 0
        self._at_end = False

    def fileno(self) -> int:
        """Return the descriptor that ``uwsgi.connection_fd`` returns."""
        request = self._request
        return request.fileno() if request.websocket is None else request.websocket.fileno()

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end of the body; all of it for -1 or None."""
        limit = _limit(size)
        if limit < 0:
            parts = []
            while piece := self.read_chunk():
                parts.append(piece)
            return b"".join(parts)
        parts = []
        while limit > 0 and self._hold():
            parts.append(self._take(limit))
            limit -= len(parts[-1])
        return b"".join(parts)

    def readline(self, size: int | None = -1) -> bytes:
        """Return one line with its end, or the first ``size`` bytes of it; ``b""`` at the end of the body."""
        limit = _limit(size)
        parts: list[bytes] = []
        length = 0
        while limit != length and self._hold():
            size = (self._held.find(b"\n", self._start) + 1 or len(self._held)) - self._start
            if limit >= 0:
                size = min(size, limit - length)
            part = self._take(size)
            parts.append(part)
            length += size
            if part.endswith(b"\n"):
                break
        return b"".join(parts)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Return the lines that are left, stopping after ``hint`` bytes."""
        limit = _limit(hint)
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if 0 < limit <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def read_chunk(self) -> bytes:
        """Return the next piece, ``b""`` at the end (uWSGI's ``chunked_read``)."""
        if not self._hold():
            return b""
        return self._take(len(self._held))

    def read_chunk_now(self) -> bytes | None:
        """Return what ``read_chunk`` would if it need not wait, else None."""
        if self._start < len(self._held) or self._at_end:
            return self.read_chunk()
        piece = self._request.read_body_now()
        if piece is not None:
            self._at_end = not piece
        return piece

    def receive(self, size: int) -> None:
        """Wait for ``size`` bytes, or the end of the body; they can be read without waiting then."""
        pieces = [self._held[self._start :]]
        came = len(pieces[0])
        while came < size and not self._at_end:
            piece = self._request.read_body()
            self._at_end = not piece
            pieces.append(piece)
            came += len(piece)
        self._held = b"".join(pieces)
        self._start = 0

    def close(self) -> None:
        """Do nothing: the server closes what it opened."""

    def _hold(self) -> bool:
        """Have some of the body here, waiting if necessary; return False at its end."""
        if self._start == len(self._held) and not self._at_end:
            self._start = 0
            self._held = b""
            self._held = self._request.read_body()
            self._at_end = not self._held
        return self._start < len(self._held)

    def _take(self, size: int) -> bytes:
        start = self._start
        part = self._held[start : start + size]
        self._start = start + len(part)
        if self._start == len(self._held):
            self._held = b""
            self._start = 0
        return part


def _limit(size: int | None) -> int:
    """Return how many bytes an application asks for, -1 for all of them."""
    if size is None:
        return -1
    return min(max(index(size), -1), _LONGEST)
