"""HTTP/2 and its WebSockets, spoken to by other people's programs, over TLS where they want it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.chromium import chromium_page
from support.eventually import eventually
from support.http2_client import HEADERS, PREFACE, SETTINGS, Http2Client, frame
from support.http_client import HttpClient, fetch
from support.peers import require_module, require_program
from support.server import UWSGI_WS, Program, Server
from support.tls import Authority, https

Serve = Callable[..., Server]

CLEAR = Program((*UWSGI_WS.command[:3], "--http2-socket", "127.0.0.1:0"), UWSGI_WS.ready)
APPLICATION = """
import uwsgi_ws

def application(environ, start_response):
    if "HTTP_UPGRADE" not in environ:
        names = ("HTTPS", "wsgi.url_scheme", "SERVER_PROTOCOL")
        start_response("200 OK", [("Content-Type", "text/html")])
        return [" ".join(environ.get(name, "-") for name in names).encode()]
    ws = uwsgi_ws.accept(environ, subprotocols=["chat.v2"])
    for message in ws:
        if message == "leave":
            ws.close(4001, "as you wish")
        else:
            ws.send(message)
    return []
"""
#: The access line of a WebSocket that came by extended CONNECT.
EXTENDED = r"GET \S+ => .* \(HTTP/2\.0 200\) .* websocket: received"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_alpn_leads_to_http2_and_its_websockets(serve: Serve, authority: Authority) -> None:
    server = serve(APPLICATION, program=https(authority.issue()))
    with Http2Client(server.addresses[0], tls=authority.client_context()) as client:
        assert client.request().body == b"on https HTTP/2.0"
        sockets = [client.websocket() for _ in range(10)]
        for number, each in enumerate(sockets):
            each.send_text(f"hello {number}" * 10_000)
        for number, each in enumerate(sockets):
            each.expect_text(f"hello {number}" * 10_000)
            each.finish()


def test_requests_may_come_with_the_end_of_the_handshake(serve: Serve, authority: Authority) -> None:
    """One packet: no event tells of the part behind the handshake."""
    server = serve(APPLICATION, program=https(authority.issue()))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = authority.client_context()
    context.set_alpn_protocols(["h2"])
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(server.addresses[0], 10) as sock:

        def until_done(step: Callable[[], object]) -> object:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65_536))

        until_done(tls.do_handshake)
        # :method GET, :scheme https, :path /, :authority x
        tls.write(PREFACE + frame(SETTINGS) + frame(HEADERS, b"\x82\x87\x84\x41\x01x", flags=5, stream=1))
        sock.sendall(outgoing.read())
        came = b""
        while b"on https HTTP/2.0" not in came:
            came += until_done(lambda: tls.read(65_536))  # type: ignore[operator]


def test_http2_can_be_switched_off(serve: Serve, authority: Authority) -> None:
    server = serve(APPLICATION, "--no-http2", program=https(authority.issue()))
    context = authority.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(server.addresses[0], 10) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
    ):
        assert tls.selected_alpn_protocol() == "http/1.1"


def test_without_http2_its_library_is_not_imported(serve: Serve, authority: Authority) -> None:
    application = """
import sys

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str("h2.connection" in sys.modules).encode()]
"""
    for options, is_imported in ((["--no-http2"], b"False"), ([], b"True")):
        server = serve(application, *options, program=https(authority.issue()))
        with HttpClient(server.addresses[0], tls=authority.client_context()) as client:
            assert client.request().body == is_imported


def test_chromium_opens_its_websockets_in_its_http2_connection(serve: Serve, authority: Authority) -> None:
    server = serve(APPLICATION, program=https(authority.issue()))
    with chromium_page(ignore_https_errors=True) as page:
        page.goto(f"https://127.0.0.1:{server.port}/")
        outcome = page.evaluate(
            """async () => {
                const talk = (number) => new Promise((resolve, reject) => {
                    const socket = new WebSocket(`wss://${location.host}/ws`, ["chat.v1", "chat.v2"]);
                    const came = [];
                    socket.onopen = () => { socket.send(`${number}`); socket.send('ä'.repeat(200000)); };
                    socket.onmessage = ({data}) => {
                        came.push(data.length);
                        if (came.length == 2) socket.send('leave');
                    };
                    socket.onclose = ({code, reason, wasClean}) =>
                        resolve([came, socket.protocol, code, reason, wasClean]);
                });
                const sockets = [0, 1, 2, 3, 4].map(talk);
                const text = await (await fetch('/')).text();
                return [text, await Promise.all(sockets)];
            }"""
        )
    assert outcome == ["on https HTTP/2.0", [[[1, 200_000], "chat.v2", 4001, "as you wish", True]] * 5]
    eventually(lambda: len(re.findall(EXTENDED, server.log)) == 5)


def test_node_speaks_to_it(serve: Serve, authority: Authority) -> None:
    server = serve(APPLICATION, program=https(authority.issue()))
    script = """
