"""One file of options as sites have them, under this server and under uWSGI: the same results, or a reason."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.eventually import eventually
from support.http_client import EndOfStream, HttpClient, Response, fetch
from support.peers import require_program
from support.server import APPLICATIONS, ROOT, Program, Server, free_port
from support.websocket_client import RawClient, close_frame, frame, handshake

INI = """
[uwsgi]
; what a site of some years has gathered
project = shop
base = %d
chdir = %(base)
pythonpath = %(base)lib
module = %(project):application
callable = application
mount = /api=%(base)lib/shop.py
manage-script-name = true
http-socket = 127.0.0.1:{port}
socket = %(base)%(project).sock
chmod-socket = 660
stats = %(base)stats.sock
master = true
processes = %(one + 1)
one = 1
gevent = 50
gevent-monkey-patch = true
http-websockets = true
enable-threads = true
single-interpreter = true
lazy-apps = true
need-app = true
buffer-size = 8192
post-buffering = 4096  # bytes
limit-post = 1048576
max-requests = 5000 ; then a new worker
max-requests-delta = 10
max-worker-lifetime = 3600
reload-on-rss = 2048
socket-timeout = 30
http-timeout = 60
listen = 100
vacuum = true
die-on-term = true
no-orphans = true
thunder-lock = true
ignore-sigpipe = true
ignore-write-errors = true
disable-write-exception = true
offload-threads = 1
log-format = line %(method) %(uri) %(proto) %(status) %(host) %(addr)
log-4xx = true
log-5xx = true
static-map = /static=%(base)static
static-index = index.html
static-expires = /* 3600
add-header = X-Served: here
route = ^/old/(.*) redirect:/new/$1
env = DJANGO_SETTINGS_MODULE=%(project).settings
env = PYTHONDONTWRITEBYTECODE=1
if-env = DEBUG
env = MODE=debug
endif =
if-not-env = DEBUG
env = MODE=production
endif =
for = a b
env = LIST_%(_)=%(_)
endfor =
pidfile = %(base)%n.pid
touch-reload = %(base)reload
worker-reload-mercy = 5
reload-mercy = 5
auto-procname = true
procname-prefix-spaced = [site]
"""

PROGRAMS = {
    "ours": Program((sys.executable, "-m", "uwsgi_ws"), r"spawned uwsgi_ws worker 2"),
    "uwsgi": Program(("uwsgi",), r"spawned uWSGI worker 2"),
}
#: Those that matter; uWSGI says no Date and no Connection.
HEADERS = ("Content-Type", "Content-Length", "Location", "Last-Modified", "X-Mine", "X-Served", "Set-Cookie")


class Site(NamedTuple):
    """A folder with the file in it, and what serves it."""

    folder: Path
    port: int
    server: Server

    def ask(self, target: str, headers: tuple[tuple[str, str], ...] = (), method: str = "GET") -> Response:
        return fetch(("127.0.0.1", self.port), target, headers, method)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: Any) -> Iterator[dict[str, Site]]:
    require_program("uwsgi")
    with ExitStack() as stack:
        started = {}
        for name, program in PROGRAMS.items():
            folder = tmp_path_factory.mktemp(name)
            (folder / "lib").mkdir()
            shutil.copy(APPLICATIONS / "shop.py", folder / "lib")
            (folder / "static/sub").mkdir(parents=True)
            (folder / "static/hello.txt").write_text("a file")
            (folder / "static/style.css").write_text("a {}")
            (folder / "static/large.bin").write_bytes(bytes(range(250)) * 1200)
            (folder / "static/sub/index.html").write_text("<p>index")
            for file in folder.glob("static/**/*"):
                os.utime(file, (1_700_000_000, 1_700_000_000))
            (folder / "reload").touch()
            port = free_port()
            (folder / "shop.ini").write_text(INI.replace("{port}", str(port)))
            env = {"PYTHONPATH": str(ROOT), "DEBUG": None}
            command = ("--ini", str(folder / "shop.ini"))
            server = Server(None, *command, program=program, cwd=folder, env=env, concurrency=())
            started[name] = Site(folder, port, stack.enter_context(server))
        yield started


def seen(response: Response, *, body: bool = True) -> dict[str, Any]:
    """Return what of a response has to be the same."""
    headers = {name: response.all(name) for name in HEADERS}
    told = json.loads(response.body) if body and response.get("Content-Type") == "application/json" else response.body
    if isinstance(told, bytes) and len(told) > 1000:
        told = hashlib.sha256(told).hexdigest()
    return {"status": response.status, "reason": response.reason, **headers, "body": told}


