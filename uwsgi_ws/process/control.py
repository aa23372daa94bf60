"""``--control``: what operators ask of a running instance and tell it, by ``python -m uwsgi_ws ctl``.

A client sends one line of JSON, and gets lines of JSON. The last has ``is_last``, and ``error`` where it went wrong.
What the workers know, the master asks them for, each through a pair of sockets that it has made before the first fork.
It waits for none: their answers come in the same loop, and a client whose workers do not answer in time is told so.

A unix socket is its owner's alone (mode 0600). A TCP address must be one of this machine, where every user may connect,
so there each request needs the token.
"""

from __future__ import annotations

import hmac
import json
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

from uwsgi_ws.addresses import Address
from uwsgi_ws.options import Options
from uwsgi_ws.process.control_pairs import ControlPairs
from uwsgi_ws.process.responder import Client, Responder
from uwsgi_ws.protocol.websocket.frames import is_valid_close_code

__all__ = ["Control", "Target"]

_MOST_ASKED = 60_000  # bytes of a request: as many go to a worker in one packet
_TIMEOUT = 10.0  # seconds for the workers' answers
_MOST_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """A worker that can be asked."""

    worker_id: int
    seat: int
    pid: int


@dataclass(slots=True, eq=False)
class _Asking:
    """A client whose answer is not whole yet.

    Attributes:
        seats: Of the workers that still owe an answer.
        totals: Numbers of theirs, summed up.
    """

    client: Client
    seats: set[int]
    totals: dict[str, int] = field(default_factory=dict)
    error: str = ""


