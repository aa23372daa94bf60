"""nginx as existing files configure it: variables set twice, and modifiers of old."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.carriers import NGINX, running
from support.http_client import HttpClient
from support.peers import missing, require_program
from support.server import Program, Server, finish, free_port
from support.websocket_client import RawClient, handshake

APPLICATION = """
import json
import uwsgi


def application(environ, start_response):
    if environ.get("HTTP_UPGRADE"):
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(environ["HTTP_HOST"])
        return []
    body = environ["wsgi.input"].read().decode()
    names = ("SCRIPT_NAME", "PATH_INFO", "HTTP_HOST", "REQUEST_METHOD", "CONTENT_LENGTH", "HTTP_X", "APPLICATION")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({**{name: environ.get(name) for name in names}, "body": body}).encode()]


def mounted(environ, start_response):
    return application({**environ, "APPLICATION": "mounted"}, start_response)
"""
SITE = """
server {{
    listen 127.0.0.1:{port};
    include uwsgi_params;
    location /once     {{ uwsgi_pass {where}; }}
    location /twice    {{ include uwsgi_params; include uwsgi_params; uwsgi_pass {where}; }}
    location /host     {{ include uwsgi_params; uwsgi_param HTTP_HOST $http_host; uwsgi_pass {where}; }}
    location /hosts    {{
        include uwsgi_params;
        uwsgi_param HTTP_HOST first;
        uwsgi_param HTTP_HOST last;
        uwsgi_pass {where};
    }}
    location /method   {{ include uwsgi_params; uwsgi_param REQUEST_METHOD PUT; uwsgi_pass {where}; }}
    location /nobody   {{
        include uwsgi_params;
        uwsgi_pass_request_body off;
        uwsgi_param CONTENT_LENGTH "";
        uwsgi_pass {where};
    }}
    location /lengths  {{ include uwsgi_params; uwsgi_param CONTENT_LENGTH 3; uwsgi_pass {where}; }}
    location /app      {{
        include uwsgi_params;
        uwsgi_param SCRIPT_NAME /app;
        uwsgi_modifier1 30;
        uwsgi_pass {where};
    }}
    location /mounted  {{
        include uwsgi_params;
        uwsgi_param SCRIPT_NAME /mounted;
        uwsgi_modifier1 30;
        uwsgi_pass {where};
    }}
    location /modifier {{ include uwsgi_params; uwsgi_modifier2 3; uwsgi_pass {where}; }}
    location /other    {{ include uwsgi_params; uwsgi_modifier1 22; uwsgi_pass {where}; }}
}}
"""


UWSGI_SOCKET = (sys.executable, "-m", "uwsgi_ws", "--uwsgi-socket", "127.0.0.1:0")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    program = require_program("nginx", "/usr/sbin/nginx")
    parameters = Path("/etc/nginx/uwsgi_params")
    if not parameters.exists():
        missing(f"no {parameters}")
    folder = tmp_path_factory.mktemp("nginx")
    shutil.copy(parameters, folder)
    (folder / "app.py").write_text(APPLICATION)
    application = folder / "app.py"
    ours = Program((*UWSGI_SOCKET, "--mount", f"/mounted={application}:mounted"), r"spawned uwsgi_ws worker")
    with Server(application, program=ours) as server:
        port = free_port()
        (folder / "site.conf").write_text(SITE.format(port=port, where="{}:{}".format(*server.addresses[0])))
        (folder / "nginx.conf").write_text(NGINX)
        command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        with running(command, port, folder):
            yield server, port
        finish(server, allow_traceback=False)


def seen(port: int, path: str, method: str = "GET", body: bytes = b"") -> dict[str, str]:
    with HttpClient(("127.0.0.1", port)) as client:
        response = client.request(method, path, [("Host", "site.example:8000"), ("X", "1"), ("X", "2")], body=body)
    assert response.status == 200, response
    return json.loads(response.body)  # type: ignore[no-any-return]


def test_a_request_is_the_same_whether_its_variables_come_once_or_twice(site: tuple[Server, int]) -> None:
    once, twice = seen(site[1], "/once", "POST", b"body"), seen(site[1], "/twice", "POST", b"body")
    assert twice == {**once, "PATH_INFO": "/twice"}
    assert (twice["body"], twice["HTTP_X"]) == ("body", "1, 2")


@pytest.mark.parametrize(("path", "name", "value"), [
    ("/host", "HTTP_HOST", "site.example:8000"),
    ("/hosts", "HTTP_HOST", "last"),
    ("/method", "REQUEST_METHOD", "PUT"),
])  # fmt: skip
def test_of_two_values_the_last_counts_and_the_log_says_so_once(
    site: tuple[Server, int], path: str, name: str, value: str
) -> None:
    server, port = site
    for _ in range(3):
        assert seen(port, path)[name] == value
    line = f"sends {name} twice with different values"
    server.wait_for_log(line)
    assert server.log.count(line) == 1


def test_a_body_that_is_not_passed_on_is_none(site: tuple[Server, int]) -> None:
    assert seen(site[1], "/nobody", "POST", b"body")["body"] == ""


def test_two_lengths_are_refused(site: tuple[Server, int]) -> None:
    with HttpClient(("127.0.0.1", site[1])) as client:
        assert client.request("POST", "/lengths", body=b"body").status == 400


def test_modifier_30_takes_the_script_name_off_the_path(site: tuple[Server, int]) -> None:
    for path, rest in (("/app", ""), ("/app/a/b", "/a/b"), ("/app/", "/")):
        found = seen(site[1], path)
        assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["APPLICATION"]) == ("/app", rest, None)
    found = seen(site[1], "/mounted/a")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["APPLICATION"]) == ("/mounted", "/a", "mounted")


def test_modifier_2_means_nothing_and_a_modifier_of_another_kind_is_refused(site: tuple[Server, int]) -> None:
    assert seen(site[1], "/modifier")["PATH_INFO"] == "/modifier"
    with HttpClient(("127.0.0.1", site[1])) as client:
        assert client.request("GET", "/other").status == 501


@pytest.mark.parametrize("path", ["/once", "/twice", "/host", "/hosts", "/app/chat", "/modifier"])
def test_websockets_open_through_each(site: tuple[Server, int], path: str) -> None:
    with RawClient(site[1]) as peer:
        peer.shake_hands(handshake(path, [("Host", "site.example")]))
        peer.expect_text("last" if path == "/hosts" else "site.example")
        peer.finish()
