"""The servers that are compared, and how each is started: one row per server, nothing else."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
#: Files in the folder of what has been built.
CERTIFICATE, KEY = "certificate.pem", "key.pem"


@dataclass(frozen=True)
class Server:
    """One server; a command per application that it can serve.

    They are ``echo``, ``fanout``, ``channels``, ``busy``, ``http``, ``keepalive``: echo with a ping every 25 s,
    ``storm``: echo by two workers, ``instances``: ``channels`` on two servers at one port, and ``tls-echo`` and
    ``tls-fanout``: the same through TLS; ``http2``, a greeting by HTTP/2, ``http2-echo``, WebSockets through it, and
    ``arena``, HttpArena's echo at /ws; ``detached``: connections of which nothing waits for a message;
    ``tls-workers``: two workers that tell their numbers through TLS.

    Commands run in the ``peers`` folder. ``{python}`` is this interpreter, ``{bin}`` and ``{prefix}`` its
    environment, ``{port}`` the port to listen on, ``{slots}`` how many connections at least must fit, ``{floor}`` the
    compiled floor, and ``{tls}`` a file with a certificate, ``{key}`` the one with its key. ``distributions`` must be
    installed; their versions are reported. ``load`` is what the load has to do in another way, where the server speaks
    another protocol, and ``through`` what carries it, if not what the workload says (see ``harness.measure``).
    ``reloads`` says that it does on SIGHUP.
    """

    name: str
    commands: Mapping[str, str]
    distributions: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    load: Mapping[str, str | int] = field(default_factory=dict)
    through: str = ""
    reloads: bool = True

    def argv(self, application: str, port: int, slots: int, floor: Path) -> list[str]:
        """Return the command line that serves ``application``."""
        values = {
            "python": sys.executable,
            "bin": str(Path(sys.executable).parent),
            "prefix": sys.prefix,
            "port": port,
            "slots": slots,
            "floor": str(floor),
            "built": str(floor.parent),
            "tls": str(floor.parent / CERTIFICATE),
            "key": str(floor.parent / KEY),
        }
        return [word.format(**values) for word in shlex.split(self.commands[application])]

    def full_environment(self) -> dict[str, str]:
        """Return the environment of the server's process: uwsgi_ws is taken from this checkout."""
        path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, **self.environment}

    def missing(self) -> str | None:
        """Say which distribution is not installed, if any."""
        for name in self.distributions:
            try:
                importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                return f"{name} is not installed"
        return None

    def versions(self) -> list[str]:
        """Name what is being measured, each part with its version."""
        if self.name.startswith("uwsgi_ws"):
            return [f"{self.name}: {self._own_version()}"]
        return [f"{name} {importlib.metadata.version(name)}" for name in self.distributions if not self.missing()]

    def _own_version(self) -> str:
        argv = [sys.executable, "-m", "uwsgi_ws", "--version"]
        done = subprocess.run(argv, capture_output=True, text=True, env=self.full_environment())
        if done.returncode:
            return "does not run"
        return without_paths(" ".join(done.stdout.split()))


def without_paths(text: str) -> str:
    """Shorten what a program said: this machine's folders belong into no report."""
    for path, short in ((sys.executable, "python"), (str(HERE.parent), "."), (sys.prefix, "...")):
        text = text.replace(path, short)
    return text


def _uwsgi(program: str, places: str = "--gevent {slots}") -> str:
    return f"{{bin}}/uwsgi {places} --virtualenv {{prefix}} --die-on-term --disable-logging {program}"


_PLAIN = "--http-socket 127.0.0.1:{port}"
_SECURE = "--https-socket 127.0.0.1:{port},{tls},{key}"


def _own(program: str, *options: str, places: str = "--gevent {slots}", listen: str = _PLAIN) -> str:
    common = f"{listen} {places} --disable-logging"
    return " ".join([f"{{python}} -m uwsgi_ws {common} --wsgi-file {program}", *options])


def _script(name: str, *applications: str) -> dict[str, str]:
    """Return the commands of one of the programs in ``peers``; ``tls-echo`` is its ``echo`` with two words more."""
    commands = {}
    for application in applications:
        kind, mode = ("", application) if not application.startswith("tls-") else (" {tls} {key}", application[4:])
        commands[application] = f"{{python}} {name} {mode} {{port}}{kind}"
    if "echo" in commands:
        commands["detached"] = commands["echo"]  # nothing waits there for a client, anyway
    return commands


def _granian(interface: str, target: str) -> str:
    return f"{{python}} -m granian --interface {interface} --port {{port}} --workers 1 --no-access-log {target}"


