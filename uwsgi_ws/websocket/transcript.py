"""Where the transcript of a connection goes: to the log, or to what an application has set as ``ws.trace``.

The engine and its connection call a *trace* with one line for each thing that happens. No line has anything of a
payload, only its size:

    < TEXT 5             a frame has come; "more" behind it: the message goes on in another one
    > PONG 4             a frame goes out
    = CLOSING 1001       the connection has another state, and this close code
    % ping due           time has passed
    ! 1002 ...           the connection fails, and why; or something was lost
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

__all__ = ["GuardedTrace", "LogTrace"]

_log = logging.getLogger("uwsgi_ws.websocket")


class LogTrace:
    """Writes a connection's transcript into the log.

    Args:
        number: Tells the connection from the others of this worker.
    """

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, line: str) -> None:
        """Write a line, with the process and the connection that it is about."""
        _log.info("%d/%d %s", os.getpid(), self._number, line)


class GuardedTrace:
    """Calls an application's function, and never again once it has raised: it must not harm the connection.

    What it raises never reaches the engine, SystemExit included: a message that is half read would be lost. The
    function must not wait, since the connection goes on only when it returns.

    Args:
        path: The connection's, for the log.

    Attributes:
        function: The application's; None once it has raised.
    """

    __slots__ = ("_path", "function")

    def __init__(self, function: Callable[[str], object], path: str) -> None:
        self.function: Callable[[str], object] | None = function
        self._path = path

    def __call__(self, line: str) -> None:
        """Hand a line on."""
        if self.function is None:
            return
        try:
            self.function(line)
        except BaseException:
            self.function = None
            _log.exception("%s: the connection's trace failed, and is switched off", self._path)
