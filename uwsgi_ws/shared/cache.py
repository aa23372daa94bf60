"""Values by key that processes keep together, in memory of a fixed size: uWSGI's cache.

The memory holds, one after the other: a few words about the whole; the buckets, where the search for a key begins; the
items, numbered from 1, each a row of words; their keys; a byte for each block, which tells whether it is taken; and the
blocks, which hold the values. An item's value lies in blocks that follow one another. Without ``has_bitmap`` it has
exactly one, that of its number.

Everything happens with the lock held. The holder may be killed anywhere, so a word tells that something is being
changed. A process that gets the lock and finds the word set builds everything anew from the items (``_repair``). An
item whose key's size is 0 does not exist; that word is written last when an item comes, and first when it goes or its
value is overwritten. So a killed process can lose what it was writing, but leaves nothing half-written.

Pure: it is given the memory, the lock, and told the time, in nanoseconds.

Source: uWSGI 2.0.31, core/cache.c. Unlike there, an item is gone at the moment it expires, with ``purge_lru`` too, and
a value that finds no room with ``purge_lru`` makes room until it fits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from mmap import mmap
from typing import NamedTuple

__all__ = ["OPERATIONS", "CacheShape", "SharedCache"]

_WORD = 8
_MOST = 2**64 - 1

# Words about the whole: whether something is being changed; items there are; ends of the list by last use; first of
# the list of items that were used; lowest number that never was; block where the search for free ones begins; counts
# uses; times something found no room; the earliest time at which an item expires, 0 for never.
_CHANGING, _COUNT, _OLDEST, _NEWEST, _FREE, _FRESH, _NEXT_BLOCK, _USES, _FULL, _SOONEST = range(10)
_HEAD = 16
# Words of an item. _OLDER and _NEWER are its neighbours in the list by last use, _USED is when that was.
_HASH, _KEY_SIZE, _VALUE_SIZE, _EXPIRES, _PREVIOUS, _NEXT, _OLDER, _NEWER, _BLOCK, _USED = range(10)
_ITEM = 10

Operation = Callable[[int, int], int]


def _divide(number: int, by: int) -> int:
    """Divide as C does, towards 0; by 0 it is 0."""
    if not by:
        return 0
    quotient = abs(number) // abs(by)
    return quotient if (number < 0) == (by < 0) else -quotient


#: What ``calculate`` can do, by uWSGI's names.
OPERATIONS: dict[str, Operation] = {
    "inc": int.__add__,
    "dec": int.__sub__,
    "mul": int.__mul__,
    "div": _divide,
}


class CacheShape(NamedTuple):
    """What a cache is like: uWSGI's parameters.

    Attributes:
        name: What applications call it.
        items: One more than it holds, as in uWSGI.
        block_size: Bytes of a block.
        blocks: How many; not less than items.
        key_size: Bytes of the longest key.
        hash_size: Buckets.
        has_bitmap: Whether a value may take several blocks.
        purge_lru: Whether what was not used for longest makes room.
        clear_on_full: Whether everything makes room.
        ignores_full: Whether nobody wants to hear that something found no room.
        expires: Whether items expire.
        math_initial: The number that calculations begin with.
    """

    name: str
    items: int
    block_size: int = 65_536
    blocks: int = 0
    key_size: int = 2_048
    hash_size: int = 65_536
    has_bitmap: bool = False
    purge_lru: bool = False
    clear_on_full: bool = False
    ignores_full: bool = False
    expires: bool = True
    math_initial: int = 0

    @property
    def max_value_size(self) -> int:
        """Bytes of the longest value."""
        return self.block_size * (self.blocks if self.has_bitmap else 1)

    @property
    def size(self) -> int:
        """Bytes of memory that it takes, touched only where something is kept."""
        return _Offsets.of(self).end


class _Offsets(NamedTuple):
    """Where things begin: buckets and items in words, the rest in bytes."""

    buckets: int
    items: int
    keys: int
    taken: int
    blocks: int
    end: int

    @classmethod
    def of(cls, shape: CacheShape) -> _Offsets:
        buckets = _HEAD
        items = buckets + shape.hash_size
        keys = (items + shape.items * _ITEM) * _WORD
        taken = keys + shape.items * shape.key_size
        blocks = taken + (shape.blocks if shape.has_bitmap else 0)
        return cls(buckets, items, keys, taken, blocks, blocks + shape.blocks * shape.block_size)


@lru_cache(maxsize=4_096)
def _hash(key: bytes) -> int:
    """Return uWSGI's usual hash of a key, djb33x: so keys are listed in its order."""
    number = 5381
    for byte in key:
        number = (number * 33 & 0xFFFF_FFFF) ^ byte
    return number


