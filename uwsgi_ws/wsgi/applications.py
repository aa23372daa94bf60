"""The applications of a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uwsgi_ws.request.mounts import Mounts, Runner
from uwsgi_ws.wsgi.environ import EnvironBase
from uwsgi_ws.wsgi.runner import Call, WsgiRunner, run

__all__ = ["Applications"]


class Applications(Mounts[Any]):
    """The loaded applications by mount point; what cannot be called is one that other processes run.

    Attributes:
        perl: The one for requests that ask for Perl, and would lead to Python; None where there is none.
    """

    perl: Any = None

    def runners(
        self, environ: EnvironBase, call: Call = run, elsewhere: Callable[[Any], Runner] | None = None
    ) -> Mounts[Runner]:
        """Return the runners of these applications; in the worker's process, as threads and greenlets belong to it.

        Args:
            environ: The shared part of every environ.
            call: Calls an application.
            elsewhere: Returns the runner of an application that other processes run; None where there is none.
        """

        def runner(application: Any) -> Runner:
            if elsewhere is not None and not callable(application):
                return elsewhere(application)
            return WsgiRunner(application, environ, call)

        return self.map(runner)
