"""What gunicorn's arbiter makes before it forks workers: all that they share."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from typing import Any

from gunicorn.arbiter import Arbiter

from uwsgi_ws.api.instance import Instance
from uwsgi_ws.gunicorn_worker.places import SPARE, Place, Places
from uwsgi_ws.options import BY_NAME, Options, opt_dict, parse
from uwsgi_ws.process.assembly import install_api
from uwsgi_ws.process.common import Common
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.process.worker import Post
from uwsgi_ws.shared import MAX_WORKERS
from uwsgi_ws.shared.status import WorkerStatus

__all__ = ["Company"]


class Company:
    """Made in the arbiter before the application is imported, be it with ``--preload``.

    Raises:
        OptionError: a variable of the environment cannot be used.
    """

    def __init__(self) -> None:
        self.arbiter_pid = os.getpid()
        self.instance = Instance(self.arbiter_pid)
        # gunicorn's configuration is not known here yet: `enter` tells the rest.
        self._options = parse(["--gevent=1000"], os.environ)
        install_api(self._options, Sockets([], workers=1, are_inherited=False), self.instance, is_a_reload=False)
        self.places = Places()
        self._common: Common | None = None
        self._configuration: Any = None
        self._stops = mmap.mmap(-1, 1)
        _note_stop(self)

    # In the arbiter

    def prepare(self, workers: int) -> None:
        """Make what workers share, once.

        Raises:
            BootError: there is no memory, or there are no descriptors.
        """
        if self._common is None:
            self._common = Common(min(workers + SPARE, MAX_WORKERS), self._options.history_room)
            self.places.seats = self._common.scoreboard.seats

    def too_late(self, options: Options) -> Iterator[str]:
        """Yield a line for each option that had to be known before gunicorn's configuration was."""
        for setting in options.given:
            if BY_NAME[setting.name].group == "Shared memory" and setting not in self._options.given:
                yield f"{setting.source} has no effect in raw_env: set it where gunicorn is started"

    def give_place(self, age: int, configuration: Any) -> Place:
        """Return a new worker's place; gunicorn, which counts all workers, knows it by its ``age``."""
        if configuration is not self._configuration:
            self._configuration = configuration  # read anew: it has reloaded
            self.places.generation += 1
        return self.places.give(age)

    def take_back(self, age: int) -> None:
        """Note that a worker is dead: nobody writes to it any more, and another may have its place."""
        if os.getpid() != self.arbiter_pid or self._common is None:
            return  # a worker lets go of what it has inherited
        seat = self.places.take_back(age)
        if seat is not None:
            self._common.vacate(seat)

    def stop(self) -> None:
        """Note that gunicorn stops: what workers are told now is no reload."""
        self._stops[0] = 1

    # In a worker

    @property
    def stops(self) -> bool:
        """Whether gunicorn stops."""
        return bool(self._stops[0])

    def enter(self, place: Place, options: Options, sockets: Sockets) -> Post:
        """Be a worker from now on."""
        assert self._common is not None
        self._common.leave_master()
        self.instance.enter(place.worker_id)
        vars(sys.modules["uwsgi"]).update(
            opt=opt_dict(options),
            sockets=[sock.fileno() for sock in sockets],
            numproc=options.processes,
            cores=options.places,
            buffer_size=options.buffer_size,
            is_a_reload=place.generation > 1,
        )
        if place.seat is None:
            return Post(place.worker_id, place.spawns)
        common = self._common
        return Post(
            place.worker_id,
            place.spawns,
            place.seat,
            common.inboxes,
            common.open_websockets,
            self._others,
            message_log=common.message_log,
        )

    def _others(self) -> Iterator[WorkerStatus]:
        assert self._common is not None
        pid = os.getpid()
        return (status for status in self._common.scoreboard if status.pid != pid)

    def write(self, place: Place, status: WorkerStatus) -> None:
        """Tell the others how a worker stands."""
        assert self._common is not None
        if place.seat is not None:
            self._common.scoreboard.write(place.seat, status)


def _note_stop(company: Company) -> None:
    """Have the arbiter tell workers that it stops: it sends them the same signal when it replaces them.

    After SIGUSR2 there is another arbiter that goes on, so the old one's workers are replaced, too.
    """
    plain: Any = Arbiter.stop

    def stop(self: Any, *args: Any, **options: Any) -> Any:
        if not self.reexec_pid:
            company.stop()
        return plain(self, *args, **options)

    Arbiter.stop = stop
