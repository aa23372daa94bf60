"""The other side of the companion protocol: enough of it, in Python, for tests that do not depend on Perl or Go.

Written from ``docs/companion-protocol.md`` alone, so that the two sides check each other. Standard library only; a
thread for each connection.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

Pairs = list[list[str]]


def block(pairs: Any) -> bytes:
    data = b""
    for pair in pairs:
        for text in pair:
            data += struct.pack("<H", len(text)) + text.encode("latin-1")
    return data


def pairs_of(data: bytes) -> Pairs:
    texts = []
    while data:
        size = struct.unpack("<H", data[:2])[0]
        if len(data) < 2 + size:
            raise ValueError("cut short")
        texts.append(data[2 : 2 + size].decode("latin-1"))
        data = data[2 + size :]
    if len(texts) % 2 or not all(texts[::2]):
        raise ValueError("not names and values")
    return [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]


def record(kind: str, payload: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(payload)) + payload


def meaning(kind: str, payload: bytes) -> dict[str, Any]:
    """Return what a worker's record means, in the terms of the test vectors; ValueError, struct.error: nothing."""
    text = payload.decode("latin-1")
    match kind:
        case "V":
            version, largest = struct.unpack(">HI", payload)
            return {"version": version, "largest": largest}
        case "Q":
            modifier1, size, _ = struct.unpack("<BHB", payload[:4])
            if size != len(payload) - 4:
                raise ValueError("the packet's size")
            return {"modifier1": modifier1, "variables": pairs_of(payload[4:])}
        case "B" | "T" | "D":
            return {"data": text}
        case "F" | "H":
            return {"text": payload.decode()}
        case "C":
            return {"code": struct.unpack(">H", payload[:2])[0], "reason": payload[2:].decode()}
        case "P":
            number, seconds = struct.unpack(">Qd", payload)
            return {"number": number, "seconds": None if math.isnan(seconds) else seconds}
        case "M":
            end = 2 + struct.unpack(">H", payload[:2])[0]
            if payload[end : end + 1] not in (b"T", b"D"):
                raise ValueError("neither T nor D")
            return {"channel": text[2:end], "opcode": text[end], "data": text[end + 1 :]}
        case "N":
            tag, number = struct.unpack(">II", payload)
            return {"tag": tag, "number": number}
    raise ValueError(f"unknown type {kind!r}")


class Closed(Exception):
    """The WebSocket has ended."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Request:
    """A request, and its WebSocket; used by one thread."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = b""
        self._held = b""  # goes out with the next record
        self.send("V", struct.pack(">HI", 1, 0xFFFFFFFF))
        kind, version = self.read()
        assert (kind, version.get("version")) == ("V", 1), (kind, version)
        self._largest: int = version["largest"]
        kind, head = self.read()
        assert kind == "Q", kind
        self.modifier1: int = head["modifier1"]
        self.variables: dict[str, str] = {name: value for name, value in head["variables"]}
        self.path = self.variables["PATH_INFO"]
        self.query = self.variables["QUERY_STRING"]

    def send(self, kind: str, payload: bytes = b"") -> None:
        held, self._held = self._held, b""
        self.sock.sendall(held + record(kind, payload))

    def _take(self, size: int) -> bytes:
        # Never further than the record's end: the descriptor is readable exactly while there is something to receive.
        while len(self._data) < size:
            data = self.sock.recv(size - len(self._data))
            if not data:
                raise EOFError("the worker has closed the connection")
            self._data += data
        data, self._data = self._data, b""
        return data

    def read(self) -> tuple[str, dict[str, Any]]:
        kind, size = struct.unpack(">cI", self._take(5))
        return kind.decode("latin-1"), meaning(kind.decode("latin-1"), self._take(size))

    def expect(self, *kinds: str) -> tuple[str, dict[str, Any]]:
        kind, fields = self.read()
        if kind == "C":
            raise Closed(fields["code"], fields["reason"])
        assert kind in kinds, (kind, fields)
        return kind, fields

    # Ordinary requests

    def body(self, piece: int = 65_536) -> bytes:
        whole = b""
        while True:
            self.send("R", struct.pack(">I", piece))
            kind, fields = self.read()
            if kind == "F":
                raise OSError(fields["text"])
            assert kind == "B", (kind, fields)
            assert len(fields["data"]) <= piece
            if not fields["data"]:
                return whole
            whole += fields["data"].encode("latin-1")

    def respond(self, status: str, headers: Any = (), body: bytes = b"") -> None:
        self._held += record("S", block([(":status", status), *headers]))
        for at in range(0, len(body), self._largest):
            self._held += record("B", body[at : at + self._largest])

    # WebSockets

    def accept(self, protocol: str = "", headers: Any = ()) -> str:
        self.send("H", block([*([(":protocol", protocol)] if protocol else []), *headers]))
        return str(self.expect("H")[1]["text"])

    def recv(self) -> tuple[str, bytes]:
        kind, fields = self.expect("T", "D")
        return kind, fields["data"].encode("latin-1")

    def close(self, code: int, reason: str = "") -> None:
        self.send("C", struct.pack(">H", code) + reason.encode())

    def publish(self, channel: str, data: bytes, kind: str = "T", flags: int = 0) -> None:
        name = channel.encode()
        self.send("U", struct.pack(">H", len(name)) + name + kind.encode() + bytes([flags]) + data)

    def count(self, channel: str) -> int:
        self.send("N", struct.pack(">I", 7) + channel.encode())
        fields = self.expect("N")[1]
        assert fields["tag"] == 7
        return int(fields["number"])


class Companion:
    """A process of a pool.

    Args:
        answer: Answers a request, in a thread; what it raises becomes the text of the end.
    """

    def __init__(self, answer: Callable[[Request], object]) -> None:
        self._answer = answer
        self._listener = socket.socket(fileno=int(os.environ["UWSGI_WS_COMPANION_FD"]))
        self._control = socket.socket(fileno=int(os.environ["UWSGI_WS_COMPANION_CONTROL_FD"]))
        for sock in (self._listener, self._control):
            sock.set_inheritable(False)
        self._busy = 0
        self._lock = threading.Condition()

    def serve(self) -> NoReturn:
        """Answer requests until the master wants this to end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: self._stop())
        threading.Thread(target=self._watch, daemon=True).start()
        self._control.sendall(record("V", struct.pack(">HI", 1, 0xFFFFFFFF)))
        self._listener.setblocking(True)
        try:
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self._busy += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()
        except (OSError, _Stop):
            pass
        self._listener.close()
        with self._lock:
            self._lock.wait_for(lambda: not self._busy)
        sys.exit(0)

    def _stop(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Stop

    def _watch(self) -> None:
        self._control.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.suppress(EOFError, ConnectionError):
                request = Request(client)
                error = ""
                try:
                    self._answer(request)
                except Closed:
                    pass
                except (EOFError, ConnectionError):
                    raise
                except Exception as exc:
                    error = f"{type(exc).__name__}: {exc}"
                request.send("E", error.encode())
        finally:
            with self._lock:
                self._busy -= 1
                self._lock.notify()


class _Stop(BaseException):
    """SIGTERM has come."""
