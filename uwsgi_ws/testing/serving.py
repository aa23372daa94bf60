"""Servers for tests: of an application object in this process, of anything else as a program of its own.

A *program* is what runs in production: ``python -m uwsgi_ws`` with one worker or several, its log in a file that the
test may read. An *application object* cannot leave this process, so it is served in a native thread with an event loop
of its own: what a test replaces by ``monkeypatch`` is replaced there too, and ``uwsgi_ws.publish`` may be called by
the test itself. Neither depends on whether the standard library of the tests is patched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from uwsgi_ws.testing.program import Program
from uwsgi_ws.testing.server import START, Server
from uwsgi_ws.testing.words import words_of

__all__ = ["Servers", "serve"]


def serve(
    target: Callable[..., Any] | str | os.PathLike[str],
    *options: str,
    env: Mapping[str, str | None] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float = START,
    **settings: Any,
) -> Server:
    """Start a server, and return it once it serves; ``with`` or ``stop`` ends it.

    Args:
        target: What to serve. An application object is served in this process, one at a time. A file, a module
            (``shop.wsgi``, ``shop:create_app()``) or a configuration file is served by a program of its own.
        options: Of the server, as on its command line.
        env: A program's variables, besides those of this process; None takes one away.
        cwd: Where a program starts; by default here.
        timeout: Seconds within which it serves.
        settings: Options by name: ``processes=2``, ``websockets_max_size=64``, ``master=True``; a list gives one
            several times.

    Raises:
        OptionError: No such option, or not in this process.
        ServerFailed: It does not start; the log says why.
    """
    words = [*options, *words_of(settings)]
    if callable(target):
        if env or cwd:
            raise ValueError("env and cwd are a program's: an application object is served in this process")
        from uwsgi_ws.testing.in_process import InProcess

        return InProcess(target, words, timeout)
    return Program(os.fspath(target), words, env=env, cwd=cwd, timeout=timeout)


class Servers:
    """Starts servers, and ends them all when it is left: what the fixtures give."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __call__(
        self,
        target: Callable[..., Any] | str | os.PathLike[str],
        *options: str,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float = START,
        **settings: Any,
    ) -> Server:
        """Start a server; see ``serve``."""
        server = serve(target, *options, env=env, cwd=cwd, timeout=timeout, **settings)
        return self._stack.enter_context(server)

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()
