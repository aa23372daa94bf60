"""One opinion about the client behind proxies: its scheme, address, host and port, whoever asks."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.http2_client import Http2Client
from support.http_client import HttpClient, Response, fetch
from support.peers import require_module
from support.server import HTTP2_SOCKET, UWSGI_WS, Program, Server, ServerFailed, finish
from support.tls import Authority, https
from support.uwsgi_client import packet, variables
from support.websocket_client import DEADLINE, RawClient, handshake

APPLICATION = """
import json
import uwsgi
import uwsgi_ws


def application(environ, start_response):
    if environ["PATH_INFO"] == "/same":
        uwsgi_ws.accept(environ, origins=["same"])
        return []
    if environ.get("HTTP_UPGRADE"):
        uwsgi.websocket_handshake()
        while uwsgi.websocket_recv():
            pass
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()]
"""
Start = Callable[..., Server]
PROXY = "127.0.0.2"  # a source address that the tests trust, unlike 127.0.0.1

HTTPS = ["https", "HTTPS", "wss", "WSS", "https,http", " https , http", "wss, ws", "https, unknown"]
HTTP = ["http", "ws", "http,https", "javascript", "https:", "", "on"]


def dual(uwsgi: Path) -> Program:
    return Program((*UWSGI_WS.command, "--uwsgi-socket", str(uwsgi)), UWSGI_WS.ready)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server that has been told nothing about proxies; and its uwsgi socket."""
    path = tmp_path_factory.mktemp("forwarded") / "uwsgi.sock"
    with Server(APPLICATION, "--websockets-origin", "same", program=dual(path)) as server:
        yield server, path
        finish(server, allow_traceback=False)


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), DEADLINE, source_address=(source, 0))


def environ_of(port: int, headers: list[tuple[str, str]], source: str = "127.0.0.1") -> dict[str, str]:
    with HttpClient(("127.0.0.1", port), source=source) as client:
        response = client.request("GET", "/", headers)
    assert response.status == 200
    return json.loads(response.body)  # type: ignore[no-any-return]


def status_of(sock: socket.socket, request: bytes) -> int:
    with RawClient(sock) as client:
        client.send(request)
        return client.read_response().status


def opened(port: int, origin: str, headers: list[tuple[str, str]], path: str = "/", source: str = "127.0.0.1") -> int:
    return status_of(connected(port, source), handshake(path, [("Host", "site.example"), ("Origin", origin), *headers]))


