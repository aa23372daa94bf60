"""What of an application's head may go out."""

from __future__ import annotations

from typing import Any

import pytest

from uwsgi_ws.protocol.http.grammar import check_head


class Text(str):
    """A subclass, as applications hand over; it must not decide what goes out."""

    def __str__(self) -> str:
        return "something else"

    def lower(self) -> str:
        return "something else"


def test_an_ordinary_head_goes_out_as_it_is() -> None:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Name", "caf\xe9\tau lait"), ("x-empty", "")]
    assert check_head("200 OK", headers) == ("200 OK", headers, None, ())


@pytest.mark.parametrize("status", ["200", "200 ", "200 \xfcber", "404 Not Found", "101 Switching Protocols"])
def test_a_status_has_three_digits_and_a_reason_at_most(status: str) -> None:
    assert check_head(status, [])[0] == status


@pytest.mark.parametrize(
    "status", ["", "20", "2000", "099 x", "20x OK", "200OK", "200 a\r\nb: c", "200 \x00", "200 \u20ac"]
)
def test_another_status_is_refused(status: str) -> None:
    with pytest.raises(ValueError, match="not a status line"):
        check_head(status, [])


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\n", "\xe9", "(a)", "a\x00"])
def test_a_name_is_a_token(name: str) -> None:
    with pytest.raises(ValueError, match="not a header name"):
        check_head("200 OK", [(name, "x")])


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "\x00", "\x7f", "\u20ac", "\x1b[0m"])
def test_a_value_has_no_control_characters(value: str) -> None:
    with pytest.raises(ValueError, match="control or non-latin-1 characters in the response header 'x'"):
        check_head("200 OK", [("x", value)])


@pytest.mark.parametrize("headers", [None, (), {"a": "b"}, iter([("a", "b")])])
def test_headers_are_a_list(headers: Any) -> None:
    with pytest.raises(TypeError, match="response headers are a list"):
        check_head("200 OK", headers)


@pytest.mark.parametrize("pair", [("a",), ("a", "b", "c"), "ab", 5, None, {"a": 1, "b": 2}])
def test_each_is_a_pair(pair: Any) -> None:
    with pytest.raises(TypeError, match="a response header is a pair of str"):
        check_head("200 OK", [pair])


@pytest.mark.parametrize("pair", [(b"a", "b"), ("a", b"b"), ("a", 5), (None, "b")])
def test_of_str(pair: Any) -> None:
    with pytest.raises(TypeError, match="a response header is a pair of str"):
        check_head("200 OK", [pair])


def test_a_list_of_two_goes_out_as_a_tuple() -> None:
    headers: list[Any] = [["a", "b"]]
    assert check_head("200 OK", headers)[1] == [("a", "b")]


def test_a_length_that_is_said_twice_ends_no_head() -> None:
    headers = [("Content-Length", "5"), ("Content-Length", "5"), ("a", "b")]
    assert check_head("200 OK", headers)[1] == [("Content-Length", "5"), ("a", "b")]


def test_subclasses_count_as_what_they_hold() -> None:
    status, headers, length, dropped = check_head(
        Text("200 OK"), [[Text("A"), Text("b")], (Text("Content-Length"), "3")]
    )  # type: ignore[list-item]
    assert (status, headers, length, dropped) == ("200 OK", [("A", "b"), ("Content-Length", "3")], 3, ())
    assert {type(text) for pair in headers for text in pair} | {type(status)} == {str}


@pytest.mark.parametrize(
    ("values", "length"), [(["5"], 5), (["5, 5"], 5), (["5", "5"], 5), (["005"], 5), (["5 "], 5), (["5 ,\t5"], 5)]
)
def test_a_length_may_be_said_twice(values: list[str], length: int) -> None:
    _, headers, found, _ = check_head("200 OK", [("content-length", value) for value in values])
    assert found == length
    assert len(headers) == 1
    assert int(headers[0][1]) == length


@pytest.mark.parametrize(
    "values", [["5, 6"], ["5", "6"], ["-5"], ["+5"], ["5.0"], [""], [","], ["\xb2"], ["five"], ["5\xa0, 5"], ["X5, 5"]]
)
def test_but_only_one_length(values: list[str]) -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        check_head("200 OK", [("Content-Length", value) for value in values])


def test_what_concerns_the_connection_is_the_servers_to_send() -> None:
    headers = [("Connection", "keep-alive, X-Own"), ("Keep-Alive", "5"), ("x-own", "1"), ("TE", "x"), ("a", "b")]
    assert check_head("200 OK", headers) == ("200 OK", [("a", "b")], None, ["Connection", "Keep-Alive", "x-own", "TE"])


def test_but_an_application_may_have_it_closed() -> None:
    assert check_head("200 OK", [("connection", "Close")]) == ("200 OK", [("Connection", "close")], None, [])
    assert check_head("101 x", [("connection", "close")])[1] == []


def test_a_426_says_what_to_upgrade_to() -> None:
    """RFC 9110 15.5.22."""
    assert check_head("426 Upgrade Required", [("Upgrade", "websocket")])[1] == [("Upgrade", "websocket")]
    assert check_head("200 OK", [("Upgrade", "websocket")])[1] == []
