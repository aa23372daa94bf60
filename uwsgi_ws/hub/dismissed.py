"""How the server ends greenlets that run an application."""

from __future__ import annotations

from gevent import GreenletExit

__all__ = ["Dismissed"]


class Dismissed(GreenletExit):
    """Raised in a client's greenlet when the server ends it. A plain GreenletExit is an application's error."""