const http2 = require('node:http2'), fs = require('node:fs');
const [url, ca] = process.argv.slice(1);
const client = http2.connect(url, { ca: fs.readFileSync(ca) });
const read = (stream, size) => new Promise((resolve) => {
  let data = Buffer.alloc(0);
  stream.on('data', (piece) => { data = Buffer.concat([data, piece]); if (data.length >= size) resolve(data); });
  stream.on('end', () => resolve(data));
});
client.on('remoteSettings', async (settings) => {
  const plain = client.request({ ':path': '/' });
  const body = (await read(plain, Infinity)).toString();
  const socket = client.request({
    ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13',
  });
  const status = await new Promise((resolve) => socket.on('response', (headers) => resolve(headers[':status'])));
  const echoed = read(socket, 7);
  socket.write(Buffer.from([0x81, 0x85, 0, 0, 0, 0, ...Buffer.from('hello')]));
  console.log(JSON.stringify([settings.enableConnectProtocol, body, status, (await echoed).toString('latin1')]));
  socket.close();
  client.close();
});
"""
    command = [require_program("node"), "-e", script, "--", f"https://127.0.0.1:{server.port}", str(authority.path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [True, "on https HTTP/2.0", 200, "\x81\x05hello"]
    server.wait_for_log(EXTENDED)


def test_curl_speaks_to_it_in_the_clear(serve: Serve) -> None:
    server = serve(APPLICATION, program=CLEAR)
    command = [require_program("curl"), "-sS", "--http2-prior-knowledge", server.url()]
    assert subprocess.run(command, capture_output=True, timeout=20, check=True).stdout == b"- http HTTP/2.0"


@pytest.mark.long
@pytest.mark.parametrize("carrier", ["h2c", "tls"])
def test_h2load_gets_all_its_answers(serve: Serve, authority: Authority, carrier: str) -> None:
    """10,000 requests of 100 clients with 10 streams each."""
    program = require_program("h2load")
    server = serve(APPLICATION, "--disable-logging", program=CLEAR if carrier == "h2c" else https(authority.issue()))
    url = f"{'http' if carrier == 'h2c' else 'https'}://127.0.0.1:{server.port}/"
    command = [program, "-n", "10000", "-c", "100", "-m", "10", url]
    said = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout
    print(next(line for line in said.splitlines() if line.startswith("finished in")))
    assert "10000 done, 10000 succeeded, 0 failed, 0 errored, 0 timeout" in said, said
    assert "status codes: 10000 2xx, 0 3xx, 0 4xx, 0 5xx" in said, said


HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  timeout tunnel 10s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server one 127.0.0.1:{backend} proto h2
"""


@contextlib.contextmanager
def haproxy(backend: int, folder: Path) -> Iterator[int]:
    """haproxy in front of an HTTP/2 server; gives its port."""
    program = require_program("haproxy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    configuration = folder / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(port=port, backend=backend))
    with subprocess.Popen([program, "-db", "-f", str(configuration)], stderr=subprocess.PIPE) as process:
        try:
            eventually(lambda: can_connect(port))
            yield port
        finally:
            process.terminate()


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_haproxy_turns_upgrades_into_extended_connects(serve: Serve, tmp_path: Path) -> None:
    server = serve(APPLICATION, program=CLEAR)
    client = require_module("websockets.sync.client")
    with haproxy(server.port, tmp_path) as port:
        assert fetch(("127.0.0.1", port)).text == "- http HTTP/2.0"
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(client.connect(f"ws://127.0.0.1:{port}/", compression=None, max_size=None))
                for _ in range(5)
            ]
            for connection in connections:
                connection.send(b"x" * 1_000_000)
            for connection in connections:
                assert connection.recv(10) == b"x" * 1_000_000
            connections[0].send("leave")
            with pytest.raises(require_module("websockets.exceptions").ConnectionClosed):
                connections[0].recv(10)
            assert connections[0].close_code == 4001
        eventually(lambda: len(re.findall(EXTENDED, server.log)) == 5)
