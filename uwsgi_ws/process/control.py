"""``--control``: what operators ask of a running instance and tell it, by ``python -m uwsgi_ws ctl``.

A client sends one line of JSON, and gets lines of JSON. What they say is ``operations``.

A unix socket is its owner's alone (mode 0600). A TCP address must be one of this machine, where every user may connect,
so there each request needs the token.
"""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

from uwsgi_ws.addresses import Address
from uwsgi_ws.options import Options
from uwsgi_ws.process.operations import Operations, parse_request
from uwsgi_ws.process.responder import Client, Responder

__all__ = ["Control", "read_token"]

_TIMEOUT = 10.0  # seconds for a client's request, the workers' answers, and for taking them


class _Lines:
    """The answer to a client: a line for each piece."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def is_gone(self) -> bool:
        """See Reply."""
        return self._client.is_gone

    def add(self, piece: dict[str, Any]) -> None:
        """See Reply."""
        self._client.say(json.dumps(piece, separators=(",", ":")).encode() + b"\n")
        if piece.get("is_last"):
            self._client.is_waiting = False


class Control(Responder):
    """The address of ``--control``, and its clients.

    Args:
        options: They name it, and the token's file.
        operations: What clients ask for.

    Raises:
        OptionError: The address cannot be bound, or is not protected.
    """

    def __init__(self, options: Options, operations: Operations) -> None:
        self._token = read_token(options, "control-token", options.control_token)
        for address in options.control:
            _check(options, address, has_token=bool(self._token))
        super().__init__(options, "control", options.control, is_asked=True, is_private=True, timeout=_TIMEOUT)
        self._operations = operations

    def _is_asked_for_all(self, client: Client) -> bool:
        """See Responder."""
        return b"\n" in client.asked

    def _respond(self, client: Client) -> None:
        """See Responder."""
        client.is_waiting = True
        reply = _Lines(client)
        try:
            request = parse_request(client.asked.partition(b"\n")[0])
            if self._token and not hmac.compare_digest(str(request.get("token", "")).encode(), self._token):
                raise ValueError("this needs the token")
            if request.get("do") == "watch":
                raise ValueError("watch is for --inspector")
            self._operations.begin(request, reply, _TIMEOUT - 1)
        except (KeyError, TypeError, ValueError) as exc:
            reply.add({"error": f"no {exc}" if isinstance(exc, KeyError) else str(exc), "is_last": True})


def read_token(options: Options, option: str, file: str | None) -> bytes:
    """Return the token that an option's file holds; nothing where there is none.

    Raises:
        OptionError: The file cannot be read, or the token is short.
    """
    if file is None:
        return b""
    try:
        token = Path(file).read_bytes().split(b"\n")[0].strip()
    except OSError as exc:
        raise options.error(option, f"cannot read {file!r}: {exc.strerror}") from exc
    if len(token) < 16:
        raise options.error(option, f"{file!r} holds {len(token)} bytes, 16 at least")
    return token


def _check(options: Options, address: Address, *, has_token: bool) -> None:
    """Refuse an address that others may reach."""
    if address.family == "unix" and not address.is_abstract:
        return
    if not address.is_of_this_machine:
        raise options.error("control", f"{address} can be reached from other machines, give 127.0.0.1:PORT")
    if not has_token:
        raise options.error(
            "control", f"every user of this machine may connect to {address}: give --control-token FILE"
        )
