"""One worker's connection to one server: it publishes and subscribes on it, and comes back when it is lost.

Both go over one connection of RESP3, in the order of the calls: so a worker that joins a channel and then publishes
there gets its own message. What is published in one turn of the hub's loop goes out as one pipeline. Nobody waits for
the network but three greenlets: one connects and reads, one writes, one looks whether the server answers.

redis-py makes the connection. What comes is then read by hiredis without it: 2.2 us a message rather than 8.5, and
1.3 us a publish in a pipeline rather than 6.5.

A server answers commands in order, so each answer is that of the oldest command *pending*. A subscription's answer is a
push, and it tells exactly from when on messages come: there a subscriber is told of the gap before it.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Protocol

import gevent
from gevent import monkey
from gevent.event import Event
from gevent.hub import Hub
from gevent.socket import wait_read, wait_write
from hiredis import HiredisError, PushNotification, Reader, ReplyError, pack_command

from uwsgi_ws.channels.positions import Keep
from uwsgi_ws.channels.redis import scripts
from uwsgi_ws.channels.redis.engine import Engine, Node
from uwsgi_ws.channels.redis.wire import encode_gap
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.hub.own import keep_socket
from uwsgi_ws.stats import Stats

__all__ = ["Link", "Owner", "in_thread_unless_patched"]

_PUBLISH, _SUBSCRIBE, _UNSUBSCRIBE, _PING, _LOAD, _READ, _MARK = range(7)
_READ_SIZE = 65_536
#: Bytes of commands handed to the socket at once: a pipeline of whatever has come, but no copy of a long queue.
_CHUNK = 262_144
#: Subscriptions renewed before other greenlets get their turn.
_BATCH = 500
#: Seconds between two attempts to connect: at first, and at most. Each is drawn between nothing and so much, or all
#: workers would come back at the same moment.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
#: What an error begins with when the server is not, or no longer, the one for a channel.
_ELSEWHERE = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED")

#: What an error begins with that the next message would get as well.
_FOR_EVER = ("NOPERM", "WRONGTYPE")
#: What an error begins with when nothing more is kept for now.
_FULL = ("OOM", "MISCONF", "NOREPLICAS")

_pack: Any = pack_command  # which is declared to take but one argument
_log = logging.getLogger("uwsgi_ws.channels")


class Owner(Protocol):
    """The backend, as its links see it."""

    def take(self, name: bytes, data: bytes) -> None:
        """A message came."""

    def is_live(self, name: bytes, *, has_gap: bool) -> None:
        """From here on messages of a channel come; whether some may have been missed before."""

    def take_history(self, name: bytes, token: object, reply: Any) -> None:
        """What is kept of a channel; None where the server refuses to tell. The token is that of ``read``."""

    def doubt(self) -> None:
        """The servers may be others than thought."""


#: To be sent: kind, channel, bytes, and how much of the channel is kept; or the token of a read.
Command = tuple[int, bytes, bytes, Any]


class _LinkLostError(Exception):
    """The connection has ended, or nothing answers."""


class Link:
    """Made in the worker, after the fork. Everything may be called at any time, connected or not.

    What is to be published waits in a queue of ``limit`` bytes; past it messages are dropped, counted and logged. The
    channels of messages that were lost, here or on the way, get a gap as soon as something goes out again; one that is
    kept, where the message was to be kept.

    Args:
        node: The server.
        is_sharded: Whether its channels are.
        engine: What it belongs to.
        limit: Bytes that may wait.

    Attributes:
        is_up: Whether it is connected, and has all its subscriptions.
        node: The same.
    """

    def __init__(
        self, owner: Owner, engine: Engine, node: Node, hub: Hub, stats: Stats, *, is_sharded: bool, limit: int
    ) -> None:
        self.node = node
        self.is_up = Event()
        self._owner = owner
        self._engine = engine
        self._loop: Any = hub.loop
        self._stats = stats
        self._limit = limit
        shard = "S" if is_sharded else ""
        self._verbs = tuple(f"{shard}{verb}".encode() for verb in ("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE"))
        self._wanted: dict[bytes, bool] = {}  # the channels subscribed to; whether a gap is to be told
        self._refused: set[bytes] = set()  # those of them that the server does not give
        self._confirmed: set[bytes] = set()  # those of them that the server has said yes to
        self._has_scripts = False  # whether it has, or will have had, what history needs
        self._waiting: deque[Command] = deque()  # commands to send
        self._size = 0  # bytes of those, and of what is being sent
        self._pending: deque[tuple[int, bytes, Any]] = deque()  # commands sent, without an answer yet
        # The channels of what was lost, until that has been said there: before what waits, or behind it.
        self._lost_on_the_way: dict[bytes, Keep | None] = {}
        self._dropped: dict[bytes, Keep | None] = {}
        # The channels whose history lacks something that the server would not keep, until it has kept a gap there.
        self._unkept: dict[bytes, Keep] = {}
        self._has_work = Event()
        self._heard_at = 0.0
        self._unlogged = 0
        self._log_at = 0.0
        self._is_logged_as_down = False
        self._problem = ""  # what a helper has met
        self._connection: Any = None
        self._life = gevent.spawn(self._live)

    # What the backend calls

    def publish(self, name: bytes, data: bytes, keep: Keep | None = None) -> None:
        """Send a message soon, or drop it."""
        command = self._publishing(name, data, keep)
        if self._size + len(command) > self._limit:
            self._lose(name, self._dropped, keep)
            return
        if name in self._dropped:
            gap = {name: self._dropped.pop(name)}
            self._waiting.extend(self._gaps_of(gap))
        self._enqueue(_PUBLISH, name, command, keep)

    def _publishing(self, name: bytes, data: bytes, keep: Keep | None) -> bytes:
        if keep is None:
            return _pack((self._verbs[_PUBLISH], name, data))  # type: ignore[no-any-return]
        self._load_scripts()
        return _call(scripts.PUBLISH, name, keep, data, self._verbs[_PUBLISH])

    def _load_scripts(self) -> None:
        if not self._has_scripts:
            self._has_scripts = True
            if self._connection is not None:
                for script in (scripts.PUBLISH, scripts.READ):
                    self._enqueue(_LOAD, b"", _pack((b"SCRIPT", b"LOAD", script.text)))

    def read(self, name: bytes, keep: Keep | None, token: object) -> bool:
        """Have what is kept of a channel told, if its messages come already; else say no.

        When the connection is lost there is no answer.
        """
        if name not in self._confirmed:
            return False
        self._load_scripts()
        self._enqueue(_READ, name, _call(scripts.READ, name, keep or Keep(0, 0)), token)
        return True

    def subscribe(self, name: bytes, *, has_gap: bool) -> None:
        """Have a channel's messages come from now on.

        Args:
            name: Redis's.
            has_gap: Whether messages may have been missed before; they may while it is not connected.
        """
        is_connected = self._connection is not None
        self._wanted[name] = has_gap or not is_connected
        if is_connected:
            self._enqueue(_SUBSCRIBE, name, _pack((self._verbs[_SUBSCRIBE], name)))

    def unsubscribe(self, name: bytes) -> None:
        """Undo ``subscribe``."""
        if self._wanted.pop(name, None) is not None and self._connection is not None:
            self._refused.discard(name)
            self._confirmed.discard(name)
            self._enqueue(_UNSUBSCRIBE, name, _pack((self._verbs[_UNSUBSCRIBE], name)))

    def retry(self) -> None:
        """Ask again for what the server has refused."""
        if self.is_up.is_set():
            unkept, self._unkept = self._unkept, {}
            for name, keep in unkept.items():
                self._enqueue(_MARK, name, self._publishing(name, encode_gap(), keep), keep)
        refused, self._refused = self._refused, set()
        for name in refused:
            if name in self._wanted:
                self.subscribe(name, has_gap=True)
        if self._lost_on_the_way:
            self._has_work.set()

    @property
    def is_idle(self) -> bool:
        """Whether all has been sent that can be."""
        return not self._size or self._connection is None

    def close(self) -> list[tuple[bytes, bytes, Keep | None]]:
        """End for good; return what was not sent, messages and gaps of lost ones: channel, command, what is kept."""
        self._life.kill(block=False)
        self._lost()
        waiting = [*self._gaps_of(self._lost_on_the_way), *self._waiting, *self._gaps_of(self._dropped)]
        return [(name, command, keep) for _, name, command, keep in waiting]

    def adopt(self, messages: Iterable[tuple[bytes, bytes, Keep | None]]) -> None:
        """Take over what another one has not sent."""
        for name, command, keep in messages:
            if keep is not None:
                self._load_scripts()
            self._enqueue(_PUBLISH, name, command, keep)

    def _enqueue(self, kind: int, name: bytes, command: bytes, detail: object = None) -> None:
        self._waiting.append((kind, name, command, detail))
        self._size += len(command)
        self._has_work.set()

    # Losses

    def _lose(self, name: bytes, lossy: dict[bytes, Keep | None], keep: Keep | None) -> None:
        """Count a message that is lost, and remember its channel."""
        self._stats.channel_drops += 1
        lossy[name] = keep or lossy.get(name)
        self._unlogged += 1
        now = monotonic()
        if now >= self._log_at:
            self._log_at = now + 1.0
            self._report()

    def _report(self) -> None:
        _log.warning(
            "%d channel messages dropped, or lost on the way: %s does not take them, %d bytes wait already",
            self._unlogged,
            self.node,
            self._size,
        )
        self._unlogged = 0

    # The connection

    def _live(self) -> None:
        attempts = 0
        while True:
            try:
                self._connection = connection = in_thread_unless_patched(self._engine.connect, self.node)
            except ChannelError as exc:
                self._tell_down(str(exc))
                self._owner.doubt()
                gevent.sleep(random.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempts)))
                attempts = min(attempts + 1, 10)
                continue
            attempts = 0
            self._problem = ""
            helpers = []
            try:
                sock = connection._sock  # there is no public way to it
                keep_socket(sock)
                sock.setblocking(False)
                self._heard_at = monotonic()
                helpers = [gevent.spawn(self._help, work, sock) for work in (self._write, self._watch)]
                self._read(sock)
            except (_LinkLostError, OSError, HiredisError) as exc:
                self._tell_down(f"{self.node}: {self._problem or exc}")
            except Exception:
                _log.exception("channels: the connection to %s is given up", self.node)
            finally:
                gevent.killall(helpers)
                self._lost()
            self._owner.doubt()
            gevent.sleep(random.uniform(0.0, _FIRST_PAUSE))

    def _help(self, work: Callable[[Any], None], sock: Any) -> None:
        """Do one of a connection's works; an error there ends the connection, which the reader sees."""
        try:
            work(sock)
        except (_LinkLostError, OSError) as exc:
            self._problem = str(exc)
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _lost(self) -> None:
        """Take note that there is no connection any more: what was under way is lost, or nobody knows."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
        self.is_up.clear()
        for kind, name, keep in self._pending:
            if kind == _PUBLISH:
                self._lose(name, self._lost_on_the_way, keep)
            elif kind == _MARK:
                self._unkept[name] = keep
        self._pending.clear()
        self._refused.clear()
        self._confirmed.clear()
        self._waiting = deque(command for command in self._waiting if command[0] in (_PUBLISH, _MARK))
        self._size = sum(len(command) for _, _, command, _ in self._waiting)
        for name in self._wanted:
            self._wanted[name] = True
        if self._unlogged:
            self._report()

    def _tell_down(self, problem: str) -> None:
        if not self._is_logged_as_down:
            self._is_logged_as_down = True
            _log.error("channels: %s; trying again", problem)

    def _tell_up(self) -> None:
        if self._is_logged_as_down:
            self._is_logged_as_down = False
            _log.warning("channels: connected to %s again, %d channels subscribed", self.node, len(self._wanted))

    # Writing

    def _write(self, sock: Any) -> None:
        # What waits comes after this: it may rely on these subscriptions.
        names = list(self._wanted)
        for begin in range(0, len(names), _BATCH):
            commands = []
            for name in names[begin : begin + _BATCH]:
                if name in self._wanted:
                    self._pending.append((_SUBSCRIBE, name, None))
                    commands.append(_pack((self._verbs[_SUBSCRIBE], name)))
            _send_all(sock, b"".join(commands))
            gevent.sleep(0)
        self._waiting.extendleft(self._gaps_of(self._lost_on_the_way))
        if self._has_scripts:  # before all that needs them
            self._has_scripts = False
            waiting, self._waiting = self._waiting, deque()
            self._load_scripts()
            self._waiting.extend(waiting)
        self._tell_up()
        self.is_up.set()
        while True:
            self._send_waiting(sock)
            self._has_work.clear()
            if self._dropped or self._lost_on_the_way:  # of which there is room to tell now
                self._waiting.extend(self._gaps_of(self._dropped))
                self._waiting.extend(self._gaps_of(self._lost_on_the_way))
            else:
                self._has_work.wait()

    def _gaps_of(self, lossy: dict[bytes, Keep | None]) -> list[Command]:
        """Return the commands that publish a gap in each channel that has lost a message."""
        keeps = dict(lossy)
        lossy.clear()
        gaps = [(_PUBLISH, name, self._publishing(name, encode_gap(), keep), keep) for name, keep in keeps.items()]
        self._size += sum(len(command) for _, _, command, _ in gaps)
        return gaps

    def _send_waiting(self, sock: Any) -> None:
        waiting = self._waiting
        while waiting:
            commands = []
            size = 0
            while waiting and size < _CHUNK:
                kind, name, command, keep = waiting.popleft()
                self._pending.append((kind, name, keep))
                commands.append(command)
                size += len(command)
            _send_all(sock, b"".join(commands))
            self._size -= size

    # Reading

    def _read(self, sock: Any) -> None:
        reader = Reader()
        watcher = self._loop.io(sock.fileno(), 1)
        wait = gevent.get_hub().wait
        try:
            while True:
                wait(watcher)
                data = _receive(sock)
                self._heard_at = monotonic()
                reader.feed(data)
                while (reply := reader.gets()) is not False:
                    if type(reply) is PushNotification:
                        self._take_push(reply)
                    else:
                        self._take_reply(reply)
        finally:
            watcher.close()

    def _take_push(self, push: list[Any]) -> None:
        kind = push[0]
        if kind in (b"message", b"smessage"):
            if push[1] in self._wanted:  # else the channel has moved, and newer messages may have come from there
                self._owner.take(push[1], push[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._answered()
            name = push[1]
            if name in self._wanted:
                has_gap, self._wanted[name] = self._wanted[name], False
                self._confirmed.add(name)
                self._owner.is_live(name, has_gap=has_gap)
        elif kind in (b"unsubscribe", b"sunsubscribe"):
            name = push[1]
            if self._pending and self._pending[0][:2] == (_UNSUBSCRIBE, name):
                self._answered()
            elif name in self._wanted:  # the server's own wish: the slot has moved
                self._refuse(name)
                self._owner.doubt()

    def _take_reply(self, reply: Any) -> None:
        kind, name, detail = self._answered()
        if kind == _READ:
            self._owner.take_history(name, detail, None if isinstance(reply, ReplyError) else reply)
        if not isinstance(reply, ReplyError):
            return
        text = str(reply)
        if text.startswith("NOSCRIPT"):
            self._has_scripts = False
        if kind == _MARK or (kind == _PUBLISH and detail is not None and text.startswith(_FULL)):
            self._unkept[name] = detail
        if kind == _PUBLISH:
            if not text.startswith(_FOR_EVER):  # else the gap would be refused as well
                # One that is kept would be, too, where there is no room.
                self._lose(name, self._lost_on_the_way, None if name in self._unkept else detail)
                # Else the gap waits for the next message, or for ``retry``: at once it would be refused as this was.
                if text.startswith(_FULL):
                    self._has_work.set()
            else:
                self._stats.channel_drops += 1
        elif kind == _SUBSCRIBE and name in self._wanted:
            self._refuse(name)
        if text.startswith(_ELSEWHERE):
            self._owner.doubt()
        elif kind != _PING and monotonic() >= self._log_at:
            self._log_at = monotonic() + 1.0
            _log.error("channels: %s refuses %r: %s", self.node, name, text)

    def _refuse(self, name: bytes) -> None:
        self._refused.add(name)
        self._confirmed.discard(name)
        self._wanted[name] = True

    def _answered(self) -> tuple[int, bytes, Any]:
        """Take the oldest command off those without an answer."""
        if not self._pending:
            raise _LinkLostError("it answers what it was not asked")
        return self._pending.popleft()

    # A server that is stopped, or a network that takes everything and brings nothing

    def _watch(self, sock: Any) -> None:
        timeout = self._engine.timeout
        pause = timeout / 4
        pinged_at = 0.0
        while True:
            before = monotonic()
            gevent.sleep(pause)
            now = monotonic()
            if now - before > 2 * pause:
                continue  # it was this worker that stood still: what has come meanwhile is to be read first
            silence = now - self._heard_at
            if silence > timeout:
                raise _LinkLostError(f"it has not answered for {silence:.1f} seconds")
            if silence > timeout / 2 and pinged_at <= self._heard_at:
                pinged_at = now
                self._enqueue(_PING, b"", _pack((b"PING",)))


def _call(script: scripts.Script, *arguments: Any) -> bytes:
    return _pack((b"EVALSHA", script.sha, *script.arguments(*arguments)))  # type: ignore[no-any-return]


def in_thread_unless_patched(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what blocks by the interpreter's own sockets, so that only this greenlet waits.

    Raises:
        ChannelError: the function does.
    """
    if monkey.is_module_patched("socket"):
        return function(*arguments)

    def call() -> tuple[Any, ChannelError | None]:
        # What a thread of the pool raises is printed.
        try:
            return function(*arguments), None
        except ChannelError as exc:
            return None, exc

    result, error = gevent.get_hub().threadpool.apply(call)
    if error is not None:
        raise error
    return result


def _receive(sock: Any) -> bytes:
    """Take what has come; of TLS all that is decrypted, as nothing tells of that later."""
    data = b""
    while True:
        try:
            part: bytes = sock.recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return data
        except ssl.SSLWantWriteError:
            wait_write(sock.fileno())
            continue
        if not part:
            raise _LinkLostError("it has closed the connection")
        data += part
        if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
            return data


def _send_all(sock: Any, data: bytes) -> None:
    sent = 0
    with memoryview(data) as view:
        while sent < len(view):
            try:
                sent += sock.send(view[sent:])
            except (BlockingIOError, ssl.SSLWantWriteError):
                wait_write(sock.fileno())
            except ssl.SSLWantReadError:
                wait_read(sock.fileno())
