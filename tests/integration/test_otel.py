"""``--otel``: what a collector gets of a WebSocket, sent by OpenTelemetry's own exporter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.eventually import eventually
from support.server import Server
from support.websocket_client import RawClient, close_frame, handshake

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
APPLICATION = """
import uwsgi
from opentelemetry import trace

def application(environ, start_response):
    if environ["PATH_INFO"] == "/no":
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    uwsgi.websocket_handshake()
    span = trace.get_current_span().get_span_context()
    uwsgi.websocket_send(f"{span.trace_id:032x}")
    uwsgi.websocket_recv()
    return []
"""


@contextmanager
def collector() -> Iterator[tuple[int, list[Any]]]:
    """Yield the port of a collector, and the spans that it gets."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.int_value or each.value.string_value for each in span.attributes}


@pytest.mark.parametrize("model", [("--gevent", "10"), ("--threads", "4"), ("--processes", "2")])
def test_the_handshake_is_a_child_and_the_end_is_linked_to_it(serve: Any, model: tuple[str, ...]) -> None:
    with collector() as (port, spans):
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        server: Server = serve(APPLICATION, "--otel", *model, env=env, concurrency=())
        peer = RawClient(server.port)
        peer.shake_hands(handshake("/chat", [("traceparent", f"00-{TRACE}-{PARENT}-01")]))
        shown = peer.read_frame().payload.decode()
        assert shown == (TRACE if model[0] == "--gevent" else "0" * 32)  # a thread begins with nothing
        [begin] = eventually(lambda: list(spans))  # while the WebSocket is open
        assert (begin.name, begin.trace_id.hex(), begin.parent_span_id.hex()) == ("websocket handshake", TRACE, PARENT)
        assert attributes(begin)["http.response.status_code"] == 101
        assert attributes(begin)["url.path"] == "/chat"
        peer.send(close_frame(4001))
        peer.expect_close(4001)
        peer.expect_eof()
        peer.close()
        _, end = eventually(lambda: len(spans) == 2 and spans)
        assert end.name == "websocket end"
        assert [(each.trace_id, each.span_id) for each in end.links] == [(begin.trace_id, begin.span_id)]
        assert end.trace_id != begin.trace_id
        assert attributes(end)["websocket.close_code"] == 4001

        spans.clear()
        for request, status in (handshake("/no"), 404), (handshake(without=["Sec-WebSocket-Key"]), 400):
            refused = RawClient(server.port)
            refused.send(request)
            assert refused.read_response().status == status
            refused.close()
        eventually(lambda: len(spans) == 2)
        assert {attributes(span)["http.response.status_code"] for span in spans} == {404, 400}
