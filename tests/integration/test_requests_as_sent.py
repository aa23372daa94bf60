"""What is legal or usual in a request reaches the application on every front, and looks the same there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.eventually import eventually
from support.http2_client import Http2Client
from support.http_client import HttpClient, fetch, request_bytes
from support.server import Server
from support.uwsgi_client import packet_of

APPLICATION = """
import json

def application(environ, start_response):
    start_response("200 OK", [])
    body = environ["wsgi.input"].read()
    variables = {name: value for name, value in environ.items() if isinstance(value, str)}
    return [json.dumps([variables, len(body)]).encode()]
"""
#: The doors' numbers among the server's addresses.
HTTP, HTTP2, UWSGI = range(3)

Serve = Callable[..., Server]
Ask = Callable[[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(APPLICATION, "--socket", "127.0.0.1:0", "--http2-socket", "127.0.0.1:0") as server:
        yield server


@pytest.fixture(params=["http1", "uwsgi", "http2"])
def ask(request: pytest.FixtureRequest, server: Server) -> Ask:
    """Send a method and a target, in latin-1; return the environ."""

    def ask(method: str, target: str) -> dict[str, str]:
        if request.param == "http2":
            with Http2Client(server.addresses[HTTP2]) as connection:
                path: Any = target.encode("latin-1")  # text would go as UTF-8
                body = bytes(connection.request(method, path).body)
        elif request.param == "uwsgi":
            with HttpClient(server.addresses[UWSGI]) as client:
                line = f"{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n"
                client.send(packet_of(line.encode("latin-1")))
                client.read_head()
                body = client.read_to_end()
        else:
            with HttpClient(server.addresses[HTTP]) as client:
                client.send(f"{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode("latin-1"))
                body = client.read_response().body
        environ: dict[str, str] = json.loads(body)[0]
        return environ

    return ask


@pytest.mark.parametrize("method", ["GET", "get", "BREW", "DESCRIBE", "X-A", "A" * 64, "!#$%&'*+-.^_`|~"])
def test_any_token_is_a_method(ask: Ask, method: str) -> None:
    """RFC 9110 9.1."""
    assert ask(method, "/")["REQUEST_METHOD"] == method


@pytest.mark.parametrize("text", ["é", "日本", "\x80\xff"])
def test_bytes_beyond_ascii_reach_the_application(ask: Ask, text: str) -> None:
    """PEP 3333: as latin-1, whatever they mean; by the percent or as they are."""
    sent = text.encode("latin-1" if text == "\x80\xff" else "utf-8")
    bare, coded = sent.decode("latin-1"), "".join(f"%{byte:02X}" for byte in sent)
    for target in (bare, coded, bare + coded):
        environ = ask("GET", f"/{target}?q={target}")
        assert environ["PATH_INFO"] == "/" + target.replace(coded, bare)
        assert environ["QUERY_STRING"] == f"q={target}"
        assert environ["REQUEST_URI"] == f"/{target}?q={target}"


@pytest.mark.parametrize("path", ["/\xc0\xaf", "/?\xc1\x9c", "/\xe0\x80\xaf", "/\xf0\x80\x80\xaf"])
def test_a_long_form_of_an_ascii_character_is_refused(server: Server, path: str) -> None:
    """RFC 3629 3: whoever decodes it carelessly would see a slash or a backslash that nobody else has seen."""
    with HttpClient(server.addresses[HTTP]) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode("latin-1"))
        assert client.read_response().status == 400
    with Http2Client(server.addresses[HTTP2]) as connection:
        target: Any = path.encode("latin-1")
        assert connection.request("GET", target).status == 400


def test_the_log_has_no_control_characters_of_a_clients(serve: Serve) -> None:
    """U+009B begins a terminal's commands just as ESC [ does."""
    server = serve("def application(environ, start_response):\n    raise KeyError", allow_traceback=True)
    with HttpClient(server.addresses[0]) as client:
        client.send(b"GET /\x9b31mred HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.read_response().status == 500
    eventually(lambda: server.log.count("31mred") >= 2)
    assert "\x9b" not in server.log


def test_a_redirect_to_https_encodes_what_is_no_part_of_a_url(serve: Serve) -> None:
    server = serve(APPLICATION, "--http-to-https", "127.0.0.1:0")
    with HttpClient(server.addresses[1]) as client:
        client.send("GET /é?ü HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert client.read_response().get("Location") == "https://h/%C3%A9?%C3%BC"


def test_a_later_minor_version_is_1_1(server: Server) -> None:
    """RFC 9110 6.2."""
    for version in ("HTTP/1.2", "HTTP/1.9"):
        with HttpClient(server.addresses[HTTP]) as client:
            for _ in range(2):
                response = client.request("GET", "/", [("Host", "h")], version=version)
                assert json.loads(response.body)[0]["SERVER_PROTOCOL"] == "HTTP/1.1"


def test_an_empty_expectation_expects_nothing(server: Server) -> None:
    for value in ("", " , "):
        response = fetch(server.addresses[HTTP], "/", [("Expect", value)])
        assert response.status == 200
        assert response.interim == []
    with Http2Client(server.addresses[HTTP2]) as connection:
        assert connection.request("GET", "/", [("expect", "")]).status == 200


def test_no_100_continue_for_a_body_that_is_there_already(server: Server) -> None:
    """RFC 9110 10.1.1."""
    expect = [("Expect", "100-continue")]
    with HttpClient(server.addresses[HTTP]) as client:
        for body in (b"x", b"x" * 10_000):
            response = client.request("POST", "/", expect, body)
            assert json.loads(response.body)[1] == len(body)
            assert response.interim == []
        chunks = b"1\r\nx\r\n0\r\n\r\n"
        client.send(request_bytes("POST", "/", [*expect, ("Transfer-Encoding", "chunked")]) + chunks)
        response = client.read_response()
        assert (json.loads(response.body)[1], response.interim) == (1, [])
    with Http2Client(server.addresses[HTTP2]) as connection:
        number = connection.start("POST", "/", expect, ends=False, early=b"xyz")
        connection.send(number, b"", ends=True)
        answer = connection.response(number)
        assert (json.loads(answer.body)[1], answer.interim) == (3, [])


UNDERSCORED = [("X_Real_IP", "1"), ("x_real_ip", "2"), ("X-A_B", "3"), ("Content_Length", "4")]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], {}),
        (["--header-map", "drop"], {}),
        (["--header-map", "keep"], {"HTTP_X_REAL_IP": "1, 2", "HTTP_X_A_B": "3"}),
    ],
    ids=lambda value: " ".join(value),
)
def test_names_with_an_underscore_are_dropped_or_kept(serve: Serve, options: list[str], found: dict[str, str]) -> None:
    server = serve(APPLICATION, "--http2-socket", "127.0.0.1:0", *options)
    environs = [json.loads(fetch(server.addresses[0], "/", UNDERSCORED).body)[0] for _ in range(3)]
    with Http2Client(server.addresses[1]) as connection:
        environs.append(json.loads(connection.request("GET", "/", [(n.lower(), v) for n, v in UNDERSCORED]).body)[0])
    for environ in environs:
        assert {name: value for name, value in environ.items() if "REAL" in name or "A_B" in name} == found
        assert "CONTENT_LENGTH" not in environ
        assert "HTTP_CONTENT_LENGTH" not in environ
    dropped = ["content_length"] if found else ["x_real_ip", "x-a_b", "content_length"]
    for name in dropped:
        assert server.log.count(f"header {name}: dropped") == 1, "it is said once"


def test_names_with_an_underscore_may_be_refused(serve: Serve) -> None:
    server = serve(APPLICATION, "--header-map", "refuse", "--http2-socket", "127.0.0.1:0")
    assert fetch(server.addresses[0], "/", [("X_A", "1")]).status == 400
    assert fetch(server.addresses[0], "/", [("X-A", "1")]).status == 200
    with Http2Client(server.addresses[1]) as connection:
        assert connection.request("GET", "/", [("x_a", "1")]).status == 400


def test_invented_names_do_not_fill_the_log(server: Server) -> None:
    for number in range(10):
        fetch(server.addresses[HTTP], "/", [(f"Name_{number}_{each}", "x") for each in range(30)])
    assert server.log.count(": dropped, as CGI names") <= 64
