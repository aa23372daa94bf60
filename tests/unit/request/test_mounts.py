"""What a request leads to: mount points and PATH_INFO alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.request.base import Request
from uwsgi_ws.request.mounts import Mounts, Runner, run_mounted
from uwsgi_ws.stats import Stats


def find(mounts: Mounts[str], path: str, script_name: str = "") -> tuple[str | None, str, str]:
    """What is found, SCRIPT_NAME and PATH_INFO."""
    environ: dict[str, Any] = {"SCRIPT_NAME": script_name, "PATH_INFO": path}
    return mounts.find(environ), environ["SCRIPT_NAME"], environ["PATH_INFO"]


def mounted(*mounts: str, manage_script_name: bool = True) -> Mounts[str]:
    found: Mounts[str] = Mounts(manage_script_name=manage_script_name)
    for mount in mounts:
        found.add(mount, mount or "default")
    return found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", ("default", "", "/")),
        ("", ("default", "", "")),  # OPTIONS *
        ("/other", ("default", "", "/other")),
        ("/a", ("/a", "/a", "")),
        ("/a/", ("/a", "/a", "/")),
        ("/a/x", ("/a", "/a", "/x")),
        ("/a//b", ("/a", "/a", "//b")),
        ("/apple", ("default", "", "/apple")),
        ("/a/b", ("/a/b", "/a/b", "")),
        ("/a/b/c", ("/a/b", "/a/b", "/c")),
        ("/a/bc", ("/a", "/a", "/bc")),
        ("//a", ("default", "", "//a")),
        ("/A", ("default", "", "/A")),
        ("/\xc3\xa9/x", ("/\xc3\xa9", "/\xc3\xa9", "/x")),
    ],
)
def test_the_longest_mount_of_whole_segments_wins(path: str, found: tuple[str, str, str]) -> None:
    assert find(mounted("/a", "", "/a/b", "/\xc3\xa9"), path) == found


def test_a_slash_at_the_end_of_a_mount_means_nothing() -> None:
    mounts = mounted("/a/")
    assert find(mounts, "/a") == ("/a/", "/a", "")
    assert find(mounts, "/a/x") == ("/a/", "/a", "/x")


def test_the_first_is_the_default_until_one_is_mounted_nowhere() -> None:
    assert find(mounted("/a", "/b"), "/x") == ("/a", "", "/x")
    assert find(mounted("/a", "/b", ""), "/x") == ("default", "", "/x")
    assert find(mounted("/a", "/"), "/x") == ("/", "", "/x")


def test_nothing_is_moved_unless_asked_for() -> None:
    assert find(mounted("", "/a", manage_script_name=False), "/a/x") == ("default", "", "/a/x")


def test_a_request_leads_nowhere_where_nothing_is_mounted() -> None:
    mounts = mounted()
    assert len(mounts) == 0
    assert find(mounts, "/") == (None, "", "/")
    assert len(mounted("/a", "/b")) == 2


def test_a_long_path_is_no_work() -> None:
    assert find(mounted("/a"), "/x" * 10_000)[0] == "/a"


def test_a_front_server_may_name_the_mount_point() -> None:
    for managed in (False, True):
        mounts = mounted("", "/a", manage_script_name=managed)
        assert find(mounts, "/x", "/a") == ("/a", "/a", "/x")
        assert find(mounts, "/x", "/a/") == ("/a", "/a/", "/x")
        assert find(mounts, "/x", "/b") == ("default", "/b", "/x")


def test_what_is_mounted_is_made_into_something_else_in_the_same_places() -> None:
    mounts = mounted("/a", "", "/b", manage_script_name=True).map(str.upper)
    assert find(mounts, "/a/x") == ("/A", "/a", "/x")
    assert find(mounts, "/x") == ("DEFAULT", "", "/x")
    assert find(mounted("/a", "", manage_script_name=False).map(str.upper), "/a") == ("DEFAULT", "", "/a")
    without_default: Mounts[str] = Mounts(manage_script_name=True, has_default=False)
    without_default.add("", "x")
    assert find(without_default.map(str.upper), "/x")[0] is None


class Recorder(Runner):
    """Runs requests that lead to something that is no Python application."""

    def __init__(self, *outcomes: bool) -> None:
        self.ran: list[str] = []
        self._outcomes = [*outcomes]

    def run(self, request: Request) -> bool:
        self.ran.append(request.environ["PATH_INFO"])
        return self._outcomes.pop(0)


def asking(path: str) -> Any:
    return SimpleNamespace(environ={"SCRIPT_NAME": "", "PATH_INFO": path})


def test_anything_that_runs_requests_may_be_mounted_and_its_failures_are_counted() -> None:
    mounts: Mounts[Runner] = Mounts(manage_script_name=True, has_default=False)
    mounts.add("/a", runner := Recorder(True, False))
    stats = Stats()
    answer = run_mounted(mounts, stats)
    answer(asking("/a/x"))
    assert (runner.ran, stats.exceptions) == (["/x"], 0)
    answer(asking("/a/y"))
    assert (runner.ran, stats.exceptions) == (["/x", "/y"], 1)


def test_a_request_that_leads_nowhere_is_answered_in_uwsgis_words() -> None:
    mounts: Mounts[Runner] = Mounts(manage_script_name=True)
    sent: list[Any] = []
    request = asking("/")
    request.write_head = lambda status, headers, length: sent.append(status)
    request.write_last = sent.append
    run_mounted(mounts, stats := Stats())(request)
    assert sent == ["500 Internal Server Error", b"Internal Server Error"]
    assert stats.exceptions == 0
