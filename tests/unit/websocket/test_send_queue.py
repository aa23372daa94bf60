"""The lanes of unsent frames: never a torn frame, and tickets for those who wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.websocket.send_queue import SendQueue

IOV_MAX = 1024  # buffers that the kernel takes at once
CONTROL_LIMIT = 65_536


def write(lanes: SendQueue, count: int) -> bytes:
    """Write up to ``count`` bytes, as a kernel with so much room does."""
    data = b"".join(lanes.buffers())[:count]
    lanes.advance(len(data))
    return data


def write_all(lanes: SendQueue) -> bytes:
    written = b""
    while lanes.size:
        written += write(lanes, 1_000_000)
    return written


def test_data_frames_go_in_order_and_complete_in_order() -> None:
    lanes = SendQueue()
    tickets = [lanes.put_data(b"one", is_awaited=True), lanes.put_data(b"two", is_awaited=True)]
    assert tickets == [1, 2]
    assert lanes.size == 6
    assert write(lanes, 4) == b"onet"
    assert (lanes.completed, lanes.size) == (1, 2)
    assert write(lanes, 4) == b"wo"
    assert (lanes.completed, lanes.size) == (2, 0)
    assert lanes.buffers() == []


def test_the_rest_of_a_frame_goes_first_and_counts_as_a_data_frame() -> None:
    lanes = SendQueue()
    assert lanes.put_partial(memoryview(b"rest"), is_awaited=True) == 1
    assert lanes.put_data(b"next", is_awaited=True) == 2
    assert write(lanes, 2) == b"re"
    assert lanes.completed == 0
    assert write(lanes, 2) == b"st"
    assert lanes.completed == 1
    assert write_all(lanes) == b"next"


def test_the_rest_of_a_control_frame_is_nobody_s_ticket() -> None:
    lanes = SendQueue()
    assert lanes.put_partial(memoryview(b"pong"), is_awaited=False) == 0
    assert lanes.put_data(b"data", is_awaited=True) == 1
    assert write(lanes, 4) == b"pong"
    assert lanes.completed == 0


def test_control_frames_overtake_queued_data_in_their_own_order() -> None:
    lanes = SendQueue()
    lanes.put_partial(memoryview(b"rest "), is_awaited=True)
    lanes.put_data(b"data ", is_awaited=True)
    lanes.put_control(b"pong 1 ")
    lanes.put_control(b"pong 2 ")
    assert write_all(lanes) == b"rest pong 1 pong 2 data "


def test_a_data_frame_that_has_begun_is_not_overtaken() -> None:
    lanes = SendQueue()
    lanes.put_data(b"data", is_awaited=True)
    assert write(lanes, 1) == b"d"
    lanes.put_control(b"pong")
    assert write_all(lanes) == b"atapong"


def test_a_control_frame_that_has_begun_is_not_torn_either() -> None:
    lanes = SendQueue()
    lanes.put_control(b"pong")
    assert write(lanes, 1) == b"p"
    lanes.put_control(b"ping")
    lanes.put_data(b"data", is_awaited=True)
    assert write_all(lanes) == b"ongpingdata"
    assert lanes.completed == 1


def test_a_write_that_took_nothing_changes_nothing() -> None:
    lanes = SendQueue()
    lanes.put_control(b"pong")
    lanes.put_data(b"data", is_awaited=True)
    lanes.advance(0)
    assert (lanes.completed, lanes.size) == (0, 8)
    assert write_all(lanes) == b"pongdata"


def test_no_more_buffers_are_handed_out_than_the_kernel_takes() -> None:
    lanes = SendQueue()
    lanes.put_partial(memoryview(b"-"), is_awaited=True)
    for number in range(2 * IOV_MAX):
        lanes.put_data(b"%d " % number, is_awaited=True)
    assert len(lanes.buffers()) <= IOV_MAX
    assert write_all(lanes) == b"-" + b"".join(b"%d " % number for number in range(2 * IOV_MAX))
    assert lanes.completed == 2 * IOV_MAX + 1


def test_a_ping_flood_of_a_peer_that_does_not_read_is_bounded_and_its_latest_answered() -> None:
    lanes = SendQueue()
    lanes.put_data(b"data", is_awaited=True)
    for number in range(10_000):
        lanes.put_control(b"%0127d" % number)
        assert lanes.size <= CONTROL_LIMIT + 4
    written = write_all(lanes)
    assert written.endswith(b"%0127d" % 9_999 + b"data")
    assert lanes.completed == 1


def test_the_bound_counts_only_what_waits() -> None:
    lanes = SendQueue()
    for number in range(10_000):
        lanes.put_control(b"%0127d" % number)
        if number % 2:
            assert write(lanes, 200) + write_all(lanes) == b"%0127d%0127d" % (number - 1, number)
    assert lanes.size == 0


def test_dropping_keeps_the_frame_that_is_half_way_out() -> None:
    lanes = SendQueue()
    lanes.put_data(b"half", is_awaited=True)
    write(lanes, 2)
    lanes.put_data(b"data", is_awaited=True)
    lanes.put_control(b"pong")
    lanes.drop_queued()
    assert lanes.is_dropped
    assert lanes.size == 2
    lanes.put_control(b"close")
    assert write_all(lanes) == b"lfclose"
    assert lanes.completed == 1


def test_dropping_everything_leaves_nothing() -> None:
    lanes = SendQueue()
    lanes.put_data(b"data", is_awaited=True)
    lanes.put_control(b"pong")
    lanes.drop_queued()
    assert (lanes.size, lanes.buffers()) == (0, [])
    assert lanes.completed == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.integers(1, 12)),
        st.tuples(st.just("control"), st.integers(2, 12)),
        st.tuples(st.just("write"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(st.integers(0, 12), STEPS)
def test_whole_frames_leave_in_the_order_of_their_lanes_wherever_writes_are_cut(
    partial: int, steps: list[tuple[str, int]]
) -> None:
    lanes = SendQueue()
    put: dict[bytes, list[bytes]] = {b"D": [], b"C": []}  # the frames of each lane
    written = b""
    size = 0
    if partial:
        lanes.put_partial(memoryview(b"P" * (partial - 1) + b"."), is_awaited=True)
        size = partial
    for step, number in steps:
        if step == "write":
            data = write(lanes, number)
            written += data
            size -= len(data)
        elif step == "data":
            put[b"D"].append(b"D" * number + b".")
            assert lanes.put_data(put[b"D"][-1], is_awaited=True) == len(put[b"D"]) + bool(partial)
            size += number + 1
        else:
            put[b"C"].append(b"C" * number + b".")
            lanes.put_control(put[b"C"][-1])
            size += number + 1
        assert lanes.size == size
        whole = written.count(b".") - sum(part[:1] == b"C" for part in written.split(b".")[:-1])
        assert lanes.completed == whole
    written += write_all(lanes)
    frames = [part + b"." for part in written.split(b".")[:-1]]
    assert frames[0:1] == [b"P" * (partial - 1) + b"."] or not partial
    assert [frame for frame in frames[bool(partial) :] if frame.startswith(b"D")] == put[b"D"]
    assert [frame for frame in frames[bool(partial) :] if frame.startswith(b"C")] == put[b"C"]


def test_a_frame_that_nobody_waits_for_completes_nothing() -> None:
    lanes = SendQueue()
    lanes.put_data(b"loose", is_awaited=False)
    assert lanes.put_data(b"awaited", is_awaited=True) == 1
    assert write(lanes, 6) == b"loosea"
    assert lanes.completed == 0
    assert write_all(lanes) == b"waited"
    assert lanes.completed == 1


def test_frames_that_nobody_waits_for_can_be_dropped_alone() -> None:
    lanes = SendQueue()
    lanes.put_partial(memoryview(b"half"), is_awaited=False)
    lanes.put_data(b"loose", is_awaited=False)
    lanes.put_data(b"awaited", is_awaited=True)
    lanes.put_control(b"pong")
    lanes.put_data(b"loose", is_awaited=False)
    assert lanes.drop_unawaited() == 2
    assert lanes.size == len(b"halfpongawaited")
    assert not lanes.is_dropped
    assert write_all(lanes) == b"halfpongawaited"
    assert lanes.completed == 1
