"""Has an event loop write on what the log's reader does not take at once."""

from __future__ import annotations

from typing import Any

from gevent.hub import Hub

from uwsgi_ws.log import outputs
from uwsgi_ws.log.output import LogOutput

__all__ = ["attend_log"]

_WRITABLE = 2


def attend_log(hub: Hub) -> None:
    """From now on no line that is logged waits for its reader; the hub writes it on."""
    for log in outputs():
        _attend(hub, log)


def _attend(hub: Hub, log: LogOutput) -> None:
    loop: Any = hub.loop
    writable = loop.io(log.fileno(), _WRITABLE, ref=False)
    woken = loop.async_(ref=False)

    def write_on() -> None:
        if log.write_on():
            writable.stop()

    def wake() -> None:
        writable.stop()  # there may be another file behind the number
        writable.start(write_on)

    woken.start(wake)
    log.attend(woken.send)
