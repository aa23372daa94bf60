"""``uwsgi.cache_*``: as under uWSGI, one for all workers, and whole when one of them is killed."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient
from support.server import UWSGI_WS, ServerFailed
from support.shared_memory import APPLICATION, ask, both_answer
from support.workers import wait_for_workers

CACHES = (
    *("--cache2", "name=first,items=100"),
    *("--cache2", "name=second,items=4,blocksize=100"),
    *("--cache2", "name=lru,items=4,blocksize=100,purge_lru=1,ignore_full=1"),
    *("--cache2", "name=bits,items=20,blocks=20,blocksize=10,bitmap=1"),
)
MODES = [("--gevent", "10"), ("--threads", "4"), ()]


def lines(text: str) -> list[str]:
    return [f"uwsgi.{line.strip()}" for line in text.replace("|", "\n").splitlines() if line.strip()]


def test_values_are_as_in_uwsgi() -> None:
    both_answer(
        lines(r"""
        cache_get("x") | cache_get(b"x") | cache_get(1) | cache_get(None) | cache_get(bytearray(b"x"))
        cache_get(memoryview(b"x")) | cache_get("x", "first") | cache_get("x", b"first") | cache_get("x", None)
        cache_get("x", "none") | cache_get("x", "first\0") | cache_get("\ud800") | cache_get("at import")
        cache_set("\xe9", "\xe9") | cache_get("\xe9".encode()) | cache_set("a", 1) | cache_set("a", "1", "2")
        cache_set("a", "1", 1.5) | cache_set("a", "1", 2**64) | cache_set("a", "1") | cache_set("a", "2")
        cache_get("a") | cache_update("a", b"3") | cache_get("a") | cache_exists("a") | cache_exists("q")
        cache_keys() | cache_del("a") | cache_del("a") | cache_set("", "1") | cache_set("e", "")
        cache_set("a" * 2048, "1") | cache_set("a" * 2049, "1") | cache_set("big", "x" * 65537)
        cache_set("big", "x" * 65536) | cache_set("a", "1", 10, "none") | cache_update("b", "1", 10, "second")
        cache_get("b") | cache_get("b", "second") | cache_keys("none") | cache_keys(b"x") | cache_clear("none")
        cache_clear(1) | cache_clear() | cache_keys() | cache_keys("")
        """),
        *CACHES,
    )


def test_numbers_are_as_in_uwsgi() -> None:
    both_answer(
        lines("""
        cache_inc("n") | cache_num("n") | cache_get("n") | cache_inc("n", 5) | cache_num("n") | cache_dec("n", 2)
        cache_num("n") | cache_mul("n") | cache_num("n") | cache_mul("n", 7) | cache_num("n") | cache_div("n")
        cache_num("n") | cache_div("n", -4) | cache_num("n") | cache_div("n", 0) | cache_num("n")
        cache_dec("m", 3) | cache_num("m") | cache_div("m", 2) | cache_num("m") | cache_mul("z") | cache_num("z")
        cache_inc("z", 2**63-1) | cache_inc("z", 1) | cache_num("z") | cache_inc("z", 2**63) | cache_inc("z", "1")
        cache_inc("z", 1.5) | cache_num("none") | cache_set("text", "hello") | cache_num("text") | cache_inc("text")
        cache_get("text") | cache_num("text") | cache_inc("n", 1, 0, "second") | cache_num("n", "second")
        """),
        *CACHES,
    )


def test_a_full_cache_is_as_in_uwsgi() -> None:
    sets = [f'uwsgi.cache_set("{number}", "v", 0, "%s")' for number in range(5)]
    both_answer(
        [
            *(line % "second" for line in sets),
            *(line % "lru" for line in sets),
            *lines("""cache_get("2", "lru") | cache_exists("3", "lru") | cache_set("new", "v", 0, "lru")"""),
            *('sorted(uwsgi.cache_keys("lru"))', 'sorted(uwsgi.cache_keys("second"))'),
            *lines("""
            cache_set("a", "x" * 10, 0, "bits") | cache_set("b", "x" * 35, 0, "bits")
            cache_set("c", "x" * 60, 0, "bits") | cache_set("d", "x" * 10, 0, "bits")
            cache_update("a", "y" * 20, 0, "bits") | cache_get("a", "bits") | cache_set("e", "x" * 81, 0, "bits")
            cache_clear("bits") | cache_set("e", "x" * 80, 0, "bits") | cache_get("e", "bits")
            """),
        ],
        *CACHES,
    )


def test_the_old_option_makes_one_without_a_name() -> None:
    both_answer(
        lines("""
        cache_set("a", "v" * 9) | cache_set("b", "v" * 8) | cache_get("b", "default") | cache_get("b", "")
        cache_keys()
        """),
        *("--cache", "5", "--cache-blocksize", "8"),
    )


def test_without_a_cache_there_is_nothing() -> None:
    both_answer(
        lines("""
        cache_get("a") | cache_set("a", "b") | cache_update("a", "b") | cache_exists("a") | cache_del("a")
        cache_clear() | cache_inc("a") | cache_num("a") | cache_keys() | cache_get(5)
        """)
    )


def test_an_item_is_gone_when_it_expires(serve: Any) -> None:
    server = serve(APPLICATION, *CACHES)
    set_now = 'uwsgi.cache_set("soon", "v", 1, "lru")'
    assert ask(server, set_now, 'uwsgi.cache_get("soon", "lru")') == [True, b"v"]
    eventually(lambda: ask(server, 'uwsgi.cache_get("soon", "lru")') == [None])
    assert ask(server, 'uwsgi.cache_set("past", "v", -1)', 'uwsgi.cache_get("past")') == [True, None]


def test_items_can_be_kept_for_ever(serve: Any) -> None:
    server = serve(APPLICATION, "--cache2", "name=c,items=9", "--cache-no-expire")
    assert ask(server, 'uwsgi.cache_set("past", "v", -1)', 'uwsgi.cache_get("past")') == [True, b"v"]


def test_a_full_cache_is_told_of_once(serve: Any) -> None:
    server = serve(APPLICATION, "--cache2", "name=small,items=2")
    assert ask(server, *[f"uwsgi.cache_set('{key}', 'v')" for key in "abc"]) == [None, None, None]
    server.wait_for_log('DANGER cache "small" is FULL')
    assert ask(server, "uwsgi.log('the end')") == [True]
    server.wait_for_log("the end")
    assert server.log.count('DANGER cache "small" is FULL') == 1


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)], ids=["", "lazy"])
def test_workers_have_one_cache_and_lose_nothing(serve: Any, mode: tuple[str, ...], lazy: tuple[str, ...]) -> None:
    server = serve(APPLICATION, "--processes", "2", *CACHES, *lazy, concurrency=mode)
    wait_for_workers(server, 2)
    assert ask(server, 'uwsgi.cache_get("at import")') == [b"loaded"]
    seen: set[int] = set()
    asked = 0
    while len(seen) < 2 or asked < 20:
        pid = ask(server, "os.getpid()", 'count("n", 100)')[0]
        seen.add(pid)
        asked += 1
        assert ask(server, 'uwsgi.cache_num("n")') == [asked * 100]
        assert asked < 300, "one worker answers everything"
    os.kill(seen.pop(), signal.SIGKILL)
    eventually(lambda: server.log.count("spawned uwsgi_ws worker") == 3)
    assert ask(server, 'uwsgi.cache_num("n")', 'uwsgi.cache_get("at import")') == [asked * 100, b"loaded"]


def test_threads_and_greenlets_of_a_worker_lose_nothing(serve: Any) -> None:
    for mode in MODES:
        server = serve(APPLICATION, *CACHES, concurrency=mode)
        clients = [HttpClient(server.addresses[-1]) for _ in range(4)]
        for client in clients:
            client.send_request("POST", "/", body=b'count("n", 500)')
        for client in clients:
            assert client.read_response().status == 200
            client.close()
        assert ask(server, 'uwsgi.cache_num("n")') == [2_000]


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_a_worker_that_is_killed_in_the_middle_leaves_it_whole(serve: Any, mode: tuple[str, ...]) -> None:
    server = serve(APPLICATION, "--processes", "2", *CACHES, concurrency=mode)
    wait_for_workers(server, 2)
    change = '[uwsgi.cache_update(k, k * 10, 0, "lru") for k in "abcdef" for _ in range(20000)]'
    for round_number in range(3):
        with HttpClient(server.addresses[-1]) as client:
            client.send_request("POST", "/", body=f"uwsgi.cache_update('by', str(os.getpid()))\n{change}".encode())
            pid = eventually(lambda: ask(server, "uwsgi.cache_get('by')")[0])
            assert ask(server, "uwsgi.cache_del('by')") == [True]
            os.kill(int(pid), signal.SIGKILL)
        wait_for_workers(server, 3 + round_number)
        for key in ask(server, 'uwsgi.cache_keys("lru")')[0]:
            value = ask(server, f'uwsgi.cache_get({key}, "lru")')[0]
            assert value in (None, key * 10)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("items=5", "does not tell name and items"),
        ("name=a", "does not tell name and items"),
        ("name=a,items=5,store=/tmp/x", "'store=/tmp/x' is not done here: a cache is in memory"),
        ("name=a,items=5,nodes=10.0.0.1:1", "share one between machines by Redis"),
        ("name=a,items=5,size=1", "'size=1' is none of max_items"),
        ("name=a,items=many", "items 'many' is no whole number of at least 1"),
        ("name=a,items=5,blocks=4", "fewer blocks than items"),
        ("name=a,items=5,keysize=65536", "keysize 65536 is not less than 65536"),
        ("name=a,items=10000000000000,blocksize=10000000000", "no memory for it"),
    ],
)
def test_what_cannot_be_is_refused(serve: Any, value: str, problem: str) -> None:
    with pytest.raises(ServerFailed) as caught:
        serve(APPLICATION, "--cache2", value, program=UWSGI_WS)
    assert problem in str(caught.value)
