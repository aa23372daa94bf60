"""The servers and proxies of the garden: how each is started here, and which are missing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

__all__ = ["ORIGINS", "OURS", "PROXIES", "Peer", "Running", "running"]

#: Seconds within which all serve.
START = 120.0


@dataclass(frozen=True)
class Place:
    """Where a peer runs: its port, the port behind a proxy, its folder, and the mark that a proxy sets."""

    port: int
    backend: int
    folder: Path
    mark: str


@dataclass(frozen=True)
class Peer:
    """A server or proxy.

    Args:
        name: As reports say it.
        program: What must be on PATH, or among the garden's environment.
        arguments: What it is started with; ``{file}`` is its configuration.
        configuration: Its text.
        version: The arguments that make it say its version.
        mark: What a proxy that cannot set our mark sets for every request, as a pattern.
    """

    name: str
    program: str
    arguments: Callable[[Place], list[str]]
    configuration: Callable[[Place], str] | None = None
    version: tuple[str, ...] = ("--version",)
    mark: str | None = None

    def find(self, environment: Path) -> str | None:
        return shutil.which(
            self.program, path=f"{environment}/bin:{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
        )

    @cache  # noqa: B019  # there are twenty
    def told_version(self, environment: Path) -> str:
        """Return what it says of its version, or nothing."""
        program = self.find(environment)
        if program is None:
            return ""
        if self.program == "python":
            words = [program, "-c", f"from importlib.metadata import version; print(version({self.version[0]!r}))"]
        else:
            words = [program, *self.version]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        match = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
        return match[0] if match else ""


def _python(name: str, package: str, *words: str) -> Peer:
    """A server in Python, in the garden's environment."""
    return Peer(name, "python", lambda place: [word.format(port=place.port) for word in words], version=(package,))


OURS = Peer(
    "uwsgi_ws",
    sys.executable,
    lambda place: [
        *("-m", "uwsgi_ws", "--http", f"127.0.0.1:{place.port}", "--gevent", "1000", "--disable-logging"),
        *("--wsgi-file", str(HERE / "applications" / "saw.py")),
    ],
)
_UVICORN = ("-m", "uvicorn", "--port", "{port}", "--log-level", "critical", "--lifespan", "off", "saw:asgi", "--http")
_GUNICORN = ("-m", "gunicorn", "-k", "gthread", "--threads", "16", "--log-level", "critical", "-b", "127.0.0.1:{port}")
ORIGINS = [
    _python("gunicorn", "gunicorn", *_GUNICORN, "saw:application"),
    _python("waitress", "waitress", "-m", "waitress", "--listen=127.0.0.1:{port}", "--threads=16", "saw:application"),
    _python("uvicorn h11", "uvicorn", *_UVICORN, "h11"),
    _python("uvicorn httptools", "uvicorn", *_UVICORN, "httptools"),
    _python("hypercorn", "hypercorn", "-m", "hypercorn", "-b", "127.0.0.1:{port}", "--log-level=CRITICAL", "saw:asgi"),
    _python("aiohttp", "aiohttp", "aiohttp_server.py", "{port}"),
    _python("tornado", "tornado", "tornado_server.py", "{port}"),
    Peer("node", "node", lambda place: ["node_server.mjs", str(place.port)]),
]

