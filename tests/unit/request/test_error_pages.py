"""Who is shown an error, and what is shown of it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.request.error_pages import ErrorPages, is_loopback, is_of_this_machine


def request(carrier: str = "http1", **variables: str) -> Any:
    environ = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/<b>",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost:8080",
        **variables,
    }
    return SimpleNamespace(environ=environ, carrier=carrier)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HTTP_HOST": "127.0.0.1"},
        {"HTTP_HOST": "[::1]:8080", "REMOTE_ADDR": "::1"},
        {"REMOTE_ADDR": "::ffff:127.0.0.1"},
        {"HTTP_HOST": "LocalHost."},
        {"HTTP_HOST": "shop.localhost:80"},
    ],
)
def test_a_browser_of_this_machine(variables: dict[str, str]) -> None:
    assert is_of_this_machine(request(**variables))
    assert is_of_this_machine(request("http2", **variables))


@pytest.mark.parametrize(
    "variables",
    [
        {"REMOTE_ADDR": "192.168.0.2"},
        {"REMOTE_ADDR": "::ffff:8.8.8.8"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "localhost"},
        {"HTTP_HOST": "shop.example"},
        {"HTTP_HOST": "localhost.example"},
        {"HTTP_HOST": "127.0.0.1.nip.io:8080"},
        {"HTTP_HOST": "localhost@shop.example"},
        {"HTTP_HOST": "notlocalhost"},
        {"HTTP_HOST": ""},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_VIA": "1.1 a"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
        {"SERVER_PROTOCOL": "HTTP/1.0"},
    ],
)
def test_others(variables: dict[str, str]) -> None:
    assert not is_of_this_machine(request(**variables))


def test_what_a_front_server_says_is_not_believed() -> None:
    assert not is_of_this_machine(request("uwsgi"))


@pytest.mark.parametrize(("host", "is_here"), [("127.9.9.9", True), ("0.0.0.0", False), ("::", False), ("", False)])
def test_loopback(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here


def shown(function: Any, asked: Any) -> tuple[dict[str, str], str] | None:
    """Return the page for what a function raises while a request is answered."""
    pages = ErrorPages()
    made: Any = None

    def otherwise(inner: Any) -> None:
        nonlocal made
        inner.environ["REMOTE_ADDR"] = "127.0.0.1"  # as an application could
        try:
            function()
        except BaseException:
            made = pages.page(inner)

    pages.answer(asked, otherwise)
    assert pages.page(asked) is None  # neither afterwards
    return None if made is None else (dict(made[0]), made[1].decode())


def fail() -> None:
    secret = "hunter2" + str(time.time())  # noqa: F841  # it must not be shown
    raise KeyError("<script>")


def test_text_for_those_that_do_not_ask_for_html() -> None:
    headers, text = shown(fail, request()) or ({}, "")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text.startswith("GET /<b>\n\nTraceback (most recent call last):\n")
    assert text.endswith("KeyError: '<script>'\n")


def test_html_shows_lines_and_no_values() -> None:
    headers, text = shown(fail, request(HTTP_ACCEPT="text/html,*/*")) or ({}, "")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "<h1>KeyError<small>: &#x27;&lt;script&gt;&#x27;</small></h1>" in text
    assert "GET /&lt;b&gt;" in text
    assert "raise KeyError(&quot;&lt;script&gt;&quot;)" in text
    assert "hunter2&quot; + str(time.time())" in text  # the source
    assert "<script" not in text


def test_nothing_for_others_whatever_the_application_changes() -> None:
    assert shown(fail, request(REMOTE_ADDR="192.168.0.2")) is None


def test_causes_are_shown() -> None:
    def chained() -> None:
        try:
            fail()
        except KeyError as exc:
            raise ValueError("second") from exc

    def nested() -> None:
        try:
            fail()
        except KeyError:
            raise ValueError("second")

    for function, words in (chained, "Its cause was:"), (nested, "It came while this was being handled:"):
        _, text = shown(function, request(HTTP_ACCEPT="text/html")) or ({}, "")
        assert text.index("ValueError") < text.index(words) < text.index("KeyError<small>")


def test_a_deep_recursion_has_a_bounded_page() -> None:
    def deeper() -> None:
        deeper()

    _, text = shown(deeper, request(HTTP_ACCEPT="text/html")) or ({}, "")
    assert "frames are left out" in text
    assert len(text) < 200_000


def test_an_exception_whose_own_methods_fail() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def broken() -> None:
        raise Broken

    _, text = shown(broken, request()) or ({}, "")
    assert "Broken: <exception str() failed>" in text
