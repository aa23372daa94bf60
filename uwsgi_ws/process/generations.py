"""What the master knows of each process: workers, and the fork servers that they come from."""

from __future__ import annotations

import math
import socket
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from time import monotonic

from uwsgi_ws.options import CompanionSpec
from uwsgi_ws.process.children import RestartBackoff
from uwsgi_ws.process.common import Order
from uwsgi_ws.shared.signals import SignalTable

__all__ = ["CEASING", "GRACE", "MIN_UPTIME", "ORDERED", "WORKER_DELAYS", "Generation", "Life", "WorkerProcess"]

#: Seconds that a process may take to end, beyond those that it gives its clients.
GRACE = 3.0
#: Seconds that the others wait for a worker that does not say that it accepts no client any more: its event loop is
#: stuck, and so it does not accept either.
CEASING = 1.0
#: Seconds within which a fork server, whose event loop the application may use, forks a worker that was ordered.
ORDERED = 10.0
#: A process that lives shorter than this, in seconds, died of something that its successor will die of as well.
MIN_UPTIME = 1.0
#: Seconds before such a one is replaced: at once the first time, then later and later.
WORKER_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)


class Life(Enum):
    """Where a worker process is between order and end."""

    ORDERED = auto()  #: its fork server knows, there is no process yet
    STARTING = auto()
    SERVING = auto()  #: it accepts clients
    RESTING = auto()  #: there are enough others: it has been told to accept no client, and waits for its own to leave
    CEASING = auto()  #: it has been told to accept no client any more
    LEAVING = auto()  #: it has been told to end


@dataclass(slots=True, eq=False)
class Generation:
    """Workers that have the same code.

    Attributes:
        pid: Their fork server's.
        control: Our end of the connection to the fork server; None once that has been told to end.
        is_loaded: Whether the fork server can take orders.
        kill_at: When a fork server that does not end is killed.
        signals: The application's signals of uWSGI's.
        companions: The sockets of its applications in other languages.
        loaded_at: When the fork server has said that it can take orders (monotonic).
        restarts: When a fork server that has died is started again.
        backoffs: When a worker that has died is replaced, by its number.
    """

    signals: SignalTable
    pid: int = 0
    control: socket.socket | None = None
    is_loaded: bool = False
    kill_at: float = math.inf
    companions: Mapping[CompanionSpec, str] = field(default_factory=dict)
    loaded_at: float = 0.0
    restarts: RestartBackoff = field(default_factory=lambda: RestartBackoff(WORKER_DELAYS))
    backoffs: dict[int, RestartBackoff] = field(
        default_factory=lambda: defaultdict(lambda: RestartBackoff(WORKER_DELAYS))
    )

    @property
    def is_loading(self) -> bool:
        """Whether the fork server has still to say that it can take orders."""
        return self.control is not None and not self.is_loaded

    def retire(self) -> None:
        """Let the fork server end, once it has carried out the orders that it has."""
        # One that still loads may be anywhere in the application's code, and has no orders yet.
        self.kill_at = monotonic() + (GRACE if self.is_loaded else 0.0)
        if self.control is not None:
            self.control.close()
            self.control = None
        self.is_loaded = False


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """One worker process, ordered, alive, or dead and not yet noticed.

    Attributes:
        awaited_until: While it is ceasing: when the others wait for it no more. While it rests: when its clients are
            told to leave.
        kill_at: When it is killed if it does not end.
        is_spent: Whether it shall be replaced.
        reported_beat: Its last one before it was found stuck, if ever.
    """

    order: Order
    generation: Generation
    life: Life = Life.ORDERED
    pid: int = 0
    started_at: float = field(default_factory=monotonic)
    awaited_until: float = 0.0
    kill_at: float = math.inf
    is_spent: bool = False
    reported_beat: float = 0.0

    def __str__(self) -> str:
        return f"worker {self.order.worker_id} (pid: {self.pid})"
