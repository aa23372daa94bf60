"""What ended greenlets leave to those that come later."""

from __future__ import annotations

import sys

import gevent
import gevent.event
import pytest

from uwsgi_ws.hub import chunks

#: Older interpreters have a frame each in their heap.
IS_COMPILED = not (chunks.__file__ or "").endswith(".py")


def run_at_once(count: int) -> None:
    """Have so many greenlets run Python at the same time."""
    gate = gevent.event.Event()
    greenlets = [gevent.spawn(lambda: gate.wait()) for _ in range(count)]
    gevent.sleep(0)
    gate.set()
    gevent.joinall(greenlets)


@pytest.mark.skipif(not IS_COMPILED or sys.version_info < (3, 11), reason="there is nothing to keep")
def test_chunks_are_used_again_and_no_more_than_some_are_kept() -> None:
    chunks.keep_chunks()
    chunks.keep_chunks()
    run_at_once(20)
    first = chunks.kept_chunks()
    assert first >= 20
    run_at_once(20)
    assert chunks.kept_chunks() == first
    run_at_once(400)
    assert chunks.kept_chunks() == 128


@pytest.mark.skipif(IS_COMPILED, reason="it keeps some")
def test_pure_python_keeps_none() -> None:
    chunks.keep_chunks()
    run_at_once(20)
    assert chunks.kept_chunks() == 0
