"""What README and the pages of docs/ say of options and of limits is what the code does; their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.pages import PAGES

from uwsgi_ws.fronts.http2.engine import MAX_STREAMS
from uwsgi_ws.options import help_text
from uwsgi_ws.options.table import BY_NAME, DEFAULT_PLACES, ROWS
from uwsgi_ws.server import eviction

ROOT = Path(__file__).resolve().parents[2]

#: What pages write like an option and is none of the server's: what is answered before options are read, the beginning
#: of all that touch something, and those of `publish`, `ctl`, `connect` and benchmarks/run.py.
ELSEWHERE = {"help", "version", "touch-"}
ELSEWHERE |= {"to", "history", "no-compress"}
ELSEWHERE |= {"code", "json", "limit", "once", "path", "peer", "reason", "token-file", "worker"}
ELSEWHERE |= {"cacert", "cert", "insecure", "key", "origin", "subprotocol", "wait"}
ELSEWHERE |= {"peers", "pure"}
ELSEWHERE |= {"build", "cap-drop", "from-literal", "no-deps", "now", "read-only", "stop-timeout", "wait"}


def limits() -> dict[str, tuple[str, list[str]]]:
    """Return the table of limits: by what is limited, the bound and the options that change it."""
    table = (ROOT / "docs" / "limits.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    return {what: (bound, re.findall(r"`--([a-z-]+)`", options)) for what, bound, options in rows[1:]}


def default(name: str) -> str:
    """Return an option's default as pages write it."""
    row = BY_NAME[name]
    assert isinstance(row.default, int | float)
    match row.unit:
        case _ if not row.default:
            return "none"
        case "KiB" if row.default % 1024 == 0:
            return f"{row.default // 1024:g} MiB"
        case "bytes" if row.default % 1024 == 0:
            return f"{row.default // 1024:g} KiB"
        case unit:
            return f"{row.default:,g} {unit}".rstrip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_no_option_that_does_not_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", page.read_text())) - ELSEWHERE
    assert sorted(named - BY_NAME.keys()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_to_what_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert [link for link in missing if not link.startswith("reference/")] == []  # those are made by `make docs`


def test_every_page_opens_with_what_it_is_for_and_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text().split()
    for page in PAGES[1:]:
        title, empty, purpose, *_ = page.read_text().splitlines()
        assert title.startswith("# ")
        assert not empty
        assert purpose
        assert page.stem == "index" or page.stem in index, page


def test_the_first_page_is_short() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= 150


def test_the_list_of_all_options_is_left_to_help_which_has_it() -> None:
    listed = set(re.findall(r"^  (?:-\w, )?--(\S+)", help_text(), re.MULTILINE))
    assert listed == {row.name for row in ROWS}


def test_each_option_that_bounds_something_has_the_default_that_the_table_of_limits_says() -> None:
    checked = set()
    for what, (bound, options) in limits().items():
        if bound.startswith("none"):
            assert {default(option) for option in options} == {"none"}, what
            checked.update(options)
        elif len(options) == 1 and options[0] not in ("processes", "websockets-try-again-later"):
            assert re.match(rf"{default(options[0])}\b", bound), what
            checked.update(options)
    assert len(checked) > 10


@pytest.mark.parametrize(
    ("what", "bound"),
    [
        (
            "silence of a peer",
            f"pinged after {default('websockets-ping-freq')}, dropped {default('websockets-pong-tolerance')} later",
        ),
        ("workers", f"{BY_NAME['processes'].at_most:g}"),
        ("clients served at once", f"{DEFAULT_PLACES:,};"),
        ("HTTP/2 streams of a connection", f"{MAX_STREAMS},"),
        ("while others wait for a place: a request, a TLS handshake, half a head", f"{eviction._REQUEST:g} s: 408"),
        ("the same: a client that has its answer and does not leave", f"{eviction._LEAVING:g} s"),
        (
            "the same: what a client sends of a body, or takes of a response, that its request waits for",
            f"{eviction._RATE} bytes a second over {eviction._WATCH:g} s: 408",
        ),
    ],
)
def test_what_the_table_of_limits_says_is_what_the_code_has(what: str, bound: str) -> None:
    assert limits()[what][0].startswith(bound)


def test_texts_say_the_same_as_the_table() -> None:
    proxies = " ".join((ROOT / "docs" / "proxies.md").read_text().split())
    assert f"`--websockets-ping-freq`, {default('websockets-ping-freq')}," in proxies
    assert f"`--buffer-size` is {default('buffer-size')}." in (ROOT / "docs" / "differences.md").read_text()
