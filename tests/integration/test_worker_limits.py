"""Workers that have done enough, requests that take too long, event loops that are stuck."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.workers import (
    APPLICATION,
    address,
    all_workers,
    echo,
    hammering,
    is_alive,
    is_closed,
    open_chat,
    wait_for_workers,
    who,
)


def test_a_worker_that_has_done_enough_is_replaced_before_it_leaves(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--max-requests", "30", "--min-worker-lifetime", "0", processes=1)
    first = who(server)
    with open_chat(server) as chat, hammering(server) as problems:
        server.wait_for_log(rf"worker 1 \(pid: {first}\) asks to be replaced: it has begun [0-9]+ requests", 10)
        is_closed(chat, 1012, "server restarts")
        eventually(lambda: not is_alive(first))
    assert problems == []
    assert who(server) != first


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--max-worker-lifetime", "1.5", "has lived for [12] seconds"), ("--reload-on-rss", "1", "MiB of memory")],
)
def test_workers_are_replaced_one_after_the_other(serve_many: Any, option: str, value: str, words: str) -> None:
    server = serve_many(APPLICATION, option, value, "--min-worker-lifetime", "0.5")
    before = all_workers(server, 2)
    wait_for_workers(server, 4)
    eventually(lambda: not any(is_alive(pid) for pid in before))
    eventually(lambda: len(re.findall(rf"asks to be replaced: .*{words} \({option}\)", server.log)) >= 2)


def test_no_limit_counts_before_the_least_lifetime(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--reload-on-rss", "1", "--min-worker-lifetime", "2", processes=1)
    begun = time.monotonic()
    server.wait_for_log("asks to be replaced", 10)
    assert time.monotonic() - begun > 1


def test_harakiri_ends_the_request_that_takes_too_long_and_nothing_else(serve_many: Any) -> None:
    source = APPLICATION.read_text() + (
        "inner = application\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/slow':\n"
        "        try:\n"
        "            gevent.sleep(60)\n"
        "        except Exception:\n"
        "            pass\n"
        "    return inner(environ, start_response)\n"
    )
    server = serve_many(source, "--harakiri", "1", processes=1, allow_traceback=True)
    pid = who(server)
    with open_chat(server) as chat, HttpClient(address(server)) as slow:
        slow.send_request("GET", "/slow")
        assert slow.read_response().status == 500
        server.wait_for_log(r"HARAKIRI ON WORKER 1 CORE [0-9]+: GET /slow has taken [12] seconds")
        server.wait_for_log("RequestTimeout: longer than 1 seconds")
        assert "in application" in server.log  # the traceback tells where
        echo(chat, "still here")
        assert who(server) == pid


def test_harakiri_ends_a_request_that_has_emptied_its_environ(serve_many: Any) -> None:
    source = APPLICATION.read_text() + (
        "inner = application\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] != '/slow':\n"
        "        return inner(environ, start_response)\n"
        "    environ.clear()\n"
        "    gevent.sleep(60)\n"
    )
    server = serve_many(source, "--harakiri", "1", processes=1, allow_traceback=True)
    with HttpClient(address(server)) as slow:
        slow.send_request("GET", "/slow")
        assert slow.read_response().status == 500
    server.wait_for_log("RequestTimeout: longer than 1 seconds")


def test_harakiri_leaves_a_connection_alone_whose_request_it_has_ended(serve_many: Any) -> None:
    """Also while the rest of that request's body is awaited: a client may send it late, and then another request."""
    source = APPLICATION.read_text() + (
        "inner = application\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/slow':\n"
        "        environ['wsgi.input'].read()\n"
        "        gevent.sleep(60)\n"
        "    return inner(environ, start_response)\n"
    )
    server = serve_many(source, "--harakiri", "1", processes=1, allow_traceback=True)
    with HttpClient(address(server)) as late, HttpClient(address(server)) as slow:
        late.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert late.read_response().status == 500
        slow.send_request("GET", "/slow")
        assert slow.read_response().status == 500  # so it has looked at all once more
        late.send(bytes(10))
        assert late.request("GET", "/who").status == 200
    server.stop()  # so the log is whole
    assert len(re.findall(r"\*\*\* HARAKIRI", server.log)) == 2


def test_websockets_can_be_made_to_obey_harakiri(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--harakiri", "1", "--websockets-harakiri", processes=1, allow_traceback=True)
    with open_chat(server) as chat:
        echo(chat, "hello")
        is_closed(chat, 1011, "")


STUCK = b"__import__('gevent').monkey.get_original('time', 'sleep')(60)"


def test_a_worker_whose_event_loop_is_stuck_logs_its_stack(serve_many: Any) -> None:
    options = ["--gevent-stuck-report", "0.5", "--worker-reload-mercy", "0.1", "--reload-mercy", "0.1"]
    server = serve_many(APPLICATION, *options, allow_traceback=True)
    with HttpClient(address(server)) as client:
        client.send_request("POST", "/eval", body=STUCK)
        server.wait_for_log(r"worker [12] \(pid: [0-9]+\) has not run its event loop for [0-9]+ seconds", 10)
        server.wait_for_log(r'File ".*workers\.py", line [0-9]+ in application', 10)


def test_a_worker_whose_event_loop_is_stuck_for_too_long_is_replaced(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--harakiri", "1", "--gevent-stuck-report", "0.5", processes=1)
    with HttpClient(address(server)) as client:
        client.send_request("POST", "/eval", body=STUCK)
        server.wait_for_log(r"HARAKIRI: worker 1 \(pid: [0-9]+\) has not run its event loop", 10)
        client.assert_ended()
    wait_for_workers(server, 2)
    assert fetch(address(server)).status == 200
