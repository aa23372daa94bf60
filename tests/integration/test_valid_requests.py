"""Unusual but valid requests, each of which gets its answer; and the runner that says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.http_client import Response
from support.server import Server

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compliance"))

import valid_requests
from valid_requests import check

CASES = valid_requests.cases()
SEEN = b'{"method": "GET", "path": "/a/b", "query": "", "fields": {"x-a": "1,2"}, "body": ""}'
RESPONSE = Response(200, "OK", [("X-Tag", "abc")], SEEN, interim=[100])


def test_the_data_are_whole() -> None:
    assert len(CASES) >= 150
    assert len({case["id"] for case in CASES}) == len(CASES)
    for case in CASES:
        assert case["source"]
        assert case["why"]
        assert case.get("then", "open") in ("open", "closed", "websocket", "any")
        assert case.get("needs", "static") in ("static", "websocket")
        for step in case.get("steps", [case]):
            assert step["send"]
            for reply in step["get"] if isinstance(step["get"], list) else [step["get"]]:
                assert set(reply) <= {"status", "interim", "head", "fields", "body", "sees"}
                assert set(reply.get("sees", {})) <= {"method", "path", "query", "fields", "body"}
                assert not (reply.get("head") and "sees" in reply), "nothing would be seen"


def test_each_gets_its_answer() -> None:
    outcomes = valid_requests.mirror("greenlets", [])
    assert len(outcomes) == len(CASES)
    assert [str(outcome) for outcome in outcomes if outcome.why] == []


@pytest.mark.parametrize(
    "due",
    [
        {"status": 200, "interim": [100]},
        {"status": [404, 200], "interim": [100]},
        {"status": 200, "interim": [100], "fields": {"X-Tag": "[a-c]+", "X-Other": None, "X-Third": "(x)?"}},
        {"status": 200, "interim": [100], "body": SEEN.decode()},
        {"status": 200, "interim": [100], "sees": {"path": ["/a%2Fb", "/a/b"], "fields": {"x-a": ["1,2", "1, 2"]}}},
        {"status": 200, "interim": [100], "sees": {"fields": {"x-b": None}}},
    ],
)
def test_an_answer_as_it_must_be(due: dict[str, Any]) -> None:
    check(due, RESPONSE, {}, True)


@pytest.mark.parametrize(
    ("due", "why"),
    [
        ({"status": 200}, "100"),
        ({"status": 404}, "200, not 404"),
        ({"status": 200, "fields": {"X-Tag": "ab"}}, "X-Tag"),
        ({"status": 200, "fields": {"X-Tag": None}}, "X-Tag"),
        ({"status": 200, "fields": {"X-Other": "x"}}, "X-Other"),
        ({"status": 200, "body": "other"}, "body"),
        ({"status": 200, "sees": {"path": "/a"}}, "path"),
        ({"status": 200, "sees": {"fields": {"x-a": "1"}}}, "x-a"),
        ({"status": 200, "sees": {"fields": {"x-b": "1"}}}, "x-b"),
    ],
)
def test_an_answer_that_is_another_is_told(due: dict[str, Any], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check({"interim": [100], **due} if "100" not in why else due, RESPONSE, {}, True)


def test_texts_are_filled_in() -> None:
    assert valid_requests.filled("{host}/{ab*2}{x}{1\r\n*2}", {"host": "h"}) == "h/abab{x}1\r\n1\r\n"


def test_a_server_that_only_refuses_passes_nothing() -> None:
    """Http11Probe would let it pass most of its tests."""
    application = "def application(environ, start_response):\n    start_response('400 No', [])\n    return []\n"
    with Server(application) as server:
        outcomes = valid_requests.mirror(f"127.0.0.1:{server.port}", ["target", "chunked", "host"], ["static"])
    assert len(outcomes) > 60
    assert all(outcome.why for outcome in outcomes)
