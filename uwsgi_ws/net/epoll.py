"""An epoll instance that tells of the owners of readable descriptors: the compiled twin, or its equal."""

from __future__ import annotations

from typing import Any

from gevent import monkey

__all__ = ["Epoll"]

_EPOLLIN = 1
#: Descriptors that one ``poll`` tells of at most.
_BATCH = 256


class _Epoll:
    """Watches descriptors until they are removed, which they must be before they are closed."""

    __slots__ = ("_epoll", "_owners")

    def __init__(self) -> None:
        # gevent's monkey patches take it out of ``select``.
        self._epoll: Any = monkey.get_original("select", "epoll")()
        self._owners: dict[int, Any] = {}

    def fileno(self) -> int:
        """Return its own descriptor, readable while one of those watched is."""
        return self._epoll.fileno()  # type: ignore[no-any-return]

    def add(self, fd: int, owner: Any) -> None:
        """Watch a descriptor for its owner."""
        self._epoll.register(fd, _EPOLLIN)
        self._owners[fd] = owner

    def remove(self, fd: int) -> None:
        """Watch it no more."""
        self._epoll.unregister(fd)
        del self._owners[fd]

    def poll(self) -> list[Any]:
        """Return whose descriptors are readable now, without waiting."""
        owners = self._owners
        return [owners[fd] for fd, _ in self._epoll.poll(0, _BATCH)]

    def close(self) -> None:
        """Give the instance back."""
        self._epoll.close()


try:
    from uwsgi_ws.net._raw import Epoll
except ImportError:
    Epoll = _Epoll  # type: ignore[misc, assignment]  # its equal