def redirected(site: Site) -> Any:
    """A redirect of uWSGI's says neither how long it is nor that the connection ends, which ``fetch`` refuses."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.request("GET", "/old/a/b", headers={"Host": "shop.example", "Connection": "close"})
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("Location"), answer.getheader("X-Served")


def upload(site: Site, size: int) -> Response:
    with HttpClient(("127.0.0.1", site.port)) as client:
        return client.request("POST", "/upload", [("Content-Type", "text/plain")], (b"x" * 99 + b"\n") * (size // 100))


def outcome(ask: Callable[[], Response]) -> Any:
    """Return what a request that may be refused comes to."""
    try:
        return seen(ask())["status"]
    except (EndOfStream, OSError):
        return "closed"


def too_large_a_head(site: Site) -> Any:
    return outcome(lambda: site.ask("/", (("X-Large", "x" * 9000),)))


def too_large_a_body(site: Site) -> Any:
    return outcome(lambda: upload(site, 1_100_000))


def opening_handshake(site: Site) -> Any:
    with RawClient(site.port) as peer:
        request = handshake("/chat", [("Origin", "http://site.example"), ("Sec-WebSocket-Protocol", "chat")])
        answer = peer.shake_hands(request)
        names = ("upgrade", "connection", "sec-websocket-origin", "sec-websocket-protocol", "sec-websocket-accept")
        return answer.reason, {name: answer.headers.get(name, "").lower() for name in names}, answer.headers["x-served"]


def messages(site: Site) -> Any:
    with RawClient.open(site.port, "/chat") as peer:
        found = []
        for message in (b"hi", b"", "\u20ac".encode(), b"\0\x01\xff", b"x" * 70_000):
            peer.send(frame(2 if message[:1] == b"\0" else 1, message))
            answer = peer.read_frame()
            found.append((answer.fin, answer.opcode, hashlib.sha256(answer.payload).hexdigest()))
        peer.send(frame(1, b"one") + frame(1, b"two"))
        return found, peer.read_frame(), peer.read_frame()


def ping(site: Site) -> Any:
    with RawClient.open(site.port, "/chat") as peer:
        peer.send(frame(9, b"payload"))
        return peer.read_frame().payload


def close_by_the_client(site: Site) -> Any:
    with RawClient.open(site.port, "/chat") as peer:
        peer.send(close_frame(1000, b"done"))
        answer = peer.read_frame()
        assert answer.opcode == 8
        assert peer.read_all() == b""
        return answer.payload


def close_by_the_application(site: Site) -> Any:
    with RawClient.open(site.port, "/chat") as peer:
        peer.send_text("return")
        peer.half_close()  # nobody waits for an answer to what is said
        return peer.read_all()


def lines(site: Site) -> Any:
    targets = ("/line?a=b", "/none", "/api/line", "/static/hello.txt")
    for target in targets:
        site.ask(target, (("Host", "line.example"),))
    with RawClient(site.port) as peer:
        peer.shake_hands(handshake("/chat", [("Host", "line.example")]))
        peer.send(close_frame())
        peer.read_all()
    found = re.compile(r"^line .* line.example .*$", re.MULTILINE)
    eventually(lambda: len(found.findall(site.server.log)) > len(targets))
    return sorted(found.findall(site.server.log))


def statistics(site: Site) -> Any:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(site.folder / "stats.sock"))
        with client.makefile("rb") as file:
            told = json.loads(file.read())
    return sorted(worker["id"] for worker in told["workers"]), told["cwd"] == str(site.folder)


def process_names(site: Site) -> Any:
    pids = [site.server.pid, json.loads(site.ask("/pid").body)]
    return [Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"[site] ") for pid in pids]


PROBES: dict[str, Callable[[Site], Any]] = {
    "page": lambda site: seen(site.ask("/a?b=c")),
    "escaped": lambda site: seen(site.ask("/a%20b/%C3%A9//x?x=1&y=%26", (("X-Twice", "1"), ("Cookie", "a=b; c")))),
    "twice the same header": lambda site: seen(site.ask("/", (("X-Twice", "1"), ("X-Twice", "2")))),
    "head": lambda site: seen(site.ask("/a", method="HEAD"), body=False),
    "other method": lambda site: seen(site.ask("/a", method="PROPFIND")),
    "not found": lambda site: seen(site.ask("/none")),
    "no content": lambda site: seen(site.ask("/nothing")),
    "pieces": lambda site: seen(site.ask("/pieces")),
    "file wrapper": lambda site: seen(site.ask("/file")),
    "upload": lambda site: seen(upload(site, 300)),
    "upload into a file": lambda site: seen(upload(site, 200_000)),
    "mount": lambda site: seen(site.ask("/api/x?y")),
    "mount itself": lambda site: seen(site.ask("/api")),
    "not the mount": lambda site: seen(site.ask("/apix")),
    "route": redirected,
    "static": lambda site: seen(site.ask("/static/hello.txt")),
    "static head": lambda site: seen(site.ask("/static/hello.txt", method="HEAD")),
    "static type": lambda site: seen(site.ask("/static/style.css")),
    "static expires": lambda site: bool(site.ask("/static/style.css").get("Expires")),
    "static index": lambda site: seen(site.ask("/static/sub/")),
    "static large": lambda site: seen(site.ask("/static/large.bin")),
    "static unchanged": lambda site: (
        site.ask("/static/hello.txt", (("If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT"),)).status
    ),
    "static missing": lambda site: seen(site.ask("/static/none.txt")),
    "static elsewhere": lambda site: json.loads(site.ask("/static/../lib/shop.py").body)["PATH_INFO"],
    "static range": lambda site: site.ask("/static/hello.txt", (("Range", "bytes=0-2"),)).text,
    "error": lambda site: outcome(lambda: site.ask("/error")),
    "too large a head": too_large_a_head,
    "too large a body": too_large_a_body,
    "process": lambda site: json.loads(site.ask("/process").body),
    "process names": process_names,
    "opening handshake": opening_handshake,
    "messages": messages,
    "ping": ping,
    "close by the client": close_by_the_client,
    "close by the application": close_by_the_application,
    "lines": lines,
    "statistics": statistics,
    "pidfile": lambda site: (site.folder / "shop.pid").read_text().strip() == str(site.server.pid),
    "mode of the socket": lambda site: oct((site.folder / "shop.sock").stat().st_mode & 0o777),
}
#: What is not the same on purpose: ours, uWSGI's, and why. README says it under "Differences from uWSGI".
DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "error": (500, "closed", "a client is told that the application failed"),
    "too large a head": (431, "closed", "the same of its own fault"),
    "too large a body": (413, "closed", "the same"),
    "static range": ("a f", "a file", "byte ranges need no option"),
    "static elsewhere": ("/static/../lib/shop.py", "/lib/shop.py", "the application gets the path that was asked for"),
    "ping": (b"payload", b"", "RFC 6455 5.5.3: a pong has its ping's payload"),
    "close by the client": (b"\x03\xe8", b"", "RFC 6455 5.5.1: the close code is echoed"),
    "close by the application": (b"\x88\x02\x03\xe8", b"", "RFC 6455 7.1.1: an endpoint says that it closes"),
}


@pytest.mark.parametrize("probe", PROBES)
def test_both_do_the_same(sites: dict[str, Site], probe: str) -> None:
    ours, uwsgis = (PROBES[probe](site) for site in sites.values())
    if probe in DIFFERENT:
        assert (ours, uwsgis) == DIFFERENT[probe][:2]
    else:
        assert ours == uwsgis


def test_both_reload_when_a_file_is_touched(sites: dict[str, Site]) -> None:
    for site in sites.values():
        code = site.folder / "lib/shop.py"
        code.write_text(code.read_text().replace('EDITION = "first"', 'EDITION = "second"'))
        os.utime(code, (2_000_000_000, 2_000_000_000))
        os.utime(site.folder / "reload", (2_000_000_000, 2_000_000_000))
    for site in sites.values():
        eventually(partial(is_second_edition, site), 20)


def is_second_edition(site: Site) -> bool:
    try:
        return json.loads(site.ask("/edition").body) == "second"
    except (EndOfStream, OSError):  # uWSGI refuses clients meanwhile
        return False


def test_both_end_on_sigterm(sites: dict[str, Site]) -> None:
    for site in sites.values():
        assert site.server.stop(signal.SIGTERM) == 0
        assert not (site.folder / "shop.pid").exists()
    assert not (sites["ours"].folder / "shop.sock").exists()  # uWSGI's stays where there has been a reload
