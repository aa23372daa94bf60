"""examples/chat.py in browser windows: on workers of one instance, and on two instances behind nginx."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.carriers import NGINX, running
from support.chromium import chromium_page
from support.engines import running as running_engine
from support.peers import require_program
from support.relay import relay_to
from support.server import EXAMPLES, Server, free_port

from uwsgi_ws.channels import bus

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.matrix

Serve = Callable[..., Server]
Address = tuple[str, int]

#: A browser in whose network no WebSocket gets through.
NO_WEBSOCKETS = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onclose({ code: 1006, reason: "" }), 10); }
  send() {}
  close() {}
}"""


def another_window(page: Page) -> Page:
    assert page.context.browser is not None
    window = page.context.browser.new_page()
    window.set_default_timeout(10_000)
    return window


def enter(page: Page, address: Address, name: str, room: str = "lobby") -> str:
    """Enter a room; return which worker serves the page."""
    page.goto("about:blank")
    page.goto("http://{}:{}/".format(*address))
    page.fill("#name", name)
    page.fill("#room", room)
    page.click("#enter button")
    page.wait_for_selector(":root[data-state=open]")
    page.wait_for_function("document.getElementById('worker').textContent")
    return page.inner_text("#worker")


def enter_elsewhere(page: Page, address: Address, name: str, taken: str) -> None:
    """Enter a room by another worker than ``taken``: which one accepts is the kernel's choice, or the proxy's."""
    for _ in range(50):
        if enter(page, address, name) != taken:
            return
    raise AssertionError(f"it was always {taken}")


def say(page: Page, text: str) -> None:
    page.fill("#message", text)
    page.press("#message", "Enter")


def wait_for_last(page: Page, name: str, text: str) -> None:
    last = page.locator("#log .said >> nth=-1")
    last.locator(".name", has_text=name).wait_for()
    last.locator(".text", has_text=text).wait_for()


def texts(page: Page) -> list[str]:
    return page.locator("#log .said .text").all_inner_texts()


def wait_for_people(page: Page, *names: str) -> None:
    page.wait_for_function(
        "names => [...document.querySelectorAll('#people li')].map(each => each.textContent).join() === names",
        arg=",".join(sorted(names)),
    )


def test_two_windows_on_different_workers_talk(serve: Serve) -> None:
    server = serve(EXAMPLES / "chat.py", "--gevent", "100", "--processes", "4")
    address = server.addresses[0]
    with chromium_page() as ann:
        bob = another_window(ann)
        errors: list[str] = []
        bob.on("pageerror", lambda error: errors.append(str(error)))
        enter_elsewhere(bob, address, "Bob", enter(ann, address, "Ann"))
        ann.locator("#log .event", has_text="Bob came in").last.wait_for()
        for page in (ann, bob):
            wait_for_people(page, "Ann", "Bob")
        say(ann, "Grüße <b>an</b> 世界")
        for page in (ann, bob):
            wait_for_last(page, "Ann", "Grüße <b>an</b> 世界")
        say(bob, "and back")
        for page in (ann, bob):
            wait_for_last(page, "Bob", "and back")
        assert ann.locator("#log .mine").count() == 1
        ann.wait_for_function("/^[0-9]+ ms$/.test(document.getElementById('latency').textContent)")
        bob.close()
        wait_for_people(ann, "Ann")
        ann.locator("#log .event", has_text="Bob left").last.wait_for()
        assert errors == []


def test_rooms_hear_nothing_of_each_other(serve: Serve) -> None:
    server = serve(EXAMPLES / "chat.py", "--gevent", "100")
    with chromium_page() as ann:
        bob = another_window(ann)
        enter(ann, server.addresses[0], "Ann", "garden")
        enter(bob, server.addresses[0], "Bob", "cellar")
        say(bob, "nobody hears me")
        wait_for_last(bob, "Bob", "nobody hears me")
        say(ann, "it is quiet here")
        wait_for_last(ann, "Ann", "it is quiet here")
        assert ann.locator("#log .said").count() == 1
        wait_for_people(ann, "Ann")
        for width in (320, 760, 1280):
            ann.set_viewport_size({"width": width, "height": 700})
            assert ann.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture
def two_instances(serve: Serve, tmp_path: Path) -> Iterator[Address]:
    """Give the address of nginx in front of two instances, which share their channels through Redis."""
    program = require_program("nginx", "/usr/sbin/nginx")
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_engine("redis")).url
        options = ("--gevent", "100", "--channels", url)
        servers = [serve(EXAMPLES / "chat.py", *options, env={"CHAT_KEPT": "4"}) for _ in range(2)]
        backends = "".join("server {}:{};".format(*server.addresses[0]) for server in servers)
        port = free_port()
        (tmp_path / "site.conf").write_text(f"""
upstream chat {{ {backends} }}
map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://chat;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }}
}}""")
        (tmp_path / "nginx.conf").write_text(NGINX)
        command = [program, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        yield stack.enter_context(running(command, port, tmp_path))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seconds", [0.5, pytest.param(20, marks=pytest.mark.long)])
def test_pages_that_were_cut_off_catch_up_or_say_that_they_may_have_missed_messages(
    two_instances: Address, seconds: float
) -> None:
    """Bob by a WebSocket, Cat by Server-Sent Events; Ann talks on."""
    said: list[str] = []

    def talk(*words: str) -> None:
        for text in words:
            say(ann, text)
            wait_for_last(ann, "Ann", text)
            said.append(text)

    def cut_while_talking(*words: str) -> None:
        relay.shut()
        for page in (bob, cat):
            page.wait_for_selector(":root:not([data-state=open])")
        began = time.monotonic()
        talk(*words)
        time.sleep(max(0.0, began + seconds - time.monotonic()))  # what is tested is that it lasts
        relay.mend()

    def come_back(page: Any, mark: str) -> None:
        page.locator(f"#log {mark}").wait_for(timeout=40_000)
        page.wait_for_selector(":root[data-state=open]")
        wait_for_last(page, "Ann", said[-1])

    with relay_to(two_instances) as relay, chromium_page() as ann:
        bob, cat = another_window(ann), another_window(ann)
        cat.add_init_script(NO_WEBSOCKETS)
        enter_elsewhere(bob, relay.address, "Bob", enter(ann, two_instances, "Ann"))
        enter(cat, relay.address, "Cat")
        assert cat.inner_text("#state") == "connected, by events"
        for page in (ann, bob, cat):
            wait_for_people(page, "Ann", "Bob", "Cat")
        talk("one")
        say(cat, "from Cat")
        said.append("from Cat")
        for page in (ann, bob, cat):
            wait_for_last(page, "Cat", "from Cat")
        cut_while_talking("two", "three", "four")
        for page in (bob, cat):
            come_back(page, ".caughtup")
            assert texts(page) == said
            assert page.locator("#log .gap").count() == 0
        # What a worker has read serves all that come back soon after, past what is kept since.
        time.sleep(bus._FRESH)
        cut_while_talking("five", "six", "seven", "eight", "nine", "ten")  # more than is kept
        for page in (bob, cat):
            come_back(page, ".gap")
            assert texts(page) == [*said[:5], *said[-4:]]
            assert page.locator("#log .caughtup").count() == 1
        talk("eleven")
        for page in (bob, cat):
            wait_for_last(page, "Ann", "eleven")
