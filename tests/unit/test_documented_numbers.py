"""The numbers of the page of limits are those of the code."""

from __future__ import annotations

from pathlib import Path

from uwsgi_ws.channels.inboxes import MAX_SEATS
from uwsgi_ws.options.table import BY_NAME
from uwsgi_ws.protocol.websocket.engine import HIGH_WATER
from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD
from uwsgi_ws.shared import MAX_WORKERS
from uwsgi_ws.websocket.live import CLOSE_TIMEOUT

LIMITS = (Path(__file__).resolve().parents[2] / "docs" / "limits.md").read_text()


def bound_of(what: str) -> str:
    """What the table of limits says of something."""
    [line] = [line for line in LIMITS.splitlines() if line.startswith(f"| {what} |")]
    return line.split("|")[2].strip()


def test_the_table_of_limits_says_what_holds() -> None:
    waiting = f"{HIGH_WATER // 1024} KiB, {MESSAGE_OVERHEAD} bytes counted for each beside its payload"
    assert bound_of("messages waiting for the application").startswith(waiting)
    assert bound_of("closing handshake") == f"{CLOSE_TIMEOUT:g} s"
    assert bound_of("workers") == f"{MAX_WORKERS}"


def test_what_workers_share_has_room_for_as_many_as_may_be_asked_for() -> None:
    assert BY_NAME["processes"].at_most == MAX_WORKERS
    assert 2 * MAX_WORKERS == MAX_SEATS
