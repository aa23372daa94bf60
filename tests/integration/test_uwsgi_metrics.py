"""``uwsgi.metric_*``: as under uWSGI, and the same numbers for all workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.server import UWSGI_WS, ServerFailed
from support.shared_memory import APPLICATION, ask, both_answer
from support.workers import wait_for_workers

METRICS = (
    *("--metric", "a", "--metric", "name=b,initial_value=10", "--metric", "name=b.c,type=gauge"),
    *("--metric", "name=other,type=alias,alias=b", "--metric", "name=sum,collector=sum,children=a;b,initial_value=100"),
    *("--metric", "name=mean,collector=avg,children=a;b", "--metric", "name=worker.1.failed_requests,initial_value=3"),
)
CALLS = """
get("a") | set("a", 5) | get("a") | inc("a") | inc("a", 10) | get("a") | dec("a") | dec("a", 3) | get("a") | mul("a")
mul("a", 4) | get("a") | div("a", 5) | get("a") | div("a", 0) | div("a", -2) | get("a") | div("a", 2) | get("a")
div("a") | set("a") | get("a") | set_max("a", 7) | get("a") | set_max("a", 3) | get("a") | set_min("a", 4) | get("a")
set_min("a", 0) | set_min("a", -1) | get("a") | set_min("b", 3) | get("b") | set_min("b", 12) | get("b")
inc("b.c", -20) | get("b.c") | set_max("a") | set_min("a") | inc("a", 2**63-1) | inc("a", 2**63-1) | get("a")
inc("a", 2**63) | inc("a", 1.5) | inc("a", "1") | inc(b"a") | inc(None) | inc("a\\0") | get("none") | inc("none")
get(b"a") | get(1) | set("worker.1.requests", 5) | inc("core.total_tx") | inc("other") | set("other", 4) | set("sum", 3)
get("worker.9.requests") | div(5, 0) | div("a", None) | get("worker.1.failed_requests") | get("core.overloaded")
"""
LINES = [f"uwsgi.metric_{line.strip()}" for line in CALLS.replace("|", "\n").splitlines() if line.strip()]


def test_they_are_as_in_uwsgi() -> None:
    answers = both_answer(LINES, *METRICS)
    assert answers[:3] == [0, True, 5]


def test_without_metrics_there_is_nothing() -> None:
    assert both_answer(LINES[:4])[:4] == [0, None, 0, None]


def test_what_is_made_of_others_is_as_of_now(serve: Any, tmp_path: Path) -> None:
    """UWSGI makes it once a second."""
    (tmp_path / "numbers").write_text("17 42\n")
    in_file = f"name=file,collector=file,arg1={tmp_path}/numbers,arg1n=1"
    server = serve(APPLICATION, *METRICS, "--metric", in_file)
    names = "sum", "mean", "other", "file"
    look = [f"uwsgi.metric_get('{name}')" for name in names]
    assert ask(server, *look) == [110, 5, 10, 42]
    assert ask(server, "uwsgi.metric_set('a', 4)", "uwsgi.metric_inc('b')", *look) == [True, True, 115, 7, 11, 42]
    (tmp_path / "numbers").write_text("17 many")
    assert ask(server, look[3]) == [0]
    (tmp_path / "numbers").unlink()
    assert ask(server, look[3]) == [0]


@pytest.mark.parametrize("mode", [("--gevent", "10"), ("--threads", "4"), ()], ids=" ".join)
def test_workers_count_together(serve: Any, mode: tuple[str, ...]) -> None:
    server = serve(APPLICATION, "--processes", "2", *METRICS, concurrency=mode)
    wait_for_workers(server, 2)
    seen: set[int] = set()
    asked = 0
    while len(seen) < 2:
        seen.add(ask(server, "os.getpid()", "uwsgi.metric_inc('a')")[0])
        asked += 1
        assert ask(server, "uwsgi.metric_get('a')") == [asked]
        assert asked < 300, "one worker answers everything"


def test_what_the_server_counts_has_uwsgis_names(serve: Any) -> None:
    server = serve(APPLICATION, "--enable-metrics", "--processes", "2", allow_traceback=True)
    wait_for_workers(server, 2)
    names = (
        *("worker.0.requests", "core.total_tx", "core.total_rss", "core.total_vsz", "rss_size", "core.busy_workers"),
        *("worker.1.rss_size", "worker.2.vsz_size", "worker.1.respawns", "core.idle_workers"),
    )
    look = [f"uwsgi.metric_get('{name}')" for name in names]
    before = ask(server, *look)
    assert all(number > 0 for number in before[2:5] + before[6:9])
    assert before[5] + before[9] == 2
    requests = "uwsgi.metric_get('worker.1.requests') + uwsgi.metric_get('worker.2.requests')"
    same = f"{requests} == uwsgi.metric_get('worker.0.requests') == uwsgi.total_requests() >= 2"
    eventually(lambda: ask(server, same)[0])  # of the other worker it is as of a second ago
    assert ask(server, "uwsgi.metric_get('socket.0.listen_queue')", "uwsgi.metric_get('socket.9.listen_queue')") == [
        0,
        0,
    ]
    eventually(lambda: ask(server, "uwsgi.metric_get('core.total_tx')")[0] > before[1])
    zero = ["core.avg_response_time", "core.total_running_time", "worker.1.failed_requests"]
    assert all(number >= 0 for number in ask(server, *[f"uwsgi.metric_get('{name}')" for name in zero]))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a b", "has no name of letters"),
        ("type=gauge", "has no name of letters"),
        ("name=a,type=many", "'many' is none of counter, gauge"),
        ("name=a,collector=ptr", "collector 'ptr' is not here, only sum, avg, file"),
        ("name=a,type=alias", "without an alias"),
        ("name=a,initial_value=1.5", "initial_value '1.5' is no whole number"),
        ("name=a,reset_after_push=1", "'reset_after_push=1' is not done here"),
        ("name=a,collector=sum,children=none", "'a' is about 'none', which is no metric before it"),
    ],
)
def test_what_cannot_be_is_refused(serve: Any, value: str, problem: str) -> None:
    with pytest.raises(ServerFailed) as caught:
        serve(APPLICATION, "--metric", value, program=UWSGI_WS)
    assert problem in str(caught.value)
