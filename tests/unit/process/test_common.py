"""What the processes of an instance share, and the words between them."""

from __future__ import annotations

import os
import select
import signal

import pytest
from support.child import in_child

from uwsgi_ws.errors import BootError
from uwsgi_ws.process.common import Common, Notice, NoticeKind, Order
from uwsgi_ws.shared.status import WorkerStatus


@pytest.mark.parametrize("is_paused", [False, True])
def test_an_order_arrives_as_it_was_given(is_paused: bool) -> None:
    order = Order(512, 1_023, 2**40, is_paused)
    assert Order.unpack(order.pack()) == order


def test_notices_of_several_processes_arrive_whole_and_in_order() -> None:
    common = Common(1)
    assert list(common.take_notices()) == []
    for seat in range(3):

        def work(seat: int = seat) -> None:
            common.leave_master()
            common.notify(NoticeKind.FORKED, seat, os.getpid())
            common.notify(NoticeKind.READY, seat, os.getpid())

        in_child(work)
    assert select.select([common.notices], [], [], 10)[0]
    notices = list(common.take_notices())
    assert [(notice.kind, notice.seat) for notice in notices] == [
        (kind, seat) for seat in range(3) for kind in (NoticeKind.FORKED, NoticeKind.READY)
    ]
    assert len({notice.pid for notice in notices}) == 3
    assert list(common.take_notices()) == []


def test_a_notice_that_finds_no_room_is_lost_rather_than_waited_for() -> None:
    common = Common(1)
    for seat in range(10_000):
        common.notify(NoticeKind.SPENT, seat, 1)
    notices = list(common.take_notices())
    assert 5_000 < len(notices) < 10_000
    assert notices[:2] == [Notice(NoticeKind.SPENT, 0, 1), Notice(NoticeKind.SPENT, 1, 1)]


def test_the_others_see_that_the_master_is_gone() -> None:
    """The master is here a child whose end the parent, a worker, waits for."""
    reading, writing = os.pipe()
    master = os.fork()
    if not master:
        common = Common(1)
        worker = os.fork()
        if not worker:
            common.leave_master()
            is_alone = bool(select.select([common.lifeline], [], [], 0)[0])
            os.write(writing, b"the master lives;" if not is_alone else b"too early;")
            select.select([common.lifeline], [], [], 10)
            os.write(writing, b"it is gone")
            os._exit(0)
        signal.pause()
        os._exit(0)
    os.close(writing)
    try:
        assert os.read(reading, 100) == b"the master lives;"
    finally:
        os.kill(master, signal.SIGKILL)
        os.waitpid(master, 0)
    assert os.read(reading, 100) == b"it is gone"
    os.close(reading)


def test_what_a_dead_worker_has_left_in_its_seat_is_forgotten() -> None:
    common = Common(2)
    common.scoreboard.write(3, WorkerStatus(worker_id=2, pid=7))
    common.open_websockets.inside_by_seat[3] = 5
    assert common.open_websockets.inside == 5
    common.vacate(3)
    assert list(common.scoreboard) == []
    assert common.open_websockets.inside == 0


def test_a_single_worker_needs_no_inboxes_and_too_many_cannot_be() -> None:
    assert Common(1).inboxes is None
    assert Common(2).inboxes is not None
    with pytest.raises(BootError, match="channels connect 512 workers at most"):
        Common(513)
