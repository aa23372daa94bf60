"""``--post-buffering``: a ``wsgi.input`` that keeps the body, so that it can be read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

from uwsgi_ws.wsgi.input import BodyFile
from uwsgi_ws.wsgi.runner import Application

__all__ = ["KeptBody", "keeping_bodies"]

_PIECE = 65_536


def keeping_bodies(application: Application, in_memory: int) -> Application:
    """Return an application that calls ``application`` with such an input.

    Args:
        application: To be called.
        in_memory: Bytes of a body that are kept in memory; a longer body goes to a file without a name.
    """

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.input"] = KeptBody(environ["wsgi.input"], in_memory)
        return application(environ, start_response)

    return call


class KeptBody:
    """A request's body as a file with ``seek`` and ``tell``; read whole when the application first asks for it.

    Args:
        body: As it comes from the client.
        in_memory: Bytes that are kept in memory.

    Reading raises BodyError, as ``BodyFile`` does.
    """

    def __init__(self, body: BodyFile, in_memory: int) -> None:
        self._body = body
        self._in_memory = in_memory
        self._kept: SpooledTemporaryFile[bytes] | None = None

    def __del__(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def _file(self) -> SpooledTemporaryFile[bytes]:
        if self._kept is None:
            kept: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=self._in_memory)  # noqa: SIM115 - it stays open
            try:
                while piece := self._body.read_chunk():
                    kept.write(piece)
            except BaseException:
                kept.close()
                raise
            kept.seek(0)
            self._kept = kept
        return self._kept

    def fileno(self) -> int:
        """Return the descriptor that ``uwsgi.connection_fd`` returns."""
        return self._body.fileno()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes; all that are left for -1 or None."""
        return self._file().read(-1 if size is None else size)

    def readline(self, size: int | None = -1) -> bytes:
        """Return one line with its end, or the first ``size`` bytes of it."""
        return self._file().readline(-1 if size is None else size)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Return the lines that are left, stopping after ``hint`` bytes."""
        return self._file().readlines(-1 if hint is None else hint)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position in the body, and return it."""
        self._file().seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._file().tell()

    def read_chunk(self) -> bytes:
        """Return the next piece, ``b""`` at the end (uWSGI's ``chunked_read``)."""
        return self._file().read(_PIECE)

    def read_chunk_now(self) -> bytes | None:
        """Return the next piece too; only the first read of a body waits for the client."""
        return self.read_chunk()

    def close(self) -> None:
        """Do nothing: the server closes what it opened."""
