"""The cache's memory: as a dict that forgets, whatever happens, and whole whoever dies at whatever point."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from mmap import mmap
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.shared.cache import OPERATIONS, CacheShape, SharedCache
from uwsgi_ws.shared.locks import SharedLocks

SECOND = 1_000_000_000


def make(*, memory: mmap | bytearray | None = None, lock: Any = None, **parameters: Any) -> SharedCache:
    shape = CacheShape(
        "c", **{"items": 10, "blocks": 10, "block_size": 16, "key_size": 8, "hash_size": 4, **parameters}
    )
    return SharedCache(shape, bytearray(shape.size) if memory is None else memory, lock or nullcontext())


def put(cache: SharedCache, key: bytes, value: bytes, expires_at: int = 0, now: int = 1) -> bool:
    return cache.set(key, value, expires_at, now, replaces=True)


def test_a_key_has_the_value_it_was_given() -> None:
    cache = make()
    assert cache.get(b"a", 1) is None
    assert cache.set(b"a", b"1", 0, 1)
    assert not cache.set(b"a", b"2", 0, 1)
    assert (cache.get(b"a", 1), cache.exists(b"a", 1), cache.exists(b"b", 1)) == (b"1", True, False)
    assert put(cache, b"a", b"3")
    assert cache.get(b"a", 1) == b"3"
    assert cache.delete(b"a", 1)
    assert not cache.delete(b"a", 1)
    assert not cache.exists(b"a", 1)


@pytest.mark.parametrize(("key", "value"), [(b"", b"1"), (b"k" * 9, b"1"), (b"a", b""), (b"a", b"v" * 17)])
def test_what_does_not_fit_is_refused(key: bytes, value: bytes) -> None:
    cache = make()
    assert not put(cache, key, value)
    assert cache.keys(1) == []
    assert cache.times_full == 0


def test_there_is_one_item_less_than_it_is_told_of() -> None:
    cache = make(items=4)
    assert [put(cache, b"%d" % number, b"v") for number in range(5)] == [True, True, True, False, False]
    assert cache.times_full == 2
    assert put(cache, b"1", b"new")
    cache.clear()
    assert cache.keys(1) == []
    assert put(cache, b"1", b"v")


def test_an_item_is_gone_when_it_expires() -> None:
    cache = make()
    assert put(cache, b"a", b"1", expires_at=10)
    assert cache.get(b"a", 9) == b"1"
    assert cache.keys(9) == [b"a"]
    assert cache.keys(10) == []
    assert cache.get(b"a", 10) is None
    assert cache.set(b"a", b"2", 0, 10)
    assert cache.get(b"a", 10**18) == b"2"


def test_what_has_expired_makes_room() -> None:
    cache = make(items=4)
    for key, expires_at in ((b"a", 10), (b"b", 20), (b"c", 0)):
        put(cache, key, b"v", expires_at)
    assert not put(cache, b"d", b"v", now=9)
    assert put(cache, b"d", b"v", now=10)
    assert not put(cache, b"e", b"v", now=10)
    assert put(cache, b"e", b"v", now=20)
    assert not put(cache, b"f", b"v", now=10**18)


def test_items_need_not_expire() -> None:
    cache = make(expires=False)
    put(cache, b"a", b"1", expires_at=10)
    assert cache.get(b"a", 100) == b"1"


def test_what_was_not_used_for_longest_makes_room() -> None:
    cache = make(items=4, purge_lru=True)
    for key in (b"a", b"b", b"c"):
        put(cache, key, b"v")
    cache.get(b"a", 1)
    cache.exists(b"b", 1)  # is no use
    assert put(cache, b"d", b"v")
    assert sorted(cache.keys(1)) == [b"a", b"c", b"d"]
    put(cache, b"c", b"new")
    put(cache, b"e", b"v")
    assert sorted(cache.keys(1)) == [b"c", b"d", b"e"]
    cache.delete(b"d", 1)
    put(cache, b"f", b"v")
    assert sorted(cache.keys(1)) == [b"c", b"e", b"f"]


def test_everything_may_make_room() -> None:
    cache = make(items=4, clear_on_full=True)
    for key in (b"a", b"b", b"c", b"d"):
        assert put(cache, key, b"v")
    assert cache.keys(1) == [b"d"]


def test_a_value_may_take_several_blocks() -> None:
    cache = make(items=20, blocks=20, block_size=10, has_bitmap=True)
    for key, size in ((b"a", 10), (b"b", 35), (b"c", 60), (b"d", 10)):
        assert put(cache, key, key * size)
    assert put(cache, b"a", b"y" * 20)  # 14 of 20 blocks
    assert cache.get(b"a", 1) == b"y" * 20
    assert not put(cache, b"e", b"e" * 81)
    assert not put(cache, b"a", b"y" * 100)
    assert cache.get(b"a", 1) == b"y" * 20
    for key, size in ((b"b", 35), (b"c", 60), (b"d", 10)):
        assert cache.get(key, 1) == key * size
    cache.clear()
    assert put(cache, b"e", b"e" * 200)
    assert not put(cache, b"e", b"e" * 201)
    assert not put(cache, b"f", b"f")


def test_as_much_as_it_needs_makes_room_for_a_long_value() -> None:
    cache = make(items=20, blocks=8, block_size=10, has_bitmap=True, purge_lru=True)
    for number in range(8):
        put(cache, b"%d" % number, b"v")
    assert put(cache, b"long", b"v" * 35)
    assert sorted(cache.keys(1)) == [b"4", b"5", b"6", b"7", b"long"]
    assert put(cache, b"7", b"v" * 80)
    assert (cache.keys(1), cache.get(b"7", 1)) == ([b"7"], b"v" * 80)


def test_what_has_expired_makes_room_for_a_longer_value_too() -> None:
    cache = make(items=20, blocks=4, block_size=10, has_bitmap=True)
    put(cache, b"a", b"v")
    put(cache, b"b", b"v" * 30, expires_at=10)
    assert not put(cache, b"a", b"v" * 20, now=9)
    assert put(cache, b"a", b"v" * 20, now=10)
    assert cache.get(b"a", 10) == b"v" * 20


def test_numbers_are_calculated_with_as_in_c() -> None:
    cache = make(math_initial=7)
    do: Callable[..., bool] = lambda name, number: cache.calculate(b"n", OPERATIONS[name], number, 0, 1)  # noqa: E731
    outcomes = []
    for name, number in (("inc", 1), ("dec", 10), ("mul", 7), ("div", 4), ("div", 0), ("inc", 2**63 - 1), ("inc", 1)):
        assert do(name, number)
        value = cache.get(b"n", 1)
        assert value is not None
        outcomes.append(int.from_bytes(value, "little", signed=True))
    assert outcomes == [8, -2, -14, -3, 0, 2**63 - 1, -(2**63)]
    assert do("div", -1)
    assert OPERATIONS["div"](7, 2) == 3


def test_a_number_keeps_its_expiry_and_a_text_is_taken_for_one() -> None:
    cache = make()
    cache.calculate(b"n", OPERATIONS["inc"], 1, 10, 1)
    cache.calculate(b"n", OPERATIONS["inc"], 1, 99, 1)
    assert cache.exists(b"n", 9)
    assert not cache.exists(b"n", 10)
    put(cache, b"t", b"hello")
    cache.calculate(b"t", OPERATIONS["inc"], 1, 0, 1)
    assert cache.get(b"t", 1) == b"iello\0\0\0"
    put(cache, b"t", b"hello world")
    cache.calculate(b"t", OPERATIONS["inc"], 1, 0, 1)
    assert cache.get(b"t", 1) == b"iello wo"
    assert not cache.calculate(b"", OPERATIONS["inc"], 1, 0, 1)
    assert not make(block_size=4).calculate(b"n", OPERATIONS["inc"], 1, 0, 1)


KEYS = st.sampled_from([b"%d" % number for number in range(8)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("set"), KEYS, st.binary(min_size=1, max_size=50), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("wait"), st.integers(1, 10)),
        st.tuples(st.just("break")),
        st.tuples(st.just("clear")),
    ),
    max_size=40,
)


@given(steps=STEPS, lru=st.booleans(), bitmap=st.booleans())
def test_it_is_a_dict_that_forgets(steps: list[Any], lru: bool, bitmap: bool) -> None:
    """The model knows items and their order of use; blocks only so far as there are enough."""
    cache = make(items=6, blocks=40, block_size=8 if bitmap else 50, purge_lru=lru, has_bitmap=bitmap)
    model: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()
    now = 1
    for step in steps:
        for key in [key for key, (_, expires_at) in model.items() if 0 < expires_at <= now]:
            del model[key]
        match step:
            case ("get", key):
                assert cache.get(key, now) == model.get(key, (None,))[0]
                if key in model:
                    model.move_to_end(key)
            case ("delete", key):
                assert cache.delete(key, now) == (model.pop(key, None) is not None)
            case ("set", key, value, age, replaces):
                expires_at = now + age if age else 0
                done = cache.set(key, value, expires_at, now, replaces=replaces)
                if key in model:
                    assert done == replaces
                elif len(model) == 5:
                    assert done == lru
                    if lru:
                        model.popitem(last=False)
                else:
                    assert done
                if done:
                    model[key] = value, expires_at
                    model.move_to_end(key)
            case ("wait", seconds):
                now += seconds
            case ("break",):
                cache._words[0] = 1  # as if somebody had been killed
            case ("clear",):
                cache.clear()
                model.clear()
    left = {key: value for key, (value, expires_at) in model.items() if not 0 < expires_at <= now}
    assert sorted(cache.keys(now)) == sorted(left)
    assert {key: cache.get(key, now) for key in left} == left


class Killed(BaseException):
    pass


def kill_in_line(number: int, do: Callable[[], object]) -> bool:
    """Do something, and end it before its so-manyth line; return whether it was ended."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith("shared/cache.py"):
            return None
        if event == "line":
            count += 1
            if count == number:
                raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    except Killed:
        return True
    finally:
        sys.settrace(before)
    return False


