"""``--stats``: how the instance stands, as JSON, for each client that connects.

Source: uWSGI's core/master_utils.c (``uwsgi_master_generate_stats``); uwsgitop reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from uwsgi_ws.net.binding import bound_name, waiting_at
from uwsgi_ws.options import Options
from uwsgi_ws.process.responder import Responder, http_response
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.shared.scoreboard import Scoreboard
from uwsgi_ws.shared.status import WorkerStatus, described, newest

__all__ = ["StatsServer"]

_VERSION = "2.0.31"  # the one whose form this is

#: What uWSGI tells of a worker besides.
_NOT_COUNTED: dict[str, Any] = {"accepting": 1, "harakiri_count": 0, "signal_queue": 0, "cores": []}


class StatsServer(Responder):
    """The addresses of ``--stats``, and their clients.

    Args:
        options: They name the addresses.
        scoreboard: How the workers stand.
        sockets: Where clients wait for workers.
        companions: Returns how the processes of other languages stand.

    Raises:
        OptionError: An address cannot be bound.
    """

    def __init__(
        self,
        options: Options,
        scoreboard: Scoreboard,
        sockets: Sockets,
        companions: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        super().__init__(options, "stats", options.stats, is_asked=options.stats_http)
        self._scoreboard = scoreboard
        self._sockets = sockets
        self._companions = companions
        self._backlog = options.listen

    def _answer(self, head: bytes) -> bytes:
        instance = _instance(self._scoreboard, self._sockets, self._backlog)
        if companions := self._companions():
            instance["companions"] = companions
        body = json.dumps(instance, separators=(",", ":")).encode()
        if not head:
            return body
        return http_response(head, 200, "application/json", body, "Access-Control-Allow-Origin: *")


def _instance(statuses: Iterable[WorkerStatus], sockets: Sockets, backlog: int) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "listen_queue": sockets.waiting,
        "listen_queue_errors": 0,
        "signal_queue": 0,
        "load": sockets.waiting,
        "pid": os.getpid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "cwd": os.getcwd(),
        "locks": [],
        "sockets": [
            {
                "name": bound_name(endpoint.address, sock),
                "proto": endpoint.dialect,
                "queue": waiting_at(sock),
                "max_queue": backlog,
                "shared": 0,
                "can_offload": 0,
            }
            for endpoint, sock in sockets.with_endpoints()
            if sock.fileno() >= 0  # the instance does not stop
        ],
        "workers": [{**described(status), **_NOT_COUNTED} for status in newest(statuses)],
    }
