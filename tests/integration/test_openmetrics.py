"""``--metrics``: one page for all workers, read as Prometheus reads it; and what says whether the instance is well."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.eventually import eventually
from support.http_client import fetch
from support.server import Server, free_port
from support.websocket_client import BINARY, RawClient, close_frame, frame, handshake
from support.workers import wait_for_workers

APPLICATION = """
import uwsgi, uwsgi_ws
everyone = set()

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/refuse":
        start_response("403 Forbidden", [("Content-Length", "0")])
        return []
    if "HTTP_UPGRADE" in environ:
        ws = uwsgi_ws.accept(environ)
        everyone.add(ws)
        try:
            for message in ws:
                if message == "all":
                    uwsgi_ws.broadcast(everyone, "to all")
                elif message == "publish":
                    ws.join("news")
                    uwsgi_ws.publish("news", b"12345")
                elif message == "4001":
                    ws.close(4001)
                else:
                    ws.send(message)
        finally:
            everyone.discard(ws)
        return []
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]
"""

Scrape = Callable[[], dict[tuple[str, frozenset[tuple[str, str]]], float]]


def scraper(port: int, path: str = "/metrics") -> Scrape:
    """Return what scrapes: all samples by name and labels, as prometheus_client understands the page."""

    def scrape() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        response = fetch(("127.0.0.1", port), path)
        assert response.status == 200
        assert str(response.get("Content-Type")).startswith("application/openmetrics-text; version=1.0.0")
        return {
            (sample.name.removeprefix("uwsgi_ws_"), frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }

    return scrape


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0)


def workers(server: Server) -> list[int]:
    return [int(pid) for pid in re.findall(r"spawned uwsgi_ws worker .*\(pid: (\d+)", server.log)]


def sums(scrape: Scrape) -> dict[Any, float]:
    """Return all that must never go back."""
    ends = ("_total", "_bucket", "_count", "_sum")
    return {key: number for key, number in scrape().items() if key[0].endswith(ends)}


def test_all_that_workers_count_is_on_one_page(serve: Any) -> None:
    port = free_port()
    server = serve(APPLICATION, "--metrics", f"127.0.0.1:{port}/numbers", "--processes", "2")
    scrape = scraper(port, "/numbers")
    for _ in range(3):
        assert fetch(("127.0.0.1", server.port), "/").text == "hi"
    peers = [RawClient.open(server.port, "/") for _ in range(3)]
    for peer in peers:
        peer.send_text("hello")
        peer.expect_text("hello")
        peer.send(frame(BINARY, bytes(100)))
        peer.expect_binary(bytes(100))
    peers[0].send_text("all")
    peers[0].expect_text("to all")
    peers[1].send_text("publish")
    while peers[1].read_frame().payload != b"12345":
        pass  # what was for all, where it is in the same worker
    # The two workers tell one after the other, each once a second; the last message but one was answered already.
    eventually(lambda: of(scrape(), "websocket_messages_total", direction="received", kind="text") == 5)
    eventually(lambda: of(scrape(), "websocket_messages_total", direction="sent", kind="binary") == 4)
    eventually(lambda: of(scrape(), "request_duration_seconds_count") == 3)
    found = scrape()
    assert of(found, "websockets_open", carrier="http1", route="/") == 3
    assert of(found, "websocket_messages_total", direction="received", kind="binary") == 3
    assert of(found, "websocket_messages_total", direction="sent", kind="binary") == 4
    assert of(found, "websocket_messages_total", direction="sent", kind="text") >= 4
    assert of(found, "websocket_bytes_total", direction="received") > 3 * 105
    assert of(found, "websocket_bytes_total", direction="sent") >= 3 * 105 + 6 + 5
    assert of(found, "request_duration_seconds_count") == 3
    assert of(found, "broadcast_duration_seconds_count") == 0
    assert of(found, "channel_messages_total") == 1
    assert of(found, "workers", life="serving") == 2
    assert of(found, "worker_open_descriptors", worker="1") > 3
    assert of(found, "worker_resident_memory_bytes", worker="2") > 1 << 20
    assert of(found, "ready") == 1
    eventually(lambda: of(scrape(), "loop_lag_seconds_count") >= 2)

    peers[0].send_text("4001")
    peers[0].expect_close(4001, "")
    peers[0].send(close_frame(4001))
    peers[0].expect_eof()
    peers[0].close()
    peers[1].close()
    for request, status in (handshake(without=["Sec-WebSocket-Key"]), 400), (handshake("/refuse"), 403):
        refused = RawClient(server.port)
        refused.send(request)
        assert refused.read_response().status == status
        refused.close()
    eventually(lambda: of(scrape(), "websockets_open", carrier="http1", route="/") == 1)
    for name, labels in (
        ("websocket_closes_total", {"code": "4xxx"}),
        ("websocket_closes_total", {"code": "1006"}),
        ("websocket_handshake_refusals_total", {"reason": "malformed"}),
        ("websocket_handshake_refusals_total", {"reason": "application"}),
    ):
        eventually(
            lambda name=name, labels=labels: of(scrape(), name, **labels) == 1
        )  # each worker tells once a second
    assert of(scrape(), "websocket_duration_seconds_count") == 2

    crowd = [RawClient.open(server.port, "/") for _ in range(40)]  # 16 of them are in one worker
    for peer in crowd:
        peer.send_text("all")
    eventually(lambda: of(scrape(), "broadcast_duration_seconds_count") >= 16)
    for peer in crowd:
        peer.close()
    peers[2].close()


def test_what_dead_workers_have_counted_stays(serve_many: Any) -> None:
    port = free_port()
    server: Server = serve_many(APPLICATION, "--metrics", f"127.0.0.1:{port}", allow_traceback=True)
    scrape = scraper(port)
    for _ in range(10):
        fetch(("127.0.0.1", server.port), "/")
    eventually(lambda: of(scrape(), "requests_total") == 10)
    before = sums(scrape)
    for pid in workers(server):
        os.kill(pid, signal.SIGKILL)
    wait_for_workers(server, 4)
    after = sums(scrape)
    assert {key: number for key, number in before.items() if after[key] < number} == {}
    peer = RawClient.open(server.port, "/")
    os.kill(server.pid, signal.SIGHUP)
    peer.expect_close(1012, "server restarts")
    peer.send(close_frame(1012))
    peer.expect_eof()
    peer.close()
    eventually(lambda: of(scrape(), "websocket_closes_total", code="1012") == 1, 20)
    found = scrape()
    assert of(found, "requests_total") == 11
    assert of(found, "reloads_total", result="done") == 1
    assert sum(number for (name, _), number in found.items() if name == "websockets_open") == 0


def test_an_instance_that_drains_is_not_ready(serve: Any) -> None:
    port = free_port()
    server: Server = serve(APPLICATION, "--metrics", f"127.0.0.1:{port}", "--reload-mercy", "20")
    where = ("127.0.0.1", port)
    eventually(lambda: (fetch(where, "/readyz").status, fetch(where, "/healthz").status) == (200, 200))
    assert fetch(where, "/").status == 404
    peer = RawClient.open(server.port, "/")  # it does not answer the close frame at once
    os.kill(server.pid, signal.SIGINT)
    eventually(lambda: fetch(where, "/readyz").status == 503)
    peer.expect_close(1001, "server stops")
    assert fetch(where, "/healthz").status == 200
    peer.close()


@pytest.mark.parametrize("master", [(), ("--master",)])
def test_workers_say_themselves_that_they_drain(serve: Any, master: tuple[str, ...]) -> None:
    server: Server = serve(APPLICATION, "--health-path", "/up", *master)
    waiting = [RawClient(server.port), RawClient.open(server.port, "/")]
    waiting[0].send(b"GET /up HTTP/1.1\r\nHost: x\r\n")  # the last line is still to come
    assert fetch(("127.0.0.1", server.port), "/up").status == 200
    assert fetch(("127.0.0.1", server.port), "/upper").text == "hi"
    os.kill(server.pid, signal.SIGINT)
    waiting[1].expect_close(1001, "server stops")
    waiting[0].send(b"\r\n")
    assert waiting[0].read_response().status == 503
    for client in waiting:
        client.close()
    assert "/up " not in server.log


def test_a_worker_whose_loop_stands_still_is_not_healthy(serve: Any) -> None:
    port = free_port()
    server: Server = serve(APPLICATION, "--metrics", f"127.0.0.1:{port}", "--gevent-stuck-report", "0")
    where = ("127.0.0.1", port)
    eventually(lambda: fetch(where, "/readyz").status == 200)
    [worker] = workers(server)
    os.kill(worker, signal.SIGSTOP)
    try:
        eventually(lambda: fetch(where, "/healthz").status == 503, 20)
        assert fetch(where, "/healthz").text == "no heartbeat of worker 1\n"
    finally:
        os.kill(worker, signal.SIGCONT)
    eventually(lambda: fetch(where, "/healthz").status == 200)


def test_a_scraper_that_says_nothing_holds_up_no_other(serve: Any) -> None:
    port = free_port()
    serve(APPLICATION, "--metrics", f"127.0.0.1:{port}")
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    assert scraper(port)()
    for sock in silent:
        sock.close()
