"""What neither ``--gevent`` nor ``--threads`` means: one request at a time, as in uWSGI, and WebSockets beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import fetch
from support.server import APPLICATIONS, Server
from support.websocket_client import RawClient, handshake

APPLICATION = APPLICATIONS / "serial_requests.py"


@pytest.fixture(scope="module")
def server() -> Any:
    with Server(APPLICATION, concurrency=()) as server:
        yield server


def ask(server: Server, path: str) -> str:
    return fetch(("127.0.0.1", server.port), path).text


@contextmanager
def clients(server: Server, count: int, path: str) -> Iterator[list[RawClient]]:
    with ExitStack() as stack:
        yield [stack.enter_context(RawClient.open(server.port, path)) for _ in range(count)]


def at_once(count: int, do: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return [each.result() for each in [pool.submit(do) for _ in range(count)]]


def test_a_start_says_how_requests_run(server: Server) -> None:
    server.wait_for_log(r"concurrency: one request at a time in a worker, .*--gevent 1000")


def test_requests_run_one_at_a_time(server: Server) -> None:
    assert at_once(8, lambda: ask(server, "/")) == ["page"] * 8
    assert ask(server, "/most") == "1"


def test_requests_run_where_the_application_was_loaded_on_an_unpatched_library(server: Server) -> None:
    assert ask(server, "/here") == "True"
    assert ask(server, "/patched") == "False"


def test_asyncio_runs_in_several_requests(server: Server) -> None:
    assert at_once(6, lambda: ask(server, "/asyncio")) == ["done"] * 6


def test_all_requests_share_what_is_kept_for_a_thread(server: Server) -> None:
    """A database driver that keeps a connection for each thread keeps one for the worker."""
    assert len(set(at_once(20, lambda: ask(server, "/connection")))) == 1


def test_websockets_that_sleep_hold_up_neither_one_another_nor_requests(server: Server) -> None:
    with clients(server, 5, "/sleep") as sleepers, RawClient.open(server.port, "/echo") as client:
        for each in sleepers:
            each.send_text("30")
        client.send_text("awake")
        client.expect_text("awake")
        assert ask(server, "/") == "page"


def test_websockets_hand_one_another_messages_by_a_queue_of_the_standard_library(server: Server) -> None:
    with RawClient.open(server.port, "/take") as taker, RawClient.open(server.port, "/put") as putter:
        taker.send_text("now")
        putter.send_text("from the other")
        putter.expect_text("from the other")
        taker.expect_text("from the other")


def test_a_request_waits_for_a_lock_that_a_websocket_holds_without_holding_up_the_event_loop(server: Server) -> None:
    with (
        RawClient.open(server.port, "/lock") as holder,
        RawClient.open(server.port, "/is-locking") as watcher,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.send_text("lock")
        holder.expect_text("locked")
        page = pool.submit(ask, server, "/lock")

        def is_locking() -> bool:
            watcher.send_text("?")
            return watcher.read_frame().payload == b"True"

        eventually(is_locking)
        with RawClient(server.port) as stranger:
            stranger.send(b"NO REQUEST\r\n\r\n")  # answered by the event loop alone
            assert stranger.read_response().status == 400
        holder.send_text("unlock")
        holder.expect_text("lock")
        assert page.result() == "unlocked"


def test_a_body_that_comes_slowly_holds_up_nobody(server: Server) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n"
    with RawClient(server.port) as slow:
        slow.send(head + b"a" * 1000)
        assert ask(server, "/most") == "1"
        slow.send(b"b" * 299_000)
        assert slow.read_response().status == 200
        assert slow.read_all() == b"300000"


def test_a_websocket_that_is_refused_before_its_handshake_gives_its_turn_back(server: Server) -> None:
    for _ in range(3):
        with RawClient(server.port) as client:
            client.send(handshake("/refused"))
            assert client.read_response().status == 200
        assert ask(server, "/") == "page"


def test_an_application_that_patches_the_library_itself_has_its_websockets_in_greenlets(
    serve: Callable[..., Server],
) -> None:
    server = serve("from gevent import monkey\nmonkey.patch_all()\n" + APPLICATION.read_text(), concurrency=())
    with clients(server, 10, "/echo") as peers:
        for each in peers:
            each.send_text("hello")
        for each in peers:
            each.expect_text("hello")
        assert ask(server, "/patched") == "True"
        assert at_once(8, lambda: ask(server, "/"))
        assert ask(server, "/most") == "1"


def test_a_patched_library_alone_still_means_one_request_at_a_time(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--gevent-monkey-patch", concurrency=())
    assert at_once(8, lambda: ask(server, "/"))
    assert (ask(server, "/patched"), ask(server, "/most")) == ("True", "1")


def test_several_workers_keep_no_client_that_may_have_to_wait_for_a_busy_one(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--processes", "2", concurrency=())
    assert fetch(("127.0.0.1", server.port), "/most").says_close


def test_time_spent_waiting_for_others_is_not_the_requests_own(serve: Callable[..., Server]) -> None:
    """Five requests of 0.8 s, of which ``--harakiri`` grants each 2: the last has waited longer than that."""
    application = """
import time, uwsgi
def application(environ, start_response):
    for _ in range(16):
        uwsgi.async_sleep(0.05)
    start_response("200 OK", [])
    return [b"page"]
"""
    server = serve(application, "--harakiri", "2", concurrency=())
    assert at_once(5, lambda: ask(server, "/")) == ["page"] * 5


def test_a_thousand_websockets_need_no_option(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, concurrency=())
    with clients(server, 990, "/echo") as peers:
        for number, client in enumerate(peers):
            client.send_text(str(number))
        for number, client in enumerate(peers):
            client.expect_text(str(number))
        assert ask(server, "/") == "page"


def test_threads_that_cannot_be_started_are_answered_for(serve: Callable[..., Server]) -> None:
    application = """
import _thread, threading
def refuse(*args, **kwargs):
    raise RuntimeError("can't start new thread")   # what CPython says at a limit of the system's
threading._start_new_thread = refuse
threading._start_joinable_thread = refuse
""" + APPLICATION.read_text()
    server = serve(application, concurrency=())
    for _ in range(3):
        with RawClient(server.port) as client:
            client.send(handshake("/echo"))
            assert client.read_response().status == 503
    assert ask(server, "/") == "page"


def test_one_thread_is_as_none(serve: Callable[..., Server]) -> None:
    server = serve(APPLICATION, "--threads", "1", concurrency=())
    server.wait_for_log("concurrency: one request at a time")
    assert ask(server, "/here") == "True"
