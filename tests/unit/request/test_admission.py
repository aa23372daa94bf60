"""How many WebSockets are let in: at once, from one address, in a second."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.errors import HandshakeError
from uwsgi_ws.request import admission
from uwsgi_ws.request.admission import ConnectionLimiter, ConnectionLimits
from uwsgi_ws.request.base import Request
from uwsgi_ws.shared.websockets import OpenWebSockets, Seat

LimiterOf = Callable[[int, ConnectionLimits], ConnectionLimiter]
SECOND = 1_000_000_000


def asking(address: str = "10.0.0.1", **variables: str) -> Any:
    """As much of a request as is looked at."""
    return Request({"HTTP_UPGRADE": "websocket", "REMOTE_ADDR": address, **variables}, 0, 0)


@pytest.fixture
def open_websockets() -> OpenWebSockets:
    """As two workers share it."""
    return OpenWebSockets(memoryview(bytearray(OpenWebSockets.size(2))), 2)


@pytest.fixture
def limiter_of(open_websockets: OpenWebSockets) -> LimiterOf:
    """Makes the limiter of a seat."""
    return lambda seat, limits: ConnectionLimiter(limits, open_websockets, seat)


def inside(limiter: ConnectionLimiter, addresses: list[str], then: Callable[[], object]) -> None:
    """Do something while a client of each address is inside."""
    if addresses:
        limiter.answer(asking(addresses[0]), lambda request: inside(limiter, addresses[1:], then))
    else:
        then()


def is_let_in(limiter: ConnectionLimiter, address: str = "10.0.0.1") -> bool:
    served: list[Any] = []
    try:
        limiter.answer(asking(address), served.append)
    except HandshakeError:
        assert not served
        return False
    assert served
    return True


def refusal(limiter: ConnectionLimiter, address: str) -> int:
    with pytest.raises(HandshakeError) as caught:
        limiter.answer(asking(address), lambda request: None)
    assert caught.value.headers == (("Retry-After", "1"),)
    return caught.value.status


def test_no_limits_are_false() -> None:
    assert not ConnectionLimits()
    assert ConnectionLimits(per_second=1)


def test_one_too_many_at_once_is_503_until_another_leaves(limiter_of: LimiterOf) -> None:
    limiter = limiter_of(0, ConnectionLimits(at_once=2))
    inside(limiter, ["a", "b"], lambda: refusal(limiter, "c") == 503 or pytest.fail("let in"))
    assert is_let_in(limiter, "c")


def test_one_too_many_of_an_address_is_429_and_others_come_in(limiter_of: LimiterOf) -> None:
    limiter = limiter_of(0, ConnectionLimits(per_address=1))

    def meanwhile() -> None:
        assert refusal(limiter, "a") == 429
        assert is_let_in(limiter, "b")

    inside(limiter, ["a"], meanwhile)
    assert is_let_in(limiter, "a")
    assert not limiter._seat._by_address  # nobody is remembered who has left


def test_an_application_that_raises_gives_its_place_back(limiter_of: LimiterOf) -> None:
    limiter = limiter_of(0, ConnectionLimits(at_once=1, per_address=1))
    with pytest.raises(ZeroDivisionError):
        limiter.answer(asking(), lambda request: 1 / 0)  # type: ignore[arg-type, return-value]
    assert is_let_in(limiter)


def test_limits_hold_over_all_workers(limiter_of: LimiterOf) -> None:
    one, other = (limiter_of(seat, ConnectionLimits(at_once=3, per_address=2)) for seat in (0, 1))

    def meanwhile() -> None:
        assert refusal(one, "a") == refusal(other, "a") == 429
        inside(other, ["b"], lambda: refusal(one, "c") == 503 or pytest.fail("let in"))
        assert is_let_in(one, "c")

    inside(one, ["a"], lambda: inside(other, ["a"], meanwhile))
    inside(other, ["a", "a"], lambda: refusal(one, "a") == 429 or pytest.fail("let in"))
    assert is_let_in(one, "a")


def test_what_a_killed_worker_had_is_gone(open_websockets: OpenWebSockets, limiter_of: LimiterOf) -> None:
    killed = Seat(open_websockets, 1, knows_addresses=True)
    killed.enter("a")
    killed.enter("b")
    open_websockets.vacate(1)
    limits = ConnectionLimits(at_once=2, per_address=1)
    inside(limiter_of(1, limits), ["a"], lambda: refusal(limiter_of(0, limits), "a") == 429 or pytest.fail("let in"))
    inside(
        limiter_of(0, limits), ["a", "b"], lambda: refusal(limiter_of(1, limits), "c") == 503 or pytest.fail("let in")
    )
    open_websockets.vacate(0)  # without effect on an empty seat
    assert is_let_in(limiter_of(1, limits), "b")


def test_handshakes_come_no_faster_than_allowed_whoever_gets_them(open_websockets: OpenWebSockets) -> None:
    now = 100 * SECOND
    limiters = [
        ConnectionLimiter(ConnectionLimits(per_second=2), open_websockets, seat, lambda: now) for seat in (0, 1)
    ]

    def let_in(count: int) -> list[bool]:
        return [is_let_in(limiters[number % 2]) for number in range(count)]

    assert let_in(3) == [True, True, False]
    now += SECOND * 4 // 10
    assert let_in(2) == [False, False]
    now += SECOND // 10
    assert let_in(2) == [True, False]
    now += 3_600 * SECOND  # a quiet hour saves up no more than a second's
    assert let_in(3) == [True, True, False]
    assert refusal(limiters[0], "a") == refusal(limiters[1], "a") == 503


class Acceptor:
    """Remembers what it has accepted; each ends when the test says so."""

    def __init__(self) -> None:
        self.accepted: list[Any] = []
        self.is_broken = False

    def accept(self, request: Any, headers: Any, subprotocol: str | None, reason: str) -> Any:
        if self.is_broken:
            raise BrokenPipeError
        connection = SimpleNamespace(is_ended=False, said=[], headers=headers, subprotocol=subprotocol)
        connection.close = lambda *what: connection.said.append(what)
        connection.release = lambda: connection.said.append("released")
        self.accepted.append(connection)
        return connection


def test_who_is_too_many_is_accepted_and_closed_where_that_is_wanted(limiter_of: LimiterOf) -> None:
    limiter = limiter_of(0, ConnectionLimits(per_address=1, closes=True))
    acceptor = Acceptor()

    def knock(**variables: str) -> None:
        request = asking(**variables)
        request.acceptor = acceptor
        limiter.answer(request, lambda request: pytest.fail("let in"))

    def meanwhile() -> None:
        knock()
        knock(HTTP_SEC_WEBSOCKET_PROTOCOL="v2, v1")
        assert [connection.subprotocol for connection in acceptor.accepted] == [None, "v2"]
        assert [connection.headers for connection in acceptor.accepted] == [[], [("Sec-WebSocket-Protocol", "v2")]]
        for connection in acceptor.accepted:
            assert connection.said == [(1013, "too many WebSockets are open from this address"), "released"]

    inside(limiter, ["10.0.0.1"], meanwhile)
    assert is_let_in(limiter), "who is turned away is inside no more"


def test_no_more_are_closed_at_once_than_can_be_kept(limiter_of: LimiterOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who do not answer a close frame stay for some seconds each; one more gets the response."""
    monkeypatch.setattr(admission, "_MOST_CLOSING", 3)
    limiter = limiter_of(0, ConnectionLimits(at_once=1, closes=True))
    acceptor = Acceptor()

    def knock() -> None:
        request = asking()
        request.acceptor = acceptor
        limiter.answer(request, lambda request: pytest.fail("let in"))

    def meanwhile() -> None:
        acceptor.is_broken = True
        knock()  # and is gone before it hears the answer
        acceptor.is_broken = False
        for _ in range(3):
            knock()
        with pytest.raises(HandshakeError) as caught:
            knock()
        assert caught.value.status == 503
        acceptor.accepted[0].is_ended = True
        knock()
        assert len(acceptor.accepted) == 4

    inside(limiter, ["a"], meanwhile)


def test_other_requests_are_not_counted(limiter_of: LimiterOf) -> None:
    limiter = limiter_of(0, ConnectionLimits(at_once=1, per_address=1, per_second=1))
    served: list[Any] = []
    for _ in range(3):
        limiter.answer(SimpleNamespace(environ={"REMOTE_ADDR": "a"}), served.append)  # type: ignore[arg-type]
    assert len(served) == 3
