"""What channels carry is counted, for as many channels as are kept in mind."""

from __future__ import annotations

import pytest

from uwsgi_ws.channels import tally
from uwsgi_ws.channels.tally import Tally


def test_messages_and_losses_are_counted_by_channel() -> None:
    counted = Tally()
    counted.note("a", 0)
    counted.note("a", 3)
    counted.note("b", 0)
    assert counted.counts == {"a": (2, 3), "b": (1, 0)}


def test_names_that_an_application_makes_up_take_no_end_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_MOST", 2)
    counted = Tally()
    for channel in ("a", "b", "c", "a"):
        counted.note(channel, 0)
    assert counted.counts == {"a": (2, 0), "b": (1, 0)}
