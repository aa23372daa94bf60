"""Which application answers: mount points and PATH_INFO alone."""

from __future__ import annotations

from typing import Any

import pytest

from uwsgi_ws.wsgi.applications import Applications


def named(name: str) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("routing calls nobody")

    application.__name__ = name
    return application


def find(applications: Applications, path: str, script_name: str = "") -> tuple[str | None, str, str]:
    """The application's name, SCRIPT_NAME and PATH_INFO."""
    environ: dict[str, Any] = {"SCRIPT_NAME": script_name, "PATH_INFO": path}
    found: Any = applications.find(environ)
    return found and found.__name__, environ["SCRIPT_NAME"], environ["PATH_INFO"]


def mounted(*mounts: str, manage_script_name: bool = True) -> Applications:
    applications = Applications(manage_script_name=manage_script_name)
    for mount in mounts:
        applications.add(mount, named(mount or "default"))
    return applications


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
    applications = Applications(manage_script_name=True)
    applications.add("/a/", named("a"))
    assert find(applications, "/a") == ("a", "/a", "")
    assert find(applications, "/a/x") == ("a", "/a", "/x")


def test_the_first_is_the_default_until_one_is_mounted_nowhere() -> None:
    assert find(mounted("/a", "/b"), "/x") == ("/a", "", "/x")
    assert find(mounted("/a", "/b", ""), "/x") == ("default", "", "/x")
    assert find(mounted("/a", "/"), "/x") == ("/", "", "/x")


def test_nothing_is_moved_unless_asked_for() -> None:
    assert find(mounted("", "/a", manage_script_name=False), "/a/x") == ("default", "", "/a/x")


def test_nobody_answers_where_nothing_is_loaded() -> None:
    applications = mounted()
    assert len(applications) == 0
    assert find(applications, "/") == (None, "", "/")
    assert len(mounted("/a", "/b")) == 2


def test_a_long_path_is_no_work() -> None:
    assert find(mounted("/a"), "/x" * 10_000)[0] == "/a"


def test_a_front_server_may_name_the_mount_point() -> None:
    for managed in (False, True):
        applications = mounted("", "/a", manage_script_name=managed)
        assert find(applications, "/x", "/a") == ("/a", "/a", "/x")
        assert find(applications, "/x", "/a/") == ("/a", "/a/", "/x")
        assert find(applications, "/x", "/b") == ("default", "/b", "/x")
