"""A page in headless Chromium, driven by Playwright: the machine's own browser, nothing downloaded.

A browser lives no longer than its ``with`` block, because Playwright's synchronous interface keeps an asyncio
loop running in the thread, in which no other test could then call ``asyncio.run``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from support.peers import require_module, require_program

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
)  # the first because containers run tests as root


@contextlib.contextmanager
def chromium_page(**context_options: object) -> Iterator[Page]:
    """Give an empty page; fail at the end of the block if a script on it raised an exception that was not caught.

    Args:
        context_options: As Playwright's ``new_context`` takes them: ``color_scheme``, ``viewport`` ...
    """
    playwright = require_module("playwright.sync_api")
    executable = require_program(*NAMES)
    errors: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=SWITCHES)
        try:
            page = browser.new_page(**context_options)
            page.set_default_timeout(10_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield page
        finally:
            browser.close()
    assert not errors, f"the page raised: {errors}"


class _BlankPage(BaseHTTPRequestHandler):
    PAGE = b"<!doctype html><title>Blank</title>"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.PAGE)))
        self.end_headers()
        self.wfile.write(self.PAGE)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def blank_site() -> Iterator[str]:
    """Give the address of an empty page on this machine.

    A page that Playwright makes up (``route.fulfill``) will not do: Chromium lets it open no WebSocket to a
    local address (ERR_BLOCKED_BY_LOCAL_NETWORK_ACCESS_CHECKS).
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), _BlankPage) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05}, name="blank site")
        thread.start()
        try:
            yield f"http://127.0.0.1:{site.server_port}/"
        finally:
            site.shutdown()
            thread.join()
