"""examples/chat.py in two browser windows that different workers serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from support.chromium import chromium_page
from support.server import EXAMPLES, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

Serve = Callable[..., Server]


def another_window(page: Page) -> Page:
    assert page.context.browser is not None
    window = page.context.browser.new_page()
    window.set_default_timeout(10_000)
    return window


def enter(page: Page, server: Server, name: str, room: str = "lobby") -> str:
    """Enter a room; return which worker serves the page."""
    page.goto("about:blank")
    page.goto(server.url())
    page.fill("#name", name)
    page.fill("#room", room)
    page.click("#enter button")
    page.wait_for_selector(":root[data-state=open]")
    page.wait_for_function("document.getElementById('worker').textContent")
    return page.inner_text("#worker")


def say(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")


def wait_for_last(page: Page, name: str, text: str) -> None:
    last = page.locator("#log .said >> nth=-1")
    last.locator(".name", has_text=name).wait_for()
    last.locator(".text", has_text=text).wait_for()


def test_two_windows_on_different_workers_talk(serve: Serve) -> None:
    server = serve(EXAMPLES / "chat.py", "--gevent", "100", "--processes", "4")
    with chromium_page() as ann:
        bob = another_window(ann)
        errors: list[str] = []
        bob.on("pageerror", lambda error: errors.append(str(error)))
        workers = {enter(ann, server, "Ann")}
        # Which worker accepts is the kernel's choice.
        for _ in range(50):
            workers.add(enter(bob, server, "Bob"))
            if len(workers) == 2:
                break
        assert len(workers) == 2
        ann.locator("#log .event", has_text="Bob came in").last.wait_for()
        say(ann, "Grüße <b>an</b> 世界")
        for page in (ann, bob):
            wait_for_last(page, "Ann", "Grüße <b>an</b> 世界")
        say(bob, "and back")
        for page in (ann, bob):
            wait_for_last(page, "Bob", "and back")
        assert ann.locator("#log .mine").count() == 1
        assert ann.inner_text("#people") == bob.inner_text("#people") == "2 here"
        bob.close()
        ann.locator("#people", has_text="1 here").wait_for()
        assert errors == []


def test_rooms_hear_nothing_of_each_other(serve: Serve) -> None:
    server = serve(EXAMPLES / "chat.py", "--gevent", "100")
    with chromium_page() as ann:
        bob = another_window(ann)
        enter(ann, server, "Ann", "garden")
        enter(bob, server, "Bob", "cellar")
        say(bob, "nobody hears me")
        wait_for_last(bob, "Bob", "nobody hears me")
        say(ann, "it is quiet here")
        wait_for_last(ann, "Ann", "it is quiet here")
        assert ann.locator("#log .said").count() == 1
        for width in (320, 760, 1280):
            ann.set_viewport_size({"width": width, "height": 700})
            assert ann.evaluate("document.documentElement.scrollWidth") <= width
