"""``uwsgi.sharedarea_*``: raw memory that all workers have together; there only where the options name an area.

An area's lock, ``sharedarea_wlock``, keeps the other workers' functions out, as in uWSGI. Unlike there it is one lock
for readers and writers, and those of the worker that has it are let in.

Source: uWSGI 2.0.31, core/sharedarea.c and plugins/python/uwsgi_pymodule.c; ``sharedarea_wait``, ``sharedarea_update``
and sending from an area are Perl's and Lua's there.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from mmap import PAGESIZE, mmap
from operator import index
from typing import Any

import gevent

from uwsgi_ws.api.arguments import c_bytes, c_int, c_long, c_long_long
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.api.uwsgi import RequestContext, WebSocketError, websocket_send, websocket_send_binary
from uwsgi_ws.hub.hub_calls import is_hub_here
from uwsgi_ws.shared.areas import AreaSpec, SharedArea
from uwsgi_ws.shared.locks import SharedLocks

__all__ = ["SharedAreas"]

#: Milliseconds between two looks at an area, while ``sharedarea_wait`` waits.
_LOOK = 100


class SharedAreas:
    """The instance's areas, as this process and those forked from it have them.

    Args:
        specs: What they are made of.
        locks: Makes a lock for each.
        instance: Makes those that applications hold.

    Raises:
        OSError: there is not so much memory, or no such file.
        ValueError: a part of a file that is not there.
    """

    def __init__(self, specs: Iterable[AreaSpec], locks: SharedLocks, instance: Instance) -> None:
        self._areas = [SharedArea(_memory(spec), memoryview(mmap(-1, 8)), locks.lock()) for spec in specs]
        self._held = [instance.new_lock() for _ in self._areas]

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """Those that the ``uwsgi`` module offers, by name."""
        if not self._areas:
            return {}
        functions: dict[str, Callable[..., Any]] = {
            function.__name__: function
            for function in (
                *(self.sharedarea_read, self.sharedarea_write, self.sharedarea_write8, self.sharedarea_write16),
                *(self.sharedarea_write32, self.sharedarea_write64, self.sharedarea_inc32, self.sharedarea_inc64),
                *(self.sharedarea_dec32, self.sharedarea_dec64, self.sharedarea_rlock, self.sharedarea_wlock),
                *(self.sharedarea_unlock, self.sharedarea_memoryview, self.sharedarea_object),
                *(self.sharedarea_wait, self.sharedarea_update),
                *(self.websocket_send_from_sharedarea, self.websocket_send_binary_from_sharedarea),
            )
        }
        for bits in (8, 16, 32, 64):
            functions[f"sharedarea_read{bits}"] = functools.partial(self._read_number, bits)
        functions["sharedarea_readbyte"] = functions["sharedarea_read8"]
        functions["sharedarea_readlong"] = functions["sharedarea_read64"]
        functions["sharedarea_writebyte"] = self.sharedarea_write8
        functions["sharedarea_writelong"] = self.sharedarea_write64
        functions["sharedarea_inclong"] = self.sharedarea_inc64
        return functions

    # Bytes

    def sharedarea_read(self, number: int, position: int, size: int = 0, /) -> bytes:
        """Return bytes of an area; with a size of 0 all to its end.

        Raises:
            ValueError: there is no such area, or no such bytes.
        """
        number, position, size = c_int(number), c_long_long(position), c_long_long(size)
        with self._using("read", number) as area:
            return area.read(position, size or len(area.memory) - position)

    def sharedarea_write(self, number: int, position: int, data: str | bytes, /) -> None:
        """Replace bytes of an area; raises as ``sharedarea_read``."""
        number, position = c_int(number), c_long_long(position)
        data = c_bytes(data, "sharedarea_write", 3)
        with self._using("write", number) as area:
            area.write(position, data)

    # Numbers

    def _read_number(self, bits: int, number: int, position: int, /) -> int:
        """Return a number of so many bits, with a sign; raises as ``sharedarea_read``."""
        number, position = c_int(number), c_long_long(position)
        with self._using(f"read{bits}", number) as area:
            return int.from_bytes(area.read(position, bits // 8), "little", signed=True)

    def sharedarea_write8(self, number: int, position: int, value: int, /) -> None:
        """Write a byte, 0 to 255; raises as ``sharedarea_read``.

        Raises:
            OverflowError: it is out of these bounds.
        """
        value = c_long(value)
        if not 0 <= value <= 255:
            bound = "less than minimum" if value < 0 else "greater than maximum"
            raise OverflowError(f"unsigned byte integer is {bound}")
        self._write_number(8, number, position, value)

    def sharedarea_write16(self, number: int, position: int, value: int, /) -> None:
        """Write a number's lowest 16 bits; raises as ``sharedarea_read``."""
        self._write_number(16, number, position, index(value))

    def sharedarea_write32(self, number: int, position: int, value: int, /) -> None:
        """Write a number's lowest 32 bits; raises as ``sharedarea_read``."""
        self._write_number(32, number, position, index(value))

    def sharedarea_write64(self, number: int, position: int, value: int, /) -> None:
        """Write a number of 64 bits, with a sign; raises as ``sharedarea_read``.

        Raises:
            OverflowError: it is too large.
        """
        self._write_number(64, number, position, c_long_long(value))

    def _write_number(self, bits: int, number: int, position: int, value: int) -> None:
        number, position = c_int(number), c_long_long(position)
        with self._using(f"write{bits}", number) as area:
            area.write(position, (value % (1 << bits)).to_bytes(bits // 8, "little"))

    def sharedarea_inc32(self, number: int, position: int, amount: int = 1, /) -> None:
        """Add to a number of 32 bits; raises as ``sharedarea_read``."""
        self._add("inc32", number, position, c_int(amount))

    def sharedarea_inc64(self, number: int, position: int, amount: int = 1, /) -> None:
        """Add to a number of 64 bits; raises as ``sharedarea_read``."""
        self._add("inc64", number, position, c_long(amount))

    def sharedarea_dec32(self, number: int, position: int, amount: int = 1, /) -> None:
        """Subtract from a number of 32 bits; raises as ``sharedarea_read``."""
        self._add("dec32", number, position, -c_int(amount))

    def sharedarea_dec64(self, number: int, position: int, amount: int = 1, /) -> None:
        """Subtract from a number of 64 bits; raises as ``sharedarea_read``."""
        self._add("dec64", number, position, -c_long(amount))

    def _add(self, name: str, number: int, position: int, amount: int) -> None:
        number, position = c_int(number), c_long_long(position)
        with self._using(name, number) as area:
            area.add(position, int(name[3:]) // 8, amount)

    # The whole

    def sharedarea_memoryview(self, number: int, /) -> memoryview:
        """Return an area itself; what is written there does not end ``sharedarea_wait``.

        Raises:
            ValueError: there is none.
        """
        number = c_int(number)
        if not 0 <= number < len(self._areas):
            raise ValueError(f"cannot get a memoryview object from sharedarea {number}")
        return self._areas[number].memory[:]

    def sharedarea_object(self, number: int, /) -> memoryview:
        """Return an area itself, as ``sharedarea_memoryview``; in uWSGI a bytearray, of ``--py-sharedarea`` only."""
        number = c_int(number)
        if not 0 <= number < len(self._areas):
            raise ValueError(f"cannot get an object from sharedarea {number}")
        return self._areas[number].memory[:]

    def sharedarea_rlock(self, number: int, /) -> None:
        """Wait for an area's lock and hold it: no other worker reads or writes there then.

        Raises:
            ValueError: there is no such area.
        """
        self._lock("rlock", number).acquire()

    def sharedarea_wlock(self, number: int, /) -> None:
        """Wait for an area's lock and hold it; the same lock as ``sharedarea_rlock``'s."""
        self._lock("wlock", number).acquire()

    def sharedarea_unlock(self, number: int, /) -> None:
        """Give an area's lock back; without effect when this worker does not hold it."""
        self._lock("unlock", number).release()

    def sharedarea_update(self, number: int, /) -> None:
        """Wake those who wait for an area, as if something had been written.

        Raises:
            ValueError: there is no such area.
        """
        self._area("update", c_int(number)).note_change()

    def sharedarea_wait(self, number: int, every: int = 0, timeout: int = 0, /) -> bool | None:
        """Wait until something is written into an area.

        Args:
            number: Of the area.
            every: Milliseconds between two looks; 0 for 100.
            timeout: Seconds; 0 for ever.

        Returns:
            True, or None once the timeout has passed.

        Raises:
            ValueError: there is no such area.
        """
        area = self._area("wait", c_int(number))
        pause = (c_int(every) or _LOOK) / 1_000
        until = time.monotonic() + c_int(timeout)
        before = area.changes
        while True:
            (gevent.sleep if is_hub_here() else time.sleep)(max(pause, 0.001))
            if area.changes != before:
                return True
            if timeout and time.monotonic() >= until:
                return None

    # WebSockets

    def websocket_send_from_sharedarea(
        self, number: int, position: int, size: int = 0, /, request_context: RequestContext | None = None
    ) -> None:
        """Send bytes of an area as a text message; with a size of 0 all to its end.

        Raises:
            OSError: the connection has ended, or there are no such bytes.
        """
        self._send(websocket_send, "message", number, position, size, request_context)

    def websocket_send_binary_from_sharedarea(
        self, number: int, position: int, size: int = 0, /, request_context: RequestContext | None = None
    ) -> None:
        """Send bytes of an area as a binary message; raises as ``websocket_send_from_sharedarea``."""
        self._send(websocket_send_binary, "binary message", number, position, size, request_context)

    def _send(
        self,
        send: Callable[[bytes, RequestContext | None], None],
        what: str,
        number: int,
        position: int,
        size: int,
        context: RequestContext | None,
    ) -> None:
        text = f"unable to send websocket {what} from sharedarea"
        number, position, size = c_int(number), c_long_long(position), c_long_long(size)
        try:
            data = self.sharedarea_read(number, position, size)
        except ValueError as exc:
            raise OSError(text) from exc
        try:
            send(data, context)
        except WebSocketError as exc:
            exc.args = (text,)
            raise

    def _area(self, name: str, number: int) -> SharedArea:
        if not 0 <= number < len(self._areas):
            raise ValueError(f"error calling uwsgi_sharedarea_{name}()")
        return self._areas[number]

    def _lock(self, name: str, number: int) -> Any:
        number = c_int(number)
        self._area(name, number)
        return self._held[number]

    @contextmanager
    def _using(self, name: str, number: int) -> Iterator[SharedArea]:
        """Let an area be used, once no other worker holds its lock."""
        area = self._area(name, number)
        held = self._held[number]
        waits = not held.is_held_here()
        if waits:
            held.acquire()
        try:
            yield area
        except IndexError:
            raise ValueError(f"error calling uwsgi_sharedarea_{name}()") from None
        finally:
            if waits:
                held.release()


def _memory(spec: AreaSpec) -> memoryview:
    size = spec.size * PAGESIZE if spec.in_pages else spec.size
    if not spec.path:
        return memoryview(mmap(-1, size))[:size]
    with open(spec.path, "r+b") as file:
        return memoryview(mmap(file.fileno(), size, offset=spec.offset))
