"""``uwsgi.cache_*``: values by key that all workers have together.

The memory is made when the application is about to be loaded, so a reload begins with empty caches, as in uWSGI.

Source: uWSGI 2.0.31, plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from mmap import mmap
from typing import Any

from uwsgi_ws.api.arguments import MOST, c_bytes, c_long, c_str
from uwsgi_ws.log import say
from uwsgi_ws.shared.cache import OPERATIONS, CacheShape, SharedCache
from uwsgi_ws.shared.locks import SharedLocks

__all__ = ["Caches"]

_SECOND = 1_000_000_000


class Caches:
    """The instance's caches, as this process and those forked from it have them.

    Args:
        shapes: What they are like; the first one is meant where none is named.
        locks: Makes a lock for each.

    Raises:
        OSError: there is not so much memory.
    """

    def __init__(self, shapes: Iterable[CacheShape], locks: SharedLocks) -> None:
        self._caches: dict[str, SharedCache] = {}
        self._first: SharedCache | None = None
        for shape in shapes:
            cache = SharedCache(shape, mmap(-1, shape.size), locks.lock())
            self._caches.setdefault(shape.name, cache)
            self._first = self._first or cache
        self._said_full: set[SharedCache] = set()

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Those that the ``uwsgi`` module offers."""
        return (
            self.cache_get,
            self.cache_set,
            self.cache_update,
            self.cache_exists,
            self.cache_del,
            self.cache_clear,
            self.cache_inc,
            self.cache_dec,
            self.cache_mul,
            self.cache_div,
            self.cache_num,
            self.cache_keys,
        )

    def cache_get(self, key: str | bytes, cache: str = "", /) -> bytes | None:
        """Return a key's value, None when it has none."""
        key = c_bytes(key, "cache_get", 1)
        found = self._named(c_str(cache, "cache_get", 2))
        return None if found is None else found.get(key, time.monotonic_ns())

    def cache_set(self, key: str | bytes, value: str | bytes, expires: int = 0, cache: str = "", /) -> bool | None:
        """Give a key a value, if it has none; return True if it is done, else None.

        Args:
            key: It is encoded if it is text, as the value.
            value: It must have at least a byte, and fit into a block.
            expires: Seconds until it is gone; 0 for never.
            cache: Its name; by default the first one.
        """
        return self._set("cache_set", key, value, expires, cache, replaces=False)

    def cache_update(self, key: str | bytes, value: str | bytes, expires: int = 0, cache: str = "", /) -> bool | None:
        """Give a key a value, whether or not it has one; return as ``cache_set``."""
        return self._set("cache_update", key, value, expires, cache, replaces=True)

    def cache_exists(self, key: str | bytes, cache: str = "", /) -> bool | None:
        """Return True if a key has a value, else None."""
        key = c_bytes(key, "cache_exists", 1)
        found = self._named(c_str(cache, "cache_exists", 2))
        return (found is not None and found.exists(key, time.monotonic_ns())) or None

    def cache_del(self, key: str | bytes, cache: str = "", /) -> bool | None:
        """Take a key's value away; return True if it had one, else None."""
        key = c_bytes(key, "cache_del", 1)
        found = self._named(c_str(cache, "cache_del", 2))
        return (found is not None and found.delete(key, time.monotonic_ns())) or None

    def cache_clear(self, cache: str = "", /) -> bool | None:
        """Take everything away; return True, or None when there is no such cache."""
        found = self._named(c_str(cache, "cache_clear", 1))
        if found is None:
            return None
        found.clear()
        return True

    def cache_inc(self, key: str | bytes, number: int = 1, expires: int = 0, cache: str = "", /) -> bool | None:
        """Add to a key's number, at first 0; return True if it is done, else None."""
        return self._calculate("inc", key, number, expires, cache)

    def cache_dec(self, key: str | bytes, number: int = 1, expires: int = 0, cache: str = "", /) -> bool | None:
        """Subtract from a key's number; return as ``cache_inc``."""
        return self._calculate("dec", key, number, expires, cache)

    def cache_mul(self, key: str | bytes, number: int = 2, expires: int = 0, cache: str = "", /) -> bool | None:
        """Multiply a key's number; return as ``cache_inc``."""
        return self._calculate("mul", key, number, expires, cache)

    def cache_div(self, key: str | bytes, number: int = 2, expires: int = 0, cache: str = "", /) -> bool | None:
        """Divide a key's number, towards 0; by 0 it becomes 0. Return as ``cache_inc``."""
        return self._calculate("div", key, number, expires, cache)

    def cache_num(self, key: str | bytes, cache: str = "", /) -> int:
        """Return a key's number, 0 when it has none."""
        key = c_bytes(key, "cache_num", 1)
        found = self._named(c_str(cache, "cache_num", 2))
        value = None if found is None else found.get(key, time.monotonic_ns())
        return int.from_bytes(value, "little", signed=True) if value and len(value) == 8 else 0

    def cache_keys(self, cache: str = "", /) -> list[bytes]:
        """Return all keys.

        Raises:
            ValueError: there is no such cache.
        """
        found = self._named(c_str(cache, "cache_keys", 1))
        if found is None:
            raise ValueError("no local uWSGI cache available")
        return found.keys(time.monotonic_ns())

    def _named(self, name: str) -> SharedCache | None:
        if not name:
            return self._first
        if "@" in name:
            # uWSGI asks another server then; None would look as if that had no such key.
            raise ValueError(f"caches of other servers cannot be asked: {name!r}")
        return self._caches.get(name)

    def _set(
        self, function: str, key: str | bytes, value: str | bytes, expires: int, cache: str, *, replaces: bool
    ) -> bool | None:
        key, value = c_bytes(key, function, 1), c_bytes(value, function, 2)
        now = time.monotonic_ns()
        expires_at = _expires_at(expires, now)
        found = self._named(c_str(cache, function, 4))
        return self._done(found, found is not None and found.set(key, value, expires_at, now, replaces=replaces))

    def _calculate(self, name: str, key: str | bytes, number: int, expires: int, cache: str) -> bool | None:
        function = f"cache_{name}"
        key, number = c_bytes(key, function, 1), c_long(number)
        now = time.monotonic_ns()
        expires_at = _expires_at(expires, now)
        found = self._named(c_str(cache, function, 4))
        done = found is not None and found.calculate(key, OPERATIONS[name], number, expires_at, now)
        return self._done(found, done)

    def _done(self, cache: SharedCache | None, done: bool) -> bool | None:
        """Return what uWSGI returns; say once in each process that a cache is full."""
        if done:
            return True
        if cache is not None and cache.times_full and cache not in self._said_full and not cache.shape.ignores_full:
            self._said_full.add(cache)
            say(f'*** DANGER cache "{cache.shape.name}" is FULL, {cache.shape.items - 1} items or too long values ***')
        return None


def _expires_at(expires: int, now: int) -> int:
    """Return the time at which what expires in so many seconds is gone; 0 for never."""
    seconds = c_long(expires)
    return min(max(now + seconds * _SECOND, 1), MOST) if seconds else 0
