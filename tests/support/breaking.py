"""A worker's server in memory, and the streams that break under it: what is left once a connection has ended?

``Worker.serve`` serves one client from its first byte to the end of its connection, whatever front, WebSocket and
application are involved, and then asserts what holds for all of them: only errors that are documented came up, the
stream is closed, no greenlet is parked, nothing of the connection is known to anybody any more (the worker's timers
included, as they know what they will call), and what was counted as opened is counted as ended.
"""

from __future__ import annotations

import gc
import logging
import os
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import gevent
import greenlet
import pytest

from support.limits import make_connection_settings, make_limits
from support.streams import FailingStream, MemoryStream, failing_streams
from uwsgi_ws.channels.alone import Alone
from uwsgi_ws.channels.bus import Bus, use_bus
from uwsgi_ws.channels.local_history import LocalHistory
from uwsgi_ws.channels.message_log import LogMemory
from uwsgi_ws.fronts.bytestream import StreamFront
from uwsgi_ws.fronts.http1 import Http1Front
from uwsgi_ws.fronts.http2.front import Http2Front, StreamWorker
from uwsgi_ws.fronts.http2.stream import Http2Stream
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.fronts.tls import TlsFront
from uwsgi_ws.fronts.uwsgi import UwsgiFront
from uwsgi_ws.hub.hub_calls import use_hub_calls
from uwsgi_ws.net.tls import TlsStream
from uwsgi_ws.protocol.websocket.keepalive import KeepalivePolicy
from uwsgi_ws.request.acceptor import SOCKET_KEYS
from uwsgi_ws.request.base import Front, Request
from uwsgi_ws.request.event_stream import EventStream
from uwsgi_ws.server import clients
from uwsgi_ws.server.accepting import FrontSettings
from uwsgi_ws.server.concurrency import Concurrency
from uwsgi_ws.server.loop import EventLoop
from uwsgi_ws.server.server import Answering, Server
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.live import LiveConnection
from uwsgi_ws.websocket.outbox import Outbox
from uwsgi_ws.websocket.tunnel import Tunnel, Way
from uwsgi_ws.wsgi.environ import EnvironBase
from uwsgi_ws.wsgi.runner import Application, WsgiRunner

#: Seconds for one client; its bytes are all there.
_DEADLINE = 5.0
#: What nobody may know once a connection has ended.
_KINDS = (
    Request,
    StreamFront,
    TlsFront,
    Http2Front,
    Http2Stream,
    StreamWorker,
    TlsStream,
    LiveConnection,
    Outbox,
    EventStream,
    Tunnel,
    Way,
)

#: How a call fails: for good or once, and with which error.
ways_to_fail = pytest.mark.parametrize(
    "how",
    [{}, {"error": TimeoutError}, {"is_lasting": False}, {"error": TimeoutError, "is_lasting": False}],
    ids=["reset", "timeout", "once", "timeout-once"],
)


class ReadableStream(FailingStream):
    """One whose descriptor has something to read all the time, for a thread that waits for it by itself."""

    def __init__(self, *pieces: bytes, **how: Any) -> None:
        super().__init__(*pieces, **how)
        self._fd = os.eventfd(1)

    def fileno(self) -> int:
        return self._fd

    def recv_now(self) -> bytes | None:
        return super().recv_now() or b""

    def close(self) -> None:
        super().close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class TlsClientStream(FailingStream):
    """A stream on which a client of OpenSSL's own says the pieces, once it has shaken hands.

    It leaves when it is told something that it cannot decrypt, as some of it has been lost.
    """

    context: ssl.SSLContext

    def __init__(self, *pieces: bytes, **how: Any) -> None:
        super().__init__(**how)
        self._pieces = list(pieces)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self.context.wrap_bio(self._in, self._out, server_hostname="x.example")
        self._carried = 0
        self.received = b""

    def recv(self, timeout: float | None) -> bytes:
        self._speak()
        return super().recv(timeout)

    def recv_now(self) -> bytes | None:
        self._speak()
        return super().recv_now()

    def _speak(self) -> None:
        self._in.write(bytes(self.sent[self._carried :]))
        self._carried = len(self.sent)
        try:
            self._tls.do_handshake()
            if self._pieces:
                self._tls.write(self._pieces.pop(0))
            while data := self._tls.read(65_536):
                self.received += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            return
        if said := self._out.read():
            self.incoming.append(said)


