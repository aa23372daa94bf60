"""The PROXY protocol over a stream: who the client behind a proxy is, before any front looks at its bytes."""

from __future__ import annotations

from time import monotonic

import gevent

from uwsgi_ws.errors import PeerError
from uwsgi_ws.fronts.peer import Peer
from uwsgi_ws.net.stream import SocketStream
from uwsgi_ws.protocol.proxy import is_header, parse_header

__all__ = ["ProxyFront", "proxied_peer"]


class ProxyFront:
    """Stands for a client whose proxy has yet to say who it is; see Front.

    Args:
        stream: The connection, which is another's to read and to close.
    """

    request = None
    is_idle = has_streams = has_moments = False

    def __init__(self, stream: SocketStream) -> None:
        self.owes_since = monotonic()
        self.is_evicted = False
        self._stream = stream

    def run(self) -> None:
        """See Front: there is nothing to serve yet."""

    def progress(self) -> int | None:
        """See Front: there is no request yet."""
        return None

    def evict(self) -> None:
        """See Front."""
        self.is_evicted = True
        self._stream.expire()

    def goodbye(self) -> None:
        """See Front."""


#: Seconds between two looks at a connection of which not enough has come to tell a header from a request.
_PATIENCE = 0.02


def proxied_peer(stream: SocketStream, peer: Peer, timeout: float, *, may_lack: bool = False) -> Peer | None:
    """Read the header and return the client that it tells of; None when the proxy has left.

    Not a byte behind the header is taken: what follows, be it HTTP or TLS, is for another to read.

    Args:
        stream: A new connection.
        peer: Who is at its ends.
        timeout: Seconds for all of the header.
        may_lack: There may be no header: then the peer is the client, and no byte is taken.

    Raises:
        PeerError: there is no header, or it is malformed or late.
        OSError: the connection is broken.
    """
    deadline = monotonic() + timeout
    if may_lack and not _begins_with_header(stream, deadline):
        return peer
    seen = b""
    while True:
        try:
            data = stream.peek(max(0.0, deadline - monotonic()))
        except TimeoutError:
            raise PeerError("the PROXY header did not come in time") from None
        if not data:
            return None
        header = parse_header(seen + data)
        if header is not None:
            stream.skip(header.size - len(seen))
            break
        stream.skip(len(data))
        seen += data
    if header.source is not None:
        peer = peer._replace(remote_address=header.source[0], remote_port=header.source[1])
    return peer._replace(scheme="https") if header.is_tls else peer


def _begins_with_header(stream: SocketStream, deadline: float) -> bool:
    """Wait until it shows whether a connection begins with a header; a client that sends nothing has none."""
    while True:
        try:
            answer = is_header(stream.peek(max(0.0, deadline - monotonic())))
        except TimeoutError:
            return False
        if answer is not None or monotonic() >= deadline:
            return bool(answer)
        gevent.sleep(_PATIENCE)  # what is there already would wake us again at once
