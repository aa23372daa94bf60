"""A relay to an engine that can do to its connections what networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

__all__ = ["Relay"]

HOST = "127.0.0.1"


class Relay:
    """Listens at ``port`` and connects each client to the target.

    Attributes:
        delay: Seconds that each piece is kept before it goes on.
        is_deaf: Whether what the server says is kept back, while what is said to it goes through.
        is_mute: The other way round.
        is_tearing: Whether of what comes next half goes on, and then the connection ends.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self.delay = 0.0
        self.is_deaf = self.is_mute = self.is_tearing = False
        self._is_over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((HOST, self._target))
                except OSError:  # it is down just now
                    client.close()
                    continue
                self._pairs.add((client, server))
                for source, sink, is_answer in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._copy, args=(source, sink, is_answer), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4_096):
                if self.delay:
                    time.sleep(self.delay)
                while (self.is_deaf if is_answer else self.is_mute) and not self._is_over:
                    time.sleep(0.02)
                    if source.fileno() < 0:
                        return
                if self.is_tearing:
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End all connections."""
        pairs, self._pairs = self._pairs, set()
        for sock in (sock for pair in pairs for sock in pair):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._is_over = True
        self._listener.close()
        self.cut()
