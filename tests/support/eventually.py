"""Waiting for something that another thread or process does: never by a sleep of a guessed length."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Outcome = TypeVar("Outcome")

PAUSE = 0.01  # seconds between two looks


def eventually(condition: Callable[[], Outcome], deadline: float = 5.0) -> Outcome:
    """Return the first true value that ``condition`` gives, looking again and again for ``deadline`` seconds.

    An assertion that fails inside ``condition`` counts as "not yet"; at the end the test fails with it.
    """
    end = time.monotonic() + deadline
    while True:
        failure: AssertionError | None = None
        outcome = None
        try:
            outcome = condition()
        except AssertionError as exc:
            failure = exc
        if outcome:
            return outcome
        if time.monotonic() >= end:
            if failure is not None:
                raise failure
            name = getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"{name} was still {outcome!r} after {deadline} s")
        time.sleep(PAUSE)
