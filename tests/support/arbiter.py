"""Run by tests: another program's parent of workers, as gunicorn's arbiter is one. It knows nothing of our master.

    python arbiter.py [ORDER]

It binds a socket and forks one worker, which gets that socket and an application that is imported already. With an
ORDER it gives that to the worker itself, after the first request. Each line of stdout is something that has happened:
``bound PORT``, ``forked PID``, ``ready``, ``beat``, ``left ORDER``, ``ended STATUS``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def work(sock: socket.socket) -> NoReturn:
    from uwsgi_ws.addresses import Address
    from uwsgi_ws.api.instance import Instance
    from uwsgi_ws.net.binding import Endpoint
    from uwsgi_ws.options import Options
    from uwsgi_ws.process.assembly import install_api, make_equipment
    from uwsgi_ws.process.sockets import Sockets
    from uwsgi_ws.process.worker import RELOAD, STOP, Worker
    from uwsgi_ws.wsgi.applications import Applications

    end_with_parent()
    options = Options(gevent=100)
    sock.setblocking(False)
    endpoint = Endpoint("http", Address("tcp", *sock.getsockname()))
    sockets = Sockets([(endpoint, [sock])], workers=1, are_inherited=False)
    applications = Applications(manage_script_name=False)
    applications.add("", application)
    instance = Instance(os.getppid())
    instance.enter(1)
    install_api(options, sockets, instance, is_a_reload=False)
    worker = Worker(options, sockets, make_equipment(options, sockets, {}), applications, instance)
    worker.heartbeat.on_beat(lambda status: say("beat"))
    if len(sys.argv) > 1:
        worker.heartbeat.on_beat(lambda status: worker.order(sys.argv[1]) if status.requests else None)
    order = worker.serve({signal.SIGTERM: RELOAD, signal.SIGQUIT: STOP}, lambda: say("ready"))
    worker.leave(order)
    say("left", order)
    worker.finish(lambda: os._exit(4))
    os._exit(3)


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    end_with_parent()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        say("bound", sock.getsockname()[1])
        pid = os.fork()
        if not pid:
            work(sock)
        say("forked", pid)
        _, status = os.waitpid(pid, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
