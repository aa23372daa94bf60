"""What the processes of an instance have in common: made once by the master, before it forks.

What workers share, such as pipes between them, is made in ``Common``, before there is a process that would not have it.
The master keeps it all open, so that a worker's successor finds it again.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from uwsgi_ws.channels.inboxes import Inboxes, raise_descriptor_limit
from uwsgi_ws.channels.message_log import ROOM, LogMemory
from uwsgi_ws.errors import BootError
from uwsgi_ws.hub.own import drop_descriptor, keep_descriptor
from uwsgi_ws.process.control_pairs import ControlPairs
from uwsgi_ws.shared.measures import MeasuresBoard, Retired
from uwsgi_ws.shared.scoreboard import Scoreboard
from uwsgi_ws.shared.signals import SignalTable
from uwsgi_ws.shared.websockets import OpenWebSockets

__all__ = ["Common", "Notice", "NoticeKind", "Order"]


class NoticeKind(IntEnum):
    """What a notice tells the master."""

    FORKED = 1  #: there is a process for the order; told before the process can exit
    FORK_FAILED = 2  #: there will be none, the kernel refused
    READY = 3  #: it accepts clients
    SPENT = 4  #: it has reached a limit, and wants to be replaced
    CEASED = 5  #: it accepts no client any more, as it has been told
    SIGNALLED = 6  #: it, or its fork server, raises a signal of uWSGI's


class Notice(NamedTuple):
    """A worker's, or its fork server's, word to the master.

    Attributes:
        number: The signal's that it raises.
    """

    kind: int
    seat: int
    pid: int
    number: int = 0


_NOTICE = struct.Struct("=HIIH")


class Order(NamedTuple):
    """The master's word to a fork server: fork this worker.

    Attributes:
        worker_id: 1 to N.
        seat: Its row on the scoreboard, and its ends of whatever connects workers; no living process has the same.
        spawns: How many processes this worker will then have been.
        is_paused: It shall accept no client until it is told to.
    """

    worker_id: int
    seat: int
    spawns: int
    is_paused: bool = False

    def pack(self) -> bytes:
        """Return it as bytes."""
        return _ORDER.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> Order:
        """Read it from bytes."""
        return cls(*_ORDER.unpack(data))


_ORDER = struct.Struct("=IIQ?")


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a pipe."""

    read: int
    write: int

    @classmethod
    def open(cls) -> Ends:
        """Make one whose ends never block, and that no other program inherits."""
        ends = cls(*os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
        keep_descriptor(ends.read)
        keep_descriptor(ends.write)
        return ends


class Common:
    """Everything shared.

    Args:
        processes: How many workers there are.
        history_room: Bytes that their channels may keep.
        has_control: Whether the master asks workers what operators want to know.

    Raises:
        BootError: too many for the descriptors that this process may have, or for channels.
    """

    def __init__(self, processes: int, history_room: int = ROOM, *, has_control: bool = False) -> None:
        self.master_pid = os.getpid()
        self.processes = processes
        # A worker and its successor live at the same time for a while.
        self.scoreboard = Scoreboard(2 * processes, processes)
        #: What workers count by labels.
        self.measures = MeasuresBoard(memoryview(mmap.mmap(-1, MeasuresBoard.size(2 * processes))))
        #: What workers have counted that are gone; only the master knows.
        self.retired = Retired()
        #: What channels go through, one for each seat; None for a single worker, which writes to no other.
        self.inboxes = Inboxes(2 * processes) if processes > 1 else None
        #: What their channels keep.
        self.message_log = LogMemory(history_room)
        #: What limits on the number of WebSockets count by.
        self.open_websockets = OpenWebSockets(
            memoryview(mmap.mmap(-1, OpenWebSockets.size(2 * processes))), 2 * processes
        )
        self._notices = Ends.open()
        #: What locks of signal tables are on. See ``shared.locks``.
        self.signal_lock = os.memfd_create("uwsgi_ws.signals", os.MFD_CLOEXEC)
        raise_descriptor_limit((6 if has_control else 2) * processes)
        #: The ways by which the master asks them.
        self.control = ControlPairs(2 * processes if has_control else 0)
        try:
            # Each is readable while its worker has to look for signals of uWSGI's.
            self._wakes = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(2 * processes)]
        except OSError as exc:
            raise BootError(f"cannot make what the signals of {processes} workers need: {exc.strerror}") from exc
        for fd in self._wakes:
            keep_descriptor(fd)
        # Nothing is ever written into it. The master alone has its writing end: the others see when it is gone.
        self._lifeline = Ends.open()

    # In the master

    def vacate(self, seat: int) -> None:
        """Clear a seat, whose process is dead or does not live yet."""
        self.retired.add(self.scoreboard.read(seat), self.measures.read(seat))
        self.measures.vacate(seat)
        self.scoreboard.clear(seat)
        self.open_websockets.vacate(seat)
        if self.inboxes is not None:
            self.inboxes.vacate(seat)
        self.message_log.note_death()

    def new_signals(self) -> SignalTable:
        """Return a table for signals of uWSGI's, for workers that are still to be forked."""
        return SignalTable(memoryview(mmap.mmap(-1, SignalTable.size(self.processes))), self.processes)

    def wake(self, seat: int) -> None:
        """Have a worker look for signals of uWSGI's."""
        os.eventfd_write(self._wakes[seat], 1)

    @property
    def notices(self) -> int:
        """The descriptor that is readable while notices wait."""
        return self._notices.read

    def take_notices(self) -> Iterator[Notice]:
        """Yield the notices that came; without waiting."""
        while True:
            try:
                # A multiple of a notice's size; each is written at once, so none is ever cut in two.
                data = os.read(self._notices.read, _NOTICE.size * 256)
            except BlockingIOError:
                return
            for fields in _NOTICE.iter_unpack(data):
                yield Notice(*fields)

    # In the others

    def leave_master(self) -> None:
        """Close, in any other process, what only the master may hold."""
        for fd in (self._notices.read, self._lifeline.write):
            drop_descriptor(fd)
            os.close(fd)

    @property
    def lifeline(self) -> int:
        """A descriptor that becomes readable when the master is gone."""
        return self._lifeline.read

    def notify(self, kind: NoticeKind, seat: int, pid: int, number: int = 0) -> bool:
        """Tell the master something. It is lost when 5,000 notices wait already, or no master is left."""
        try:
            os.write(self._notices.write, _NOTICE.pack(kind, seat, pid, number))
        except (BlockingIOError, BrokenPipeError):
            return False
        return True

    def wakes_of(self, seat: int) -> int:
        """Return the descriptor that is readable when the worker of a seat has been woken."""
        return self._wakes[seat]
