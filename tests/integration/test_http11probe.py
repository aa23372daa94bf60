"""The runner of Http11Probe's requests, and some of them; all are `make compliance`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compliance"))

import http11probe
from http11probe import Reply, reply_of

TESTS = {test["id"]: test for test in http11probe.tests()}
OK = reply_of(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nOK", "open")
REFUSED = reply_of(b"HTTP/1.1 400 Bad Request\r\n\r\nno", "closed")
CLOSED, SILENT, UNSENT = (reply_of(b"", end) for end in ("closed", "silent", "unsent"))


def test_the_data_are_whole() -> None:
    assert len(TESTS) == 215
    assert sum(test["expected"]["scored"] for test in TESTS.values()) == 161
    for test in TESTS.values():
        for step in test["steps"]:
            assert "send_b64" in step or "send" in step
        for condition in [*test["expected"]["pass"], *test["expected"]["warn"], *test.get("right", {}).get("pass", ())]:
            for pattern in condition if isinstance(condition, list) else [condition]:
                http11probe.matches(pattern, OK)  # raises for what it cannot read
        assert "right" not in test or test["right"]["why"]


def test_each_excuse_is_of_a_test_that_the_rfc_lets_pass() -> None:
    for name, excuse in http11probe.expected().items():
        assert TESTS[name]["right"]["pass"]
        assert excuse["verdict"] in ("warn", "fail")
        assert excuse["why"]


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        ("2xx", OK, REFUSED),
        ("not 200", REFUSED, OK),
        ("400-499", REFUSED, OK),
        ("any", OK, CLOSED),
        ("close", CLOSED, REFUSED),
        ("silence", SILENT, CLOSED),
        ("none", UNSENT, OK),
        ({"status": ["400", "501"]}, REFUSED, OK),
        ({"status": "any", "closes": True}, REFUSED, OK),
        ({"status": "200", "header": "X-A", "value": "1, 2"}, OK, REFUSED),
        ({"status": "any", "header": "X-A", "value": "1.*"}, OK, REFUSED),
        ({"status": "any", "no_header": "x-a"}, REFUSED, OK),
        ({"status": "any", "body": "OK"}, OK, REFUSED),
        ({"status": "any", "empty": True}, reply_of(b"HTTP/1.1 200 OK\r\n\r\n", "open"), OK),
        ({"status": "any", "match": ["^O"]}, OK, REFUSED),
        ({"status": "any", "lacks": ["^O"]}, REFUSED, OK),
        ({"status": "any", "responses": 1}, OK, reply_of(OK.data * 2, "open")),
    ],
)
def test_a_pattern_takes_what_it_says_and_nothing_else(pattern: Any, right: Reply, wrong: Reply) -> None:
    assert http11probe.matches(pattern, right)
    assert not http11probe.matches(pattern, wrong)


def test_chunks_are_taken_apart() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert reply_of(head + b"2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n", "open").content == "abc"


def test_conditions_are_judged_in_the_order_of_the_verdicts() -> None:
    expected = {"pass": [["2xx", "close"]], "warn": ["2xx"]}
    assert http11probe.verdict_of(expected, [OK, CLOSED]) == "pass"
    assert http11probe.verdict_of(expected, [OK, OK]) == "warn"
    assert http11probe.verdict_of(expected, [REFUSED, CLOSED]) == "fail"
    assert http11probe.verdict_of(expected, []) == "fail"


def test_what_it_says_of_our_server_is_what_is_expected() -> None:
    """Groups of all kinds: those that must pass, those whose warnings are excused, and those of several steps."""
    results = http11probe.probe("greenlets", ["SMUG-CL-", "CAP-ETAG", "MAL-LONG"])
    assert {result.strict for result in results} == {"pass", "warn", "fail"}
    assert http11probe.unlike_expected(results) == []
    assert [str(result) for result in results if result.by_rfc != "pass"] == []


def test_what_is_not_expected_is_told() -> None:
    test = {**TESTS["SMUG-CL-LEADING-ZEROS"], "right": {}}
    result = http11probe.Result(test, [REFUSED], "pass", "pass")
    assert http11probe.unlike_expected([result])[0].startswith("pass, expected warn: SMUG-CL-LEADING-ZEROS")
