"""Pages of one chat that Python, Perl and Go serve side by side talk in one room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.chromium import chromium_page
from support.go import build
from support.peers import require_program
from support.server import EXAMPLES, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.matrix

Serve = Callable[..., Server]


def enter(page: Page, url: str, name: str) -> str:
    """Enter the room; return who serves the page."""
    page.goto(url)
    page.fill("#name", name)
    page.fill("#room", "everybody")
    page.click("#enter button")
    page.wait_for_selector(":root[data-state=open]")
    page.wait_for_function("document.getElementById('worker').textContent")
    return page.inner_text("#worker")


def test_three_languages_talk_in_one_room(serve: Serve, tmp_path: Path) -> None:
    require_program("perl")
    go = str(build(EXAMPLES / "go-chat", tmp_path))
    mounts = [f"--mount=/{path}={EXAMPLES / file}" for path, file in (("py", "chat.py"), ("pl", "chat.psgi"))]
    server = serve(None, *mounts, "--go-app", go, "--manage-script-name", "--perl-workers", "2", "--processes", "2")
    errors: list[str] = []
    with chromium_page() as first:
        assert first.context.browser is not None
        pages = {"Python": (first, "/py/")}
        for name, path in ("Perl", "/pl/"), ("Go", "/"):
            page = first.context.browser.new_page()
            page.set_default_timeout(10_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            pages[name] = page, path
        served_by = {enter(page, server.url(path), name) for name, (page, path) in pages.items()}
        assert len(served_by) == 3
        for name, (page, _) in pages.items():
            said = f"Grüße <b>von</b> {name} 世界"
            page.fill("#message", said)
            page.press("#message", "Enter")
            for other, _ in pages.values():
                last = other.locator("#log .said >> nth=-1")
                last.locator(".name", has_text=name).wait_for()
                last.locator(".text", has_text=said).wait_for()
    assert errors == []
