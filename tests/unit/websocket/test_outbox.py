"""The outbox: two lanes, never a torn frame, and tickets for those who wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.websocket.outbox import Outbox

IOV_MAX = 1024  # buffers that the kernel takes at once
CONTROL_LIMIT = 65_536


def write(outbox: Outbox, count: int) -> bytes:
    """Write up to ``count`` bytes, as a kernel with so much room does."""
    data = b"".join(outbox.buffers())[:count]
    outbox.advance(len(data))
    return data


def write_all(outbox: Outbox) -> bytes:
    written = b""
    while outbox.size:
        written += write(outbox, 1_000_000)
    return written


def test_data_frames_go_in_order_and_complete_in_order() -> None:
    outbox = Outbox()
    tickets = [outbox.put_data(b"one"), outbox.put_data(b"two")]
    assert tickets == [1, 2]
    assert outbox.size == 6
    assert write(outbox, 4) == b"onet"
    assert (outbox.completed, outbox.size) == (1, 2)
    assert write(outbox, 4) == b"wo"
    assert (outbox.completed, outbox.size) == (2, 0)
    assert outbox.buffers() == []


def test_the_rest_of_a_frame_goes_first_and_counts_as_a_data_frame() -> None:
    outbox = Outbox()
    assert outbox.put_partial(memoryview(b"rest"), is_data=True) == 1
    assert outbox.put_data(b"next") == 2
    assert write(outbox, 2) == b"re"
    assert outbox.completed == 0
    assert write(outbox, 2) == b"st"
    assert outbox.completed == 1
    assert write_all(outbox) == b"next"


def test_the_rest_of_a_control_frame_is_nobody_s_ticket() -> None:
    outbox = Outbox()
    assert outbox.put_partial(memoryview(b"pong"), is_data=False) == 0
    assert outbox.put_data(b"data") == 1
    assert write(outbox, 4) == b"pong"
    assert outbox.completed == 0


def test_control_frames_overtake_queued_data_in_their_own_order() -> None:
    outbox = Outbox()
    outbox.put_partial(memoryview(b"rest "), is_data=True)
    outbox.put_data(b"data ")
    outbox.put_control(b"pong 1 ")
    outbox.put_control(b"pong 2 ")
    assert write_all(outbox) == b"rest pong 1 pong 2 data "


def test_a_data_frame_that_has_begun_is_not_overtaken() -> None:
    outbox = Outbox()
    outbox.put_data(b"data")
    assert write(outbox, 1) == b"d"
    outbox.put_control(b"pong")
    assert write_all(outbox) == b"atapong"


def test_a_control_frame_that_has_begun_is_not_torn_either() -> None:
    outbox = Outbox()
    outbox.put_control(b"pong")
    assert write(outbox, 1) == b"p"
    outbox.put_control(b"ping")
    outbox.put_data(b"data")
    assert write_all(outbox) == b"ongpingdata"
    assert outbox.completed == 1


def test_a_write_that_took_nothing_changes_nothing() -> None:
    outbox = Outbox()
    outbox.put_control(b"pong")
    outbox.put_data(b"data")
    outbox.advance(0)
    assert (outbox.completed, outbox.size) == (0, 8)
    assert write_all(outbox) == b"pongdata"


def test_no_more_buffers_are_handed_out_than_the_kernel_takes() -> None:
    outbox = Outbox()
    outbox.put_partial(memoryview(b"-"), is_data=True)
    for number in range(2 * IOV_MAX):
        outbox.put_data(b"%d " % number)
    assert len(outbox.buffers()) <= IOV_MAX
    assert write_all(outbox) == b"-" + b"".join(b"%d " % number for number in range(2 * IOV_MAX))
    assert outbox.completed == 2 * IOV_MAX + 1


def test_a_ping_flood_of_a_peer_that_does_not_read_is_bounded_and_its_latest_answered() -> None:
    outbox = Outbox()
    outbox.put_data(b"data")
    for number in range(10_000):
        outbox.put_control(b"%0127d" % number)
        assert outbox.size <= CONTROL_LIMIT + 4
    written = write_all(outbox)
    assert written.endswith(b"%0127d" % 9_999 + b"data")
    assert outbox.completed == 1


def test_the_bound_counts_only_what_waits() -> None:
    outbox = Outbox()
    for number in range(10_000):
        outbox.put_control(b"%0127d" % number)
        if number % 2:
            assert write(outbox, 200) + write_all(outbox) == b"%0127d%0127d" % (number - 1, number)
    assert outbox.size == 0


def test_dropping_keeps_the_frame_that_is_half_way_out() -> None:
    outbox = Outbox()
    outbox.put_data(b"half")
    write(outbox, 2)
    outbox.put_data(b"data")
    outbox.put_control(b"pong")
    outbox.drop_queued()
    assert outbox.is_dropped
    assert outbox.size == 2
    outbox.put_control(b"close")
    assert write_all(outbox) == b"lfclose"
    assert outbox.completed == 1


def test_dropping_everything_leaves_nothing() -> None:
    outbox = Outbox()
    outbox.put_data(b"data")
    outbox.put_control(b"pong")
    outbox.drop_queued()
    assert (outbox.size, outbox.buffers()) == (0, [])
    assert outbox.completed == 0


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
    outbox = Outbox()
    put: dict[bytes, list[bytes]] = {b"D": [], b"C": []}  # the frames of each lane
    written = b""
    size = 0
    if partial:
        outbox.put_partial(memoryview(b"P" * (partial - 1) + b"."), is_data=True)
        size = partial
    for step, number in steps:
        if step == "write":
            data = write(outbox, number)
            written += data
            size -= len(data)
        elif step == "data":
            put[b"D"].append(b"D" * number + b".")
            assert outbox.put_data(put[b"D"][-1]) == len(put[b"D"]) + bool(partial)
            size += number + 1
        else:
            put[b"C"].append(b"C" * number + b".")
            outbox.put_control(put[b"C"][-1])
            size += number + 1
        assert outbox.size == size
        whole = written.count(b".") - sum(part[:1] == b"C" for part in written.split(b".")[:-1])
        assert outbox.completed == whole
    written += write_all(outbox)
    frames = [part + b"." for part in written.split(b".")[:-1]]
    assert frames[0:1] == [b"P" * (partial - 1) + b"."] or not partial
    assert [frame for frame in frames[bool(partial) :] if frame.startswith(b"D")] == put[b"D"]
    assert [frame for frame in frames[bool(partial) :] if frame.startswith(b"C")] == put[b"C"]
