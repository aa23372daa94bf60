"""Who the client is where proxies stand between: what they say of its address, host, port and scheme.

``Proxies`` decides once a request, before anybody looks at it, and writes what it decides where CGI has it: into
REMOTE_ADDR, REMOTE_PORT, HTTP_HOST and SERVER_PORT. So all that ask, be it a limit, a route, a log or the application,
gets the same answer. The scheme is ``client_scheme``'s to say (``request.base``), since a route may still set it.

Source: the headers are no standard; uWSGI reads X-Forwarded-Proto and -SSL. RFC 7239's Forwarded is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from uwsgi_ws.protocol.http.grammar import HOST

__all__ = ["Proxies"]

#: What a client may not say of itself.
_SAID_BY_PROXIES: Final = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_SSL",
)
#: An address as X-Forwarded-For has it, some with a port.
_ADDRESS: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
#: Proxies in a row that are asked: a client may have written a long list before them.
_MOST_HOPS: Final = 32
_USUAL_PORTS: Final = ("80", "443")


class Proxies:
    """The proxies that are believed.

    Args:
        networks: Their addresses. A peer without one came by a unix socket, whose file's mode says who may.
    """

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def settle(self, variables: dict[str, str]) -> bool:
        """Make a request's variables those of the client; return whether one of these proxies has sent it.

        What anybody else says is as if it had not been sent. To be called once a request.
        """
        peer = variables.get("REMOTE_ADDR", "")
        if not self._has(peer):
            for name in _SAID_BY_PROXIES:
                variables.pop(name, None)
            return False
        client = self._client(peer, variables.get("HTTP_X_FORWARDED_FOR", ""))
        if client != peer:
            # nginx's words for the connection's own end (its $realip_remote_addr).
            variables["REALIP_REMOTE_ADDR"] = peer
            variables["REALIP_REMOTE_PORT"] = variables.get("REMOTE_PORT", "")
            variables["REMOTE_ADDR"] = client
            variables["REMOTE_PORT"] = "0"  # which nobody has told
        # The last: a proxy that appends, as Apache does, leaves what the client itself has sent before it.
        host = _last(variables.get("HTTP_X_FORWARDED_HOST", ""))
        if HOST.fullmatch(host):
            variables["HTTP_HOST"] = host
        port = _last(variables.get("HTTP_X_FORWARDED_PORT", ""))
        if _PORT.fullmatch(port):
            variables["SERVER_PORT"] = port
            host = variables.get("HTTP_HOST", "")
            if host and port not in _USUAL_PORTS and not re.search(r":[0-9]*$", host):
                variables["HTTP_HOST"] = f"{host}:{port}"
        return True

    def _has(self, address: str) -> bool:
        if not address:
            return True
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        if peer.version == 6 and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self._networks)

    def _client(self, peer: str, forwarded: str) -> str:
        """Return the last address that is no proxy's of these: what stands before it anybody may have written."""
        client = peer
        for entry in reversed(forwarded.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
            found = _ADDRESS.fullmatch(entry.strip(" \t"))
            address = found and (found[1] or found[2] or found[3])
            try:
                client = str(ip_address(address or ""))
            except ValueError:
                break  # "unknown", or nonsense: the proxy before is the nearest that is known
            if not self._has(client):
                break
        return client


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip(" \t")