@pytest.mark.parametrize(("word", "scheme"), [*((word, "https") for word in HTTPS), *((word, "http") for word in HTTP)])
@pytest.mark.parametrize("path", ["/", "/same"], ids=["option", "accept"])
def test_environ_and_origin_see_the_same_scheme(plain: tuple[Server, Path], word: str, scheme: str, path: str) -> None:
    port = plain[0].port
    headers = [("X-Forwarded-Proto", word)]
    environ = environ_of(port, headers)
    assert environ["wsgi.url_scheme"] == scheme
    assert environ.get("HTTPS") == ("on" if scheme == "https" else None)
    other = "http" if scheme == "https" else "https"
    assert opened(port, f"{scheme}://site.example", headers, path) == 101
    assert opened(port, f"{other}://site.example", headers, path) == 403
    assert opened(port, f"{scheme}://elsewhere.example", headers, path) == 403


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ({"HTTPS": "on"}, "https"),
        ({"HTTPS": "1"}, "https"),
        ({"HTTPS": "off"}, "http"),
        ({"REQUEST_SCHEME": "https"}, "https"),
        ({"REQUEST_SCHEME": "http", "HTTPS": "on"}, "https"),
        ({"UWSGI_SCHEME": "https"}, "https"),
        ({"UWSGI_SCHEME": "http", "HTTPS": "on", "HTTP_X_FORWARDED_PROTO": "https"}, "http"),
        ({"HTTP_X_FORWARDED_PROTO": "wss"}, "https"),
        ({"HTTP_X_FORWARDED_PROTO": "http", "HTTPS": "on", "REQUEST_SCHEME": "https"}, "http"),
        ({"HTTP_X_FORWARDED_PROTO": "gopher", "HTTPS": "on"}, "https"),
        ({"HTTP_X_FORWARDED_SSL": "on"}, "https"),
        ({}, "http"),
    ],
)
def test_a_front_server_says_it_in_variables(plain: tuple[Server, Path], said: dict[str, str], scheme: str) -> None:
    def unix() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        sock.connect(str(plain[1]))
        return sock

    with HttpClient(str(plain[1])) as client:
        client.send(packet(variables(more=list(said.items()))))
        environ = json.loads(client.read_response().body)
    assert environ["wsgi.url_scheme"] == scheme
    assert environ.get("REQUEST_SCHEME", scheme) == scheme
    assert environ.get("HTTPS", "off") in (("on", "1") if scheme == "https" else ("off",))
    headers = [
        ("Host", "site.example"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]  # fmt: skip
    for origin, status in ((scheme, 101), ("https" if scheme == "http" else "http", 403)):
        request = variables(headers=[*headers, ("Origin", f"{origin}://site.example")], more=list(said.items()))
        assert status_of(unix(), packet(request)) == status


def test_address_host_and_port_are_believed_of_nobody_by_default(plain: tuple[Server, Path]) -> None:
    said = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Host", "site.example"), ("X-Forwarded-Port", "8443")]
    environ = environ_of(plain[0].port, [*said, ("Host", "inner")])
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["HTTP_HOST"] == "inner"
    assert environ["SERVER_PORT"] == str(plain[0].port)
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.1"


SAID = [
    ("Host", "inner"),
    ("X-Forwarded-For", "198.51.100.1, 192.0.2.1"),
    ("X-Forwarded-Host", "site.example"),
    ("X-Forwarded-Port", "8443"),
    ("X-Forwarded-Proto", "wss"),
]


@pytest.fixture(scope="module")
def proxied() -> Iterator[Server]:
    """A server that believes one address only, and asks everybody who asks."""
    options = ["--forwarded-allow-from", PROXY, "--websockets-origin", "same", "--websockets-per-address", "1"]
    options += ["--route-remote-addr", "^192\\.0\\.2\\.66$ break:403 Forbidden", "--http-to-https", "127.0.0.1:0"]
    options += ["--route-if", "equal:${HTTP_HOST};seen.example break:418 Seen"]
    with Server(APPLICATION, *options) as server:
        yield server
        finish(server, allow_traceback=False)


def test_named_proxies_are_believed_and_others_are_not(proxied: Server) -> None:
    environ = environ_of(proxied.port, SAID, PROXY)
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["REALIP_REMOTE_ADDR"] == PROXY
    assert environ["HTTP_HOST"] == "site.example:8443"
    assert environ["SERVER_PORT"] == "8443"
    environ = environ_of(proxied.port, SAID)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["HTTP_HOST"] == "inner"
    assert environ["SERVER_PORT"] == str(proxied.port)
    assert not any(name.startswith("HTTP_X_FORWARDED") for name in environ)


def test_the_access_line_and_routes_have_the_clients_address_and_host(proxied: Server) -> None:
    environ_of(proxied.port, [("X-Forwarded-For", "192.0.2.34")], PROXY)
    proxied.wait_for_log(r"\] 192\.0\.2\.34 \(\)")

    def status(headers: list[tuple[str, str]], source: str) -> int:
        with HttpClient(("127.0.0.1", proxied.port), source=source) as client:
            return client.request("GET", "/", headers).status

    for headers, answer in (([("X-Forwarded-For", "192.0.2.66")], 403), ([("X-Forwarded-Host", "seen.example")], 418)):
        assert status(headers, PROXY) == answer
        assert status(headers, "127.0.0.1") == 200


def test_a_limit_by_address_counts_clients_not_proxies(proxied: Server) -> None:
    def client(address: str, source: str = PROXY) -> RawClient:
        raw = RawClient(connected(proxied.port, source))
        raw.send(handshake("/", [("X-Forwarded-For", address)]))
        statuses.append(raw.read_response().status)
        return raw

    statuses: list[int] = []

    with client("192.0.2.7"), client("192.0.2.8"), client("192.0.2.7"):
        assert statuses == [101, 101, 429]
        with client("192.0.2.9", "127.0.0.1"), client("192.0.2.10", "127.0.0.1"):
            assert statuses[3:] == [101, 429]


def test_the_origin_is_compared_with_what_named_proxies_say(proxied: Server) -> None:
    said = [header for header in SAID if header[0] != "Host"]
    assert opened(proxied.port, "https://site.example:8443", said, source=PROXY) == 101
    assert opened(proxied.port, "http://site.example", said, source=PROXY) == 403
    assert opened(proxied.port, "https://site.example:8443", said) == 403
    assert opened(proxied.port, "http://site.example", said) == 101


def redirected(server: Server, headers: list[tuple[str, str]], source: str) -> Response:
    port = server.addresses[1][1]
    with HttpClient(("127.0.0.1", port), source=source) as client:
        return client.request("GET", "/there?q", headers)


def test_a_redirect_to_https_knows_who_is_there_already(proxied: Server) -> None:
    host = [("Host", "inner")]
    assert redirected(proxied, [*host, ("X-Forwarded-Proto", "https")], PROXY).status == 200
    for source, proto in ((PROXY, "http"), ("127.0.0.1", "https")):
        answer = redirected(proxied, [*host, ("X-Forwarded-Proto", proto)], source)
        assert (answer.status, answer.get("Location")) == (301, "https://inner/there?q")
    answer = redirected(proxied, [*host, ("X-Forwarded-Host", "site.example")], PROXY)
    assert answer.get("Location") == "https://site.example/there?q"


def test_a_redirect_to_https_is_one_where_no_proxy_is_named(serve: Start) -> None:
    server = serve(APPLICATION, "--http-to-https", "127.0.0.1:0")
    assert redirected(server, [("X-Forwarded-Proto", "https")], "127.0.0.1").status == 301


def test_unix_sockets_are_proxies_where_some_are_named(serve: Start, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    serve(APPLICATION, "--http-socket", str(path), "--forwarded-allow-from", "203.0.113.0/24")
    with HttpClient(str(path)) as client:
        environ = json.loads(client.request("GET", "/", SAID).body)
    assert (environ["wsgi.url_scheme"], environ["REMOTE_ADDR"]) == ("https", "192.0.2.1")


def test_a_front_server_tells_of_the_proxy_before_it(serve: Start, tmp_path: Path) -> None:
    """nginx's own client may be a proxy, or anybody who writes headers."""
    path = tmp_path / "uwsgi.sock"
    serve(APPLICATION, "--forwarded-allow-from", "192.0.2.7", program=dual(path))
    for address, client in (("192.0.2.7", "198.51.100.1"), ("192.0.2.8", "192.0.2.8")):
        told = [pair for pair in variables(headers=[("X-Forwarded-For", "198.51.100.1")]) if pair[0] != "REMOTE_ADDR"]
        with HttpClient(str(path)) as http:
            http.send(packet([*told, ("REMOTE_ADDR", address), ("HTTPS", "on")]))
            environ = json.loads(http.read_response().body)
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (client, "https")


def test_tls_of_our_own_is_https_whatever_the_route(serve: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(
        APPLICATION, "--route", "^/plain setscheme:http", "--websockets-origin", "same",
        program=https(authority.issue("localhost", "127.0.0.1")),
    )  # fmt: skip
    context = authority.client_context()
    with HttpClient(("127.0.0.1", server.port), tls=context) as client:
        assert json.loads(client.request("GET", "/").body)["wsgi.url_scheme"] == "https"
        environ = json.loads(client.request("GET", "/plain").body)
    assert environ["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in environ
    sock = context.wrap_socket(connected(server.port), server_hostname="127.0.0.1")
    assert status_of(sock, handshake("/", [("Host", "localhost"), ("Origin", "https://localhost")])) == 101


def test_a_backend_hears_what_was_decided(serve: Start) -> None:
    backend = serve(APPLICATION)
    front = serve(None, "--route", f"^/ http:127.0.0.1:{backend.port}", "--forwarded-allow-from", PROXY)
    environ = environ_of(front.port, SAID, PROXY)
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
    assert environ["HTTP_X_FORWARDED_FOR"] == f"198.51.100.1, 192.0.2.1, {PROXY}"
    environ = environ_of(front.port, SAID)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"


def test_http2_is_told_the_same(serve: Start) -> None:
    require_module("h2")
    server = serve(APPLICATION, "--forwarded-allow-from", PROXY, "--websockets-origin", "same", program=HTTP2_SOCKET)
    fields: Any = [(name.lower(), value) for name, value in SAID if name != "Host"]
    for source, scheme, status in ((PROXY, "https", 200), ("127.0.0.1", "http", 403)):
        with Http2Client(("127.0.0.1", server.port), source=source) as client:
            answer = client.request("GET", "/", fields)
            assert json.loads(bytes(answer.body))["wsgi.url_scheme"] == scheme
            number = client.start_websocket("/", [*fields, ("origin", "https://site.example:8443")])
            stream = client.streams[number]
            client.wait(lambda stream=stream: stream.status)
            assert stream.status == status


def test_only_the_log_may_call_a_client_as_its_header_says(serve: Start) -> None:
    server = serve(APPLICATION, "--log-x-forwarded-for", "--log-format", "from %(addr) to %(host)")
    assert environ_of(server.port, [("X-Forwarded-For", "192.0.2.1, me")])["REMOTE_ADDR"] == "127.0.0.1"
    server.wait_for_log(r"^from 192\.0\.2\.1, me to")
    fetch(("127.0.0.1", server.port))
    server.wait_for_log(r"^from 127\.0\.0\.1 to")


def test_a_user_is_no_address_of_a_proxy() -> None:
    with pytest.raises(ServerFailed, match="--forwarded-allow-from: 'uid:0' is no address"):
        Server(APPLICATION, "--forwarded-allow-from", "uid:0")
