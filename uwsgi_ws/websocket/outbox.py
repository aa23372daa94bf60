"""Frames that the kernel has not taken yet, in the order in which they must go.

Two lanes: control frames overtake queued data frames, never the frame that is already half-way out. It refuses to
know sockets and waiting: it hands out buffers and is told how many bytes of them went.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Outbox"]

#: Buffers per sendmsg; the kernel takes 1,024 at most (IOV_MAX).
_MAX_BUFFERS = 64
#: Control bytes kept for a peer that does not read: past it only its latest ping is answered, as 5.5.3 allows.
_MAX_CONTROL = 65_536


class Outbox:
    """The unsent bytes of one connection; made when a write falls short, dropped when it is empty.

    ``size`` is the bytes held. ``completed`` counts data frames that have gone out whole, in the order of
    ``put_data``, so that a blocked sender knows when it may go on; ``is_dropped`` says that it never may.
    """

    __slots__ = (
        "_control",
        "_control_size",
        "_data",
        "_partial",
        "_partial_is_data",
        "_tickets",
        "completed",
        "is_dropped",
        "size",
    )

    def __init__(self) -> None:
        self._partial: memoryview | None = None
        self._partial_is_data = False
        self._control: deque[bytes] = deque()
        self._control_size = 0
        self._data: deque[bytes | memoryview] = deque()
        self._tickets = 0
        self.completed = 0
        self.size = 0
        self.is_dropped = False

    def put_partial(self, rest: memoryview, *, is_data: bool) -> int:
        """Hold the rest of a frame that is half-way out; only into an empty outbox. Returns as ``put_data``."""
        self._partial = rest
        self._partial_is_data = is_data
        self.size += len(rest)
        self._tickets += is_data
        return self._tickets

    def put_data(self, frame: bytes) -> int:
        """Queue a data frame behind all others; return what ``completed`` will be once it is out."""
        self._data.append(frame)
        self.size += len(frame)
        self._tickets += 1
        return self._tickets

    def put_control(self, frame: bytes) -> None:
        """Queue a control frame before all queued data frames."""
        if self._control_size + len(frame) > _MAX_CONTROL:
            self.size -= self._control_size
            self._control.clear()
            self._control_size = 0
        self._control.append(frame)
        self._control_size += len(frame)
        self.size += len(frame)

    def drop_queued(self) -> None:
        """Forget every queued frame but the one that is half-way out; their ``completed`` never comes."""
        self.is_dropped = True
        self._control.clear()
        self._data.clear()
        self._control_size = 0
        self.size = 0 if self._partial is None else len(self._partial)

    def buffers(self) -> list[bytes | memoryview]:
        """Return what to write next, in order."""
        out: list[bytes | memoryview] = [] if self._partial is None else [self._partial]
        for lane in (self._control, self._data):
            for frame in lane:
                if len(out) == _MAX_BUFFERS:
                    return out
                out.append(frame)
        return out

    def advance(self, sent: int) -> None:
        """Take note that the first ``sent`` bytes of ``buffers`` have gone."""
        self.size -= sent
        if self._partial is not None:
            if sent < len(self._partial):
                self._partial = self._partial[sent:]
                return
            sent -= len(self._partial)
            self._partial = None
            self.completed += self._partial_is_data
        for lane, is_data in ((self._control, False), (self._data, True)):
            while lane:
                frame = lane[0]
                if sent < len(frame):
                    if sent:
                        lane.popleft()
                        self._control_size -= 0 if is_data else len(frame)
                        self._partial = memoryview(frame)[sent:]
                        self._partial_is_data = is_data
                    return
                lane.popleft()
                sent -= len(frame)
                if is_data:
                    self.completed += 1
                else:
                    self._control_size -= len(frame)
