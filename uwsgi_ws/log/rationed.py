"""Lines that any stranger can cause, and as many as they like: some of them are written, the rest is counted.

A client that breaks the protocol is worth a line. A million of them would fill a disk, and hide what else the log says.
"""

from __future__ import annotations

import logging
from time import monotonic

__all__ = ["MOST", "PERIOD", "Rationed"]

#: Lines of one kind that a process writes within so many seconds.
MOST, PERIOD = 100, 10.0


class Rationed:
    """Writes at most ``MOST`` lines in ``PERIOD`` seconds; behind them it says how many it has left out.

    Args:
        logger: What they are written to.
    """

    __slots__ = ("_ends_at", "_left", "_left_out", "_logger")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._ends_at = 0.0
        self._left = 0
        self._left_out = 0

    def warning(self, message: str, *args: object) -> None:
        """Log as ``Logger.warning``."""
        self._log(logging.WARNING, message, args)

    def info(self, message: str, *args: object) -> None:
        """Log as ``Logger.info``."""
        self._log(logging.INFO, message, args)

    def _log(self, level: int, message: str, args: tuple[object, ...]) -> None:
        now = monotonic()
        if now >= self._ends_at:
            self._ends_at = now + PERIOD
            self._left = MOST
            if self._left_out:
                self._logger.log(level, "%d more lines like these were left out", self._left_out)
                self._left_out = 0
        if self._left:
            self._left -= 1
            self._logger.log(level, message, *args)
        else:
            self._left_out += 1
