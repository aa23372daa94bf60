"""The examples start by their first line, and the page of examples/echo.py works in a browser."""

from __future__ import annotations

import re
import shlex
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.chromium import chromium_page
from support.eventually import eventually
from support.server import EXAMPLES, ROOT, UWSGI_WS, Program, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

Serve = Callable[..., Server]
OPEN = "#state[data-state=open]"
CLOSED = "#state[data-state=closed]"


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(EXAMPLES / "echo.py", "--gevent", "100")


def open_page(page: Page, server: Server) -> None:
    page.goto(server.url())
    page.wait_for_selector(OPEN)


def send(page: Page, message: str) -> None:
    """Type a message, press Enter, wait for its echo."""
    echoes = page.locator("#log .received").count()
    page.fill("#message", message)
    page.press("#message", "Enter")
    page.locator("#log .received").nth(echoes).wait_for()


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_first_line_of_each_example_is_the_command_that_runs_it(serve: Serve, example: Path) -> None:
    first_line = example.read_text(encoding="utf-8").splitlines()[0]
    sign, python, *arguments = shlex.split(first_line)
    assert (sign, python) == ("#", "python")
    assert arguments[:4] == ["-m", "uwsgi_ws", "--http", "127.0.0.1:8080"]
    assert str(example.relative_to(ROOT)) in arguments
    server = serve(None, *arguments[4:])
    assert "no python application found" not in server.log


def test_the_page_is_html_that_no_cache_keeps(server: Server) -> None:
    with urllib.request.urlopen(server.url()) as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.read() == (EXAMPLES / "echo.html").read_bytes()


@pytest.mark.parametrize(("path", "status"), [("/other", 404), ("/ws", 400)])
def test_other_requests_are_refused(server: Server, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(server.url(path))
    with caught.value as response:
        assert response.status == status
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_message_comes_back_with_its_latency(server: Server) -> None:
    with chromium_page() as page:
        open_page(page, server)
        assert page.input_value("#url") == server.ws_url("/ws")
        send(page, "Grüße <b>an</b> 世界")
        assert page.inner_text("#log .sent .body") == "Grüße <b>an</b> 世界"
        assert page.inner_text("#log .received .body") == "Grüße <b>an</b> 世界"
        assert re.fullmatch(r"<?\d+(\.\d)? ms", page.inner_text("#log .received .latency"))
        for figure in ("last", "average", "median", "best", "worst"):
            assert re.fullmatch(r"<?\d+(\.\d)?", page.inner_text(f"#latency-{figure}"))
        assert page.locator("#sparkline rect").count() == 1


def test_binary_and_empty_messages_come_back(server: Server) -> None:
    with chromium_page() as page:
        open_page(page, server)
        send(page, "")
        assert page.inner_text("#log .received .body") == "empty message"
        page.check("#binary")
        send(page, "as binary")
        assert page.inner_text("#log .sent >> nth=-1 >> .size") == "9 B binary"
        assert page.inner_text("#log .received >> nth=-1 >> .size") == "9 B text"
        assert page.locator("#log .received .latency").count() == 2


def test_a_burst_measures_messages_per_second(server: Server) -> None:
    with chromium_page() as page:
        open_page(page, server)
        page.click("#burst")
        page.wait_for_function("/^[\\d,]+$/.test(document.getElementById('burst-rate').textContent)")
        assert page.inner_text("#burst-detail").startswith("100 messages of 32 bytes, there and back in ")
        assert (page.inner_text("#count-sent"), page.inner_text("#count-received")) == ("100", "100")


def test_disconnect_closes_cleanly_and_stays_closed_until_connect(server: Server) -> None:
    with chromium_page() as page:
        open_page(page, server)
        page.click("#disconnect")
        page.wait_for_selector(CLOSED)
        assert "code 1000 · normal closure" in page.inner_text("#state")
        assert page.is_hidden("#retry")
        assert page.is_disabled("#send")
        page.click("#connect")
        page.wait_for_selector(OPEN)
        send(page, "back again")


def test_the_page_sees_the_server_go_and_reconnects_by_itself(serve: Serve, server: Server) -> None:
    with chromium_page() as page:
        open_page(page, server)
        send(page, "before")
        server.stop()
        page.wait_for_selector(CLOSED)
        assert "code 1001 · going away" in page.inner_text("#state")
        page.wait_for_selector("#retry:not([hidden])")
        command = [f"127.0.0.1:{server.port}" if part == "127.0.0.1:0" else part for part in UWSGI_WS.command]
        serve(EXAMPLES / "echo.py", program=Program(tuple(command), UWSGI_WS.ready))
        page.wait_for_selector(OPEN)
        send(page, "after")


def test_reconnecting_can_be_switched_off(server: Server) -> None:
    with chromium_page() as page:
        open_page(page, server)
        page.uncheck("#auto-reconnect")
        server.stop()
        page.wait_for_selector(CLOSED)
        assert page.is_hidden("#retry")
        assert page.is_enabled("#connect")


def test_the_page_asks_nobody_but_its_server(server: Server) -> None:
    with chromium_page() as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        open_page(page, server)
        send(page, "hello")
        eventually(lambda: requested)
        assert [url for url in requested if not url.startswith((server.url(), "data:", "blob:"))] == []


def test_the_page_fits_every_window(server: Server) -> None:
    with chromium_page() as page:
        open_page(page, server)
        send(page, "w" * 500)
        for width in (320, 390, 760, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_is_dark_where_the_visitor_prefers_that(server: Server) -> None:
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    with chromium_page() as page:
        open_page(page, server)
        page.emulate_media(color_scheme="light")
        assert min(page.evaluate(background)) > 200
        page.emulate_media(color_scheme="dark")
        assert max(page.evaluate(background)) < 55
