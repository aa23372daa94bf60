"""Which peers of a listening socket are believed: by their address, or by whose process they are."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

from uwsgi_ws.addresses import Trusted, User
from uwsgi_ws.users import user_id

__all__ = ["LOOPBACK", "PeerFilter", "peer_name", "peer_uid"]

LOOPBACK: tuple[Trusted, ...] = (ip_network("127.0.0.0/8"), ip_network("::1"))

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class PeerFilter:
    """The peers that some rules name.

    A peer over TCP must have an address of one of their networks. Who may connect to a unix socket is its file's
    mode to say; users among the rules narrow that down to processes of theirs.

    Args:
        rules: Addresses, networks and users.

    Raises:
        ValueError: a user does not exist here.
    """

    def __init__(self, rules: Iterable[Trusted]) -> None:
        rules = tuple(rules)
        self._networks = [rule for rule in rules if not isinstance(rule, User)]
        self._uids = {user_id(rule.name) for rule in rules if isinstance(rule, User)}

    def admits(self, sock: Any, address: Any) -> bool:
        """Say whether a connection's peer is one of them; ``address`` is what ``accept`` returned."""
        if isinstance(address, tuple):
            peer = ip_address(address[0].partition("%")[0])
            return any(peer in network for network in self._networks)
        return not self._uids or peer_uid(sock) in self._uids


def peer_name(sock: Any, address: Any) -> str:
    """Return what to call a peer in the log."""
    return str(address[0]) if isinstance(address, tuple) else f"a process of uid {peer_uid(sock)}"


def peer_uid(sock: Any) -> int:
    """Return whose process is at the other end of a unix socket (``SO_PEERCRED``)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    return uid