#: What keeps connections through most proxies alive.
_PING = "--websockets-ping-freq 25"

_UWSGI_ECHO = "--http-socket 127.0.0.1:{port} --wsgi-file wsgi_app.py"

_OWN_COMMANDS = {
    "echo": _own("wsgi_app.py"),
    "keepalive": _own("wsgi_app.py", _PING),
    "http": _own("wsgi_app.py"),
    "fanout": _own("fanout_uwsgi_ws.py"),
    "channels": _own("channels_uwsgi_ws.py", "--processes 4"),
    "busy": _own("busy_uwsgi_ws.py", "--processes 2", places="--gevent 10000"),
    "storm": _own("wsgi_app.py", "--processes 2"),
    "http2": _own("wsgi_app.py", listen="--http2-socket 127.0.0.1:{port}"),
    "http2-echo": _own("wsgi_app.py", listen="--http2-socket 127.0.0.1:{port}"),
    "arena": _own("../httparena/app.py"),
    "detached": _own("audience_uwsgi_ws.py"),
    "tls-echo": _own("wsgi_app.py", listen=_SECURE),
    "tls-fanout": _own("fanout_uwsgi_ws.py", listen=_SECURE),
    "tls-workers": _own("worker_id.py", "--master --processes 2", listen=_SECURE),
    # What two instances are held against: as many workers in one, over pipes.
    "instances": _own("channels_uwsgi_ws.py", "--processes 4"),
}

_THROUGH_REDIS = _own("channels_uwsgi_ws.py", "--processes 4 --channels unix://$REDIS_SOCKET")
_INSTANCE = _own("channels_uwsgi_ws.py", "--processes 2 --reuse-port --channels unix://$REDIS_SOCKET")
#: Two of what follows, on one Redis and one port.
_TWO = "{python} with_redis.py --instances 2 "

#: As many threads as there are connections, where a thread serves one.
_THREADS = "--threads {slots}"
_OWN_THREADS = {application: _own("wsgi_app.py", places=_THREADS) for application in ("echo", "http")}

_GO = (
    "sh -c 'cd go && go build -o {built}/peer && exec {python} -m uwsgi_ws --http-socket 127.0.0.1:{port} "
    "--disable-logging --gevent {slots} --go-app {built}/peer'"
)

_GUNICORN = (
    "{bin}/gunicorn --no-control-socket -k uwsgi_ws.gunicorn_worker.GeventWorker --worker-connections {slots} "
    "-b 127.0.0.1:{port} wsgi_app:application"
)

#: Debian's: its package uwsgi-plugin-psgi has no Coro, so each connection needs a process.
_UWSGI_PSGI = (
    "uwsgi-core --plugin psgi --http-socket 127.0.0.1:{port} --http-socket-modifier1 5 --master --processes {slots} "
    "--listen 1000 --die-on-term --disable-logging --psgi echo.psgi"
)

_PERL = (
    "{python} -m uwsgi_ws --http-socket 127.0.0.1:{port} --gevent {slots} --disable-logging --psgi echo.psgi "
    "--coroae {slots}"
)

_HYPERCORN = "{python} -m hypercorn --worker-class uvloop --bind 127.0.0.1:{port}"

_GUNICORN_GEVENT = "{python} -m gunicorn --no-control-socket -k gevent -b 127.0.0.1:{port}"

