"""Clients of every kind, which end in every way: their turns are drawn by a seed."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from contextlib import suppress

from support.http2_client import Http2Client
from support.http_client import HttpClient, request_bytes
from support.websocket_client import CLOSE, CONTINUATION, PING, TEXT, RawClient, close_frame, frame, handshake

__all__ = ["ENDS", "KINDS", "Crowd"]

KINDS = ("http", "https", "http2", "echo", "secure echo", "room", "events")
#: ``clean``: as the protocol wants. ``reset``: TCP's RST. ``vanish``: neither reads nor answers any more. ``timeout``:
#: the same in the middle of a request or a message.
ENDS = ("clean", "reset", "vanish", "timeout")
#: Seconds within which the server has ended the connection of a client that does nothing: see the options in ``run``.
_FORGOTTEN = 12.0


class Crowd:
    """``size`` threads, each of which has one conversation after the other.

    Args:
        ports: Where http, https and http2 are spoken.
        trust: For TLS.
        seed: Of what is drawn.

    Attributes:
        done: Conversations, by kind and end.
        problems: What went wrong, in words.
    """

    def __init__(self, ports: dict[str, int], trust: ssl.SSLContext, size: int, seed: int) -> None:
        self.done: Counter[tuple[str, str]] = Counter()
        self.problems: Counter[str] = Counter()
        self._ports, self._trust = ports, trust
        self._stop = threading.Event()
        self._silent: deque[tuple[float, socket.socket]] = deque()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._live, args=(random.Random(f"{seed} {number}"),)) for number in range(size)
        ]
        self._threads.append(threading.Thread(target=self._watch))
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """Have all conversations end, and wait for it, and for the silent ones to be ended by the server."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _live(self, rng: random.Random) -> None:
        while not self._stop.is_set():
            kind, end = rng.choice(KINDS), rng.choice(ENDS)
            if kind == "events" and end in ("vanish", "timeout"):
                end = "clean"  # it sends nothing: a server cannot tell silence from attention
            try:
                self._converse(kind, end, rng)
            except (AssertionError, OSError) as exc:
                self._note(f"{kind}, {end}: {type(exc).__name__}: {exc}"[:160])
            else:
                with self._lock:
                    self.done[kind, end] += 1

    def _converse(self, kind: str, end: str, rng: random.Random) -> None:
        turns = rng.randint(1, 20)
        size = rng.choice((10, 100, 1_000, 20_000))
        if kind == "http2":
            self._http2(end, turns, size)
        elif kind in ("http", "https"):
            self._http(kind, end, turns, size)
        else:
            self._websocket(kind, end, turns, size, rng)

    def _connect(self, kind: str) -> socket.socket:
        is_secure = kind in ("https", "secure echo")
        sock = socket.create_connection(("127.0.0.1", self._ports["https" if is_secure else "http"]), 10)
        return self._trust.wrap_socket(sock, server_hostname="127.0.0.1") if is_secure else sock

    def _http(self, kind: str, end: str, turns: int, size: int) -> None:
        address = ("127.0.0.1", self._ports[kind])
        client = HttpClient(address, tls=self._trust if kind == "https" else None)
        body = b"x" * size
        for _ in range(turns):
            assert client.request("POST", "/", body=body).body == body
        self._end(client.sock, end, request_bytes("POST", "/", body=body)[:40])

    def _http2(self, end: str, turns: int, size: int) -> None:
        client = Http2Client(("127.0.0.1", self._ports["http2"]))
        body = b"x" * min(size, 10_000)
        for _ in range(turns):
            assert client.request("POST", "/", body=body).body == body
        self._end(client.sock, end, b"\0\0\x20\x01\x05\0\0")  # half of a frame's head

    def _websocket(self, kind: str, end: str, turns: int, size: int, rng: random.Random) -> None:
        sock = self._connect(kind)
        if kind == "events":
            sock.sendall(request_bytes("GET", "/events"))
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")
            time.sleep(rng.random() / 2)
            self._end(sock, end, b"")
            return
        client = RawClient(sock)
        client.shake_hands(handshake("/room" if kind == "room" else "/echo"))
        message = "x" * (size if kind != "room" else min(size, 100))
        for _ in range(turns):
            client.send_text(message)
            if kind == "room":
                client.read_frame()  # anybody's
            else:
                answer = client.read_frame()
                while answer.opcode == PING:  # on a busy machine even an echo takes longer than a silence may
                    answer = client.read_frame()
                assert (answer.opcode, answer.payload) == (TEXT, message.encode()), f"{answer} came for {size} bytes"
        if end == "clean":
            client.send(close_frame(1000))
            while client.read_frame().opcode != CLOSE:
                pass  # of a room, somebody else's
            client.expect_end()
        self._end(client.sock, end, frame(CONTINUATION, b"x" * 20)[:9] if turns % 2 else b"\x81")

    def _end(self, sock: socket.socket, end: str, half: bytes) -> None:
        if end == "timeout" and half:
            sock.sendall(half)
        if end in ("vanish", "timeout"):
            self._silent.append((time.monotonic() + _FORGOTTEN, sock))
            return
        if end == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def _watch(self) -> None:
        """See that the server ends the connections of those that do nothing."""
        while self._silent or not self._stop.is_set() or any(thread.is_alive() for thread in self._threads[:-1]):
            if not self._silent or (wait := self._silent[0][0] - time.monotonic()) > 0:
                time.sleep(min(0.5, wait) if self._silent else 0.1)
                continue
            _, sock = self._silent.popleft()
            sock.settimeout(0.5)
            try:
                while sock.recv(1 << 20):
                    pass
            except TimeoutError:
                self._note("a silent client's connection is still open")
            except OSError:
                pass  # it was reset
            with suppress(OSError):
                sock.close()

    def _note(self, problem: str) -> None:
        with self._lock:
            self.problems[problem] += 1
