"""A network between two programs, which does to their connections what networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

_DEADLINE = 10.0


class Relay:
    """Passes TCP connections on to an address.

    Args:
        address: Where to.
        piece_size: Bytes that are passed on at once.

    Attributes:
        address: Where it listens.
        delay: Seconds that each piece is kept before it goes on.
        is_deaf: Whether what the server says is kept back, while what is said to it goes through.
        is_mute: The other way round.
        is_tearing: Whether of what comes next half goes on, and then the connection ends.
    """

    def __init__(self, address: tuple[str, int], piece_size: int = 65_536) -> None:
        self._target = address
        self._piece_size = piece_size
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.delay = 0.0
        self.is_deaf = self.is_mute = self.is_tearing = False
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._is_shut = False
        self._threads = [threading.Thread(target=self._accept, name="relay")]
        self._threads[0].start()

    def cut(self) -> None:
        """Break all connections; new ones come through."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            _end(sock)

    def shut(self) -> None:
        """Break all connections, and let no other through."""
        self._is_shut = True
        self.cut()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_shut = False

    def close(self) -> None:
        self.shut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(_DEADLINE)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, _DEADLINE)
            except OSError:  # it is down just now
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            if self._is_shut:  # after they are among those that ``shut`` breaks
                self.cut()
                continue
            for source, sink, is_answer in (client, server, False), (server, client, True):
                thread = threading.Thread(target=self._pass_on, args=(source, sink, is_answer), name="relay connection")
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self._piece_size):
                if self.delay:
                    time.sleep(self.delay)  # as a slow network
                while self.is_deaf if is_answer else self.is_mute:
                    time.sleep(0.02)  # until a test changes it, or ends the connection
                    if source.fileno() < 0:
                        return
                if self.is_tearing:
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        for sock in (source, sink):
            _end(sock)
        with self._lock:
            self._sockets -= {source, sink}


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


@contextlib.contextmanager
def relay_to(address: tuple[str, int], piece_size: int = 65_536) -> Iterator[Relay]:
    relay = Relay(address, piece_size)
    try:
        yield relay
    finally:
        relay.close()
