"""What an operator watches in a worker: the messages of one WebSocket, or those of one channel, as they pass.

What is kept for the master to take is bounded, and what does not fit is counted. So a master or an operator who is slow
costs a worker nothing but that.
"""

from __future__ import annotations

from collections import deque
from time import time
from typing import Any

import gevent

from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.events import Gap, Published
from uwsgi_ws.channels.subscription import Subscription
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.protocol.websocket.frames import BINARY, CLOSE, NAMES, TEXT

__all__ = ["ChannelWatch", "ConnectionWatch", "Watch"]

#: Events that wait to be taken, ten times a second; and those taken at once, some 20 KiB.
_MOST, _PIECE = 200, 50
#: Bytes of a payload that are shown.
_TEXT, _BINARY = 400, 96


class Watch:
    """Collects events; any thread may add one."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self._added = 0
        self._taken = 0
        self.has_ended = False

    def add(self, sign: str, kind: str, size: int, payload: bytes, *, is_text: bool) -> None:
        """Add an event.

        Args:
            sign: As in a transcript: ``<`` received, ``>`` sent, ``=`` a state; ``*`` published, ``!`` a loss.
            kind: The opcode's name, or a word.
            size: Bytes of the payload.
            payload: Its beginning, at least.
            is_text: Whether that is shown as text.
        """
        shown = payload[: _TEXT if is_text else _BINARY]
        event: dict[str, Any] = {"at": round(time(), 3), "sign": sign, "kind": kind, "size": size}
        event["text" if is_text else "hex"] = shown.decode("utf-8", "replace") if is_text else shown.hex()
        if len(shown) < size:
            event["is_cut"] = True
        self._events.append(event)
        self._added += 1

    def take(self) -> tuple[list[dict[str, Any]], int]:
        """Return the next events, and how many have been lost before or between them."""
        events = [self._events.popleft() for _ in range(min(_PIECE, len(self._events)))]
        left_out = max(0, self._added - self._taken - len(events) - len(self._events))
        self._taken += len(events) + left_out
        return events, left_out

    @property
    def has_more(self) -> bool:
        """Whether events wait."""
        return bool(self._events)

    def stop(self) -> None:
        """Collect no more."""
        raise NotImplementedError


class ConnectionWatch(Watch):
    """The messages and control frames of a WebSocket.

    Raises:
        ValueError: They do not pass through this server's engine.
    """

    def __init__(self, websocket: Any) -> None:
        super().__init__()
        if not hasattr(websocket, "tap_to"):
            raise ValueError("only the application, or the server that a route leads to, knows its messages")
        self._tap = _taps.get(websocket) or _Tap(websocket)
        self._tap.add(self)

    def note(self, sign: str, opcode: int, payload: bytes) -> None:
        """Add what the engine tells."""
        if sign == "=":
            self.add("=", f"closed {opcode}", len(payload), payload, is_text=True)
            self.has_ended = True
        elif opcode == CLOSE:
            code = f" {int.from_bytes(payload[:2], 'big')}" if len(payload) >= 2 else ""
            self.add(sign, f"CLOSE{code}", len(payload[2:]), payload[2:], is_text=True)
        else:
            self.add(sign, NAMES[opcode], len(payload), payload, is_text=opcode == TEXT)

    def stop(self) -> None:
        """See Watch."""
        self._tap.remove(self)


class _Tap:
    """What the engine of a WebSocket tells, for all who watch that.

    A connection has one while somebody does.
    """

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket
        self._watches: tuple[ConnectionWatch, ...] = ()

    def __call__(self, sign: str, opcode: int, payload: bytes) -> None:
        for watch in self._watches:
            watch.note(sign, opcode, payload)

    def add(self, watch: ConnectionWatch) -> None:
        self._watches = (*self._watches, watch)
        _taps[self._websocket] = self
        self._websocket.tap_to(self)

    def remove(self, watch: ConnectionWatch) -> None:
        self._watches = tuple(each for each in self._watches if each is not watch)
        if not self._watches and _taps.pop(self._websocket, None) is not None:
            self._websocket.tap_to(None)


#: By the WebSocket.
_taps: dict[Any, _Tap] = {}


class ChannelWatch(Watch):
    """The messages of a channel, by a subscription like the application's: it gets them from all workers."""

    #: Bytes that may wait in it; more are dropped, and counted as drops of the channel's.
    _ROOM = 262_144

    def __init__(self, bus: Bus, channel: str) -> None:
        super().__init__()
        self._subscription: Subscription[Any] = Subscription(bus, self._ROOM, gaps=True, positions=True)
        self._subscription.join(channel, "drop")
        self._reader = gevent.spawn(self._read)

    def _read(self) -> None:
        try:
            for item in self._subscription:
                if isinstance(item, Gap):
                    self.add("!", "messages may be missing", 0, b"", is_text=True)
                elif isinstance(item, Published):
                    is_text = isinstance(item.message, str)
                    payload = item.message.encode() if isinstance(item.message, str) else item.message
                    self.add("*", NAMES[TEXT if is_text else BINARY], len(payload), payload, is_text=is_text)
        except ChannelError:
            self.has_ended = True

    def stop(self) -> None:
        """See Watch."""
        self._reader.kill(block=False)
        self._subscription.close()
