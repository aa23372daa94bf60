"""What operators ask of a running instance and tell it; ``control`` and ``inspector`` are its faces.

A request is an object with ``do``; its answer comes in pieces, the last of which has ``is_last``, and ``error`` where
it went wrong. What the workers know, the master asks them for, each through a pair of sockets that it has made before
the first fork. It waits for none: their answers come in the same loop, and an operator whose workers do not answer in
time is told so. A worker that owes many answers is asked no further: it need not make up for them when it goes on.
"""

from __future__ import annotations

import json
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from uwsgi_ws.process.control_pairs import ControlPairs
from uwsgi_ws.protocol.websocket.frames import is_valid_close_code

__all__ = ["Operations", "Reply", "Target", "parse_request"]

_MOST_LISTED = 10_000
#: Questions that a worker may owe answers to, watches not counted.
_MOST_OWED = 32


@dataclass(frozen=True, slots=True)
class Target:
    """A worker's process.

    Attributes:
        life: The step of its life, in small letters.
    """

    worker_id: int
    seat: int
    pid: int
    life: str = ""

    @property
    def can_answer(self) -> bool:
        """Whether it may be asked."""
        return self.life not in ("ordered", "starting")


class Reply(Protocol):
    """Takes the answer to one request to the one who asked."""

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more."""

    def add(self, piece: dict[str, Any]) -> None:
        """Take a piece; the last has ``is_last``."""


@dataclass(slots=True, eq=False)
class _Asking:
    """A request whose answer is not whole yet.

    Attributes:
        seats: Of the workers that still owe an answer, each with its process.
        until: When those that have not answered are given up; None for a watch, which goes on.
        totals: Numbers of theirs, summed up.
        is_given_up: A watch that nobody wants any more; it is over when its worker has said so.
    """

    reply: Reply
    seats: dict[int, int]
    until: float | None
    totals: Counter[str] = field(default_factory=Counter)
    error: str = ""
    is_given_up: bool = False


class Operations:
    """Everything that is open at the moment.

    Args:
        pairs: The way to the workers.
        targets: Returns the workers' processes, those that serve first.
        status: Returns how the instance is.
        orders: What may be done to the instance, by name.
    """

    def __init__(
        self,
        pairs: ControlPairs,
        targets: Callable[[], Sequence[Target]],
        status: Callable[[], dict[str, Any]],
        orders: dict[str, Callable[[dict[str, Any]], object]],
    ) -> None:
        self._pairs = pairs
        self.targets = targets
        self._status = status
        self._orders = orders
        self._open: dict[int, _Asking] = {}
        self._owed: Counter[tuple[int, int]] = Counter()  # answers, by seat and process
        self._last_id = 0

    def register(self, poll: select.poll) -> None:
        """Have the master woken by what workers answer."""
        for seat in self._asked_seats():
            poll.register(self._pairs.masters[seat], select.POLLIN)

    def begin(self, request: dict[str, Any], reply: Reply, timeout: float) -> None:
        """Do what a request says.

        Args:
            request: As it came, its token apart.
            reply: Gets the answer, now or later.
            timeout: Seconds for the workers' answers.

        Raises:
            KeyError, TypeError, ValueError: The request is wrong, or cannot be done.
        """
        what = request.get("do")
        if what == "status":
            reply.add({**self._status(), "is_last": True})
        elif what in self._orders:
            self._orders[what](request)
            reply.add({"is_last": True})
        elif what == "list":
            question = {"path": str(request.get("path", "")), "peer": str(request.get("peer", ""))}
            self._ask(reply, self._able(), timeout, do="list", limit=_limit(request), **question)
        elif what == "channels":
            self._ask(reply, self._able(), timeout, do="channels", limit=_limit(request))
        elif what == "close":
            code, reason = request.get("code", 1000), str(request.get("reason", ""))
            if not isinstance(code, int) or not is_valid_close_code(code):
                raise ValueError(f"{code!r} is no close code that may be sent, such as 1000 or 3000 to 4999")
            name = str(request["connection"])
            self._ask(reply, self._owner(name), timeout, do="close", connection=name, code=code, reason=reason)
        elif what == "publish":
            question = {"channel": str(request["channel"]), "message": str(request["message"])}
            self._ask(reply, self._able()[:1], timeout, do="publish", **question)
        elif what == "watch":
            if "channel" in request:
                self._ask(reply, self._able()[:1], None, do="watch", channel=str(request["channel"]))
            else:
                name = str(request["connection"])
                self._ask(reply, self._owner(name), None, do="watch", connection=name)
        else:
            known = ", ".join(sorted(("status", "list", "channels", "close", "publish", "watch", *self._orders)))
            raise ValueError(f"{what!r} is none of {known}")

    def look(self) -> None:
        """Take what workers have answered, and give up those that do not."""
        if not self._open and not self._owed:
            return
        for seat in self._asked_seats():
            for answer in _packets(self._pairs.masters[seat]):
                self._take(seat, answer)
        living = {(target.seat, target.pid) for target in self.targets()}
        for place in [place for place in self._owed if place not in living]:
            del self._owed[place]
        for number, asking in list(self._open.items()):
            is_late = asking.until is not None and monotonic() > asking.until
            late = {seat for seat, pid in asking.seats.items() if is_late or (seat, pid) not in living}
            if late:
                asking.error = f"{len(late)} workers have not answered" if asking.until else "its worker is gone"
                for seat in late:
                    del asking.seats[seat]
            if asking.reply.is_gone and not (asking.until is None and asking.seats):
                del self._open[number]
            elif asking.reply.is_gone:
                self._give_up(number, asking)
            else:
                self._conclude(number)

    def _asked_seats(self) -> set[int]:
        seats = {seat for asking in self._open.values() for seat in asking.seats}
        return seats | {seat for (seat, _), number in self._owed.items() if number}

    def _able(self) -> list[Target]:
        return [target for target in self.targets() if target.can_answer]

    def _owner(self, name: str) -> list[Target]:
        """Return the process that has a connection.

        Raises:
            ValueError: there is none.
        """
        found = [target for target in self._able() if name.startswith(f"{target.pid}-")]
        if not found:
            raise ValueError(f"there is no connection {name!r}")
        return found

    def _ask(self, reply: Reply, targets: Sequence[Target], timeout: float | None, **question: Any) -> None:
        """Ask workers; the answer is whole when all have answered. Without a timeout it is a watch."""
        if not targets:
            raise ValueError("no worker serves")
        self._last_id += 1
        asking = _Asking(reply, {}, None if timeout is None else monotonic() + timeout)
        silent = []
        for target in targets:
            place = (target.seat, target.pid)
            if self._owed[place] < _MOST_OWED and self._send(target.seat, target.pid, id=self._last_id, **question):
                asking.seats[target.seat] = target.pid
                self._owed[place] += timeout is not None
            else:
                silent.append(target.worker_id)
        if silent:
            asking.error = f"worker {', '.join(map(str, silent))} takes no questions"
        self._open[self._last_id] = asking
        self._conclude(self._last_id)

    def _send(self, seat: int, pid: int, **question: Any) -> bool:
        try:
            # Not longer than the request was, which a worker takes as one packet.
            data = json.dumps({"pid": pid, **question}, ensure_ascii=False, separators=(",", ":")).encode()
            self._pairs.masters[seat].send(data)
        except OSError:
            return False
        return True

    def _take(self, seat: int, answer: dict[str, Any]) -> None:
        number, is_last = answer.pop("id", 0), answer.pop("is_last", False)
        asking = self._open.get(number)
        if asking is None or seat not in asking.seats:
            if is_last and number:
                # Its operator has left, or it came too late. Which process it is from is not said, nor needed.
                for place in [place for place in self._owed if place[0] == seat]:
                    self._owed[place] = max(0, self._owed[place] - 1)
            return
        asking.error = answer.pop("error", "") or asking.error
        if is_last:
            place = (seat, asking.seats.pop(seat))
            self._owed[place] -= asking.until is not None
        for name in [name for name, value in answer.items() if isinstance(value, int) and name != "left_out"]:
            asking.totals[name] += answer.pop(name)
        if answer and not asking.reply.is_gone:
            asking.reply.add(answer)
        elif asking.is_given_up:
            asking.is_given_up = False  # it has not heard of it

    def _give_up(self, number: int, asking: _Asking) -> None:
        """Have a worker watch no more."""
        if not asking.is_given_up:
            asking.is_given_up = all(
                [self._send(seat, pid, id=0, do="unwatch", of=number) for seat, pid in asking.seats.items()]
            )

    def _conclude(self, number: int) -> None:
        asking = self._open[number]
        if not asking.seats:
            del self._open[number]
            if "closed" in asking.totals and not asking.totals["closed"]:
                asking.error = asking.error or "there is no such connection"
            asking.reply.add({**({"error": asking.error} if asking.error else asking.totals), "is_last": True})


def parse_request(data: bytes) -> dict[str, Any]:
    """Return the object that a request is, as it came.

    Raises:
        ValueError: It is none.
    """
    try:
        request = json.loads(data)
    except RecursionError:
        raise ValueError("a request is nested too deeply") from None
    if not isinstance(request, dict):
        raise ValueError("a request is an object")
    return request


def _limit(request: dict[str, Any]) -> int:
    limit = request.get("limit", 1_000)
    if not isinstance(limit, int):
        raise ValueError(f"{limit!r} is no limit: that is a whole number")
    return min(max(limit, 1), _MOST_LISTED)


def _packets(sock: socket.socket) -> Iterator[dict[str, Any]]:
    while True:
        try:
            data = sock.recv(1 << 20)
        except OSError:
            return
        if not data:
            return
        yield json.loads(data)
