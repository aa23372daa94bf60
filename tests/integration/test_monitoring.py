"""The dashboard and the alerts ask for what ``--metrics`` really tells, and docs/operating.md lists all of it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.eventually import eventually
from support.http_client import fetch
from support.server import EXAMPLES, ROOT, Server, free_port
from support.websocket_client import RawClient, close_frame, handshake

from uwsgi_ws.process.metrics import described_metrics

pytestmark = pytest.mark.matrix

DASHBOARD = json.loads((EXAMPLES / "deploy/grafana-dashboard.json").read_text())
RULES = yaml.safe_load((EXAMPLES / "deploy/prometheus-rules.yml").read_text())
MANUAL = Path(ROOT / "docs/operating.md").read_text()
#: What Prometheus adds to each sample.
ADDED = {"job", "instance"}


def queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            # Grafana fills these in.
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "5m")
    for rule in RULES["groups"][0]["rules"]:
        yield f"alert {rule['alert']}", rule["expr"]


def selectors(query: Any) -> Iterator[Any]:
    """Yield the selectors of a query that has been parsed."""
    if isinstance(query, promql_parser.VectorSelector):
        yield query
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(query, name, None)
        if inner is not None and not isinstance(inner, str):
            yield from selectors(inner)
    for inner in getattr(query, "args", ()):
        yield from selectors(inner)


@pytest.fixture(scope="module")
def samples() -> dict[str, set[str]]:
    """The labels of each sample that a server tells which has had all kinds of clients."""
    port = free_port()
    options = ("--metrics", f"127.0.0.1:{port}", "--websockets-ping-freq", "0.1")
    with Server(EXAMPLES / "echo.py", *options, "--processes", "2") as server:
        peer = RawClient.open(server.port, "/")
        peer.send_text("x")
        peer.expect_text("x")
        peer.send(close_frame(1000))
        peer.expect_close(1000)
        peer.expect_eof()
        peer.close()
        refused = RawClient(server.port)
        refused.send(handshake(without=["Sec-WebSocket-Key"]))
        assert refused.read_response().status == 400
        refused.close()

        def told() -> dict[str, set[str]]:
            found: dict[str, set[str]] = defaultdict(set)
            for family in text_string_to_metric_families(fetch(("127.0.0.1", port), "/metrics").text):
                for sample in family.samples:
                    found[sample.name].update(sample.labels)
            return found

        return eventually(lambda: "uwsgi_ws_websocket_closes_total" in (found := told()) and found)


def test_every_query_asks_for_what_there_is(samples: dict[str, set[str]]) -> None:
    asked = 0
    for where, text in queries():
        for selector in selectors(promql_parser.parse(text)):
            asked += 1
            assert selector.name in samples, f"{where}: no metric {selector.name}"
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= samples[selector.name] | ADDED, f"{where}: {selector.name} has no {labels}"
        for by in re.findall(r"by \(([^)]*)\)", text):
            names = {name.strip() for name in by.split(",")}
            known = {label for each in selectors(promql_parser.parse(text)) for label in samples[each.name]}
            assert names <= known | ADDED, f"{where}: nothing has the labels {names - known - ADDED}"
    assert asked > 50


def test_the_texts_of_queries_name_labels_that_are_left() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            by = {name.strip() for each in re.findall(r"by \(([^)]*)\)", target["expr"]) for name in each.split(",")}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= by, panel["title"]
    for rule in RULES["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]


def test_panels_stand_beside_one_another() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_manual_lists_every_metric() -> None:
    expected = []
    for each in described_metrics():
        labels = ", ".join(f"`{label}`" for label in each.labels)
        expected.append(f"| `uwsgi_ws_{each.name}` | {each.kind} | {labels} | {each.help} |")
    rows = [line for line in MANUAL.splitlines() if line.startswith("| `uwsgi_ws_")]
    assert rows == expected, "the table is to be\n" + "\n".join(expected)
