"""TLS: a stream that speaks it over another one.

OpenSSL gets no socket but two memory buffers. So it never waits for anything, its wish to read while it writes (a
KeyUpdate) is just bytes to send, and the one read watcher of the stream below stays as it is. Two rules make it work:

* All that has come is decrypted at once, so that nothing waits in a buffer of which no event will tell. Of a short
  message the greenlet that waits for it is switched to past the hub, as without TLS (see ``hub.poller``).
* Ciphertext that the kernel does not take is held here, and nothing more is encrypted until it has gone. What was
  encrypted cannot be taken back, so ``send`` answers for at most ``_CHUNK`` bytes that are still held.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent.hub import Hub

from uwsgi_ws.hub.poller import Receiver
from uwsgi_ws.net.base import ClientStream

__all__ = ["TlsStream"]

#: Bytes of plaintext in the largest record (RFC 8446 5.1). OpenSSL's buffers grow to what they once held and stay so,
#: therefore they are fed and emptied a record at a time.
_RECORD = 16_384
#: Plaintext that one ``send`` encrypts at most.
_CHUNK = 262_144
#: Ciphertext held for a peer that takes none, while it demands answers to its KeyUpdates. Past it, it is dropped.
_MOST_HELD = 2 * _CHUNK
#: Ciphertext that may be just a short message, with its header and its record's.
_SHORT = 256
#: X.509's names as OpenSSL abbreviates them; others are spelt out.
_SHORT_NAMES = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "domainComponent": "DC",
    "userId": "UID",
}


class TlsStream(Receiver):
    """The server's side of a TLS connection; a ``Stream`` over the stream below, which it owns.

    Args:
        stream: Nothing has been read from it.
        context: The server's.
        hub: The hub of both.
    """

    __slots__ = (
        "_at_end",
        "_early",
        "_has_simple",
        "_held",
        "_hub",
        "_incoming",
        "_is_shut",
        "_on_writable",
        "_outgoing",
        "_receiver",
        "_records",
        "_stream",
        "_tls",
    )
    raw = None

    def __init__(self, stream: ClientStream, context: ssl.SSLContext, hub: Hub) -> None:
        self._stream = stream
        self._hub: Any = hub
        self._incoming: Any = ssl.MemoryBIO()
        self._outgoing: Any = ssl.MemoryBIO()
        self._tls: Any = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # What the interpreter's own class passes its calls on to, by a call of Python's each.
        self._records: Any = getattr(self._tls, "_sslobj", self._tls)
        self._early = b""  # decrypted for ``take_if_simple``, and left to the hub
        self._has_simple = False
        self._held: bytes | memoryview = b""  # ciphertext that the kernel has not taken
        self._at_end = False  # the peer has said that nothing more comes, or the stream below has ended
        self._is_shut = False
        self._receiver: Receiver | None = None
        self._on_writable: Callable[[], object] | None = None

    def handshake(self, timeout: float) -> None:
        """Come to terms with the client.

        Args:
            timeout: Seconds for all of it.

        Raises:
            TimeoutError: it took too long.
            OSError: there are no terms, or the client left.
        """
        deadline = monotonic() + timeout
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                is_done = False
            except ssl.SSLError:
                self._send_answers()  # an alert, that says why
                raise
            else:
                is_done = True
            if self._outgoing.pending:
                self._stream.send_all(self._outgoing.read(), max(0.0, deadline - monotonic()))
            if is_done:
                return
            data = self._stream.recv(max(0.0, deadline - monotonic()))
            if not data:
                raise ConnectionResetError("the client left during the handshake")
            self._incoming.write(data)

    def refuse(self, answer: bytes) -> None:
        """Answer a client that has not spoken TLS in its own way, in the clear; ``close`` must follow."""
        self._stream.send(answer)

    @property
    def protocol(self) -> str | None:
        """What was agreed on by ALPN; None if nothing was."""
        return self._tls.selected_alpn_protocol()  # type: ignore[no-any-return]  # of ssl.SSLObject

    def client_name(self) -> str | None:
        """Return the subject of the client's certificate as OpenSSL's ``X509_NAME_oneline`` spells it; None without."""
        certificate: Any = self._tls.getpeercert()
        if not certificate:
            return None
        pairs = [pair for part in certificate.get("subject", ()) for pair in part]
        return "".join([f"/{_SHORT_NAMES.get(name, name)}={_printable(value)}" for name, value in pairs])

    def client_certificate(self) -> str | None:
        """Return the client's certificate as PEM; None when it has shown none."""
        certificate = self._tls.getpeercert(True)
        return ssl.DER_cert_to_PEM_cert(certificate) if certificate else None

    @property
    def is_plain(self) -> bool:
        """See Stream."""
        return False

    def fileno(self) -> int:
        """See Stream."""
        return self._stream.fileno()

    def progress(self) -> int:
        """See ClientStream."""
        return self._stream.progress()

    @property
    def waits_until(self) -> float:
        """See ClientStream."""
        return self._stream.waits_until

    @property
    def is_waiting(self) -> bool:
        """See ClientStream."""
        return self._stream.is_waiting

    def expire(self) -> None:
        """See ClientStream."""
        self._stream.expire()

    # Reading

    def recv(self, timeout: float | None) -> bytes:
        """See Stream."""
        deadline = None if timeout is None else monotonic() + timeout
        if self._early:
            return self._take_early()
        ciphertext = b""  # the client's first words may have come with the end of its handshake
        while True:
            data = self._decrypt(ciphertext)
            if data or self._at_end:
                return data
            ciphertext = self._stream.recv(None if deadline is None else max(0.0, deadline - monotonic()))
            if not ciphertext:
                self._at_end = True

    def recv_now(self) -> bytes | None:
        """See Stream."""
        if self._early:
            return self._take_early()
        ciphertext: bytes | None = b""
        while ciphertext is not None:
            data = self._decrypt(ciphertext)
            if data or self._at_end:
                return data
            ciphertext = self._stream.recv_now()
            if ciphertext == b"":
                self._at_end = True
        return None

    def start_receiving(self, receiver: Receiver) -> None:
        """See Stream."""
        self._receiver = receiver
        self._has_simple = receiver.takes_simple
        self._stream.start_receiving(self)
        if self._early or self._incoming.pending or self._at_end:
            self._hub.loop.run_callback(self._receive_held)

    def pause_receiving(self) -> None:
        """See Stream."""
        self._receiver = None
        self._stream.pause_receiving()

    def _receive_held(self) -> None:
        if self._receiver is not None:
            self._push(b"")

    def take_if_simple(self, ciphertext: bytes) -> Any:
        """See Receiver. What is decrypted is taken: where it is not as simple, the hub is the one to go to."""
        receiver = self._receiver
        if receiver is None or not self._has_simple or len(ciphertext) > _SHORT:
            return None
        data = self._decrypted(ciphertext)
        if data and not self._early and not self._at_end:
            waiter = receiver.take_if_simple(data)
            if waiter is not None:
                return waiter
        self._early += data
        self._hub.loop.run_callback(self._receive_held)
        return self._hub

    def receive(self, ciphertext: bytes) -> None:
        """See Receiver: the stream below has something."""
        if not ciphertext:
            self._at_end = True
        self._push(ciphertext)

    def _take_early(self) -> bytes:
        early, self._early = self._early, b""
        return early

    def _decrypted(self, ciphertext: bytes) -> bytes:
        """Return the plaintext; what cannot be decrypted is the end."""
        try:
            return self._decrypt(ciphertext)
        except OSError:
            self._at_end = True
            return b""

    def _push(self, ciphertext: bytes) -> None:
        data = self._take_early() + self._decrypted(ciphertext)
        if data:
            receiver: Any = self._receiver
            receiver.receive(data)
        if self._at_end and self._receiver is not None:
            receiver = self._receiver
            self.pause_receiving()
            receiver.receive(b"")

    def _decrypt(self, ciphertext: bytes) -> bytes:
        """Return the plaintext of all whole records; takes note of the end.

        Raises:
            OSError: it is not what the peer encrypted, or demands more than it takes.
        """
        parts: list[bytes] = []
        if self._at_end:
            return b""
        incoming, read = self._incoming, self._records.read
        # What is read into is made in its full size first; but a short piece may be the last one of a long record.
        size = _SHORT if len(ciphertext) <= _SHORT else _RECORD
        is_full = False
        try:
            for start in range(0, len(ciphertext) or 1, _RECORD):
                incoming.write(ciphertext[start : start + _RECORD])
                try:
                    while (incoming.pending or is_full) and not self._at_end:
                        part = read(size)
                        parts.append(part)
                        is_full = len(part) == size
                        self._at_end = not part  # the peer's close_notify
                except ssl.SSLWantReadError:
                    pass  # the rest of a record is still to come
        finally:
            if self._outgoing.pending:
                self._send_answers()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # Writing

    def send(self, data: Any) -> int:
        """See Stream."""
        if self._held:
            self._send_held()
            if self._held:
                return 0
        size = len(data)
        if size > _CHUNK:
            data = memoryview(data)[:_CHUNK]
            size = _CHUNK
        self._send_ciphertext(self._encrypt(data))
        return size

    def sendmsg(self, buffers: list[Any]) -> int:
        """See Stream."""
        room = _CHUNK
        parts = []
        for buffer in buffers:
            parts.append(memoryview(buffer)[:room])
            room -= len(parts[-1])
            if not room:
                break
        return self.send(b"".join(parts))

    def answer(self, data: bytes, timeout: float | None) -> None:
        """See ClientStream. Nothing is held."""
        self.send_all(data, timeout)

    @property
    def has_unsent(self) -> bool:
        """See ClientStream."""
        return False

    def send_all(self, data: Any, timeout: float | None) -> None:
        """See Stream."""
        view = memoryview(data)
        self._stream.stop_writing()  # the stream below writes on by itself
        for start in range(0, len(view), _CHUNK):
            self._stream.send_all(self._take_held() + self._encrypt(view[start : start + _CHUNK]), timeout)

    def sendfile(self, fd: int, offset: int, count: int, timeout: float | None) -> int:
        """See Stream; the bytes are read, as they must be encrypted."""
        data = os.pread(fd, min(count, _CHUNK), offset)
        self.send_all(data, timeout)
        return len(data)

    def when_writable(self, callback: Callable[[], object]) -> None:
        """See Stream."""
        self._on_writable = callback
        self._stream.when_writable(self._write_on)

    def stop_writing(self) -> None:
        """See Stream."""
        self._on_writable = None
        if not self._held:
            self._stream.stop_writing()

    def _encrypt(self, data: Any) -> bytes:
        if self._tls is None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        outgoing, write = self._outgoing, self._records.write
        if len(data) <= _RECORD:
            if data:
                write(data)
            return outgoing.read()  # type: ignore[no-any-return]  # of ssl.MemoryBIO
        parts = []
        view = memoryview(data)
        for start in range(0, len(view), _RECORD):
            write(view[start : start + _RECORD])
            parts.append(outgoing.read())
        return b"".join(parts)

    def _send_answers(self) -> None:
        """Send what OpenSSL has to say of its own: an alert, the answer to a KeyUpdate, close_notify."""
        ciphertext = self._take_held() + self._outgoing.read()
        if len(ciphertext) > _MOST_HELD:
            raise ConnectionAbortedError("the peer takes nothing and demands answers")
        self._send_ciphertext(ciphertext)

    def _send_ciphertext(self, ciphertext: bytes | memoryview) -> None:
        """Send, and hold what the kernel does not take; nothing may be held before."""
        sent = self._stream.send(ciphertext)
        if sent < len(ciphertext):
            self._held = memoryview(ciphertext)[sent:]
            self._stream.when_writable(self._write_on)

    def _send_held(self) -> None:
        held, self._held = self._held, b""
        self._send_ciphertext(held)

    def _take_held(self) -> bytes:
        """Return what is held; the caller sends it."""
        held, self._held = self._held, b""
        return bytes(held)

    def _write_on(self) -> None:
        """The stream below takes bytes again."""
        try:
            self._send_held()
        except OSError:
            self._held = b""  # reading will tell, and so will the next write
        if self._held:
            return
        if self._is_shut:
            self._stream.shutdown()
        if self._on_writable is not None:
            self._on_writable()
        else:
            self._stream.stop_writing()

    # Ending

    def shutdown(self) -> None:
        """See Stream: close_notify (RFC 8446 6.1), then the end of the stream below."""
        if self._is_shut:
            return
        self._is_shut = True
        try:
            self._tls.unwrap()
        except OSError:
            pass  # it would like to wait for the peer's
        try:
            self._send_answers()
        except OSError:
            self._held = b""
        if not self._held:
            self._stream.shutdown()

    def reset(self) -> None:
        """See Stream."""
        self._stream.reset()
        self._forget()

    def close(self) -> None:
        """See Stream; says goodbye if the kernel has room for it."""
        if self._stream.fileno() >= 0:
            self.shutdown()
        self._stream.close()
        self._forget()

    def _forget(self) -> None:
        """Give back what OpenSSL holds, some 50 KiB and what it has not decrypted: others may know us for longer."""
        self._receiver = self._on_writable = None
        self._held = self._early = b""
        self._at_end = self._is_shut = True
        self._tls = self._records = self._incoming = self._outgoing = None


def _printable(text: str) -> str:
    """Return ASCII, and other bytes in hexadecimal, as OpenSSL does."""
    return "".join([chr(byte) if 32 <= byte < 127 else f"\\x{byte:02X}" for byte in text.encode()])