CHANGES: dict[str, Callable[[SharedCache], object]] = {
    "insert": lambda cache: put(cache, b"new", b"n" * 20),
    "longer": lambda cache: put(cache, b"a", b"b" * 30),
    "shorter": lambda cache: put(cache, b"a", b"c"),
    "same": lambda cache: put(cache, b"a", b"d" * 11),
    "delete": lambda cache: cache.delete(b"a", 1),
    "get": lambda cache: cache.get(b"a", 1),
    "number": lambda cache: cache.calculate(b"a", OPERATIONS["inc"], 1, 0, 1),
    "expire": lambda cache: cache.get(b"soon", 10),
    "full": lambda cache: [put(cache, b"f%d" % number, b"f" * 20) for number in range(4)],
    "clear": lambda cache: cache.clear(),
}
VALUES = {b"a": {b"a" * 12, b"b" * 30, b"c", b"d" * 11}, b"soon": {b"s"}, b"b": {b"b" * 25}, b"new": {b"n" * 20}}


@pytest.mark.skipif(sys.gettrace() is not None, reason="what traces the lines is in use")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [{}, {"purge_lru": True}, {"has_bitmap": True, "block_size": 8, "purge_lru": True}])
def test_a_process_killed_in_any_line_leaves_nothing_half_written(change: str, kind: dict[str, Any]) -> None:
    for number in range(1, 2_000):
        cache = make(**{"items": 7, "blocks": 20, "block_size": 32, **kind})
        for key, value, expires_at in ((b"a", b"a" * 12, 0), (b"soon", b"s", 10), (b"b", b"b" * 25, 0)):
            put(cache, key, value, expires_at)
        killed = kill_in_line(number, lambda cache=cache: CHANGES[change](cache))  # type: ignore[misc]
        after = make(memory=cache._memory, **{"items": 7, "blocks": 20, "block_size": 32, **kind})
        kept = {key: after.get(key, 1) for key in after.keys(1)}
        for key, found in kept.items():
            if key in VALUES and change != "number":
                assert found in VALUES[key]
        if change not in ("full", "clear"):
            assert kept.get(b"b") == b"b" * 25
        # It goes on as if nothing had been: everything can be taken away, and all of its room be used.
        for key in after.keys(1):
            assert after.delete(key, 1)
        size = 24 if after.shape.has_bitmap else 32
        assert [put(after, b"k%d" % index, b"%d" % index * size) for index in range(6)] == [True] * 6
        for index in range(6):
            assert after.get(b"k%d" % index, 1) == b"%d" % index * size
        if not killed:
            assert number > 3
            return
    raise AssertionError("it never came to an end")


