"""``--daemonize``: leaving the terminal that started us."""

from __future__ import annotations

import os

__all__ = ["daemonize", "is_daemon"]

_IS_DAEMON = "UWSGI_WS_DAEMON"  # holds the daemon's process id, so that no other process takes it for its own


def is_daemon() -> bool:
    """Whether this process is one already, and has replaced its program for a reload."""
    return os.environ.get(_IS_DAEMON) == str(os.getpid())


def daemonize() -> None:
    """Go on in a process without a terminal; the one that was started ends with status 0.

    Without effect in one that is a daemon already, and has replaced its program for a reload.
    """
    if is_daemon():
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    # No longer the leader of a session, so that no terminal can become ours by being opened.
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.environ[_IS_DAEMON] = str(os.getpid())
    if null > 0:
        os.close(null)
