"""TLS in front of another front: the handshake, then whatever was agreed on in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from uwsgi_ws.errors import RequestError
from uwsgi_ws.fronts.peer import Peer
from uwsgi_ws.fronts.stream_request import error_response
from uwsgi_ws.log.rationed import Rationed
from uwsgi_ws.net.tls import TlsStream
from uwsgi_ws.request.base import Front, Request

__all__ = ["TlsFront", "client_variables"]

_log = Rationed(logging.getLogger("uwsgi_ws.tls"))


class TlsFront:
    """Serves one client of an https address.

    Args:
        stream: The client's; nothing has been said yet.
        timeout: Seconds for the handshake.
        make: Called after it, returns the front that owns the stream from then on.
        peer: Who is at both ends.
    """

    def __init__(self, stream: TlsStream, timeout: float, make: Callable[[], Front], peer: Peer) -> None:
        self._stream = stream
        self._timeout = timeout
        self._make = make
        self._peer = peer
        self._began_at = monotonic()
        self._is_evicted = False
        self._front: Front | None = None

    @property
    def request(self) -> Request | None:
        """The request being answered, if any."""
        return None if self._front is None else self._front.request

    @property
    def is_idle(self) -> bool:
        """Whether the client expects that its connection may be closed."""
        return self._front is not None and self._front.is_idle

    @property
    def has_streams(self) -> bool:
        """See Front."""
        return self._front is not None and self._front.has_streams

    @property
    def has_moments(self) -> bool:
        """See Front."""
        return self._front is not None and self._front.has_moments

    @property
    def owes_since(self) -> float:
        """See Front."""
        return self._began_at if self._front is None else self._front.owes_since

    def progress(self) -> int | None:
        """See Front."""
        return None if self._front is None else self._front.progress()

    def evict(self) -> None:
        """See Front."""
        if self._front is not None:
            self._front.evict()
        else:
            self._is_evicted = True
            self._stream.expire()

    def goodbye(self) -> None:
        """See Front."""
        if self._front is not None:
            self._front.goodbye()

    def run(self) -> None:
        """Serve the client until its connection ends or is handed over."""
        try:
            self._stream.handshake(self._timeout)
            self._front = self._make()
        except OSError as exc:
            if not self._is_evicted:  # who ends many says it once
                _log.info("%s: no TLS handshake: %s", self._peer.name, exc)
            if getattr(exc, "reason", None) == "HTTP_REQUEST":
                self._stream.refuse(error_response(RequestError(400, "this address speaks https")))
        finally:
            if self._front is None:
                self._stream.close()
        if self._front is not None:
            self._front.run()


def client_variables(stream: TlsStream, with_certificate: bool) -> dict[str, str]:
    """Return the CGI variables that TLS adds to each request of a connection.

    ``HTTPS`` is ``on``; ``HTTPS_DN`` is the subject of the client's certificate, if it has shown one.

    Args:
        stream: After its handshake.
        with_certificate: Whether to add the certificate itself, as PEM, in ``HTTPS_CC``.

    Source: uWSGI's plugins/http/https.c (``hr_https_add_vars``).
    """
    variables = {"HTTPS": "on"}
    name = stream.client_name()
    if name is not None:
        variables["HTTPS_DN"] = name
        certificate = stream.client_certificate() if with_certificate else None
        if certificate is not None:
            variables["HTTPS_CC"] = certificate
    return variables
