"""The ways from a client to the server: directly, by another protocol, or through other people's programs.

A carrier is one function, marked by ``@carrier``: it starts a server, whatever stands in front of it, and yields a
``Carrier``. ``test_carriers.py`` runs one suite over all of them. The programs in front run the very files of
``examples/deploy``, with addresses and timeouts replaced where ``deployed`` is called.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from support.event_source import EventSource
from support.eventually import eventually
from support.gunicorn import gunicorn_program
from support.http2_client import Http2Client, StreamSocket
from support.peers import missing, require_program
from support.server import EXAMPLES, Server, free_port
from support.tls import Authority, TlsSocket
from support.uwsgi_client import packet_of
from support.websocket_client import DEADLINE, PING, PONG, Frame, RawClient, Response, frame, handshake

Address = tuple[str, int] | str  # TCP, or a unix socket's path
# start(*options): a running server with the suite's application; start(program=, env=): that of another program.
Start = Callable[..., Server]

DEPLOY = EXAMPLES / "deploy"
BACKEND = "127.0.0.1:3031"  # in all of those files
SILENCE = 1  # seconds: what the files' timeouts are shortened to
# A ping after so little silence that idle clients get several; a tolerance that slow machines keep to.
OPTIONS = ("--websockets-ping-freq", "0.3", "--websockets-pong-tolerance", "10")
GUNICORN_ENV = {"UWSGI_WEBSOCKETS_PING_FREQ": "0.3", "UWSGI_WEBSOCKETS_PONG_TOLERANCE": "10"}


class PoliteClient(RawClient):
    """Answers the pings that come between the frames a test waits for.

    Attributes:
        response: The answer to its opening handshake.
    """

    response: Response

    def read_frame(self) -> Frame:
        end = time.monotonic() + DEADLINE
        while (came := super().read_frame()).opcode == PING:
            assert time.monotonic() < end, "nothing but pings came"
            self.send(frame(PONG, came.payload))
        return came

    def stay_idle(self, seconds: float, pings: int) -> None:
        """Only answer pings for so many seconds, and until so many have come."""
        end = time.monotonic() + seconds
        answered = 0
        while time.monotonic() < end or answered < pings:
            came = super().read_frame()
            assert came.opcode == PING, came
            self.send(frame(PONG, came.payload))
            answered += 1


class Carrier:
    """A way to a running server.

    Args:
        server: The server that it leads to.
        address: Where clients connect.
        wire: Turns the bytes of an HTTP request into what is sent.
        patience: Seconds of silence after which a program on the way would give up; 0 when there is none.
        tells_client: Whether REMOTE_ADDR and REMOTE_PORT are the client's own.
        takes_early: Whether bytes that a client sends right behind its opening handshake arrive.
    """

    def __init__(
        self,
        server: Server,
        address: Address,
        *,
        wire: Callable[[bytes], bytes] = bytes,
        patience: float = 0,
        tells_client: bool = True,
        takes_early: bool = True,
    ) -> None:
        self.server = server
        self.address = address
        self.wire = wire
        self.patience = patience
        self.tells_client = tells_client
        self.takes_early = takes_early

    def connect(self) -> socket.socket:
        """Return a connected socket, or what has a socket's methods."""
        if isinstance(self.address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(DEADLINE)
            sock.connect(self.address)
            return sock
        sock = socket.create_connection(self.address, DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def open(self, path: str, headers: Mapping[str, str] | None = None, early: bytes = b"") -> PoliteClient:
        """Return a client that has completed the opening handshake; ``early`` goes with the request."""
        client = PoliteClient(self.connect())
        try:
            client.response = client.shake_hands(self.wire(handshake(path, (headers or {}).items()) + early))
        except BaseException:
            client.close()
            raise
        return client

    def fetch(self, method: str, path: str, body: bytes = b"", *, chunked: bool = False) -> tuple[Response, bytes, int]:
        """Send a request; return the response, its body, and the port that it was sent from (0: none)."""
        with PoliteClient(self.connect()) as client:
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
            if chunked:
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            client.send(self.wire(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}\r\n\r\n".encode() + body))
            response = client.read_response()
            name = client.sock.getsockname()
            return response, client.read(int(response.headers["content-length"])), name[1] if name and name[1:] else 0

    def events(self, path: str) -> EventSource:
        """Open an event stream."""
        sock = self.connect()
        try:
            sock.sendall(self.wire(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()))
            return EventSource(sock)
        except BaseException:
            sock.close()
            raise


class TlsCarrier(Carrier):
    """A way that begins with a TLS handshake, in which HTTP/1.1 is agreed on.

    Args:
        server: The server that it leads to.
        address: Where clients connect.
        context: Used by the clients.
    """

    def __init__(self, server: Server, address: Address, context: ssl.SSLContext) -> None:
        super().__init__(server, address)
        context.set_alpn_protocols(["http/1.1"])
        context.sslsocket_class = TlsSocket
        self._context = context

    def connect(self) -> socket.socket:
        sock = self._context.wrap_socket(super().connect(), server_hostname="127.0.0.1")
        assert sock.selected_alpn_protocol() == "http/1.1"
        return sock


class StreamClient(PoliteClient):
    """A WebSocket in a stream."""

    sock: StreamSocket  # type: ignore[assignment]

    def reset(self) -> None:
        self.sock.reset()


class Http2Carrier(Carrier):
    """A connection in which each WebSocket and each request is a stream, as browsers have it.

    Args:
        server: The server that it leads to.
        connection: A connection to it.
    """

    def __init__(self, server: Server, connection: Http2Client) -> None:
        super().__init__(server, connection.sock.getpeername())
        self._connection = connection

    def open(self, path: str, headers: Mapping[str, str] | None = None, early: bytes = b"") -> PoliteClient:
        stream = self._connection.websocket_stream(path, (headers or {}).items(), early)
        client = StreamClient(stream)  # type: ignore[arg-type]
        client.response = Response(stream.state.status, "", stream.state.headers)
        return client

    def fetch(self, method: str, path: str, body: bytes = b"", *, chunked: bool = False) -> tuple[Response, bytes, int]:
        """Send a request. HTTP/2 has no chunks, but bodies of unknown length."""
        length = [] if chunked else [("content-length", str(len(body)))]
        answer = self._connection.request(method, path, length, body or None)
        port = self._connection.sock.getsockname()[1]
        return Response(answer.status, "", answer.headers), bytes(answer.body), port

    def events(self, path: str) -> EventSource:
        connection = self._connection
        number = connection.start("GET", path)
        connection.wait(lambda: connection.streams[number].status)
        events = EventSource(StreamSocket(connection, number, is_shut=True), is_http1=False)
        events.status, events.headers = connection.streams[number].status, connection.streams[number].headers
        return events


Carry = Callable[[Start, Path], contextlib.AbstractContextManager[Carrier]]
CARRIERS: list[Carry] = []


def carrier(function: Callable[[Start, Path], Iterator[Carrier]]) -> Callable[[Start, Path], Iterator[Carrier]]:
    """Add a carrier: a generator that gets the function that starts the server, and a folder of its own."""
    CARRIERS.append(contextlib.contextmanager(function))
    return function


# Nothing in between


@carrier
def http1(start: Start, folder: Path) -> Iterator[Carrier]:
    server = start()
    yield Carrier(server, server.addresses[0])


@carrier
def http1_unix(start: Start, folder: Path) -> Iterator[Carrier]:
    path = str(folder / "http.sock")
    yield Carrier(start("--http", path), path, tells_client=False)


@carrier
def tls(start: Start, folder: Path) -> Iterator[Carrier]:
    authority = Authority(folder)
    server = start("--https", f"127.0.0.1:0,{authority.issue()}")
    yield TlsCarrier(server, server.addresses[1], authority.client_context())


@carrier
def http2(start: Start, folder: Path) -> Iterator[Carrier]:
    authority = Authority(folder)
    server = start("--https", f"127.0.0.1:0,{authority.issue()}")
    with Http2Client(server.addresses[1], tls=authority.client_context()) as connection:
        yield Http2Carrier(server, connection)


@carrier
def uwsgi(start: Start, folder: Path) -> Iterator[Carrier]:
    server = start("--uwsgi-socket", "127.0.0.1:0")
    yield Carrier(server, server.addresses[1], wire=packet_of, tells_client=False)


@carrier
def uwsgi_unix(start: Start, folder: Path) -> Iterator[Carrier]:
    path = str(folder / "uwsgi.sock")
    yield Carrier(start("--uwsgi-socket", path), path, wire=packet_of, tells_client=False)


# Another server's processes


@carrier
def gunicorn(start: Start, folder: Path) -> Iterator[Carrier]:
    server = start(program=gunicorn_program(), env=GUNICORN_ENV)
    yield Carrier(server, server.addresses[0])


# Another instance with a route


def routed(start: Start, action: str, server: Server, tells_client: bool) -> Iterator[Carrier]:
    """Start an instance that passes everything on to the last address of ``server``.

    It has the application, too. Should it answer itself, the tests miss what they look for in the log of ``server``.
    """
    host, port = server.addresses[-1]
    front = start("--route", f"^/ {action}:{host}:{port}", "--route-timeout", str(SILENCE))
    yield Carrier(server, front.addresses[0], patience=SILENCE, tells_client=tells_client)


@carrier
def routed_by_uwsgi(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from routed(start, "uwsgi", start("--uwsgi-socket", "127.0.0.1:0"), tells_client=True)


@carrier
def routed_by_http(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from routed(start, "http", start(), tells_client=False)


# Other people's programs


def deployed(name: str, changes: Mapping[str, str]) -> str:
    """Return a file of examples/deploy with some of its texts replaced, each of which must be there."""
    text = (DEPLOY / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


def backend(start: Start, name: str) -> tuple[Server, str]:
    """Start the server by the first line of a file of examples/deploy; return it and its address."""
    first = (DEPLOY / name).read_text().splitlines()[0]
    assert BACKEND in first
    words = shlex.split(first.lstrip("#; ").replace(BACKEND, "127.0.0.1:0"))
    assert words[:3] + words[-2:] == ["python", "-m", "uwsgi_ws", "--wsgi-file", "app.py"]
    server = start(*words[3:-2])
    host, port = server.addresses[1]
    return server, f"{host}:{port}"


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[tuple[str, int]]:
    """Run a program that listens on a port, with all the processes that it makes; give its address."""
    address = ("127.0.0.1", port)
    log = folder / "program.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)

    def is_up() -> bool:
        assert process.poll() is None, f"{command[0]} has ended:\n{log.read_text()}"
        try:
            socket.create_connection(address, DEADLINE).close()
        except ConnectionRefusedError:
            return False
        return True

    try:
        try:
            eventually(is_up, 10)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; its log:\n{log.read_text()}") from exc
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sys.stderr.write(f"log of {command[0]}\n{log.read_text(errors='replace')}")


NGINX = """\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    uwsgi_temp_path uwsgi;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    include site.conf;
}
"""


def nginx(start: Start, folder: Path, name: str, tells_client: bool) -> Iterator[Carrier]:
    program = require_program("nginx", "/usr/sbin/nginx")
    parameters = Path("/etc/nginx/uwsgi_params")
    if not parameters.exists():
        missing(f"no {parameters}")
    shutil.copy(parameters, folder)
    server, where = backend(start, name)
    port = free_port()
    changes = {"listen 80;": f"listen 127.0.0.1:{port};", BACKEND: where, "60s": f"{SILENCE}s"}
    (folder / "site.conf").write_text(deployed(name, changes))
    (folder / "nginx.conf").write_text(NGINX)
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, port, folder) as address:
        yield Carrier(server, address, patience=SILENCE, tells_client=tells_client)


@carrier
def nginx_uwsgi_pass(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from nginx(start, folder, "nginx-uwsgi.conf", tells_client=True)


@carrier
def nginx_proxy_pass(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from nginx(start, folder, "nginx-http.conf", tells_client=False)


def haproxy(start: Start, folder: Path, name: str, tells_client: bool) -> Iterator[Carrier]:
    program = require_program("haproxy", "/usr/sbin/haproxy")
    server, where = backend(start, name)
    port = free_port()
    changes = {"bind :80": f"bind 127.0.0.1:{port}", f"one {BACKEND}": f"one {where}", "60s": f"{SILENCE}s"}
    (folder / "haproxy.cfg").write_text(deployed(name, changes))
    with running([program, "-db", "-f", "haproxy.cfg"], port, folder) as address:
        yield Carrier(server, address, patience=SILENCE, tells_client=tells_client)


@carrier
def haproxy_http(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from haproxy(start, folder, "haproxy-http.cfg", tells_client=False)


@carrier
def haproxy_h2(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from haproxy(start, folder, "haproxy-h2.cfg", tells_client=False)


@carrier
def haproxy_proxy_v1(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from haproxy(start, folder, "haproxy-proxy-v1.cfg", tells_client=True)


@carrier
def haproxy_proxy_v2(start: Start, folder: Path) -> Iterator[Carrier]:
    yield from haproxy(start, folder, "haproxy-proxy-v2.cfg", tells_client=True)


@carrier
def uwsgi_router(start: Start, folder: Path) -> Iterator[Carrier]:
    name = "uwsgi-router.ini"
    program = require_program("uwsgi")
    server, where = backend(start, name)
    port = free_port()
    silence = SILENCE + 1  # it counts whole seconds by the calendar, so that 1 may be hardly any
    changes = {
        "http = :80": f"http = 127.0.0.1:{port}",
        f"to = {BACKEND}": f"to = {where}",
        "timeout = 60": f"timeout = {silence}",
    }
    (folder / name).write_text(deployed(name, changes))
    with running([program, "--ini", name], port, folder) as address:
        # Two faults of uWSGI 2.0.31: REMOTE_PORT comes with its bytes swapped, and what it reads together with an
        # opening handshake is lost. (RFC 6455 4.1 has clients wait for the 101 before they send.)
        yield Carrier(server, address, patience=silence, tells_client=False, takes_early=False)


# These are installed from PyPI (tests/deploying.txt).


@carrier
def envoy(start: Start, folder: Path) -> Iterator[Carrier]:
    name = "envoy.yaml"
    program = require_program("envoy")
    server, where = backend(start, name)
    port = free_port()
    changes = {
        "address: 0.0.0.0, port_value: 80}": f"address: 127.0.0.1, port_value: {port}}}",
        "port_value: 3031": f"port_value: {where.rpartition(':')[2]}",
        "stream_idle_timeout: 60s": f"stream_idle_timeout: {SILENCE}s",
    }
    (folder / name).write_text(deployed(name, changes))
    command = [program, "--config-path", name, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]
    with running(command, port, folder) as address:
        yield Carrier(server, address, patience=SILENCE, tells_client=False)


#: Global options: nothing beside the site, and nothing outside of the folder.
CADDY = "{\ndefault_bind 127.0.0.1\nadmin off\npersist_config off\nstorage file_system .\n}\n"


@carrier
def caddy(start: Start, folder: Path) -> Iterator[Carrier]:
    name = "Caddyfile"
    program = require_program("caddy")
    server, where = backend(start, name)
    port = free_port()
    text = deployed(name, {"\n:80 ": f"\n:{port} ", BACKEND + " {": where + " {"})
    (folder / name).write_text(CADDY + text)
    with running([program, "run", "--config", name, "--adapter", "caddyfile"], port, folder) as address:
        yield Carrier(server, address, tells_client=False)


@carrier
def traefik(start: Start, folder: Path) -> Iterator[Carrier]:
    name = "traefik-routes.yml"
    program = require_program("traefik")
    server, where = backend(start, name)
    port = free_port()
    (folder / "traefik.yml").write_text(deployed("traefik.yml", {'":80"': f'"127.0.0.1:{port}"'}))
    (folder / name).write_text(deployed(name, {f"http://{BACKEND}": f"http://{where}"}))
    with running([program, "--configFile=traefik.yml"], port, folder) as address:
        # As uWSGI's router it loses what comes together with an opening handshake.
        carrier = Carrier(server, address, tells_client=False, takes_early=False)
        # It listens before it has read the routes.
        eventually(lambda: carrier.fetch("GET", "/client")[0].status == 200)
        yield carrier
