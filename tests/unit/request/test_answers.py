"""The server's own answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from uwsgi_ws.request.answers import respond_as_uwsgi, respond_status, status_line


@pytest.mark.parametrize(("code", "line"), [(200, "200 OK"), (404, "404 Not Found"), (299, "299 "), (999, "999 ")])
def test_a_status_line_has_a_phrase_even_if_it_is_empty(code: int, line: str) -> None:
    assert status_line(code) == line


class Recorder:
    """A request that keeps what it is answered with."""

    def write_head(self, status: str, headers: list[tuple[str, str]], body_length: int | None) -> None:
        self.head = status, dict(headers), body_length

    def write_last(self, data: bytes) -> None:
        self.body = data


def answered(respond: Callable[..., None], *args: Any) -> Recorder:
    respond(recorder := Recorder(), *args)
    return recorder


def test_an_answer_of_ours_says_its_status_in_a_line() -> None:
    answer = answered(respond_status, 404, [("A", "b")], ": nothing is here")
    headers = {"Content-Type": "text/plain; charset=utf-8", "A": "b", "Content-Length": "31"}
    assert answer.head == ("404 Not Found", headers, 31)
    assert answer.body == b"404 Not Found: nothing is here\n"


def test_an_answer_as_uwsgi_gives_it_is_the_phrase_alone() -> None:
    answer = answered(respond_as_uwsgi, 403)
    assert answer.head == ("403 Forbidden", {"Content-Type": "text/plain", "Content-Length": "9"}, 9)
    assert answer.body == b"Forbidden"


def test_a_response_without_a_body_tells_no_length() -> None:
    assert "Content-Length" not in answered(respond_as_uwsgi, 204).head[1]
