"""Calls from native threads to the hub's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import gevent
import pytest
from gevent import get_hub
from gevent.event import AsyncResult, Event

from uwsgi_ws.hub.hub_calls import HubCalls, in_hub, post, use_hub_calls


def in_thread(function: Callable[[], object]) -> object:
    """Run a function in a native thread while the hub runs; return what it returns or raises."""
    outcome: AsyncResult[object] = AsyncResult()
    wake = get_hub().loop.async_()

    def work() -> None:
        try:
            result.append(function())
        except BaseException as exc:
            result.append(exc)
        wake.send()

    result: list[object] = []
    wake.start(lambda: outcome.set(result[0]))
    thread = threading.Thread(target=work)
    thread.start()
    try:
        return outcome.get(timeout=10)
    finally:
        wake.close()
        thread.join()


def test_a_call_is_made_in_the_hub_s_thread_and_may_wait_there(hub_calls: HubCalls) -> None:
    def wait(seconds: float) -> int:
        gevent.sleep(seconds)
        return threading.get_ident()

    assert in_thread(lambda: in_hub(wait, 0.01)) == threading.get_ident()
    assert in_thread(threading.get_ident) != threading.get_ident()


def test_what_a_call_raises_is_raised_in_the_thread(hub_calls: HubCalls) -> None:
    error = in_thread(lambda: in_hub(int, "x"))
    assert isinstance(error, ValueError)


def test_in_the_hub_s_thread_and_without_hub_calls_it_is_a_plain_call(hub_calls: HubCalls) -> None:
    assert in_hub(int, "7") == 7
    use_hub_calls(None)
    assert in_thread(lambda: in_hub(threading.get_ident)) != threading.get_ident()


def test_calls_and_posts_of_a_thread_are_done_in_its_order(hub_calls: HubCalls) -> None:
    done: list[int] = []

    def work() -> None:
        for number in range(3_000):  # more than may be posted without waiting
            post(get_hub_of_main, done.append, number)
        in_hub(done.append, 3_000)

    get_hub_of_main = get_hub()
    assert in_thread(work) is None
    assert done == [*range(3_001)]


def test_a_post_without_hub_calls_is_the_loop_s(hub_calls: HubCalls) -> None:
    use_hub_calls(None)
    hub, came = get_hub(), Event()
    in_thread(lambda: post(hub, came.set))
    assert came.wait(10)


def test_a_call_that_waits_can_be_interrupted_and_nothing_else(hub_calls: HubCalls) -> None:
    threads: list[int] = []

    def wait() -> None:
        threads.append(threading.get_ident())
        in_hub(gevent.sleep, 10)

    def interrupt() -> None:
        while not threads or not hub_calls.interrupt(threads[0], KeyError("enough")):
            gevent.sleep(0.001)

    interrupter = gevent.spawn(interrupt)
    error = in_thread(wait)
    assert isinstance(error, KeyError)
    interrupter.join()
    assert not hub_calls.interrupt(threads[0], KeyError("again"))


def test_an_interruption_that_comes_too_late_hits_nobody(hub_calls: HubCalls) -> None:
    threads: list[int] = []
    released = Event()

    def wait() -> str:
        threads.append(threading.get_ident())
        in_hub(released.wait)
        return "unharmed"

    def interrupt() -> None:
        while not threads or hub_calls._running.get(threads[0]) is None:
            gevent.sleep(0.001)
        released.set()  # its greenlet is woken before the interruption's callback
        assert hub_calls.interrupt(threads[0], KeyError("late"))

    interrupter = gevent.spawn(interrupt)
    assert in_thread(wait) == "unharmed"
    interrupter.get()


def test_a_post_that_fails_is_logged_and_the_next_one_done(
    hub_calls: HubCalls, caplog: pytest.LogCaptureFixture
) -> None:
    hub, done = get_hub(), Event()

    def work() -> None:
        post(hub, int, "x")
        post(hub, done.set)

    in_thread(work)
    assert done.wait(10)
    assert "a call that nobody waits for" in caplog.text
