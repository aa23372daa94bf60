"""What each proxy makes of one request: the bytes that it passes on, and what we understand of those.

``make garden ARGS="--forwarded NUMBER"``: each proxy stands in front of a recorder, which answers whatever comes, and
what it has recorded is sent to us as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

from garden.client import SENTINEL, ask
from garden.peers import Peer, Running, running

__all__ = ["show"]

#: Seconds of silence after which a recorder takes a request for whole.
SILENCE = 0.3
ANSWER = b"HTTP/1.1 200 OK\r\nX-Saw: W10=\r\nContent-Length: 0\r\n\r\n"


class Recorder:
    """A server that keeps what comes, and answers after each silence."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.streams: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                stream = bytearray()
                self.streams.append(stream)
                threading.Thread(target=self._record, args=(sock, stream), daemon=True).start()

    def _record(self, sock: socket.socket, stream: bytearray) -> None:
        owes = False
        with sock, contextlib.suppress(OSError):
            sock.settimeout(SILENCE)
            while True:
                try:
                    data = sock.recv(65_536)
                except TimeoutError:
                    if owes:
                        sock.sendall(ANSWER)
                    owes = False
                    continue
                if not data:
                    return
                stream += data
                owes = True


def show(proxies: Iterable[Peer], ours: Running, request: bytes, environment: Path, folder: Path) -> None:
    """Print what each proxy passes on of a request and the sentinel, and what we understand of that."""
    print(f"the request: {request!r}\nwe, of itself: {asyncio.run(ask(ours.address, request, 2.0))}")
    for number, peer in enumerate(proxies):
        recorder = Recorder()
        with (
            contextlib.closing(recorder),
            running(peer, environment, folder / f"recorded-{number}", backend=recorder.port, mark="mark") as proxy,
        ):
            proxy.wait()
            for kept in recorder.streams:
                kept.clear()  # what was asked to see whether it serves; the connection may be used again
            with socket.create_connection(proxy.address, 5) as sock, contextlib.suppress(OSError):
                sock.settimeout(4 * SILENCE)
                sock.sendall(request + SENTINEL)
                while sock.recv(65_536):
                    pass
        print(f"\n{peer.name}:")
        streams = [bytes(stream) for stream in recorder.streams if stream]
        for stream in streams:
            understood = asyncio.run(ask(ours.address, stream, 2.0))
            print(f"    passes on {stream!r}\n    we, of that: {understood}")
        if not streams:
            print("    passes nothing on")