SERVERS = (
    Server("floor", {"echo": "{floor} {port}"}),
    Server("uwsgi_ws", _OWN_COMMANDS),
    Server(
        "uwsgi_ws + redis",
        {
            "channels": f"{{python}} with_redis.py sh -c 'exec {_THROUGH_REDIS}'",
            "instances": f"{_TWO} sh -c 'exec {_INSTANCE}'",
        },
        ("redis", "hiredis"),
    ),
    Server("uwsgi_ws pure", _OWN_COMMANDS, environment={"UWSGI_WS_PURE_PYTHON": "1"}),
    Server(
        "uwsgi",
        {
            "echo": _uwsgi(_UWSGI_ECHO),
            "keepalive": _uwsgi(f"{_UWSGI_ECHO} {_PING}"),
            "http": _uwsgi(_UWSGI_ECHO),
            "tls-echo": _uwsgi(f"{_SECURE} --wsgi-file wsgi_app.py"),
            "tls-workers": _uwsgi(f"{_SECURE} --wsgi-file worker_id.py --master --processes 2"),
            "storm": _uwsgi(f"{_UWSGI_ECHO} --master --processes 2 --listen 4096"),
            "fanout": _uwsgi("--http-socket 127.0.0.1:{port} --gevent-monkey-patch --wsgi-file fanout_uwsgi.py"),
        },
        ("uwsgi", "gevent"),
    ),
    Server("uwsgi_ws http1", {"http2-echo": _own("wsgi_app.py")}, through="http1"),
    Server("uwsgi_ws gunicorn", {application: _GUNICORN for application in ("echo", "http")}, ("gunicorn",)),
    Server("uwsgi_ws go", {application: _GO for application in ("echo", "http")}),
    Server("uwsgi_ws perl", {"echo": _PERL}),
    Server("uwsgi psgi", {"echo": _UWSGI_PSGI}),
    Server("uwsgi_ws threads", _OWN_THREADS),
    Server("uwsgi_ws threads pure", _OWN_THREADS, environment={"UWSGI_WS_PURE_PYTHON": "1"}),
    Server(
        "uwsgi threads",
        {application: _uwsgi(_UWSGI_ECHO, _THREADS) for application in ("echo", "http")},
        ("uwsgi",),
    ),
    Server(
        "uwsgi + redis",
        {
            "channels": "{python} with_redis.py "
            + _uwsgi(
                "--http-socket 127.0.0.1:{port} --gevent-monkey-patch --master --processes 4 "
                "--wsgi-file channels_uwsgi.py"
            ),
            "instances": _TWO
            + _uwsgi(
                "--http-socket 127.0.0.1:{port} --reuse-port --gevent-monkey-patch --master --processes 2 "
                "--wsgi-file channels_uwsgi.py"
            ),
        },
        ("uwsgi", "gevent", "redis"),
    ),
    Server(
        "uwsgi router",
        {
            "echo": _uwsgi("--http 127.0.0.1:{port} --http-websockets --wsgi-file wsgi_app.py"),
            "http": _uwsgi("--http 127.0.0.1:{port} --http-keepalive --wsgi-file wsgi_app.py"),
        },
        ("uwsgi", "gevent"),
    ),
    Server(
        "gevent-websocket",
        _script("gevent_websocket_server.py", "echo", "fanout"),
        ("gevent-websocket", "gevent"),
    ),
    Server("gevent.pywsgi", _script("gevent_websocket_server.py", "http"), ("gevent", "gevent-websocket")),
    Server("websockets", _script("websockets_server.py", "echo", "fanout", "tls-echo", "tls-fanout"), ("websockets",)),
    Server(
        "websockets + redis",
        {"channels": "{python} with_redis.py {python} channels_websockets.py {port}"},
        ("websockets", "redis"),
    ),
    Server(
        "python-socketio + redis",
        {"instances": _TWO + "{python} channels_socketio.py {port} 2"},
        ("python-socketio", "aiohttp", "redis"),
        load={"socketio": 1, "path": "/socket.io/?EIO=4&transport=websocket"},
    ),
    Server(
        "aiohttp",
        _script("aiohttp_server.py", "echo", "fanout", "http", "tls-echo", "tls-fanout"),
        ("aiohttp", "uvloop"),
    ),
    Server("picows", _script("picows_server.py", "echo", "fanout", "tls-echo", "tls-fanout"), ("picows", "uvloop")),
    Server("socketify", _script("socketify_server.py", "echo", "fanout", "http"), ("socketify",)),
    Server("blackbull", _script("blackbull_server.py", "arena"), ("blackbull",)),
    Server(
        "hypercorn",
        {
            "http2": f"{_HYPERCORN} wsgi:hello:application",
            "tls-workers": f"{_HYPERCORN} --workers 2 --certfile {{tls}} --keyfile {{key}} wsgi:worker_id:application",
        },
        ("hypercorn", "h2", "uvloop"),
        reloads=False,
    ),
    Server(
        "granian",
        {
            "echo": _granian("asgi --loop uvloop", "granian_asgi:application"),
            "http": _granian("wsgi", "hello:application"),
            "http2": _granian("wsgi --http 2", "hello:application"),
        },
        ("granian", "uvloop"),
    ),
    Server(
        "gunicorn gevent",
        {
            "http": f"{_GUNICORN_GEVENT} -w 1 hello:application",
            "tls-workers": f"{_GUNICORN_GEVENT} -w 2 --certfile {{tls}} --keyfile {{key}} worker_id:application",
        },
        ("gunicorn", "gevent"),
    ),
    Server("nginx", {"tls-workers": "{python} nginx_workers.py {port} {tls} {key}"}),
)