class Worker:
    """Made by ``working``.

    Args:
        application: Answers the requests.
        has_threads: Whether in native threads.
    """

    def __init__(self, application: Application, *, has_threads: bool) -> None:
        self.loop = EventLoop.here()
        self.stats = Stats()
        hub = self.loop.hub
        history = LocalHistory(LogMemory(1 << 20), hub)
        self.bus = Bus(Alone(history), hub, self.stats, max_message_size=1_000_000)
        settings = make_connection_settings(keepalive=KeepalivePolicy(30, 10))
        self.settings = StreamSettings(make_limits(), head_timeout=30, idle_timeout=60, io_timeout=30)
        concurrency = Concurrency(self.loop, 100, settings, self.stats, threads=has_threads)
        runner = WsgiRunner(application, EnvironBase(b"2.0", 100, add_for_websocket=self._add_socket), concurrency.call)
        self.server = Server(
            self.loop,
            100,
            concurrency=concurrency,
            answering=Answering([], runner.run, lambda port: [], {}, None),  # type: ignore[arg-type]  # as in assembly
            fronts=FrontSettings(self.settings, {}, False, True),
            stats=self.stats,
        )
        self._greenlets: list[gevent.Greenlet[..., Any]] = []
        self.problems: list[BaseException] = []
        hub.handle_error = lambda context, kind, value, traceback: self.problems.append(value)

    def _add_socket(self, environ: dict[str, Any], request: Any, application: Any) -> None:
        environ[SOCKET_KEYS[0]] = lambda: request.acceptor.hand_over(request, (), "Switching Protocols")

    # A client of each front

    def http1(self, stream: Any) -> Front:
        return Http1Front(stream, self.settings, _PEER, 0, self.server.handle, lambda: True)

    def uwsgi(self, stream: Any) -> Front:
        return UwsgiFront(stream, self.settings, _PEER, 0, self.server.handle, lambda: True)

    def http2(self, stream: Any) -> Front:
        loop = self.loop
        return Http2Front(stream, self.settings, _PEER, 0, self.server.handle, self._spawn, loop.hub, loop.poller.cork)

    def tls(self, context: ssl.SSLContext) -> Callable[[Any], Front]:
        """Return what serves HTTP/1.1 over TLS."""

        def front(stream: Any) -> Front:
            secure = TlsStream(stream, context, self.loop.hub)
            return TlsFront(secure, 10, lambda: self.http1(secure), _PEER)

        return front

    def _spawn(self, worker: StreamWorker) -> bool:
        self._greenlets.append(gevent.spawn(worker.run))
        return True

    def serve(
        self, stream: MemoryStream, front: Callable[[Any], Front], meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """Serve a client to the end, and see that nothing of it is left."""
        self.run(stream, lambda: front(stream).run(), meanwhile)

    def run(
        self, stream: MemoryStream, work: Callable[[], object], meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """Have something done in a greenlet until the stream is closed; see that nothing of it is left.

        Args:
            stream: A client's, or one of two that end together.
            work: Must not raise.
            meanwhile: Called by the hub, once in each of its turns.
        """
        before = set(_parked())
        self._greenlets.append(gevent.spawn(work))
        del work
        deadline = monotonic() + _DEADLINE
        while not (stream.is_closed and all(each.ready() for each in self._greenlets)):
            assert monotonic() < deadline, f"closed: {stream.is_closed}; {self._greenlets}"
            has_more = stream.receiver is not None or stream.writable is not None
            self.loop.hub.loop.run_callback(stream.go_on)
            self.loop.hub.loop.run_callback(meanwhile)
            gevent.sleep(0 if has_more else 0.001)  # else a thread, or the end of the loop's turn, is waited for
        self.problems += [each.exception for each in self._greenlets if each.exception is not None]
        self._greenlets.clear()
        self._see_that_nothing_is_left(before, meanwhile)

    def _see_that_nothing_is_left(self, before: set[int], meanwhile: Callable[[], object]) -> None:
        assert not self.problems, self.problems
        gevent.sleep(0)
        deadline = monotonic() + _DEADLINE
        while left := self._left(before):  # a thread, or what is done meanwhile, may be about to forget it
            assert monotonic() < deadline, left
            self.loop.hub.loop.run_callback(meanwhile)
            gevent.sleep(0.001)
        counts = self.stats.measures.counts
        opened = sum(count for family, count in counts.items() if family[0] == "opened")
        ended = sum(count for family, count in counts.items() if family[0] == "ended")
        assert opened == ended, f"{opened - ended} WebSockets are counted as open"

    def _left(self, before: set[int]) -> list[str]:
        """Return what is left, in words: the caller must not keep it."""
        gc.collect()
        kept = [repr(each) for each in gc.get_objects() if isinstance(each, _KINDS)]
        parked = {f"a parked greenlet: {each}" for number, each in _parked().items() if number not in before}
        return [*kept, *map(repr, self.stats.measures.outboxes), *parked]

    def close(self) -> None:
        del self.loop.hub.handle_error
        self.server.close()
        self.bus.close()


_PEER = Peer("192.0.2.7", "4711", "x", "80")


def _parked() -> dict[int, str]:
    """Return the greenlets that have begun and not ended, but for those that threads begin in and who asks."""
    return {
        id(each): repr(each)
        for each in gc.get_objects()
        if isinstance(each, greenlet.greenlet) and each.gr_frame and each.parent and each is not greenlet.getcurrent()
    }


class _Errors(logging.Handler):
    """Takes down the exceptions that were logged."""

    def __init__(self, problems: list[BaseException]) -> None:
        super().__init__()
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._problems.append(record.exc_info[1].with_traceback(None))


@contextmanager
def working(application: Application, *, has_threads: bool = False) -> Iterator[Worker]:
    """Have a worker's server in this process. What has been made before it does not count as left."""
    was_serving, interval = clients.is_serving(), sys.getswitchinterval()
    gevent.get_hub()
    gc.collect()
    gc.freeze()
    worker = Worker(application, has_threads=has_threads)
    use_bus(worker.bus)
    errors = _Errors(worker.problems)
    logging.getLogger("uwsgi_ws").addHandler(errors)
    try:
        yield worker
    finally:
        logging.getLogger("uwsgi_ws").removeHandler(errors)
        use_bus(None)
        worker.close()
        use_hub_calls(None)
        sys.setswitchinterval(interval)
        gc.unfreeze()
        clients._is_serving = was_serving


def break_everywhere(
    worker: Worker,
    front: Callable[[Any], Front],
    *pieces: bytes,
    meanwhile: Callable[[], object] = lambda: None,
    **how: Any,
) -> FailingStream:
    """Serve a client again and again, each time with the next call of its stream failing.

    Returns:
        The stream of which no call has failed.
    """
    broken = 0
    for stream in failing_streams(*pieces, **how):
        worker.serve(stream, front, meanwhile)
        broken += stream.has_failed
    assert broken >= len(pieces), "each piece is read by a call of its own"
    return stream