class Control(Responder):
    """The address of ``--control``, and its clients.

    Args:
        options: They name it, and the token's file.
        pairs: The way to the workers.
        targets: Returns the workers that serve.
        status: Returns how the instance is.
        orders: What may be done to the instance, by name.

    Raises:
        OptionError: The address cannot be bound, or is not protected.
    """

    def __init__(
        self,
        options: Options,
        pairs: ControlPairs,
        targets: Callable[[], Sequence[Target]],
        status: Callable[[], dict[str, Any]],
        orders: dict[str, Callable[[dict[str, Any]], object]],
    ) -> None:
        self._token = _token(options)
        for address in options.control:
            _check(options, address, has_token=bool(self._token))
        super().__init__(options, "control", options.control, is_asked=True, is_private=True, timeout=_TIMEOUT)
        self._pairs = pairs
        self._targets = targets
        self._status = status
        self._orders = orders
        self._asking: dict[int, _Asking] = {}
        self._last_id = 0

    def register(self, poll: select.poll) -> None:
        """See Responder."""
        super().register(poll)
        for seat in {seat for asking in self._asking.values() for seat in asking.seats}:
            poll.register(self._pairs.masters[seat], select.POLLIN)

    def serve(self) -> None:
        """See Responder."""
        if self._asking:
            self._hear()
        super().serve()

    def _is_asked_for_all(self, client: Client) -> bool:
        """See Responder."""
        return b"\n" in client.asked

    def _respond(self, client: Client) -> None:
        """See Responder."""
        try:
            request = json.loads(client.asked.partition(b"\n")[0])
            if not isinstance(request, dict):
                raise ValueError("a request is an object")
            if self._token and not hmac.compare_digest(str(request.get("token", "")).encode(), self._token):
                raise ValueError("this needs the token")
            self._do(client, request)
        except (KeyError, TypeError, ValueError) as exc:
            self._finish(client, error=f"no {exc}" if isinstance(exc, KeyError) else str(exc))

    def _do(self, client: Client, request: dict[str, Any]) -> None:
        what = request.get("do")
        if what == "status":
            self._finish(client, **self._status())
        elif what in self._orders:
            self._orders[what](request)
            self._finish(client)
        elif what == "list":
            limit = min(max(int(request.get("limit", 1_000)), 1), _MOST_LISTED)
            question = {"limit": limit, "path": str(request.get("path", "")), "peer": str(request.get("peer", ""))}
            self._ask(client, self._targets(), do="list", **question)
        elif what == "close":
            code, reason = request.get("code", 1000), str(request.get("reason", ""))
            if not isinstance(code, int) or not is_valid_close_code(code):
                raise ValueError(f"{code!r} is no close code that may be sent, such as 1000 or 3000 to 4999")
            name = str(request["connection"])
            targets = [each for each in self._targets() if name.startswith(f"{each.pid}-")]
            if not targets:
                raise ValueError(f"there is no connection {name!r}")
            self._ask(client, targets, do="close", connection=name, code=code, reason=reason)
        elif what == "publish":
            self._ask(
                client,
                self._targets()[:1],
                do="publish",
                channel=str(request["channel"]),
                message=str(request["message"]),
            )
        else:
            known = ", ".join(sorted(("status", "list", "close", "publish", *self._orders)))
            raise ValueError(f"{what!r} is none of {known}")

    def _ask(self, client: Client, targets: Sequence[Target], **question: Any) -> None:
        """Ask workers; the client waits until all have answered."""
        if not targets:
            raise ValueError("no worker serves")
        self._last_id += 1
        asking = _Asking(client, set())
        for target in targets:
            packet = json.dumps({"id": self._last_id, "pid": target.pid, **question}).encode()
            try:
                self._pairs.masters[target.seat].send(packet)
                asking.seats.add(target.seat)
            except OSError:
                asking.error = f"worker {target.worker_id} takes no questions"
        client.is_waiting = True
        self._asking[self._last_id] = asking
        self._conclude(self._last_id)

    def _hear(self) -> None:
        """Take what workers have answered, and give up those that do not."""
        for seat in {seat for asking in self._asking.values() for seat in asking.seats}:
            for answer in _packets(self._pairs.masters[seat]):
                asking = self._asking.get(answer.pop("id", 0))
                if asking is None or seat not in asking.seats:
                    continue  # its client has left
                asking.error = answer.pop("error", "") or asking.error
                if answer.pop("is_last", False):
                    asking.seats.discard(seat)
                for name in [name for name, value in answer.items() if isinstance(value, int)]:
                    asking.totals[name] = asking.totals.get(name, 0) + answer.pop(name)
                if answer:
                    asking.client.say(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
        living = {target.seat for target in self._targets()}
        for number, asking in list(self._asking.items()):
            late = asking.seats if monotonic() > asking.client.until - 1 else asking.seats - living
            if late:
                asking.error = f"{len(late)} workers have not answered"
                asking.seats -= late
            if asking.client not in self._clients:
                del self._asking[number]
            else:
                self._conclude(number)

    def _conclude(self, number: int) -> None:
        asking = self._asking[number]
        if not asking.seats:
            del self._asking[number]
            if asking.totals.get("closed") == 0:
                asking.error = asking.error or "there is no such connection"
            self._finish(asking.client, **({"error": asking.error} if asking.error else asking.totals))

    def _finish(self, client: Client, **answer: Any) -> None:
        client.say(json.dumps({**answer, "is_last": True}, separators=(",", ":")).encode() + b"\n")
        client.is_waiting = False


def _packets(sock: socket.socket) -> Iterator[dict[str, Any]]:
    while True:
        try:
            data = sock.recv(1 << 20)
        except OSError:
            return
        if not data:
            return
        yield json.loads(data)


def _token(options: Options) -> bytes:
    if options.control_token is None:
        return b""
    try:
        token = Path(options.control_token).read_bytes().split(b"\n")[0].strip()
    except OSError as exc:
        raise options.error("control-token", f"cannot read {options.control_token!r}: {exc.strerror}") from exc
    if len(token) < 16:
        raise options.error("control-token", f"{options.control_token!r} holds {len(token)} bytes, 16 at least")
    return token


def _check(options: Options, address: Address, *, has_token: bool) -> None:
    """Refuse an address that others may reach."""
    if address.family == "unix" and not address.is_abstract:
        return
    if address.family == "tcp":
        try:
            is_local = address.host == "localhost" or ip_address(address.host).is_loopback
        except ValueError:
            is_local = False
        if not is_local:
            raise options.error("control", f"{address} can be reached from other machines, give 127.0.0.1:PORT")
    if not has_token:
        raise options.error(
            "control", f"every user of this machine may connect to {address}: give --control-token FILE"
        )
