"""``python -m uwsgi_ws ctl ADDRESS``: the control socket of a running instance, from a terminal."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uwsgi_ws.addresses import Address, parse_address
from uwsgi_ws.log import escape

__all__ = ["main"]

_PATIENCE = 15.0  # seconds for each step; the instance has an answer after ten at most
_COLUMNS = (
    *("id", "worker", "peer", "path", "carrier", "age", "idle", "messages_received", "messages_sent"),
    *("queue", "ping"),
)
_TITLES = {"messages_received": "in", "messages_sent": "out"}
_OF_WORKER = (
    "id",
    "pid",
    "status",
    "clients",
    "busyness",
    "requests",
    "exceptions",
    "websockets",
    "rss",
    "respawn_count",
)


class _Refused(Exception):
    """The instance says why it does not."""


def main(arguments: Sequence[str]) -> int:
    """Do what the words say; return the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        address = parse_address(parsed.address)
        token = Path(parsed.token_file).read_text().split("\n")[0].strip() if parsed.token_file else ""
        request = {name: value for name, value in vars(parsed).items() if value is not None and name in _SENT}
        if token:
            request["token"] = token
        if parsed.do == "top":
            _top(address, request, parsed.once)
            return 0
        found: list[dict[str, Any]] = []
        for answer in _ask(address, request):
            if parsed.json:
                print(json.dumps(answer))
            found += answer.get("connections", [])
            if parsed.do != "list" and not parsed.json:
                print(", ".join(f"{name}: {value}" for name, value in answer.items()) or "done")
        if parsed.do == "list" and not parsed.json:
            _print_table(sorted(found, key=lambda each: -each["age"]), _COLUMNS)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, _Refused) as exc:
        print(f"uwsgi_ws ctl: {getattr(exc, 'strerror', None) or exc}", file=sys.stderr)
        return 1
    return 0


_SENT = ("do", "path", "peer", "limit", "connection", "code", "reason", "channel", "message", "worker")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="uwsgi_ws ctl", description="Ask and tell a running instance (--control).")
    parser.add_argument("address", help="that of --control")
    parser.add_argument(
        "--token-file",
        default=os.environ.get("UWSGI_WS_CONTROL_TOKEN"),
        metavar="FILE",
        help="that of --control-token; by default what $UWSGI_WS_CONTROL_TOKEN names",
    )
    parser.add_argument("--json", action="store_true", help="print what comes, a JSON object a line")
    commands = parser.add_subparsers(dest="do", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="print the open WebSockets")
    listing.add_argument("--path", help="only those whose path begins so")
    listing.add_argument("--peer", help="only those whose peer's address begins so")
    listing.add_argument("--limit", type=int, help="of each worker at most so many; 1000")
    closing = commands.add_parser("close", help="close a WebSocket")
    closing.add_argument("connection", help="its id, as list prints it")
    closing.add_argument("--code", type=int, help="the close code; 1000")
    closing.add_argument("--reason", help="up to 123 bytes")
    publishing = commands.add_parser("publish", help="publish a text on a channel")
    publishing.add_argument("channel")
    publishing.add_argument("message")
    draining = commands.add_parser("drain", help="let clients finish, and end; or replace one worker so")
    draining.add_argument("--worker", type=int, help="only this one, 1 to N: another takes its place first")
    commands.add_parser("reload", help="load the application again, as SIGHUP does")
    top = commands.add_parser("top", help="show the workers, again and again")
    top.add_argument("--once", action="store_true", help="once only")
    return parser


def _ask(address: Address, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the answers to a request.

    Raises:
        _Refused: The instance says why it does not.
    """
    family = socket.AF_UNIX if address.family == "unix" else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(_PATIENCE)
        sock.connect(address.path if address.family == "unix" else (address.host, address.port))
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as lines:
            for line in lines:
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise _Refused(answer["error"])
                is_last = answer.pop("is_last", False)
                yield answer
                if is_last:
                    return
    raise _Refused("the instance has ended the connection")


def _top(address: Address, request: dict[str, Any], once: bool) -> None:
    while True:
        [status] = _ask(address, {**request, "do": "status"})
        if not once:
            print("\x1b[H\x1b[2J", end="")
        ready = "ready" if status["is_ready"] else "not ready"
        print(f"uwsgi_ws {status['version']}, master {status['pid']}: {ready}, {status['listen_queue']} clients wait")
        _print_table(status["workers"], _OF_WORKER)
        sys.stdout.flush()
        if once:
            return
        time.sleep(1.0)


def _print_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print a column for each name; what clients have sent is escaped."""
    cells = [[_TITLES.get(name, name) for name in columns]]
    cells += [[escape("-" if row.get(name) is None else str(row[name])) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
