"""Where programs that are no workers publish: a unix socket that only the workers' own user may use.

A client sends records and gets a line for each: ``ok``, or ``error`` and why. Any worker may serve it; what it
publishes goes to all. The socket's file has mode 0600; what the kernel says of the other end's user (``SO_PEERCRED``)
counts where there is no file, too. Root may publish as well: it could become that user.

When all places are taken, the client that has said nothing for longest gives its place to a new one. The server waits
for its clients alone, never for what it publishes. So each client that has a place is waiting, and the one that spoke
first needs it least.
"""

from __future__ import annotations

import os
from typing import Any

from gevent import getcurrent
from gevent.socket import socket as GeventSocket

from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.records import COUNT, KEEPING, UNCOMPRESSED, Decoder, Record
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.hub.own import keep_socket
from uwsgi_ws.hub.slots import Slots
from uwsgi_ws.net.listeners import Listener
from uwsgi_ws.net.peers import peer_uid
from uwsgi_ws.protocol.plain import is_text
from uwsgi_ws.protocol.websocket.frames import TEXT

__all__ = ["ChannelSocket"]

#: Clients connected at once; past it the one that has been silent for longest goes.
_MAX_CLIENTS = 256
#: Seconds that a client may keep its place without a word.
_IDLE = 30.0
_READ_SIZE = 65_536


class ChannelSocket:
    """Serves the publishers that come to one worker.

    Args:
        sock: Listens; shared by all workers, and stays the caller's.
        max_message_size: Bytes allowed in a message.
    """

    def __init__(self, sock: Any, bus: Bus, max_message_size: int) -> None:
        self._bus = bus
        self._max_message_size = max_message_size
        # Of their own: publishing must not wait until a WebSocket ends and gives its place free.
        self._clients = Slots(_MAX_CLIENTS)
        self._waiting: dict[Any, None] = {}  # their greenlets; the one that spoke last stands last
        self._listener = Listener(sock, self._serve, self._clients, is_shared=True)

    def start(self) -> None:
        """Begin to accept."""
        self._listener.start()

    def stop(self) -> None:
        """Accept no client any more, and drop those that are there."""
        self._listener.stop()
        self._clients.kill()

    def _serve(self, client: Any, address: object) -> None:
        greenlet = getcurrent()
        try:
            with GeventSocket(fileno=client.detach()) as sock:
                keep_socket(sock)
                sock.settimeout(_IDLE)
                if not self._admits(sock):
                    return
                self._waiting[greenlet] = None
                if self._clients.full():
                    self._end_idlest()
                self._take_records(sock, greenlet)
        except OSError:
            pass  # the client has gone, or said nothing for too long
        finally:
            self._waiting.pop(greenlet, None)
            self._clients.give_back(greenlet)

    def _admits(self, sock: GeventSocket) -> bool:
        """Refuse a client that may not publish, before it takes a place from another one."""
        uid = peer_uid(sock)
        if uid in (0, os.geteuid()):
            return True
        sock.sendall(_refusal(ChannelError(f"user {uid} may not publish here")))
        return False

    def _end_idlest(self) -> None:
        idlest = next(iter(self._waiting))
        del self._waiting[idlest]
        idlest.kill(block=False)

    def _take_records(self, sock: GeventSocket, greenlet: Any) -> None:
        decoder = Decoder(self._max_message_size)
        is_read = True
        while data := sock.recv(_READ_SIZE):
            if greenlet in self._waiting:
                self._waiting[greenlet] = self._waiting.pop(greenlet)  # the last now
            answers, is_over = self._publish_all(decoder, data)
            if is_read and answers:
                try:
                    sock.sendall(answers)
                except ConnectionError:
                    is_read = False  # it has sent its records and gone; they count all the same
            if is_over:
                return

    def _publish_all(self, decoder: Decoder, data: bytes) -> tuple[bytes, bool]:
        """Publish what bytes complete, up to an error; return the answers, and whether the last is an error."""
        answers = b""
        try:
            for record in decoder.feed(data):
                self._publish(record)
                answers += b"ok\n"
            if decoder.error is not None:
                raise decoder.error
        except ChannelError as exc:
            return answers + _refusal(exc), True
        return answers, False

    def _publish(self, record: Record) -> None:
        channel, opcode, payload = record
        history = None
        if opcode & KEEPING:
            if len(payload) < COUNT.size:
                raise ChannelError("not a record: how many messages are kept is missing")
            [history] = COUNT.unpack_from(payload)
            opcode, payload = opcode - KEEPING, payload[COUNT.size :]
        compress = not opcode & UNCOMPRESSED
        if not compress:
            opcode -= UNCOMPRESSED
        if opcode == TEXT and not is_text(payload):
            raise ChannelError("the message is text, but not in UTF-8")
        try:
            self._bus.publish(channel, opcode, payload, history=history, compress=compress)
        except ValueError as exc:
            raise ChannelError(str(exc)) from exc


def _refusal(error: ChannelError) -> bytes:
    return f"error {error}\n".encode()
