"""A network between two programs, which a test may cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_DEADLINE = 10.0


class Relay:
    """Passes TCP connections on to an address; while it is cut all are closed, and new ones at once."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._is_cut = False
        self._threads = [threading.Thread(target=self._accept, name="relay")]
        self._threads[0].start()

    def cut(self) -> None:
        """Break all connections, and let no other through."""
        with self._lock:
            self._is_cut = True
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            _end(sock)

    def mend(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self.cut()
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
            with self._lock:
                is_cut = self._is_cut
            try:
                if is_cut:
                    raise ConnectionError
                server = socket.create_connection(self._address, _DEADLINE)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            for source, sink in (client, server), (server, client):
                thread = threading.Thread(target=self._pass_on, args=(source, sink), name="relay connection")
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            _end(sock)
        with self._lock:
            self._sockets -= {source, sink}


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


@contextlib.contextmanager
def relay_to(address: tuple[str, int]) -> Iterator[Relay]:
    relay = Relay(address)
    try:
        yield relay
    finally:
        relay.close()
