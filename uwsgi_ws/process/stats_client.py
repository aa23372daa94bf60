"""``--connect-and-read``: prints what a socket sends to those that connect, such as the one of ``--stats``."""

from __future__ import annotations

import socket
import sys

from uwsgi_ws.addresses import Address

__all__ = ["print_what_comes_from"]

_PATIENCE = 5.0  # seconds for each step


def print_what_comes_from(address: Address) -> int:
    """Print all that comes until the other side ends the connection; return the exit status."""
    try:
        with _connected(address) as sock:
            while piece := sock.recv(65_536):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
    except OSError as exc:
        print(f"uwsgi_ws: cannot read from {address}: {exc.strerror or exc}", file=sys.stderr)
        return 1
    return 0


def _connected(address: Address) -> socket.socket:
    if address.family == "tcp":
        return socket.create_connection((address.host, address.port), _PATIENCE)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(_PATIENCE)
        sock.connect(address.path)
    except OSError:
        sock.close()
        raise
    return sock
