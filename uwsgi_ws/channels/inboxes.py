"""The inboxes of workers: what they share for channels, made before the first fork.

Each seat has one pipe, which its worker reads and all others write to. They stay open in the master, so a worker that
takes a dead one's seat finds its inbox again. The master moves nothing: a record goes from the publisher's process
straight into the readers'.

The pipes are in packet mode (``O_DIRECT``): a write of up to ``PIPE_BUF`` bytes goes in whole or not at all, and comes
out as one read. So many may write to one inbox without a lock, and a process that is killed leaves no half packet
behind. N workers need N pipes; one for each ordered pair would be N * (N - 1).

Nothing here needs an event loop: the master has none.

Source: pipe(2), pipe(7).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import resource

from uwsgi_ws.channels.interest import InterestMap
from uwsgi_ws.errors import BootError
from uwsgi_ws.hub.own import drop_descriptor, keep_descriptor
from uwsgi_ws.shared import MAX_WORKERS

__all__ = ["MAX_SEATS", "Inboxes", "raise_descriptor_limit"]

#: Two for each worker: 1.1 GiB of address space, of which only what is used takes memory. For each worker asked for
#: there are two seats, so fewer take less.
MAX_SEATS = 2 * MAX_WORKERS
#: Descriptors that the application and its clients should still have.
_SPARE = 256
#: Bytes that an inbox holds, if the kernel lets us: the most that a user may ask for by default.
_PIPE_SIZE = 1_048_576


class Inboxes:
    """What workers share for channels: made before the fork, by the process that will fork them.

    A seat is for one living process at a time. The process that reaps a worker whose seat will stay empty calls
    ``vacate``.

    Args:
        seats: Workers that may live at the same time, 1 to ``MAX_SEATS``.

    Raises:
        BootError: there are too many seats, or the process may not have that many descriptors.
    """

    def __init__(self, seats: int) -> None:
        if not 1 <= seats <= MAX_SEATS:
            raise BootError(f"channels connect {MAX_WORKERS} workers at most")
        self.seats = seats
        self._ends: list[tuple[int, int]] = []
        raise_descriptor_limit(2 * seats)
        try:
            # Anonymous and shared: forked processes see the same pages, and no others do.
            self._memory = mmap.mmap(-1, InterestMap.size(seats))
            self.interest = InterestMap(memoryview(self._memory), seats)
            for _ in range(seats):
                self._ends.append(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC | os.O_DIRECT))
        except OSError as exc:
            self.close()
            raise BootError(f"cannot make what the channels of {seats // 2} workers need: {exc.strerror}") from exc
        for reader, writer in self._ends:
            _enlarge(reader)
            keep_descriptor(reader)
            keep_descriptor(writer)

    def reader(self, seat: int) -> int:
        """Return the descriptor that a seat reads."""
        return self._ends[seat][0]

    def writer(self, seat: int) -> int:
        """Return the descriptor that all others write to for a seat."""
        return self._ends[seat][1]

    def vacate(self, seat: int) -> None:
        """Have no worker write to a seat any more, and count no subscribers there: its worker is dead."""
        self.interest.vacate(seat)

    def close(self) -> None:
        """Close this process's descriptors; other processes keep theirs."""
        while self._ends:
            for end in self._ends.pop():
                drop_descriptor(end)
                os.close(end)


def raise_descriptor_limit(needed: int) -> None:
    """Have this process be allowed so many descriptors more than it has, and some to spare, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + needed + _SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _enlarge(pipe: int) -> None:
    """Make a pipe larger than 16 packets. The kernel limits all pipes of an unprivileged user together."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError:
        pass  # then records wait in our memory instead
