"""The garden's own rules: what is a disagreement, and that a number always means the same request."""

from __future__ import annotations

import asyncio
import socket

import pytest
from garden.client import Understood, ask
from garden.compare import boundaries_differ, explanations
from garden.mutate import mutated, seeds

POST = ("POST", "/", b"abc")
GET = ("GET", "/", b"")


def test_a_number_is_always_the_same_request() -> None:
    base = seeds()
    first = [mutated(base, 1, number) for number in range(200)]
    assert first == [mutated(base, 1, number) for number in range(200)]
    assert len(set(first)) > 180
    assert first != [mutated(base, 2, number) for number in range(200)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Understood([POST], "whole"), Understood([("POST", "/", b"")], "whole")),
        (Understood([POST], "whole"), Understood([POST, GET], "whole")),
        (Understood([POST], "waits"), Understood([POST, GET], "refused", 400)),
        (Understood([POST], "whole"), Understood([POST], "waits")),
        (Understood([], "whole"), Understood([POST], "whole")),
    ],
)
def test_another_end_of_a_request_is_a_disagreement(one: Understood, other: Understood) -> None:
    assert boundaries_differ(one, other) is not None
    assert boundaries_differ(other, one) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Understood([POST, GET], "whole"), Understood([POST, GET], "whole")),
        (Understood([POST, GET], "whole"), Understood([POST], "refused", 400)),
        (Understood([POST, GET], "whole"), Understood([], "closed")),
        (Understood([POST], "waits"), Understood([], "refused", 501)),
        (Understood([POST], "whole"), Understood([("post", "/x", b"abc")], "whole")),
    ],
)
def test_what_one_refuses_deceives_nobody(one: Understood, other: Understood) -> None:
    assert boundaries_differ(one, other) is None
    assert boundaries_differ(other, one) is None


def test_a_server_that_says_nothing_waits_for_more() -> None:
    async def silent() -> Understood:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            understood = await ask(listener.getsockname(), b"POST", 0.05)
            await asyncio.sleep(0)  # our hanging up is seen to
            await asyncio.sleep(0)
            return understood

    assert asyncio.run(silent()).end == "waits"


def test_every_explanation_has_its_reason() -> None:
    known = explanations()
    assert known
    assert all(len(explanation.reason) > 40 for explanation in known)
    assert any(explanation.covers("node", b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n") for explanation in known)
    assert not any(explanation.covers("node", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") for explanation in known)
