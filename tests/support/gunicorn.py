"""gunicorn with our worker class, as a server that tests start."""

from __future__ import annotations

import sys
from pathlib import Path

from support.peers import missing
from support.server import UWSGI_WS, Program

WORKER = "uwsgi_ws.gunicorn_worker.GeventWorker"


def gunicorn_program(*options: str, bind: str = "127.0.0.1:0") -> Program:
    """Return gunicorn with our worker, one or as many as the options say."""
    # Not `python -m gunicorn`: a gunicorn that becomes another by SIGUSR2 would take its own modules for others.
    script = Path(sys.executable).with_name("gunicorn")
    if not script.exists():
        missing("no gunicorn beside the interpreter")
    command = (str(script), "--no-control-socket", "-k", WORKER, "--bind", bind, *options)
    return Program(command, UWSGI_WS.ready, lambda path: ("--pythonpath", str(path.parent), f"{path.stem}:application"))
