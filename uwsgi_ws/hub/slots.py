"""A bounded number of greenlets, each in a slot.

gevent's Pool has a semaphore, and of each greenlet a link that is called once more after it has ended. Here a greenlet
gives its slot back itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import Greenlet, GreenletExit, get_hub

__all__ = ["Slots"]


class Slots:
    """The greenlets that take one, and slots that are held without a greenlet.

    Args:
        size: How many there may be.
        kind: Their class.
    """

    def __init__(self, size: int, kind: type[Any] = Greenlet) -> None:
        self.size = size
        self._kind = kind
        self._greenlets: set[Any] = set()
        self._held = 0  # slots without a greenlet
        self._waiting: deque[Callable[[], object]] = deque()
        self._watching: list[Callable[[], object]] = []

    def __len__(self) -> int:
        """Return how many are taken."""
        return len(self._greenlets) + self._held

    def full(self) -> bool:
        """Return whether all are taken; one call, as every response asks."""
        return len(self._greenlets) + self._held >= self.size

    def spawn(self, function: Callable[..., object], *args: Any) -> Any:
        """Have ``function``, whose last act must be ``give_back``, run in a slot; return its greenlet."""
        greenlet = self._kind(function, *args)
        self._greenlets.add(greenlet)
        greenlet.start()
        return greenlet

    def give_back(self, greenlet: Any) -> None:
        """Free the slot of a greenlet that is about to end; without effect the second time."""
        self._greenlets.discard(greenlet)
        self._note_free()

    def hold_slot(self) -> None:
        """Take a slot without a greenlet, such as that of one which ends now."""
        self._held += 1

    def free_slot(self) -> None:
        """Give back what ``hold_slot`` has taken."""
        self._held -= 1
        self._note_free()

    @property
    def has_waiting(self) -> bool:
        """Whether a callback of ``when_free`` waits."""
        return bool(self._waiting)

    def when_free(self, callback: Callable[[], object]) -> None:
        """Call ``callback``, which may take it, once in the hub when a slot is free; now there must be none."""
        self._waiting.append(callback)

    def tell_free(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` once in the hub when a slot is free, and no callback of ``when_free`` waits for it."""
        self._watching.append(callback)

    def _note_free(self) -> None:
        if self._waiting or self._watching:
            get_hub().loop.run_callback(self._tell)

    def _tell(self) -> None:
        while self._waiting and not self.full():
            self._waiting.popleft()()
        if not self.full():
            watching, self._watching = self._watching, []
            for callback in watching:
                callback()

    def kill(self, error: type[BaseException] = GreenletExit) -> list[Any]:
        """Have ``error`` raised soon in all greenlets; return them."""
        greenlets = list(self._greenlets)
        for greenlet in greenlets:
            greenlet.kill(error, block=False)
            if greenlet.dead:  # it has never run, and never will
                self.give_back(greenlet)
        return greenlets
