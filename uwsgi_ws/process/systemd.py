"""Tells systemd, or another parent that listens as it does, how the instance is getting on.

Source: sd_notify(3), systemd's "Implementation Notes" for programs without its library.
"""

from __future__ import annotations

import os
import socket
from time import monotonic_ns

__all__ = ["ready", "reloading", "stopping", "watchdog"]


def ready(status: str) -> None:
    """The instance serves, for the first time or again after ``reloading``."""
    _send(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")


def reloading() -> None:
    """The instance reloads, and serves meanwhile."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_ns() // 1000}\nSTATUS=reloading")


def stopping() -> None:
    """The instance is about to end."""
    _send("STOPPING=1\nSTATUS=stopping")


def watchdog() -> None:
    """The instance is alive; without effect unless that was asked for (``WatchdogSec=``)."""
    if "WATCHDOG_USEC" in os.environ:
        _send("WATCHDOG=1")


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(message.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:
            pass  # it listens no more: no reason to end a service
