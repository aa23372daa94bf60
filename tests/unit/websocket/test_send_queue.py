"""The queue of unsent frames: never a torn frame, and tickets for those who wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.websocket.send_queue import SendQueue

IOV_MAX = 1024  # buffers that the kernel takes at once
CONTROL_LIMIT = 65_536


def write(queue: SendQueue, count: int) -> bytes:
    """Write up to ``count`` bytes, as a kernel with so much room does."""
    data = b"".join(queue.buffers())[:count]
    queue.advance(len(data))
    return data


def write_all(queue: SendQueue) -> bytes:
    written = b""
    while queue.size:
        written += write(queue, 1_000_000)
    return written


def test_data_frames_go_in_order_and_complete_in_order() -> None:
    queue = SendQueue()
    tickets = [queue.put_data(b"one", is_awaited=True), queue.put_data(b"two", is_awaited=True)]
    assert tickets == [1, 2]
    assert queue.size == 6
    assert write(queue, 4) == b"onet"
    assert (queue.completed, queue.size) == (1, 2)
    assert write(queue, 4) == b"wo"
    assert (queue.completed, queue.size) == (2, 0)
    assert queue.buffers() == []


def test_the_rest_of_a_frame_goes_first_and_counts_as_a_data_frame() -> None:
    queue = SendQueue()
    assert queue.put_partial(memoryview(b"rest"), is_awaited=True) == 1
    assert queue.put_data(b"next", is_awaited=True) == 2
    assert write(queue, 2) == b"re"
    assert queue.completed == 0
    assert write(queue, 2) == b"st"
    assert queue.completed == 1
    assert write_all(queue) == b"next"


def test_the_rest_of_a_control_frame_is_nobody_s_ticket() -> None:
    queue = SendQueue()
    assert queue.put_partial(memoryview(b"pong"), is_awaited=False) == 0
    assert queue.put_data(b"data", is_awaited=True) == 1
    assert write(queue, 4) == b"pong"
    assert queue.completed == 0


def test_control_frames_overtake_queued_data_in_their_own_order() -> None:
    queue = SendQueue()
    queue.put_partial(memoryview(b"rest "), is_awaited=True)
    queue.put_data(b"data ", is_awaited=True)
    queue.put_control(b"pong 1 ")
    queue.put_control(b"pong 2 ")
    assert write_all(queue) == b"rest pong 1 pong 2 data "


def test_a_data_frame_that_has_begun_is_not_overtaken() -> None:
    queue = SendQueue()
    queue.put_data(b"data", is_awaited=True)
    assert write(queue, 1) == b"d"
    queue.put_control(b"pong")
    assert write_all(queue) == b"atapong"


def test_a_control_frame_that_has_begun_is_not_torn_either() -> None:
    queue = SendQueue()
    queue.put_control(b"pong")
    assert write(queue, 1) == b"p"
    queue.put_control(b"ping")
    queue.put_data(b"data", is_awaited=True)
    assert write_all(queue) == b"ongpingdata"
    assert queue.completed == 1


def test_a_write_that_took_nothing_changes_nothing() -> None:
    queue = SendQueue()
    queue.put_control(b"pong")
    queue.put_data(b"data", is_awaited=True)
    queue.advance(0)
    assert (queue.completed, queue.size) == (0, 8)
    assert write_all(queue) == b"pongdata"


def test_no_more_buffers_are_handed_out_than_the_kernel_takes() -> None:
    queue = SendQueue()
    queue.put_partial(memoryview(b"-"), is_awaited=True)
    for number in range(2 * IOV_MAX):
        queue.put_data(b"%d " % number, is_awaited=True)
    assert len(queue.buffers()) <= IOV_MAX
    assert write_all(queue) == b"-" + b"".join(b"%d " % number for number in range(2 * IOV_MAX))
    assert queue.completed == 2 * IOV_MAX + 1


def test_a_ping_flood_of_a_peer_that_does_not_read_is_bounded_and_its_latest_answered() -> None:
    queue = SendQueue()
    queue.put_data(b"data", is_awaited=True)
    for number in range(10_000):
        queue.put_control(b"%0127d" % number)
        assert queue.size <= CONTROL_LIMIT + 4
    written = write_all(queue)
    assert written.endswith(b"%0127d" % 9_999 + b"data")
    assert queue.completed == 1


def test_the_bound_counts_only_what_waits() -> None:
    queue = SendQueue()
    for number in range(10_000):
        queue.put_control(b"%0127d" % number)
        if number % 2:
            assert write(queue, 200) + write_all(queue) == b"%0127d%0127d" % (number - 1, number)
    assert queue.size == 0


def test_dropping_keeps_the_frame_that_is_half_way_out() -> None:
    queue = SendQueue()
    queue.put_data(b"half", is_awaited=True)
    write(queue, 2)
    queue.put_data(b"data", is_awaited=True)
    queue.put_control(b"pong")
    queue.drop_queued()
    assert queue.is_dropped
    assert queue.size == 2
    queue.put_control(b"close")
    assert write_all(queue) == b"lfclose"
    assert queue.completed == 1


def test_dropping_everything_leaves_nothing() -> None:
    queue = SendQueue()
    queue.put_data(b"data", is_awaited=True)
    queue.put_control(b"pong")
    queue.drop_queued()
    assert (queue.size, queue.buffers()) == (0, [])
    assert queue.completed == 0


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
    queue = SendQueue()
    put: dict[bytes, list[bytes]] = {b"D": [], b"C": []}  # the frames of each kind
    written = b""
    size = 0
    if partial:
        queue.put_partial(memoryview(b"P" * (partial - 1) + b"."), is_awaited=True)
        size = partial
    for step, number in steps:
        if step == "write":
            data = write(queue, number)
            written += data
            size -= len(data)
        elif step == "data":
            put[b"D"].append(b"D" * number + b".")
            assert queue.put_data(put[b"D"][-1], is_awaited=True) == len(put[b"D"]) + bool(partial)
            size += number + 1
        else:
            put[b"C"].append(b"C" * number + b".")
            queue.put_control(put[b"C"][-1])
            size += number + 1
        assert queue.size == size
        whole = written.count(b".") - sum(part[:1] == b"C" for part in written.split(b".")[:-1])
        assert queue.completed == whole
    written += write_all(queue)
    frames = [part + b"." for part in written.split(b".")[:-1]]
    assert frames[0:1] == [b"P" * (partial - 1) + b"."] or not partial
    assert [frame for frame in frames[bool(partial) :] if frame.startswith(b"D")] == put[b"D"]
    assert [frame for frame in frames[bool(partial) :] if frame.startswith(b"C")] == put[b"C"]


def test_a_frame_that_nobody_waits_for_completes_nothing() -> None:
    queue = SendQueue()
    queue.put_data(b"loose", is_awaited=False)
    assert queue.put_data(b"awaited", is_awaited=True) == 1
    assert write(queue, 6) == b"loosea"
    assert queue.completed == 0
    assert write_all(queue) == b"waited"
    assert queue.completed == 1


def test_frames_that_nobody_waits_for_can_be_dropped_alone() -> None:
    queue = SendQueue()
    queue.put_partial(memoryview(b"half"), is_awaited=False)
    queue.put_data(b"loose", is_awaited=False)
    queue.put_data(b"awaited", is_awaited=True)
    queue.put_control(b"pong")
    queue.put_data(b"loose", is_awaited=False)
    assert queue.drop_unawaited() == 2
    assert queue.size == len(b"halfpongawaited")
    assert not queue.is_dropped
    assert write_all(queue) == b"halfpongawaited"
    assert queue.completed == 1
