"""The Python applications of a worker."""

from __future__ import annotations

from uwsgi_ws.request.mounts import Mounts, Runner
from uwsgi_ws.wsgi.environ import EnvironBase
from uwsgi_ws.wsgi.runner import Application, Call, WsgiRunner, run

__all__ = ["Applications"]


class Applications(Mounts[Application]):
    """The loaded applications by mount point."""

    def runners(self, environ: EnvironBase, call: Call = run) -> Mounts[Runner]:
        """Return the runners of these applications; in the worker's process, as threads and greenlets belong to it.

        Args:
            environ: The shared part of every environ.
            call: Calls an application.
        """
        return self.map(lambda application: WsgiRunner(application, environ, call))
