"""The examples beside the echo and the chat, each in headless Chromium: what its page is for happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.chromium import chromium_page
from support.eventually import eventually
from support.server import EXAMPLES, ROOT, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.matrix

Serve = Callable[..., Server]


@contextmanager
def shown(server: Server) -> Iterator[Page]:
    """Open an example's page, connected."""
    with chromium_page() as page:
        page.goto(server.url())
        page.wait_for_selector("#state[data-state=open]")
        yield page


def number(page: Page, selector: str) -> float:
    return float((page.text_content(selector) or "").split()[0].rstrip("/s"))


def test_a_player_moves_and_is_seen_by_the_other(serve: Serve) -> None:
    with shown(serve(EXAMPLES / "game.py")) as one:
        assert one.context.browser is not None
        other = one.context.browser.new_page()
        other.goto(one.url)
        other.wait_for_function("document.querySelectorAll('#scores li').length === 2")
        one.keyboard.down("ArrowRight")
        one.wait_for_function("parseFloat(document.querySelector('#latency').textContent) >= 0")
        one.keyboard.up("ArrowRight")
        one.close()
        other.wait_for_function("document.querySelectorAll('#scores li').length === 1")


def test_pictures_come_and_stop_while_the_page_pauses(serve: Serve) -> None:
    with shown(serve(EXAMPLES / "streaming.py")) as page:
        page.wait_for_function("Number(document.querySelector('#count').textContent) > 10")
        assert page.evaluate("document.querySelector('#picture').width") == 320
        page.click("#pause")
        page.wait_for_function("document.querySelector('#rate').textContent === '0/s'")
        stood = number(page, "#count")
        page.click("#pause")
        page.wait_for_function(f"Number(document.querySelector('#count').textContent) > {stood} + 10")


def test_figures_of_another_process_are_plotted(serve: Serve, tmp_path: Path) -> None:
    socket = tmp_path / "dashboard.sock"
    server = serve(EXAMPLES / "dashboard.py", "--channel-socket", str(socket))
    source = f"import dashboard; dashboard.SOCKET = {str(socket)!r}; dashboard.main()"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{EXAMPLES}"}
    with subprocess.Popen([sys.executable, "-c", source], env=env, stdout=subprocess.DEVNULL) as publisher:
        try:
            with shown(server) as page:
                page.wait_for_function("Number(document.querySelector('#count').textContent) >= 2")
                eventually(lambda: 0 <= number(page, "[data-plot=memory] .value") <= 100)
        finally:
            publisher.terminate()


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_a_file_arrives_whole(serve: Serve, tmp_path: Path, size: int) -> None:
    (tmp_path / "file.bin").write_bytes(os.urandom(size))
    with shown(serve(EXAMPLES / "upload.py")) as page:
        page.set_input_files("#choose", tmp_path / "file.bin")
        page.wait_for_selector(".note.good")
        assert "Whole: SHA-256" in (page.text_content(".note") or "")


@pytest.mark.parametrize("name", ["game", "streaming", "dashboard", "upload"])
def test_a_page_fits_a_phone(serve: Serve, name: str) -> None:
    with shown(serve(EXAMPLES / f"{name}.py")) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") == 360
