"""What the runners of requests ask: our own server in each of its ways, or what listens at an address."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.server import APPLICATIONS, Server, faults  # noqa: E402  # found only after the line above

START = 60.0  # seconds for our own server to start; the machine may have other work
#: How our own server runs applications, and its options for that.
OWN = {"greenlets": ("--gevent", "1000"), "threads": ("--threads", "32")}

Address = tuple[str, int]


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Let a command line name targets."""
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="*",
        default=list(OWN),
        type=_target,
        help=f"{' or '.join(OWN)}: our own server, started for it (both unless told); HOST:PORT: what listens there",
    )


def _target(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text not in OWN and not (host and port.isdigit()):
        raise argparse.ArgumentTypeError(f"neither {' nor '.join(OWN)} nor HOST:PORT: {text}")
    return text


@contextlib.contextmanager
def reached(target: str, application: str, *options: str) -> Iterator[Address]:
    """Give a target's address; our own server ends afterwards, and must not have logged a traceback."""
    if target not in OWN:
        host, _, port = target.rpartition(":")
        yield host, int(port)
        return
    options = (*OWN[target], "--disable-logging", *options)
    with Server(APPLICATIONS / application, *options, deadline=START) as server:
        yield server.addresses[0]
    if found := faults(server.log):
        raise AssertionError("the server logged a traceback:\n" + "\n".join(found))
