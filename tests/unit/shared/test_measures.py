"""What workers count by labels, in the memory by which the master reads it."""

from __future__ import annotations

from uwsgi_ws.shared.measures import FAMILIES, MeasuresBoard, Retired, Snapshot, snapshot_of
from uwsgi_ws.shared.status import WorkerStatus
from uwsgi_ws.stats import Histogram, Measures


class SlowOutbox:
    queued = 77


def board(seats: int = 2) -> MeasuresBoard:
    return MeasuresBoard(memoryview(bytearray(MeasuresBoard.size(seats))))


def test_a_number_falls_into_the_first_bucket_whose_bound_it_does_not_pass() -> None:
    histogram = Histogram((0.1, 1.0))
    for number in (0.05, 0.1, 0.5, 1.5, 9.0):
        histogram.observe(number)
    assert histogram.counts == [2, 1, 2]
    assert histogram.total == 11.15


def test_labels_are_bounded_whatever_a_client_says() -> None:
    measures = Measures()
    measures.know(("", "/chat"))
    for name in ("", "/chat", "/other", "/x" * 999, None, 7):
        measures.ended(measures.opened("http1", name), 1000, 0.5)
    routes = {labels[1] for family, *labels in measures.counts if family == "opened"}
    assert routes == {"/", "/chat"}
    for code in (1000, 1015, 1016, 2999, 3000, 3999, 4999, 5000, 70_000, None, "-"):
        measures.ended(("http1", "/"), code, 0.5)
    codes = {labels[0] for family, *labels in measures.counts if family == "closes"}
    assert codes == {"1000", "1015", "other", "3xxx", "4xxx", "1006", "unknown"}
    for status in range(400, 600):
        measures.refused(status)
    assert len([key for key in measures.counts if key[0] == "refusals"]) == 7


def test_what_one_process_writes_another_reads_whole() -> None:
    shared = board()
    assert shared.read(1) == Snapshot()
    measures = Measures()
    measures.outboxes.add(SlowOutbox())
    for turn in range(1, 4):
        measures.count("refusals", 'quo"te\n')
        measures.requests.observe(0.2)
        shared.write(1, snapshot_of(measures))
        found = shared.read(1)
        assert found.counts == {("refusals", 'quo"te\n'): turn}
        assert sum(found.histograms["requests"][1]) == turn
        assert (found.queued, found.slow) == (77, 1)
    assert shared.read(0) == Snapshot()
    shared.vacate(1)
    assert shared.read(1) == Snapshot()


def test_one_that_was_not_written_to_its_end_says_nothing() -> None:
    memory = bytearray(MeasuresBoard.size(1))
    shared = MeasuresBoard(memoryview(memory))
    shared.write(0, snapshot_of(Measures()))
    memory[32 + 5] = 0
    assert shared.read(0) == Snapshot()


def test_what_is_too_long_leaves_what_was_there() -> None:
    shared = board()
    shared.write(0, Snapshot(queued=1))
    shared.write(0, Snapshot({("family", "x" * 70_000): 1}))
    assert shared.read(0).queued == 1


def test_as_many_labels_as_there_may_be_find_room() -> None:
    measures, shared = Measures(), board()
    mounts = [f"/{number:04}".ljust(64, "x") for number in range(1_000)] + ["/" + "y" * 200]
    measures.know(mounts)
    for carrier in ("http1", "http1+tls", "http2", "http2+tls", "uwsgi"):
        for mount in mounts:
            measures.ended(measures.opened(carrier, mount), 1000, 0.5)
    shared.write(1, snapshot_of(measures))
    counts = shared.read(1).counts
    assert len({route for family, *labels in counts if family == "opened" for route in labels[1:]}) == 51
    assert counts["opened", "uwsgi", "other"] == 951


def test_sums_hold_those_that_are_gone_and_those_that_live() -> None:
    one = Measures()
    one.count("closes", "1000")
    one.pings.observe(0.2)
    retired = Retired()
    retired.add(WorkerStatus(requests=3, rss=9), snapshot_of(one))
    one.count("closes", "1001")
    for _ in range(2):  # the sums of the gone do not change when the living are added
        sums = retired.with_living([(WorkerStatus(requests=4, rss=9), snapshot_of(one))])
        assert (sums.statuses["requests"], sums.statuses["rss"]) == (7, 0)
        assert sums.counts == {("closes", "1000"): 2, ("closes", "1001"): 1}
        assert sum(sums.histograms["pings"][1]) == 2
        assert sums.histograms["pings"][2] == 0.4


def test_every_histogram_is_a_family() -> None:
    measures = Measures()
    names = {name for name in dir(measures) if isinstance(getattr(measures, name), Histogram)}
    assert names == {name for name, family in FAMILIES.items() if family.kind == "histogram"}
