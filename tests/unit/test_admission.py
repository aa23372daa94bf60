"""How many WebSockets are let in: at once, from one address, in a second."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.admission import Crowd, CrowdLimits
from uwsgi_ws.errors import HandshakeError


def asking(address: str = "10.0.0.1", **variables: str) -> Any:
    """As much of a request as is looked at."""
    return SimpleNamespace(environ={"HTTP_UPGRADE": "websocket", "REMOTE_ADDR": address, **variables})


def inside(crowd: Crowd, addresses: list[str], then: Callable[[], object]) -> None:
    """Do something while a client of each address is inside."""
    if addresses:
        crowd.answer(asking(addresses[0]), lambda request: inside(crowd, addresses[1:], then))
    else:
        then()


def is_let_in(crowd: Crowd, address: str = "10.0.0.1") -> bool:
    served: list[Any] = []
    try:
        crowd.answer(asking(address), served.append)
    except HandshakeError:
        assert not served
        return False
    assert served
    return True


def refusal(crowd: Crowd, address: str) -> int:
    with pytest.raises(HandshakeError) as caught:
        crowd.answer(asking(address), lambda request: None)
    assert caught.value.headers == (("Retry-After", "1"),)
    return caught.value.status


def test_no_limits_are_false() -> None:
    assert not CrowdLimits()
    assert CrowdLimits(per_second=1)


def test_one_too_many_at_once_is_503_until_another_leaves() -> None:
    crowd = Crowd(CrowdLimits(at_once=2))
    inside(crowd, ["a", "b"], lambda: refusal(crowd, "c") == 503 or pytest.fail("let in"))
    assert is_let_in(crowd, "c")


def test_one_too_many_of_an_address_is_429_and_others_come_in() -> None:
    crowd = Crowd(CrowdLimits(per_address=1))

    def meanwhile() -> None:
        assert refusal(crowd, "a") == 429
        assert is_let_in(crowd, "b")

    inside(crowd, ["a"], meanwhile)
    assert is_let_in(crowd, "a")
    assert not crowd._by_address  # nobody is remembered who has left


def test_an_application_that_raises_gives_its_place_back() -> None:
    crowd = Crowd(CrowdLimits(at_once=1, per_address=1))
    with pytest.raises(ZeroDivisionError):
        crowd.answer(asking(), lambda request: 1 / 0)  # type: ignore[arg-type, return-value]
    assert is_let_in(crowd)


def test_handshakes_come_no_faster_than_allowed() -> None:
    now = 100.0
    crowd = Crowd(CrowdLimits(per_second=2), lambda: now)
    assert [is_let_in(crowd) for _ in range(3)] == [True, True, False]
    now += 0.4
    assert not is_let_in(crowd)
    now += 0.1
    assert [is_let_in(crowd) for _ in range(2)] == [True, False]
    now += 3_600  # a quiet hour saves up no more than a second's
    assert [is_let_in(crowd) for _ in range(3)] == [True, True, False]
    assert refusal(crowd, "a") == 503


def test_other_requests_are_not_counted() -> None:
    crowd = Crowd(CrowdLimits(at_once=1, per_address=1, per_second=1), lambda: 0.0)
    served: list[Any] = []
    for _ in range(3):
        crowd.answer(SimpleNamespace(environ={"REMOTE_ADDR": "a"}), served.append)  # type: ignore[arg-type]
    assert len(served) == 3
