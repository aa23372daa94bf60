"""What each action does in each chain: one response, whole, and no traceback, whatever a request makes of a value."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http2_client import Http2Client
from support.http_client import EndOfStream, HttpClient
from support.server import Server
from support.websocket_client import RawClient, handshake

pytestmark = pytest.mark.matrix

APPLICATION = """
import uwsgi_ws

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if "HTTP_UPGRADE" in environ:
        uwsgi_ws.accept(environ).send("hello")
        return []
    if path == "/cleared":
        environ.clear()
    if path == "/odd":
        environ.update(X="\\u65e5\\u672c", HTTP_X_A="\\u65e5", REQUEST_URI="/\\u65e5")
    if path == "/read":
        environ["wsgi.input"].read()
    start_response({"/teapot": "418 I'm a teapot", "/299": "299 Fine", "/none": "204 None"}.get(path, "404 Gone"), [])
    return [] if path == "/none" else iter([b"appli", b"cation"])
"""

BACKEND = """
def application(environ, start_response):
    start_response("200 OK", [("X-From", "backend")])
    return [b"backend %d" % len(environ["wsgi.input"].read())]
"""

Serve = Callable[..., Server]
CHAINS = ("route", "error-route", "response-route", "final-route")


@pytest.fixture(scope="module")
def backend() -> Iterator[Server]:
    with Server(BACKEND, "--socket", "127.0.0.1:0") as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routes")
    (folder / "a.txt").write_bytes(b"file")
    return folder


#: The arguments of every action; {http}, {uwsgi} and {folder} are filled in.
ACTIONS = [
    "send:one",
    "send-crnl:one",
    "break:",
    "break:403 No",
    "break:204 No",
    "break:304",
    "break:$1",
    "break:${REQUEST_URI}",
    "return:204",
    "return:403",
    "redirect:/x",
    "redirect-301:${upper[PATH_INFO]}",
    "goto:$1",
    "static:{folder}/a.txt",
    "static:{folder}/${PATH_INFO}",
    "static-next:{folder}/${X}",
    "file:{folder}/missing",
    "access:action=deny,addr=0.0.0.0/0",
    "basicauth:Realm,a:b",
    "basicauth-next:Realm,a:b",
    "rewrite:/${X}?y",
    "rewrite-last:/${lower[X]}",
    "addvar:A=${X}",
    "setpathinfo:/${X}",
    "fixpathinfo:",
    "setscriptname:${X}",
    "setmethod:GE$1T",
    "setmethod:${X}",
    "seturi:${X}",
    "sethost:${X}",
    "sethost:${HTTP_HOST}",
    "setuser:${X}",
    "setremoteaddr:${X}",
    "setscheme:${X}",
    "setdocroot:${X}",
    "addheader:X-B: ${X}",
    "addheader:X-B: $1",
    "delheader:Content-Length",
    "delheader:${X}",
    "log:${X}",
    "logvar:x=${X}",
    "donotlog:",
    "continue:",
    "last:",
    "uwsgi:{uwsgi}",
    "http:{http}",
    "http:{http},${X},/${X}",
    "httpdumb:{http}",
    "http:${X}",
    "uwsgi:$1",
]


#: Those that cannot do what they should for some requests.
FAIL = {"setmethod:GE$1T", "setmethod:${X}", "sethost:${X}", "addheader:X-B: ${X}", "http:${X}", "uwsgi:$1"}


def rule_of(action: str, backend: Server, folder: Path) -> str:
    (http, http_port), (uwsgi, uwsgi_port) = backend.addresses
    for name, value in [("http", f"{http}:{http_port}"), ("uwsgi", f"{uwsgi}:{uwsgi_port}"), ("folder", str(folder))]:
        action = action.replace(f"{{{name}}}", value)
    return action


@pytest.mark.parametrize("chain", CHAINS)
def test_each_action_leaves_one_whole_response(serve: Serve, backend: Server, folder: Path, chain: str) -> None:
    """One server for each chain: a header chooses the rule, and another one has "send:" come before it."""
    options = ["--http2-socket", "127.0.0.1:0", "--route-timeout", "5"]
    options += [f"--{chain}-if", "equal:${HTTP_X_SEND};yes send:before "]
    for number, action in enumerate(ACTIONS):
        options += [f"--{chain}-if", f"regexp:${{HTTP_X_RULE}};^{number}(x*)$ {rule_of(action, backend, folder)}"]
    server = serve(APPLICATION, *options)
    with Http2Client(server.addresses[1]) as http2:
        for number, action in enumerate(ACTIONS):
            for path in ("/teapot", "/299", "/none", "/cleared", "/odd", "/read", "/%ff%b5"):
                for sends in ([], [("X-Send", "yes")]):
                    headers = [("X-Rule", f"{number}xx"), *sends]
                    where = f"{chain} {action} {path} {sends}"
                    drops = action == "break:" and not sends and chain != "final-route"
                    if drops and (chain != "error-route" or path not in ("/299", "/none")):
                        continue  # it drops the connection: a test of its own
                    print(where)  # pytest shows the last one when it fails
                    with HttpClient(server.addresses[0]) as client:
                        try:
                            response = client.request("POST", path, headers, b"body")
                            if not response.says_close:
                                again = client.request("POST", path, headers, b"body")
                                assert again.status == response.status, where
                        except (EndOfStream, ConnectionError):
                            assert sends, where
                            assert action in FAIL, where  # what "send:" has begun cannot become an error
                            continue
                        if response.says_close:
                            client.assert_ended()
                    if response.status in (204, 304):
                        assert response.all("Content-Length") == [], where
                    lowered = [(name.lower(), value) for name, value in headers]
                    answer = http2.request("POST", path, [*lowered, ("content-length", "4")], b"body")
                    assert (answer.status, answer.reset) == (response.status, None), where
                    assert bytes(answer.body) == response.body, where
    assert "Traceback" not in server.log


@pytest.mark.parametrize("chain", ["error-route", "response-route"])
def test_what_send_begins_in_a_late_chain_is_the_response(serve: Serve, chain: str) -> None:
    server = serve(APPLICATION, f"--{chain}-run", "send:one ", f"--{chain}-run", "send:two")
    with HttpClient(server.addresses[0]) as client:
        for _ in range(2):
            response = client.request("GET", "/teapot")
            assert (response.status, response.body) == (418, b"one two")
            assert response.get("Content-Type") == "text/plain"


@pytest.mark.parametrize("chain", ["route", "error-route", "response-route"])
@pytest.mark.parametrize("value", ["", "abc", "1", "99", "099", "100", "600", "200x", "2 00", "-200"])
def test_a_value_that_is_no_status_is_a_500_and_one_line(serve: Serve, chain: str, value: str) -> None:
    server = serve(APPLICATION, f"--{chain}-if", "regexp:${HTTP_X};^-(.*) break:$1")
    with HttpClient(server.addresses[0]) as client:
        client.send_request("GET", "/teapot", [("X", f"-{value}")])
        if not value:  # as without a status
            assert client.read_to_end() == b""
            return
        assert client.read_response().status == 500
    eventually(lambda: server.log.count("break: ") == 1)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("chain", ["route", "response-route"])
@pytest.mark.parametrize("action", ["send:no", "break:403 No", "redirect:/x", "send:no |break:403 No"])
def test_a_websocket_may_be_answered_instead(serve: Serve, backend: Server, chain: str, action: str) -> None:
    rules = [word for each in action.split("|") for word in (f"--{chain}-run", each)]
    server = serve(APPLICATION, *rules)
    with RawClient(server.port) as client:
        client.send(handshake("/"))
        assert client.read_response().status in (200, 302, 403)
    host, port = backend.addresses[0]
    front = serve(APPLICATION, *rules, "--route", f"^ http:{host}:{port}")
    with RawClient(front.port) as client:
        client.send(handshake("/"))
        assert client.read_response().status in (200, 302, 403)


def test_a_final_route_that_fails_leaves_the_answer_alone(serve: Serve) -> None:
    server = serve(APPLICATION, "--final-route-run", "http:127.0.0.1:1", "--final-route-run", "addheader:X: ${X}")
    with HttpClient(server.addresses[0]) as client:
        for _ in range(3):
            assert client.request("GET", "/teapot").body == b"application"
    server.wait_for_log("502 the backend cannot be reached")


def test_a_client_that_leaves_a_backends_answer_costs_no_traceback(serve: Serve) -> None:
    source = "def application(environ, start_response):\n    start_response('200 OK', [])\n"
    endless = serve(source + "    while True:\n        yield bytes(1 << 16)\n")
    server = serve(APPLICATION, "--route", f"^ http:127.0.0.1:{endless.port}")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(HttpClient(server.addresses[0]))
        client.send_request("GET", "/")
        client.read_head()
    eventually(lambda: "GET / =>" in server.log)
