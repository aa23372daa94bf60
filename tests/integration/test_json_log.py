"""``--log-json``, ``--request-id`` and ``traceparent``: what is found of one request in all logs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import Response, fetch
from support.server import Server
from support.websocket_client import RawClient, close_frame

APPLICATION = """
import uwsgi

def application(environ, start_response):
    if "HTTP_UPGRADE" in environ:
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(uwsgi.websocket_recv())
        return []
    if environ["PATH_INFO"] == "/print":
        print('{"time": "forged"}', flush=True)
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("with\\nnew line")
    body = environ.get("HTTP_X_REQUEST_ID", "none").encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def ask(server: Server, path: str, **headers: str) -> Response:
    return fetch(("127.0.0.1", server.port), path, headers=[(k.replace("_", "-"), v) for k, v in headers.items()])


def records(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.splitlines() if line.endswith("}")]


@pytest.mark.parametrize("model", [("--gevent", "10"), ("--threads", "4"), ("--gevent", "10", "-p", "2")])
def test_every_line_is_an_object_and_names_its_request(serve: Any, model: tuple[str, ...]) -> None:
    server: Server = serve(APPLICATION, "--log-json", *model, allow_traceback=True)
    assert ask(server, "/caf%C3%A9", X_Request_ID="mine-1", traceparent=TRACEPARENT).text == "mine-1"
    made = ask(server, "/print").text
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert ask(server, "/raise", X_Request_ID="mine-2").status == 500
    peer = RawClient.open(server.port, "/ws")
    peer.send_text("12345")
    peer.expect_text("12345")
    peer.expect_close(1000)
    peer.send(close_frame(1000))
    peer.expect_eof()
    peer.close()
    eventually(lambda: sum(each["logger"] == "uwsgi_ws.access" for each in records(server)) == 4)
    found = records(server)
    assert len(found) == len(server.log.splitlines())
    assert all({"time", "level", "logger", "pid", "message"} <= each.keys() for each in found)

    by_uri = {each["uri"]: each for each in found if each["logger"] == "uwsgi_ws.access"}
    first, second, third, fourth = (by_uri[uri] for uri in ("/caf%C3%A9", "/print", "/raise", "/ws"))
    assert (first["request_id"], first["trace_id"], first["status"]) == ("mine-1", TRACE, 200)
    assert (first["method"], first["uri"], first["message"]) == ("GET", "/caf%C3%A9", "GET /caf%C3%A9 200")
    assert second["request_id"] == made
    assert "trace_id" not in second
    assert (third["request_id"], third["status"]) == ("mine-2", 500)
    assert fourth["websocket"]["messages_received"] == 1
    assert fourth["websocket"]["close_code"] == 1000

    [printed] = (each for each in found if each["logger"] == "print" and "forged" in each["message"])
    assert (printed["message"], printed["request_id"]) == ('{"time": "forged"}', made)
    [error] = (each for each in found if each["level"] == "error")
    assert (error["request_id"], error["message"]) == ("mine-2", "GET /raise")
    assert error["exception"].endswith("ValueError: with\nnew line")


@pytest.mark.parametrize("given", ["", "x" * 129, 'a"b', "a b", "a\x80"])
def test_a_name_that_could_mean_something_is_replaced(serve: Any, given: str) -> None:
    server: Server = serve(APPLICATION, "--request-id", "--log-format", "%(request_id) %(trace_id) %(traceparent)")
    made = ask(server, "/", X_Request_ID=given, traceparent="00-zz").text
    assert re.fullmatch("[0-9a-f]{32}", made)
    server.wait_for_log(f"^{made} - 00-zz$")


def test_error_lines_end_in_the_name(serve: Any) -> None:
    server: Server = serve(APPLICATION, "--request-id", allow_traceback=True)
    ask(server, "/raise", X_Request_ID="mine-2")
    server.wait_for_log(r"ERROR: GET /raise \[request mine-2\]$")


def test_without_an_option_the_header_is_the_clients_own(serve: Any) -> None:
    server: Server = serve(APPLICATION)
    assert ask(server, "/", X_Request_ID="a b").text == "a b"
    assert ask(server, "/").text == "none"
