"""Frames that the kernel has not taken yet, in the order in which they must go.

Control frames overtake queued data frames, never the frame that is already half-way out. It refuses to
know sockets and waiting: it hands out buffers and is told how many bytes of them went.
"""

from __future__ import annotations

from collections import deque

from uwsgi_ws.protocol.websocket.messages import MESSAGE_OVERHEAD

__all__ = ["SendQueue"]

#: Buffers per sendmsg; the kernel takes 1,024 at most (IOV_MAX).
_MAX_BUFFERS = 64
#: Bytes that control frames may take for a peer that does not read: past it only its latest ping is answered, as 5.5.3
#: allows.
_MAX_CONTROL = 65_536


class SendQueue:
    """The unsent bytes of one connection; made when a write falls short, dropped when it is empty.

    ``size`` is the bytes to be sent. ``completed`` counts the awaited data frames that have gone out whole, in the
    order of ``put_data``, so that a blocked sender knows when it may go on; ``is_dropped`` says that it never may.
    """

    __slots__ = ("_control", "_control_size", "_data", "_partial", "_tickets", "completed", "is_dropped", "size")

    def __init__(self) -> None:
        # Frames, each with whether a sender waits for it.
        self._partial: tuple[memoryview, bool] | None = None
        self._control: deque[tuple[bytes, bool]] = deque()
        self._data: deque[tuple[bytes, bool]] = deque()
        self._control_size = 0
        self._tickets = 0
        self.completed = 0
        self.size = 0
        self.is_dropped = False

    @property
    def memory(self) -> int:
        """The bytes of memory that it all takes, however short the frames."""
        return self.size + (len(self._control) + len(self._data)) * MESSAGE_OVERHEAD

    def put_partial(self, rest: memoryview, *, is_awaited: bool) -> int:
        """Keep the rest of the frame that is half-way out; only into an empty queue. Returns as ``put_data``."""
        self._partial = rest, is_awaited
        self.size += len(rest)
        self._tickets += is_awaited
        return self._tickets

    def put_data(self, frame: bytes, *, is_awaited: bool) -> int:
        """Queue a data frame behind all others; return what ``completed`` will be once it is out, if it is awaited."""
        self._data.append((frame, is_awaited))
        self.size += len(frame)
        self._tickets += is_awaited
        return self._tickets

    def put_control(self, frame: bytes) -> None:
        """Queue a control frame before all queued data frames."""
        if self._control_size + len(self._control) * MESSAGE_OVERHEAD + len(frame) > _MAX_CONTROL:
            self.size -= self._control_size
            self._control.clear()
            self._control_size = 0
        self._control.append((frame, False))
        self._control_size += len(frame)
        self.size += len(frame)

    def drop_queued(self) -> None:
        """Drop every queued frame but the one that is half-way out; the ``completed`` of others never comes."""
        self.is_dropped = True
        self._control.clear()
        self._data.clear()
        self._control_size = 0
        self.size = 0 if self._partial is None else len(self._partial[0])

    def drop_unawaited(self) -> int:
        """Drop the queued data frames without a waiting sender; return how many there were."""
        kept = deque(entry for entry in self._data if entry[1])
        dropped = len(self._data) - len(kept)
        self.size -= sum(len(frame) for frame, is_awaited in self._data if not is_awaited)
        self._data = kept
        return dropped

    def buffers(self) -> list[bytes | memoryview]:
        """Return what to write next, in order."""
        out: list[bytes | memoryview] = [] if self._partial is None else [self._partial[0]]
        for frames in (self._control, self._data):
            for frame, _ in frames:
                if len(out) == _MAX_BUFFERS:
                    return out
                out.append(frame)
        return out

    def advance(self, sent: int) -> None:
        """Take note that the first ``sent`` bytes of ``buffers`` have gone."""
        self.size -= sent
        if self._partial is not None:
            rest, is_awaited = self._partial
            if sent < len(rest):
                self._partial = rest[sent:], is_awaited
                return
            sent -= len(rest)
            self._partial = None
            self.completed += is_awaited
        for frames in (self._control, self._data):
            while frames:
                frame, is_awaited = frames[0]
                if not sent:
                    return
                frames.popleft()
                if frames is self._control:
                    self._control_size -= len(frame)
                if sent < len(frame):
                    self._partial = memoryview(frame)[sent:], is_awaited
                    return
                sent -= len(frame)
                self.completed += is_awaited
