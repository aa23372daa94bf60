"""The uwsgi protocol over a stream: one packet, one response, and the connection ends."""

from __future__ import annotations

import logging
from time import monotonic

from uwsgi_ws.errors import RequestError
from uwsgi_ws.fronts.bytestream import StreamFront
from uwsgi_ws.fronts.stream_request import StreamRequest
from uwsgi_ws.log import escape
from uwsgi_ws.protocol.http.http1 import Head, RequestParser
from uwsgi_ws.protocol.uwsgi import PacketParser
from uwsgi_ws.request.mounts import MODIFIER1, PERL

__all__ = ["UwsgiFront"]


_log = logging.getLogger("uwsgi_ws.uwsgi")

#: What the log has been told of; a peer that invents names fills it once.
_said: set[str] = set()
_MOST_SAID = 64


def _say_once(name: str) -> None:
    """Log, once a name, that a front server says two things."""
    if name not in _said and len(_said) < _MOST_SAID:
        _said.add(name)
        _log.warning("a front server sends %s twice with different values; the last one counts", escape(name))


class UwsgiFront(StreamFront):
    """Reads a request by ``protocol.uwsgi``. For the arguments see StreamFront."""

    __slots__ = ("_packet",)

    def _prepare(self) -> None:
        """See StreamFront."""
        self._packet = PacketParser(self.settings.limits)

    @property
    def is_idle(self) -> bool:
        """See StreamFront: nobody keeps such a connection for another request."""
        return False

    def _next_request(self) -> StreamRequest | None:
        """See StreamFront."""
        stream = self.stream
        assert stream is not None
        packet = self._packet
        assert self._head_due is not None, "a packet is the first thing, and the only one"
        deadline = self._head_due
        while (head := packet.next_head()) is None:
            try:
                data = stream.recv(max(0.0, deadline - monotonic()))
            except TimeoutError:
                if packet.has_partial:
                    raise RequestError(408, "the uwsgi packet did not come in time") from None
                data = b""
            if not data:
                return None
            packet.receive(data)
        for name in packet.contradicted:
            _say_once(name)
        if packet.modifier1 == PERL and self.settings.marks_perl:
            head.variables[MODIFIER1] = str(PERL)
        self.parser = RequestParser.of_body(self.settings.limits, head)
        rest = packet.take_rest()
        if rest:
            self.parser.receive(rest)
        return UwsgiRequest(self, head)


class UwsgiRequest(StreamRequest):
    """A request that a front server made a packet of."""

    __slots__ = ()

    #: How long its client's connection lives is the front server's to say: uWSGI's router keeps it only when nothing
    #: here asks it not to.
    _CLOSE = ""
    carrier = "uwsgi"

    def __init__(self, front: UwsgiFront, head: Head) -> None:
        environ = head.variables
        # PEP 3333 wants them; a front server knows better and usually says so.
        for name, value in front.peer.variables().items():
            environ.setdefault(name, value)
        super().__init__(front, head)
        # The response is passed on to a client of any version, and fronts do not take a transfer coding off.
        self._takes_chunks = False

    @property
    def carrier_scheme(self) -> str:
        """See Request: the front server says in its variables what else there is to say."""
        return "http"
