"""Http11Probe and the valid requests at other servers, as a table: ``python tests/compliance/peers.py [NAME ...]``.

Each runs the same two applications, by WSGI, or ASGI where that is its own. ``--bin FOLDER`` has the programs of those
that are Python's; one that is missing is said so. nginx stands before our own server and serves the static file itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import http11probe  # noqa: E402  # a script finds the tests' helpers, which these need, only after the line above
import targets  # noqa: E402
import valid_requests  # noqa: E402
from support.carriers import NGINX, running  # noqa: E402
from support.server import APPLICATIONS, Server, free_port  # noqa: E402

ASGI = "asgi:application"
UWSGI = "--gevent 100 --die-on-term --disable-logging --static-map /static={folder} --wsgi-file {file}"
NGINX_SITE = """\
map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
upstream uwsgi_ws {{ server 127.0.0.1:{backend}; keepalive 32; }}
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 10m;
    location /static/ {{ alias {folder}/; }}
    location / {{
        proxy_pass http://uwsgi_ws;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }}
}}
"""


@dataclass(frozen=True)
class Peer:
    """A server, and how it is started.

    Args:
        command: ``{module}`` is the WSGI application's, ``{folder}`` the static files', ``{port}`` where to listen.
        lacks: What it does not have: ``websocket``, ``static``.
    """

    command: str
    lacks: tuple[str, ...] = ()


PEERS = {
    "gunicorn": Peer(
        "gunicorn --no-control-socket -k gevent -b 127.0.0.1:{port} {module}:application", ("websocket", "static")
    ),
    "uvicorn": Peer(f"uvicorn --no-access-log --port {{port}} {ASGI}", ("static",)),
    "granian": Peer(
        f"granian --interface asgi --port {{port}} --static-path-route /static --static-path-mount {{folder}} {ASGI}"
    ),
    "hypercorn": Peer(f"hypercorn -b 127.0.0.1:{{port}} {ASGI}", ("static",)),
    "waitress": Peer("waitress-serve --listen 127.0.0.1:{port} {module}:application", ("websocket", "static")),
    "uwsgi": Peer(f"uwsgi --http-socket 127.0.0.1:{{port}} {UWSGI}"),
    "uwsgi-router": Peer(
        "uwsgi --http 127.0.0.1:{port} --http-keepalive --http-websockets --http-chunked-input --http-auto-chunked "
        + UWSGI
    ),
    "nginx": Peer("nginx -e stderr -p {folder} -c {folder}/nginx.conf"),
}


@contextlib.contextmanager
def serving(name: str, application: str, folder: Path, path: str) -> Iterator[str]:
    """Run a peer; give HOST:PORT.

    Args:
        name: Its name.
        application: The module below ``tests/applications``.
        folder: Of the static files, and its own.
        path: Where programs are looked for.
    """
    port = free_port()
    with contextlib.ExitStack() as stack:
        if name == "nginx":
            server = stack.enter_context(Server(APPLICATIONS / f"{application}.py", "--disable-logging"))
            (folder / "nginx.conf").write_text(NGINX)
            (folder / "site.conf").write_text(NGINX_SITE.format(port=port, backend=server.port, folder=folder))
        words = (
            PEERS[name]
            .command.format(
                port=port,
                folder=folder,
                module=f"applications.{application}",
                file=APPLICATIONS / f"{application}.py",
            )
            .split()
        )
        program = shutil.which(words[0], path=path)
        if program is None:
            raise FileNotFoundError(words[0])
        env = {"APPLICATION": application, "PYTHONPATH": f"{HERE}:{HERE.parent}"}
        os.environ.update(env)  # the command inherits it
        host, port = stack.enter_context(running([program, *words[1:]], port, folder))
        yield f"{host}:{port}"


def row(name: str, path: str) -> str:
    """Ask one server everything; return its line of the table."""
    cells = []
    lacks = () if name in targets.OWN else PEERS[name].lacks
    with tempfile.TemporaryDirectory(prefix="peer-") as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o755)
        (Path(folder) / valid_requests.FILE).write_bytes(valid_requests.CONTENT)
        (Path(folder) / Path(http11probe.FILE).name).write_text("a file\n")
        for application in ("http11probe", "seen"):
            own = name in targets.OWN
            target = name if own else stack.enter_context(serving(name, application, Path(folder), path))
            if application == "http11probe":
                scored = [result for result in http11probe.probe(target, []) if result.is_scored]
                for rule in ("strict", "by_rfc"):
                    verdicts = [getattr(result, rule) for result in scored]
                    cells.append(", ".join(str(verdicts.count(verdict)) for verdict in http11probe.VERDICTS))
            else:
                outcomes = valid_requests.mirror(target, [], lacks)
                valid_requests.report(name, outcomes)
                cells.append(f"{sum(not outcome.why for outcome in outcomes)} of {len(outcomes)}")
            stack.close()
    return "|".join(["", f" {name} ", *(f" {cell} " for cell in cells), ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bin", default=str(Path(sys.executable).parent), help="where Python's servers are")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join([*targets.OWN, *PEERS])}; all unless told"
    )
    arguments = parser.parse_args()
    path = os.pathsep.join([arguments.bin, os.environ.get("PATH", os.defpath), "/usr/sbin"])
    rows = []
    for name in arguments.names or [*targets.OWN, *PEERS]:
        try:
            rows.append(row(name, path))
        except FileNotFoundError as missing:
            rows.append(f"| {name} | no {missing} here |||")
    print("| server | Http11Probe strict: passed, warned, failed | by RFC | valid requests |\n|---|---|---|---|")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
