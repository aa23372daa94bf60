"""Publishing from outside of the server: a cron job, a task queue, a shell. Needs no gevent, and blocks.

The other end is ``channels.channel_socket``.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence

from uwsgi_ws.channels.positions import MOST_KEPT, Keep
from uwsgi_ws.channels.records import COUNT, KEEPING, UNCOMPRESSED, encode_name, encode_record
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.protocol.websocket.messages import Sendable, as_message

__all__ = ["main", "publish_to"]

_LONGEST_ANSWER = 4_096
#: Seconds between two attempts to get in.
_PAUSE = 0.01


def publish_to(
    address: str,
    channel: str,
    message: Sendable,
    *,
    timeout: float = 5.0,
    history: int | None = None,
    compress: bool = True,
) -> None:
    """Publish a message on a running server; returns once a worker, or Redis, has it.

    Args:
        address: What the server was given as ``--channel-socket``, or as ``--channels``.
        channel: Any name.
        message: ``str`` as text, anything bytes-like as binary.
        timeout: Seconds for each step.
        history: Keep this message, and so many of the channel in all. None leaves it to the server; but in Redis keeps
            none, as nobody there knows the server's ``--channel-history``.
        compress: Whether WebSockets that take compressed messages get it so.

    Raises:
        ChannelError: no server listens there or answers in time, this user may not publish there, or the message is
            longer than the server's ``--websockets-max-size``.
        TypeError: the message is neither.
        ValueError: the channel's name is too long, or ``history`` out of bounds.
    """
    if history is not None and not 0 <= history <= MOST_KEPT:
        raise ValueError(f"a history has 0 to {MOST_KEPT} messages, not {history}")
    if "://" in address:
        _publish_to_engine(address, channel, message, timeout, history, compress)
        return
    opcode, payload = _marked(message, compress)
    if history is not None:
        opcode, payload = opcode + KEEPING, COUNT.pack(history) + payload
    record = encode_record(encode_name(channel), opcode, payload)
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            _connect(sock, target, timeout)
            try:
                sock.sendall(record)
            except ConnectionError:
                pass  # refused before it had all come: the answer says why
            answer = _read_line(sock)
    except OSError as exc:
        raise ChannelError(f"cannot publish to {address}: {exc.strerror or exc}") from exc
    if answer != "ok":
        raise ChannelError(f"cannot publish to {address}: {answer.removeprefix('error ') or 'it gave no answer'}")


def _marked(message: Sendable, compress: bool) -> tuple[int, bytes]:
    """Return the opcode of a record, and the payload."""
    opcode, payload = as_message(message)
    return opcode if compress else opcode + UNCOMPRESSED, payload


def _publish_to_engine(
    url: str, channel: str, message: Sendable, timeout: float, history: int | None, compress: bool
) -> None:
    try:
        from uwsgi_ws.channels.redis.engine import Engine
    except ModuleNotFoundError as exc:
        raise ChannelError(f"this needs the package {exc.name}: pip install 'uwsgi_ws[redis]'") from exc
    from uwsgi_ws.channels.redis.wire import encode

    engine = Engine(url, timeout)
    name = encode_name(engine.prefix) + encode_name(channel)
    try:
        engine.publish(name, encode(*_marked(message, compress)), Keep(history) if history else None)
    except ChannelError as exc:
        raise ChannelError(f"cannot publish to {engine.name}: {exc}") from exc


def _connect(sock: socket.socket, target: str, timeout: float) -> None:
    """Connect, waiting for room in the backlog: of a unix socket's the kernel says at once that there is none."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            sock.connect(target)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _read_line(sock: socket.socket) -> str:
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < _LONGEST_ANSWER:
        data = sock.recv(_LONGEST_ANSWER)
        if not data:
            break
        answer += data
    return answer.decode(errors="replace").rstrip("\n")


def main(argv: Sequence[str]) -> int:
    """Run ``python -m uwsgi_ws publish``; return the exit status."""
    import argparse  # for this alone; applications import this module for `publish_to`

    parser = argparse.ArgumentParser(
        prog="python -m uwsgi_ws publish", description="Publish a message to all who have joined a channel."
    )
    parser.add_argument("--to", required=True, metavar="ADDRESS", help="the server's --channel-socket or --channels")
    parser.add_argument("--binary", action="store_true", help="as a binary message; without it as text")
    parser.add_argument(
        "--history",
        type=int,
        metavar="MESSAGES",
        help="keep it, and so many of the channel in all; without it the server's --channel-history says so, but in "
        "Redis nothing is kept",
    )
    parser.add_argument("--no-compress", action="store_true", help="to no WebSocket compressed")
    parser.add_argument("channel", metavar="CHANNEL")
    parser.add_argument("message", metavar="MESSAGE", help="the message, or - to read it from standard input")
    arguments = parser.parse_args(argv)
    try:
        payload = sys.stdin.buffer.read() if arguments.message == "-" else arguments.message.encode()
        message = payload if arguments.binary else payload.decode()
        publish_to(
            arguments.to,
            arguments.channel,
            message,
            history=arguments.history,
            compress=not arguments.no_compress,
        )
    except (ChannelError, ValueError) as exc:
        print(f"uwsgi_ws: {exc}", file=sys.stderr)
        return 1
    return 0