def hammer(cache: SharedCache, seed: int) -> None:
    """Change the cache until killed; each value tells its key and is of one letter."""
    choice = random.Random(seed)
    while True:
        key = b"k%d" % choice.randrange(30)
        now = time.monotonic_ns()
        match choice.randrange(6):
            case 0:
                cache.delete(key, now)
            case 1:
                cache.get(key, now)
            case 2:
                cache.calculate(b"number", OPERATIONS["inc"], 1, 0, now)
            case _:
                value = bytes(choice.choice(b"xyz") for _ in range(1)) * choice.randrange(1, 60)
                cache.set(
                    key, key + b":" + value, now + SECOND // 100 if choice.randrange(2) else 0, now, replaces=True
                )


@pytest.mark.parametrize("bitmap", [False, True])
def test_processes_that_are_killed_leave_a_whole_cache(bitmap: bool) -> None:
    """Each of two processes is killed again and again, most often while it changes something."""
    shape = CacheShape("c", 20, 16 if bitmap else 80, 60, 8, 8, has_bitmap=bitmap, purge_lru=True)
    cache = SharedCache(shape, mmap(-1, shape.size), SharedLocks().lock())
    children: list[int] = []
    choice = random.Random(5)
    killed_at_work = 0
    rounds = itertools.count()
    give_up_at = time.monotonic() + 60
    try:
        # A child that has had no time yet is killed in vain.
        while (round_number := next(rounds)) < 60 or (not killed_at_work and time.monotonic() < give_up_at):
            while len(children) < 2:
                pid = os.fork()
                if not pid:
                    try:
                        hammer(cache, round_number)
                    finally:
                        os._exit(1)
                children.append(pid)
            time.sleep(choice.random() * 0.01)
            victim = children.pop(choice.randrange(2))
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            killed_at_work += cache._words[0]
            for key in cache.keys(0):
                value = cache.get(key, 0)
                if value is None or key == b"number":
                    continue  # the other process goes on
                name, _, rest = value.partition(b":")
                assert name == key
                assert len(set(rest)) == 1
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert killed_at_work
    for key in cache.keys(0):
        assert cache.delete(key, 0)
    assert all(cache.set(b"%d" % number, b"v" * 40, 0, 1) for number in range(19))
    assert all(cache.get(b"%d" % number, 1) == b"v" * 40 for number in range(19))


def test_processes_that_count_together_lose_nothing() -> None:
    shape = CacheShape("c", 4, 16, 4, 8, 8)
    cache = SharedCache(shape, mmap(-1, shape.size), SharedLocks().lock())
    children = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            for _ in range(500):
                cache.calculate(b"n", OPERATIONS["inc"], 1, 0, 1)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert int.from_bytes(cache.get(b"n", 1) or b"", "little") == 1500