_MODULES = ("mpm_event", "authz_core", "headers", "proxy", "proxy_http")
PROXIES = [
    Peer(
        "nginx",
        "nginx",
        lambda place: ["-c", "{file}", "-e", "/dev/null", "-p", str(place.folder)],
        lambda place: (
            f"""
            daemon off; user root; worker_processes 1; pid {place.folder}/pid; error_log /dev/null;
            events {{ worker_connections 512; }}
            http {{
              access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
              uwsgi_temp_path uwsgi; scgi_temp_path scgi;
              upstream back {{ server 127.0.0.1:{place.backend}; keepalive 16; }}
              server {{
                listen 127.0.0.1:{place.port};
                location / {{
                  proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_set_header X-Garden-Mark {place.mark};
                }}
              }}
            }}"""
        ),
        ("-v",),
    ),
    Peer(
        "haproxy",
        "haproxy",
        lambda place: ["-f", "{file}"],
        lambda place: (
            f"""
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend front
  bind 127.0.0.1:{place.port}
  http-request set-header X-Garden-Mark {place.mark}
  default_backend back
backend back
  http-reuse always
  server one 127.0.0.1:{place.backend}
"""
        ),
        ("-v",),
    ),
    Peer(
        "apache2",
        "apache2",
        lambda place: ["-f", "{file}", "-DFOREGROUND"],
        lambda place: "\n".join(
            [
                "ServerRoot /usr/lib/apache2",
                *(f"LoadModule {name}_module modules/mod_{name}.so" for name in _MODULES),
                f"Listen 127.0.0.1:{place.port}",
                "ServerName x",
                f"PidFile {place.folder}/pid",
                f"DefaultRuntimeDir {place.folder}",
                "ErrorLog /dev/null",
                "User www-data",
                "Group www-data",
                f'RequestHeader set X-Garden-Mark "{place.mark}"',
                f"ProxyPass / http://127.0.0.1:{place.backend}/",
                "",
            ]
        ),
        ("-v",),
    ),
    Peer(
        "lighttpd",
        "lighttpd",
        lambda place: ["-D", "-f", "{file}"],
        lambda place: (
            f"""
            server.modules = ("mod_setenv", "mod_proxy")
            server.document-root = "{place.folder}"
            server.bind = "127.0.0.1"
            server.port = {place.port}
            server.errorlog = "/dev/null"
            setenv.set-request-header = ("X-Garden-Mark" => "{place.mark}")
            proxy.server = ("" => (("host" => "127.0.0.1", "port" => {place.backend})))
        """
        ),
        ("-v",),
    ),
    Peer(
        "varnish",
        "varnishd",
        lambda place: [
            *("-F", "-a", f"127.0.0.1:{place.port}", "-f", "{file}", "-n", f"{place.folder}/run"),
            *("-s", "malloc,16m", "-j", "none", "-T", "none"),
        ],
        lambda place: (
            f"""
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{place.backend}"; }}
sub vcl_recv {{ set req.http.X-Garden-Mark = "{place.mark}"; return (pass); }}
"""
        ),
        ("-V",),
    ),
    Peer(
        "squid",
        "squid",
        lambda place: ["-N", "-f", "{file}"],
        lambda place: (
            f"""
http_port 127.0.0.1:{place.port} accel defaultsite=x no-vhost
cache_peer 127.0.0.1 parent {place.backend} 0 no-query no-digest no-netdb-exchange originserver name=back
cache_peer_access back allow all
http_access allow all
cache deny all
cache_mem 0 MB
request_header_add X-Garden-Mark "{place.mark}" all
pid_filename {place.folder}/pid
access_log none
cache_log /dev/null
cache_store_log none
coredump_dir {place.folder}
pinger_enable off
max_filedescriptors 1024
visible_hostname x
shutdown_lifetime 0 seconds
"""
        ),
    ),
    Peer(
        "h2o",
        "h2o",
        lambda place: ["-c", "{file}"],
        lambda place: (
            f"""
num-threads: 1
error-log: /dev/null
access-log: /dev/null
listen:
  host: 127.0.0.1
  port: {place.port}
hosts:
  default:
    paths:
      /:
        proxy.reverse.url: http://127.0.0.1:{place.backend}/
        proxy.timeout.keepalive: 2000
"""
        ),
        # Of the versions that Debian has, none sets a request's header fields; each adds itself to Via.
        mark=r"(.*, )?(1\.[01]|2)( .*)?",
    ),
    Peer(
        "envoy",
        "envoy",
        lambda place: ["-c", "{file}", "--concurrency", "1", "-l", "critical", "--disable-hot-restart"],
        lambda place: (
            f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {place.port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: garden
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            request_headers_to_add:
            - header: {{key: X-Garden-Mark, value: {place.mark}}}
              append_action: OVERWRITE_IF_EXISTS_OR_ADD
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: back}}}}]}}
  clusters:
  - name: back
    connect_timeout: 5s
    load_assignment:
      cluster_name: back
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {place.backend}}}}}}}
"""
        ),
    ),
    Peer(
        "caddy",
        "caddy",
        lambda place: ["run", "--adapter", "caddyfile", "--config", "{file}"],
        lambda place: (
            f"""
{{
  admin off
  auto_https off
  log default {{
    output discard
  }}
}}
http://:{place.port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{place.backend} {{
    header_up X-Garden-Mark {place.mark}
  }}
}}
"""
        ),
        ("version",),
    ),
    Peer(
        "traefik",
        "traefik",
        lambda place: [
            f"--entrypoints.web.address=127.0.0.1:{place.port}",
            "--providers.file.filename={file}",
            "--log.level=FATAL",
        ],
        lambda place: (
            f"""
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: back, middlewares: [mark]}}
  middlewares:
    mark:
      headers:
        customRequestHeaders: {{X-Garden-Mark: "{place.mark}"}}
  services:
    back:
      loadBalancer:
        servers:
        - url: "http://127.0.0.1:{place.backend}"
"""
        ),
        ("version",),
    ),
]


@dataclass
class Running:
    """One that has been started."""

    peer: Peer
    address: tuple[str, int]
    record: Path | None
    _process: subprocess.Popen[bytes]
    _log: Path

    @property
    def name(self) -> str:
        return self.peer.name

    def wait(self) -> None:
        """Wait until it serves, through to the application."""
        end = time.monotonic() + START
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self.address, 1) as sock:
                sock.settimeout(1)
                sock.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
                if b"x-saw" in sock.recv(65_536).lower():
                    return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not serve: {self._log.read_text(errors='replace')[-2_000:]}")


@contextlib.contextmanager
def running(
    peer: Peer, environment: Path, folder: Path, *, backend: int = 0, mark: str = "", record: Path | None = None
) -> Iterator[Running]:
    """Start one, with its files in a folder, and end it; all it has started ends with it. ``wait`` for it to serve."""
    program = peer.find(environment) if peer is not OURS else sys.executable
    assert program is not None, peer.name
    folder.mkdir()
    place = Place(_free_port(), backend, folder, mark)
    file = folder / "configuration.yaml"  # some know their formats by the name
    if peer.configuration is not None:
        file.write_text(peer.configuration(place), encoding="utf-8")
    words = [word.replace("{file}", str(file)) for word in peer.arguments(place)]
    applications = HERE / "applications"
    path = os.pathsep.join([str(ROOT), str(applications)])
    variables = {
        **os.environ,
        "PYTHONPATH": path,
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    variables.pop("GARDEN_RECORD", None)
    if record is not None:
        variables["GARDEN_RECORD"] = str(record)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *words],
            cwd=applications,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield Running(peer, ("127.0.0.1", place.port), record, process, folder / "log")
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)  # the session that it began, and nobody else
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
