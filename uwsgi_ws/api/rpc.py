"""``uwsgi.register_rpc`` and ``uwsgi.rpc``: functions by name, of this process and those forked from it.

Source: uWSGI 2.0.31, core/rpc.c and plugins/python/uwsgi_pymodule.c. Other servers are not called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from uwsgi_ws.api.arguments import c_str
from uwsgi_ws.log import say
from uwsgi_ws.protocol.plain import plain_bytes

__all__ = ["Rpc"]

_log = logging.getLogger("uwsgi_ws.rpc")
_FAILED = "unable to call rpc function"


class Rpc:
    """What this process can call by name."""

    def __init__(self) -> None:
        self._functions: dict[bytes, Callable[..., Any]] = {}

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Those that the ``uwsgi`` module offers."""
        return (self.register_rpc, self.rpc, self.call, self.rpc_list)

    def register_rpc(self, name: str, function: Callable[..., Any], arguments: int = 0, /) -> bool:
        """Give a function a name; return True. As in uWSGI, how many arguments it takes does not matter."""
        if not callable(function):
            raise TypeError(f"register_rpc() argument 2 must be callable, not {type(function).__name__}")
        self._functions[c_str(name, "register_rpc", 1).encode()] = function
        say(f'registered RPC function "{name}"')
        return True

    def rpc(self, node: str | bytes | None, function: bytes, /, *arguments: bytes) -> bytes | None:
        """Call a function; return the bytes that it returns, or None for none, an error, or an unknown name.

        An empty ``node`` is this server.

        Raises:
            ValueError: a name or an argument is no bytes, or the function is another server's.
        """
        if isinstance(node, str | bytes) and node:
            raise ValueError(f"{_FAILED}: it is another server's, {node!r}, and those are not called here")
        return self.call(function, *arguments)

    def call(self, function: bytes, /, *arguments: bytes) -> bytes | None:
        """Call a function as ``rpc`` does."""
        if not all(isinstance(each, bytes) for each in (function, *arguments)):
            raise ValueError(f"{_FAILED}: its name and its arguments must be bytes")
        found = self._functions.get(plain_bytes(function))
        if found is None:
            return None
        try:
            result = found(*map(plain_bytes, arguments))
        except (Exception, SystemExit):
            _log.exception("rpc function %s", function.decode(errors="replace"))
            return None
        return plain_bytes(result) or None if isinstance(result, bytes) else None

    def rpc_list(self) -> tuple[bytes, ...]:
        """Return the names."""
        return tuple(self._functions)
