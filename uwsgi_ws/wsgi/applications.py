"""The Python applications of a worker."""

from __future__ import annotations

from uwsgi_ws.request.mounts import Mounts, Runner
from uwsgi_ws.wsgi.environ import EnvironBase
from uwsgi_ws.wsgi.runner import Application, Call, WsgiRunner, run

__all__ = ["Applications"]


class Applications(Mounts[Application]):
    """The loaded applications by mount point."""

    def runners(self, environ: EnvironBase, call: Call = run) -> Mounts[Runner]:
        """Return what runs them: in a worker's own process, as threads and greenlets are its own.

        Args:
            environ: The shared part of every environ.
            call: Calls an application: here, in a thread, or when it is its turn.
        """
        return self.map(lambda application: WsgiRunner(application, environ, call))
