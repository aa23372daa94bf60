"""Steps: each answers a request or leaves it to the next."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.forwarded import Proxies
from uwsgi_ws.request.steps import HttpsRedirect, chain, proxies_step

Step = Callable[[Any, Callable[[Any], None]], None]


def passing(name: str, seen: list[str]) -> Step:
    def step(request: Any, otherwise: Callable[[Any], None]) -> None:
        seen.append(f"{name} begins")
        otherwise(request)
        seen.append(f"{name} ends")

    return step


def test_steps_are_taken_in_their_order_and_each_stands_around_those_behind_it() -> None:
    seen: list[str] = []
    answer = chain([passing("one", seen), passing("two", seen)], lambda request: seen.append("the end"))
    answer(SimpleNamespace())  # type: ignore[arg-type]
    assert seen == ["one begins", "two begins", "the end", "two ends", "one ends"]


def test_a_step_that_answers_is_the_last() -> None:
    seen: list[str] = []
    steps: list[Step] = [passing("one", seen), lambda request, otherwise: seen.append("answers"), passing("two", seen)]
    chain(steps, lambda request: seen.append("the end"))(SimpleNamespace())  # type: ignore[arg-type]
    assert seen == ["one begins", "answers", "one ends"]


def test_without_steps_there_is_the_end() -> None:
    seen: list[Any] = []
    assert chain([], seen.append) == seen.append


class Asked(SimpleNamespace):
    """A request, as far as these steps look at it."""

    def __init__(
        self, address: str = "192.0.2.1", scheme: str = "http", host: str = "example.org", **more: str
    ) -> None:
        environ = {"REMOTE_ADDR": address, "HTTP_HOST": host, "REQUEST_URI": "/x?y", **more}
        super().__init__(environ=environ, scheme=scheme, sent=[])

    def write_head(self, status: str, headers: list[tuple[str, str]], body_length: int | None) -> None:
        self.sent += [status, dict(headers).get("Location")]

    def write_last(self, data: bytes) -> None:
        pass


PROXIES = Proxies([ip_network("192.0.2.1")])


def test_what_proxies_say_is_believed_before_the_next_step() -> None:
    asked = Asked(HTTP_X_FORWARDED_FOR="198.51.100.7")
    seen: list[str] = []
    proxies_step(PROXIES)(asked, lambda request: seen.append(request.environ["REMOTE_ADDR"]))  # type: ignore[arg-type]
    assert seen == ["198.51.100.7"]


@pytest.mark.parametrize(
    ("port", "location"), [("", "https://example.org/x?y"), ("8443", "https://example.org:8443/x?y")]
)
def test_a_client_is_redirected_to_the_same_url_with_https(port: str, location: str) -> None:
    HttpsRedirect(port, None).answer(asked := Asked(), pytest.fail)  # type: ignore[arg-type]
    assert asked.sent == ["301 Moved Permanently", location]


def test_a_client_that_came_to_a_proxy_by_https_goes_on() -> None:
    seen: list[Any] = []
    HttpsRedirect("", PROXIES).answer(asked := Asked(scheme="https"), seen.append)  # type: ignore[arg-type]
    assert seen == [asked]
    HttpsRedirect("", PROXIES).answer(Asked(), pytest.fail)  # type: ignore[arg-type]
    HttpsRedirect("", PROXIES).answer(Asked("203.0.113.9", scheme="https"), pytest.fail)  # type: ignore[arg-type]


def test_a_client_that_does_not_say_whom_it_asks_cannot_be_redirected() -> None:
    with pytest.raises(RequestError) as error:
        HttpsRedirect("", None).answer(Asked(HTTP_HOST=""), pytest.fail)  # type: ignore[arg-type]
    assert error.value.status == 400
