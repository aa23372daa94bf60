"""Where programs that are no workers publish: a unix socket that only the workers' own user may use.

A client sends records and gets a line for each: ``ok``, or ``error`` and why. Any worker may serve it; what it
publishes goes to all. The socket's file has mode 0600; the kernel's word for who is at the other end (``SO_PEERCRED``)
counts where there is no file, too. Root may publish as well: it could become that user.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from gevent.pool import Pool
from gevent.socket import socket as GeventSocket

from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.records import Decoder, Record
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.net.listeners import Listener
from uwsgi_ws.own import keep_socket
from uwsgi_ws.protocol.frames import TEXT

__all__ = ["Entrance"]

#: Clients served at once; the next one waits in the backlog.
_PLACES = 32
#: Seconds that a client may keep its place without a word.
_IDLE = 30.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_READ_SIZE = 65_536


class Entrance:
    """Serves the publishers that come to one worker.

    Args:
        sock: Listens; shared by all workers, and stays the caller's.
        bus: The worker's.
        max_message_size: Bytes allowed in a message.
    """

    def __init__(self, sock: Any, bus: Bus, max_message_size: int) -> None:
        self._bus = bus
        self._max_message_size = max_message_size
        # Of their own: publishing must not wait until a WebSocket ends and gives its place free.
        self._places = Pool(_PLACES)
        self._listener = Listener(sock, self._serve, self._places, is_shared=True)

    def start(self) -> None:
        """Begin to accept."""
        self._listener.start()

    def stop(self) -> None:
        """Accept nobody any more, and drop who is there."""
        self._listener.stop()
        self._places.kill(block=False)

    def _serve(self, client: Any, address: object) -> None:
        with GeventSocket(fileno=client.detach()) as sock:
            keep_socket(sock)
            try:
                self._take_records(sock)
            except OSError:
                pass  # the client has gone, or said nothing for too long

    def _take_records(self, sock: GeventSocket) -> None:
        try:
            sock.settimeout(_IDLE)
            _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            if uid not in (0, os.geteuid()):
                raise ChannelError(f"user {uid} may not publish here")
            decoder = Decoder(self._max_message_size)
            while data := sock.recv(_READ_SIZE):
                for record in decoder.feed(data):
                    self._publish(record)
                    sock.sendall(b"ok\n")
        except ChannelError as exc:
            sock.sendall(f"error {exc}\n".encode())

    def _publish(self, record: Record) -> None:
        if record.opcode == TEXT:
            try:
                record.payload.decode()
            except UnicodeDecodeError:
                raise ChannelError("the message is text, but not in UTF-8") from None
        self._bus.publish(*record)
