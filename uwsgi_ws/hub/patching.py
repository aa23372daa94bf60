"""Makes the standard library cooperative, so that applications wait in greenlets."""

from __future__ import annotations

from uwsgi_ws.hub.plugins import plugins_known

__all__ = ["patch"]


def patch() -> None:
    """Have gevent replace what waits in the standard library.

    gevent handles SIGCHLD from the first child on that is watched, and a child is watched once it has been started. One
    that ends before that would never be noticed, and a greenlet that waits for it would wait for ever. So the signal is
    handled before there is any child. Processes that are forked later inherit that.
    """
    from gevent import get_hub, monkey

    with plugins_known():
        monkey.patch_all()
    get_hub().loop.install_sigchld()