class SharedCache:
    """The shared memory, as every process reads and writes it.

    Args:
        shape: The same in all of them.
        memory: ``shape.size`` bytes, zeros at first.
        lock: Not reentrant.
    """

    def __init__(self, shape: CacheShape, memory: mmap | bytearray, lock: AbstractContextManager[object]) -> None:
        self.shape = shape
        self._memory = memory
        self._lock = lock
        self._at = _Offsets.of(shape)
        self._words = memoryview(memory)[: self._at.keys].cast("Q")
        self._words[_FRESH] = self._words[_FRESH] or 1

    @property
    def times_full(self) -> int:
        """How often something has found no room."""
        return self._words[_FULL]

    def get(self, key: bytes, now: int) -> bytes | None:
        """Return a key's value, and take note that it was used."""
        with self._lock:
            index = self._find(key, now)
            if not index:
                return None
            if self.shape.purge_lru:
                self._words[_CHANGING] = 1
                self._forget_use(index)
                self._note_use(index)
                self._words[_CHANGING] = 0
            return self._value(index)

    def exists(self, key: bytes, now: int) -> bool:
        """Return whether a key has a value."""
        with self._lock:
            return bool(self._find(key, now))

    def set(self, key: bytes, value: bytes, expires_at: int, now: int, *, replaces: bool = False) -> bool:
        """Give a key a value; return whether it has been done.

        Args:
            key: With at least a byte, as the value.
            value: Its own.
            expires_at: When it is gone; 0 for never.
            now: The time.
            replaces: Whether also where the key has a value.
        """
        if not 0 < len(key) <= self.shape.key_size or not 0 < len(value) <= self.shape.max_value_size:
            return False
        with self._lock:
            index = self._find(key, now)
            if index and not replaces:
                return False
            self._words[_CHANGING] = 1
            if index:
                done = self._overwrite(index, key, value, expires_at, now)
            else:
                done = self._insert(key, value, expires_at, now)
            self._words[_CHANGING] = 0
            return done

    def calculate(self, key: bytes, operation: Operation, number: int, expires_at: int, now: int) -> bool:
        """Change a key's number, 8 bytes with a sign; a number that was there keeps its expiry. Return as ``set``."""
        if not 0 < len(key) <= self.shape.key_size or self.shape.max_value_size < _WORD:
            return False
        with self._lock:
            index = self._find(key, now)
            before = self.shape.math_initial
            if index:
                # What is no number is taken for one, as in uWSGI.
                before = int.from_bytes(self._value(index)[:_WORD], "little", signed=True)
                if self._words[self._item(index) + _VALUE_SIZE] < _WORD:
                    before = int.from_bytes(self._value(index), "little")
                expires_at = self._words[self._item(index) + _EXPIRES]
            after = (operation(before, number) & _MOST).to_bytes(_WORD, "little")
            self._words[_CHANGING] = 1
            if index:
                done = self._overwrite(index, key, after, expires_at, now)
            else:
                done = self._insert(key, after, expires_at, now)
            self._words[_CHANGING] = 0
            return done

    def delete(self, key: bytes, now: int) -> bool:
        """Take a key's value away; return whether it had one."""
        with self._lock:
            index = self._find(key, now)
            if not index:
                return False
            self._words[_CHANGING] = 1
            self._drop(index)
            self._words[_CHANGING] = 0
            return True

    def clear(self) -> None:
        """Take everything away."""
        with self._lock:
            self._words[_CHANGING] = 1
            self._clear()
            self._words[_CHANGING] = 0

    def keys(self, now: int) -> list[bytes]:
        """Return all keys."""
        words = self._words
        with self._lock:
            self._look()
            found = []
            for index in range(1, words[_FRESH]):
                item = self._item(index)
                if words[item + _KEY_SIZE] and not 0 < words[item + _EXPIRES] <= now:
                    found.append((words[item + _HASH] % self.shape.hash_size, index))
            return [self._key(index) for _, index in sorted(found)]

    # What follows is called with the lock held; but for _find, _look and what only reads, while _CHANGING is set.

    def _look(self) -> None:
        """See to it that everything is whole."""
        if self._words[_CHANGING]:
            self._repair()
            self._words[_CHANGING] = 0

    def _item(self, index: int) -> int:
        return self._at.items + index * _ITEM

    def _key(self, index: int) -> bytes:
        begin = self._at.keys + index * self.shape.key_size
        return bytes(self._memory[begin : begin + self._words[self._item(index) + _KEY_SIZE]])

    def _value(self, index: int) -> bytes:
        item = self._item(index)
        begin = self._at.blocks + self._words[item + _BLOCK] * self.shape.block_size
        return bytes(self._memory[begin : begin + self._words[item + _VALUE_SIZE]])

    def _find(self, key: bytes, now: int) -> int:
        """Return a key's item, 0 for none; one that has expired is gone then."""
        self._look()
        words = self._words
        number = _hash(key)
        index = words[self._at.buckets + number % self.shape.hash_size]
        while index:
            item = self._item(index)
            if words[item + _HASH] == number and self._key(index) == key:
                if 0 < words[item + _EXPIRES] <= now:
                    words[_CHANGING] = 1
                    self._drop(index)
                    words[_CHANGING] = 0
                    return 0
                return index
            index = words[item + _NEXT]
        return 0

    def _insert(self, key: bytes, value: bytes, expires_at: int, now: int) -> bool:
        words = self._words
        was_full = False
        while True:
            index = words[_FREE] or words[_FRESH]
            if index < self.shape.items:
                block = self._find_blocks(len(value)) if self.shape.has_bitmap else index
                if block is not None:
                    break
            words[_FULL] += not was_full
            was_full = True
            if not self._make_room(now):
                return False
        item = self._item(index)
        if words[_FREE]:
            words[_FREE] = words[item + _NEXT]
        else:
            words[item + _KEY_SIZE] = 0
            words[_FRESH] += 1
        begin = self._at.keys + index * self.shape.key_size
        self._memory[begin : begin + len(key)] = key
        words[item + _HASH] = _hash(key)
        words[item + _USED] = 0
        self._write(item, block, value, expires_at)
        words[item + _KEY_SIZE] = len(key)
        self._link(index)
        if self.shape.purge_lru:
            self._note_use(index)
        return True

    def _overwrite(self, index: int, key: bytes, value: bytes, expires_at: int, now: int) -> bool:
        words = self._words
        item = self._item(index)
        block: int | None = words[item + _BLOCK]
        if self.shape.has_bitmap and self._blocks_of(len(value)) != self._blocks_of(words[item + _VALUE_SIZE]):
            block = self._find_blocks(len(value))
            if block is None and self._sweep(now):
                block = self._find_blocks(len(value))
            if block is None:
                if not (self.shape.purge_lru or self.shape.clear_on_full):
                    words[_FULL] += 1
                    return False
                self._drop(index)
                return self._insert(key, value, expires_at, now)
            words[item + _KEY_SIZE] = 0
            self._mark_blocks(words[item + _BLOCK], words[item + _VALUE_SIZE], 0)
        assert block is not None, "it has been found above"
        words[item + _KEY_SIZE] = 0
        self._write(item, block, value, expires_at)
        words[item + _KEY_SIZE] = len(key)
        if self.shape.purge_lru:
            self._forget_use(index)
            self._note_use(index)
        return True

    def _write(self, item: int, block: int, value: bytes, expires_at: int) -> None:
        """Write a value, and where it is; it does not count before the key's size does."""
        words = self._words
        begin = self._at.blocks + block * self.shape.block_size
        self._memory[begin : begin + len(value)] = value
        words[item + _BLOCK] = block
        words[item + _VALUE_SIZE] = len(value)
        words[item + _EXPIRES] = expires_at if self.shape.expires else 0
        if self.shape.has_bitmap:
            self._mark_blocks(block, len(value), 1)
            words[_NEXT_BLOCK] = (block + self._blocks_of(len(value))) % self.shape.blocks
        if words[item + _EXPIRES]:
            words[_SOONEST] = min(words[_SOONEST] or _MOST, expires_at)

    def _drop(self, index: int) -> None:
        """Take an item away."""
        words = self._words
        item = self._item(index)
        words[item + _KEY_SIZE] = 0
        if words[item + _PREVIOUS]:
            words[self._item(words[item + _PREVIOUS]) + _NEXT] = words[item + _NEXT]
        else:
            words[self._at.buckets + words[item + _HASH] % self.shape.hash_size] = words[item + _NEXT]
        if words[item + _NEXT]:
            words[self._item(words[item + _NEXT]) + _PREVIOUS] = words[item + _PREVIOUS]
        if self.shape.has_bitmap:
            self._mark_blocks(words[item + _BLOCK], words[item + _VALUE_SIZE], 0)
        if self.shape.purge_lru:
            self._forget_use(index)
        words[item + _NEXT] = words[_FREE]
        words[_FREE] = index
        words[_COUNT] -= 1

    def _link(self, index: int) -> None:
        """Have an item found by its key."""
        words = self._words
        item = self._item(index)
        bucket = self._at.buckets + words[item + _HASH] % self.shape.hash_size
        words[item + _PREVIOUS] = 0
        words[item + _NEXT] = words[bucket]
        if words[bucket]:
            words[self._item(words[bucket]) + _PREVIOUS] = index
        words[bucket] = index
        words[_COUNT] += 1

    def _make_room(self, now: int) -> bool:
        """Return whether something has made room."""
        if self._sweep(now):
            return True
        if self.shape.purge_lru and self._words[_OLDEST]:
            self._drop(self._words[_OLDEST])
            return True
        if self.shape.clear_on_full and self._words[_COUNT]:
            self._clear()
            return True
        return False

    def _sweep(self, now: int) -> bool:
        """Take away what has expired; return whether there was something."""
        words = self._words
        if not words[_SOONEST] or words[_SOONEST] > now:
            return False
        soonest = _MOST
        before = words[_COUNT]
        for index in range(1, words[_FRESH]):
            item = self._item(index)
            expires = words[item + _EXPIRES]
            if not words[item + _KEY_SIZE] or not expires:
                continue
            if expires <= now:
                self._drop(index)
            else:
                soonest = min(soonest, expires)
        words[_SOONEST] = 0 if soonest == _MOST else soonest
        return words[_COUNT] != before

    def _clear(self) -> None:
        for index in range(1, self._words[_FRESH]):
            self._words[self._item(index) + _KEY_SIZE] = 0
        self._repair()

    def _repair(self) -> None:
        """Build everything anew from the items."""
        words = self._words
        shape = self.shape
        words[self._at.buckets : self._at.items] = memoryview(bytes(shape.hash_size * _WORD)).cast("Q")
        if shape.has_bitmap:
            self._memory[self._at.taken : self._at.blocks] = bytes(shape.blocks)
        for word in (_COUNT, _OLDEST, _NEWEST, _FREE, _NEXT_BLOCK, _SOONEST):
            words[word] = 0
        alive = []
        for index in range(1, words[_FRESH]):
            item = self._item(index)
            if words[item + _KEY_SIZE]:
                alive.append((words[item + _USED], index))
            else:
                words[item + _NEXT] = words[_FREE]
                words[_FREE] = index
        for _, index in sorted(alive) if shape.purge_lru else alive:
            item = self._item(index)
            if shape.has_bitmap:
                self._mark_blocks(words[item + _BLOCK], words[item + _VALUE_SIZE], 1)
            if words[item + _EXPIRES]:
                words[_SOONEST] = min(words[_SOONEST] or _MOST, words[item + _EXPIRES])
            self._link(index)
            if shape.purge_lru:
                self._note_use(index)

    # Blocks

    def _blocks_of(self, size: int) -> int:
        return -(-size // self.shape.block_size)

    def _find_blocks(self, size: int) -> int | None:
        """Return the first of so many free blocks that follow one another; None where there are none."""
        free = bytes(self._blocks_of(size))
        for begin in (self._words[_NEXT_BLOCK], 0):
            found = self._memory.find(free, self._at.taken + begin, self._at.blocks)
            if found >= 0:
                return found - self._at.taken
        return None

    def _mark_blocks(self, block: int, size: int, mark: int) -> None:
        count = self._blocks_of(size)
        begin = self._at.taken + block
        self._memory[begin : begin + count] = bytes((mark,)) * count

    # The list by last use

    def _note_use(self, index: int) -> None:
        """Put an item, which is not in the list, at its end."""
        words = self._words
        item = self._item(index)
        words[_USES] += 1
        words[item + _USED] = words[_USES]
        words[item + _OLDER] = words[_NEWEST]
        words[item + _NEWER] = 0
        if words[_NEWEST]:
            words[self._item(words[_NEWEST]) + _NEWER] = index
        else:
            words[_OLDEST] = index
        words[_NEWEST] = index

    def _forget_use(self, index: int) -> None:
        """Take an item out of the list."""
        words = self._words
        item = self._item(index)
        older, newer = words[item + _OLDER], words[item + _NEWER]
        if older:
            words[self._item(older) + _NEWER] = newer
        else:
            words[_OLDEST] = newer
        if newer:
            words[self._item(newer) + _OLDER] = older
        else:
            words[_NEWEST] = older
