"""Conditions and ranges (RFC 9110 13 and 14): what a request is given of a file."""

from __future__ import annotations

import pytest

from uwsgi_ws.protocol.http.conditional import Selection, select

ETAG = '"abc"'
MODIFIED = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT, RFC 9110's own example
NOW = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
WHOLE = Selection(200, 0, 1_000)


def asked(method: str = "GET", **headers: str) -> Selection:
    variables = {"REQUEST_METHOD": method, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}
    return select(variables, ETAG, MODIFIED, 1_000)


def test_without_conditions_all_of_it() -> None:
    assert asked() == WHOLE


@pytest.mark.parametrize(
    ("wanted", "selection"),
    [
        ("bytes=0-0", (206, 0, 1)),
        ("bytes=0-499", (206, 0, 500)),
        ("bytes=500-", (206, 500, 500)),
        ("bytes=-500", (206, 500, 500)),
        ("bytes=-1", (206, 999, 1)),
        ("bytes=-5000", (206, 0, 1_000)),
        ("bytes=999-5000", (206, 999, 1)),
        ("Bytes = 1-2 ", (206, 1, 2)),
        ("bytes=1000-", (416, 0, 0)),
        ("bytes=9999999999999999999-", (416, 0, 0)),
        ("bytes=-0", (416, 0, 0)),
        # Invalid, of another unit or several: ignored.
        ("bytes=5-4", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=+1-2", WHOLE),
        ("bytes=\u0661-", WHOLE),
        ("bytes=" + "1" * 5_000 + "-", WHOLE),
        ("lines=1-2", WHOLE),
        ("0-1", WHOLE),
        ("bytes=0-1,3-4", WHOLE),
        ("bytes=0-,0-,0-", WHOLE),
    ],
)
def test_a_single_range_is_granted(wanted: str, selection: tuple[int, int, int]) -> None:
    assert asked(range=wanted) == selection


def test_a_range_of_an_empty_file_cannot_be_granted() -> None:
    variables = {"REQUEST_METHOD": "GET", "HTTP_RANGE": "bytes=0-"}
    assert select(variables, ETAG, MODIFIED, 0).status == 416
    variables["HTTP_RANGE"] = "bytes=-5"
    assert select(variables, ETAG, MODIFIED, 0).status == 416


def test_a_range_means_nothing_to_head() -> None:
    assert asked("HEAD", range="bytes=0-1") == WHOLE


@pytest.mark.parametrize(
    ("known", "status"),
    [(ETAG, 206), ('"other"', 200), ('W/"abc"', 200), (NOW, 206), (BEFORE, 200), (AFTER, 200), ("rubbish", 200)],
)
def test_a_part_goes_only_to_who_has_parts_of_the_same_file(known: str, status: int) -> None:
    assert asked(range="bytes=0-1", if_range=known).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": ETAG}, 304),
        ({"if_none_match": 'W/"abc"'}, 304),
        ({"if_none_match": '"a", W/"b" , "abc"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"other"'}, 200),
        ({"if_none_match": "abc"}, 200),
        ({"if_none_match": '"other"', "if_modified_since": AFTER}, 200),  # the date is not looked at
        ({"if_modified_since": NOW}, 304),
        ({"if_modified_since": AFTER}, 304),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_modified_since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 304),
        ({"if_modified_since": "Sun Nov  6 08:49:37 1994"}, 304),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_modified_since": ""}, 200),
        ({"if_modified_since": "Sun, 06 Nov 99999999999999999999 08:49:37 GMT"}, 200),
        ({"if_match": ETAG}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": 'W/"abc"'}, 412),  # 13.1.1: strongly compared
        ({"if_match": '"other"'}, 412),
        ({"if_match": ETAG, "if_unmodified_since": BEFORE}, 200),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_unmodified_since": NOW}, 200),
        ({"if_unmodified_since": "never"}, 200),
        ({"if_match": '"other"', "if_none_match": ETAG}, 412),
        ({"if_match": ETAG, "if_none_match": ETAG}, 304),
        ({"if_none_match": ETAG, "range": "bytes=0-1"}, 304),
        ({"if_none_match": '"other"', "range": "bytes=0-1"}, 206),
    ],
)
def test_conditions_are_judged_in_their_order(headers: dict[str, str], status: int) -> None:
    assert asked(**headers).status == status
    if "range" not in headers:
        assert asked("HEAD", **headers).status == status
