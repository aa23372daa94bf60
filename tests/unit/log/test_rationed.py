"""What strangers cause does not fill the log, and what was left out is told."""

from __future__ import annotations

import logging

import pytest

from uwsgi_ws.log import rationed
from uwsgi_ws.log.rationed import MOST, PERIOD, Rationed


def test_so_many_lines_are_written_in_a_period_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(rationed, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    log = Rationed(logging.getLogger("uwsgi_ws.http"))
    for number in range(MOST + 7):
        log.warning("%s: %d", "peer", number)
    assert len(caplog.records) == MOST
    assert caplog.messages[-1] == f"peer: {MOST - 1}"
    now += PERIOD
    log.info("hello")
    assert caplog.messages[MOST:] == ["7 more lines like these were left out", "hello"]
    now += PERIOD
    log.info("hello")
    assert caplog.messages[MOST + 2 :] == ["hello"]
