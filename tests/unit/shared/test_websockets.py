"""What workers count together; test_admission.py has the limits that are judged by it."""

from __future__ import annotations

import pytest

from uwsgi_ws.shared.websockets import OpenWebSockets, Seat

SECOND = 1_000_000_000


@pytest.fixture
def attendance() -> OpenWebSockets:
    return OpenWebSockets(memoryview(bytearray(OpenWebSockets.size(3))), 3)


def test_each_seat_adds_its_own(attendance: OpenWebSockets) -> None:
    seats = [Seat(attendance, number, knows_addresses=True) for number in range(3)]
    for seat in seats:
        seat.enter("a")
        seat.enter("b")
    seats[1].enter("a")
    seats[1].enter("a")
    seats[1].leave("a")
    seats[2].leave("a")
    assert attendance.inside == 6
    assert [(seat.of_address("a"), seat.of_address("b"), seat.of_address("c")) for seat in seats] == [(3, 3, 0)] * 3
    attendance.vacate(1)
    assert attendance.inside == 3
    assert (seats[0].of_address("a"), seats[2].of_address("a")) == (1, 1)
    attendance.vacate(1)  # without effect on an empty seat
    assert attendance.inside == 3


def test_addresses_are_not_kept_where_nobody_asks_for_them() -> None:
    attendance = OpenWebSockets.alone()
    seat = Seat(attendance, 0, knows_addresses=False)
    seat.enter("a")
    assert (attendance.inside, attendance.addresses.total(b"a"), seat.of_address("a")) == (1, 0, 0)
    seat.leave("a")
    assert attendance.inside == 0


@pytest.mark.parametrize("per_second", [1, 3, 7, 1_000])
def test_after_a_quiet_second_as_many_come_as_in_a_second(attendance: OpenWebSockets, per_second: int) -> None:
    for now in (SECOND, 5 * SECOND):
        assert [attendance.begin(per_second, now) for _ in range(per_second + 1)] == [True] * per_second + [False]
