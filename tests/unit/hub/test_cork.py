"""When answers may be held, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest

from uwsgi_ws.hub.cork import Cork

QUICK, SLOW = 0.0001, 0.001  # seconds that an answer takes


class Item:
    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1


class Worker:
    """Answers what it hears, in no more time than is said."""

    def __init__(self) -> None:
        self.cork = Cork(gevent.get_hub().loop)
        self.now = 100.0

    def may_cork(self, seconds: float, heard_at: float | None = None) -> bool:
        """Take so many seconds for an answer to what came just before, or at ``heard_at``; return if it may be held."""
        if heard_at is None:
            heard_at = self.now
        self.now += seconds
        return self.cork.may_cork(heard_at)

    def be_trusted(self) -> int:
        """Answer quickly until answers may be held; return how many it took."""
        count = 1
        while not self.may_cork(QUICK):
            count += 1
        return count


def turn_until(holds: Callable[[], bool]) -> None:
    """Let the loop turn, a thousand times at most."""
    assert any(holds() or gevent.sleep(0.001) for _ in range(1_000))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    worker = Worker()
    monkeypatch.setattr("uwsgi_ws.hub.cork.monotonic", lambda: worker.now)
    return worker


def test_what_is_touched_is_flushed_once_at_the_end_of_the_turn(worker: Worker) -> None:
    items = [Item(), Item()]
    for item in items:
        worker.cork.touch(item)
    assert [item.flushed for item in items] == [0, 0]
    gevent.sleep(0)
    gevent.sleep(0)
    assert [item.flushed for item in items] == [1, 1]


def test_one_that_cannot_be_flushed_does_not_keep_the_others_from_it(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Item):
        def flush(self) -> None:
            raise ValueError("its own trouble")

    item = Item()
    worker.cork.touch(Broken())
    worker.cork.touch(item)
    gevent.sleep(0)
    gevent.sleep(0)
    assert item.flushed == 1
    assert "ValueError: its own trouble" in capsys.readouterr().err


def test_what_goes_to_many_is_written_in_slices_between_which_the_loop_looks(worker: Worker) -> None:
    class Slow(Item):
        def flush(self) -> None:
            super().flush()
            worker.now += 0.001

    items = [Slow() for _ in range(100)]
    for item in items:
        worker.cork.touch_one_of_many(item)
    done: list[int] = []

    def look() -> None:  # as a socket that is readable at each turn
        done.append(sum(item.flushed for item in items))
        if done[-1] < len(items):
            watcher.start(look)

    watcher = gevent.get_hub().loop.timer(0.0)
    watcher.start(look)
    turn_until(lambda: done[-1:] == [len(items)])
    watcher.close()
    assert {16, 32, 48, 64, 80, 96, 100} <= {*done}  # a look at the clock each 16, which have taken 16 ms
    assert [item.flushed for item in items] == [1] * 100


def test_one_of_many_that_ends_its_slice_does_not_keep_the_others_from_it(worker: Worker) -> None:
    class Ending(Item):
        def flush(self) -> None:
            raise gevent.GreenletExit

    items = [Ending(), Item(), Item()]
    for item in items:
        worker.cork.touch_one_of_many(item)
    turn_until(lambda: [item.flushed for item in items[1:]] == [1, 1])
    later = Item()
    worker.cork.touch_one_of_many(later)
    turn_until(lambda: later.flushed == 1)


def test_nothing_is_held_before_some_answers_in_a_row_were_quick(worker: Worker) -> None:
    assert worker.be_trusted() == 8
    assert worker.may_cork(QUICK)


def test_an_answer_that_was_not_quick_ends_the_trust_for_a_hundred(worker: Worker) -> None:
    worker.be_trusted()
    assert not worker.may_cork(SLOW)
    assert worker.be_trusted() == 108


def test_the_time_that_others_took_for_their_answers_is_not_counted(worker: Worker) -> None:
    heard_at = worker.now
    worker.be_trusted()
    for _ in range(100):
        assert worker.may_cork(QUICK, heard_at)


def test_what_is_held_goes_out_before_anything_is_held_beside_what_is_old(worker: Worker) -> None:
    worker.be_trusted()
    item = Item()
    worker.cork.touch(item)
    for _ in range(19):
        assert worker.may_cork(QUICK)
    assert not item.flushed
    for _ in range(2):
        assert worker.may_cork(QUICK)
    assert item.flushed == 1
