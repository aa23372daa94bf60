"""The engine that a URL names: which servers take part in it now, and connections to them.

An engine is one server, the master that Sentinels tell, or a Cluster; whether a server belongs to a Cluster it says
itself. redis-py makes the connections: addresses, TLS, passwords. All of it blocks, and needs no gevent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hiredis import PushNotification, Reader, ReplyError, pack_command
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.crc import key_slot
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from uwsgi_ws.channels.positions import Keep
from uwsgi_ws.channels.redis import scripts
from uwsgi_ws.channels.redis.wire import PREFIX
from uwsgi_ws.errors import ChannelError

__all__ = ["OLDEST", "Engine", "Layout", "Node"]

#: The oldest version, of Redis or Valkey, that has all that is used: sharded channels.
OLDEST = 7
#: Seconds: longer than a server pauses, shorter than people wait.
TIMEOUT = 5.0
_SLOTS = 16_384
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_READ_SIZE = 65_536
_pack: Any = pack_command  # which is declared to take but one argument
_PROBE = "is this allowed?"


class Node(NamedTuple):
    """Where a server is: host and port, or the path of its socket and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


class Layout:
    """Which server has which channel.

    Args:
        slots: A node for each slot of a Cluster, None where there is none; or one node, for all channels.

    Attributes:
        is_sharded: Whether it is a Cluster, whose channels are sharded.
        nodes: All of them.
    """

    __slots__ = ("_slots", "is_sharded", "nodes")

    def __init__(self, slots: list[Node | None]) -> None:
        self._slots = slots
        self.is_sharded = len(slots) > 1
        self.nodes = {node for node in slots if node is not None}

    def node_of(self, name: bytes) -> Node | None:
        """Return the server that has a channel; None where the Cluster has none just now."""
        return self._slots[key_slot(name)] if self.is_sharded else self._slots[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self._slots == other._slots

    __hash__ = None  # type: ignore[assignment]  # as of a list


class Engine:
    """What a URL names.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with what redis-py knows, and several hosts where they are of
            one Cluster; or ``redis+sentinel://HOST:PORT,HOST:PORT/SERVICE``.

        timeout: Seconds within which a server answers, unless the URL says ``socket_timeout``.

    Raises:
        ChannelError: it is no such URL; without its password.

    Attributes:
        name: The URL without what is secret.
        prefix: What Redis's channels have before the names of ours.
        timeout: Seconds within which a server answers.
        is_fixed: Whether it will always be the same one server; False until that is known.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        scheme, separator, rest = url.partition("://")
        rest, mark, query = rest.partition("?")
        credentials, at, address = rest.rpartition("@")
        self.name = f"{scheme}://{'***@' if at else ''}{address}"
        if scheme not in _SCHEMES or not separator:
            raise ChannelError(f"{self.name}: a URL begins with {', '.join(f'{each}://' for each in _SCHEMES)}")
        base, _, self._is_sentinel = scheme.partition("+")
        hosts, slash, path = address.partition("/")
        self._service = ""
        if self._is_sentinel:
            self._service, _, path = path.partition("/")
            if not self._service:
                raise ChannelError(f"{self.name}: the name of the service is missing: {scheme}://HOST:PORT/SERVICE")
        found = []
        for host in hosts.split(",") if base != "unix" else [hosts]:
            try:
                found.append(parse_url(f"{base}://{credentials}{at}{host}{slash}{path}{mark}{query}"))
            except (ValueError, TypeError) as exc:
                raise ChannelError(f"{self.name}: {exc}") from exc
        settings = found[0]
        port = 26_379 if self._is_sentinel else 6_379
        if base == "unix":
            self._seeds = [Node(settings.pop("path", ""), 0)]
        else:
            self._seeds = [Node(each.get("host", "localhost"), each.get("port", port)) for each in found]
        self.prefix = str(settings.pop("prefix", PREFIX))
        self.timeout = float(settings.setdefault("socket_timeout", timeout))
        settings.setdefault("socket_connect_timeout", self.timeout)
        for name in ("host", "port", "decode_responses", "connection_class", "retry_on_timeout"):
            settings.pop(name, None)
        self._sentinel_settings = {
            name.removeprefix("sentinel_"): settings.pop(name)
            for name in list(settings)
            if name.startswith("sentinel_")
        }
        self._settings: dict[str, Any] = {"client_name": "uwsgi_ws", **settings, "protocol": 3}
        self._kind: Any = {"redis": Connection, "rediss": SSLConnection, "unix": UnixDomainSocketConnection}[base]
        self._known: list[Node] = []  # the last that a Cluster had
        self.is_fixed = False
        try:
            self._make(self._seeds[0])
        except TypeError as exc:
            raise ChannelError(f"{self.name}: no such parameter: {str(exc).rpartition(' ')[2]}") from exc
        except (ValueError, RedisError) as exc:
            raise ChannelError(f"{self.name}: {exc}") from exc

    def _make(self, node: Node) -> Any:
        where = {"host": node.host, "port": node.port} if node.port else {"path": node.host}
        return self._kind(**self._settings, **where)

    def connect(self, node: Node) -> Any:
        """Return a connection of redis-py's, whose socket the caller may use; ``disconnect`` ends it.

        Raises:
            ChannelError: there is none, or it is not what it should be.
        """
        return self._open(node)[0]

    def _open(self, node: Node) -> tuple[Any, str]:
        """Return a connection, and what the server calls its mode."""
        try:
            connection = self._make(node)
            connection.connect()
        except (RedisError, OSError, UnicodeError) as exc:
            raise ChannelError(f"{node}: {_advice(exc)}") from exc
        try:
            connection.send_command("HELLO")
            hello = {str(key, "ascii"): value for key, value in connection.read_response().items()}
            version = str(hello["version"], "ascii")
            if int(version.partition(".")[0]) < OLDEST:
                raise ChannelError(f"{node}: it is version {version}, channels need {OLDEST} or newer")
            if self._is_sentinel and hello["role"] != b"master":
                raise ChannelError(f"{node}: it is no master any more")
            return connection, str(hello["mode"], "ascii")
        except (RedisError, OSError, KeyError, ValueError) as exc:
            connection.disconnect()
            raise ChannelError(f"{node}: {_advice(exc)}") from exc
        except BaseException:
            connection.disconnect()
            raise

    def find(self) -> Layout:
        """Ask which servers there are.

        Raises:
            ChannelError: nobody can tell.
        """
        if self._is_sentinel:
            return Layout([self._ask_sentinels()])
        problems = []
        for node in dict.fromkeys([*self._known, *self._seeds]):
            try:
                connection, mode = self._open(node)
            except ChannelError as exc:
                problems.append(exc)
                continue
            with _closing(connection):
                if mode == "cluster" and node.port:
                    return self._ask_cluster(connection, node)
                if mode != "standalone":
                    advice = "redis+sentinel://HOST:PORT/SERVICE" if mode == "sentinel" else "redis://HOST:PORT"
                    raise ChannelError(f"{node}: it is of mode {mode}: give {advice}")
                if len(self._seeds) > 1:
                    raise ChannelError(f"{node}: it is no Cluster, and several servers are named")
                self.is_fixed = True
                return Layout([node])
        raise problems[0]

    def _ask_sentinels(self) -> Node:
        settings = {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "retry": Retry(NoBackoff(), 0),
            **self._sentinel_settings,
        }
        if self._kind is SSLConnection:
            settings |= {"ssl": True}
            settings |= {name: value for name, value in self._settings.items() if name.startswith("ssl_")}
        sentinel: Any = Sentinel([tuple(node) for node in self._seeds], sentinel_kwargs=settings)
        try:
            host, port = sentinel.discover_master(self._service)
        except (RedisError, OSError, TypeError) as exc:
            problem = str(exc).partition(" : ")[0]  # what follows is how each was asked
            raise ChannelError(f"{', '.join(map(str, self._seeds))}: {problem}") from exc
        finally:
            for each in sentinel.sentinels:
                each.close()
        return Node(str(host, "ascii") if isinstance(host, bytes) else host, int(port))

    def _ask_cluster(self, connection: Any, node: Node) -> Layout:
        try:
            connection.send_command("CLUSTER", "SLOTS")
            ranges = connection.read_response()
        except (RedisError, OSError) as exc:
            raise ChannelError(f"{node}: {_advice(exc)}") from exc
        slots: list[Node | None] = [None] * _SLOTS
        for first, last, master, *_ in ranges:
            # Without a host it is where the question went.
            owner = Node(str(master[0] or b"", "ascii") or node.host, int(master[1]))
            slots[first : last + 1] = [owner] * (last + 1 - first)
        layout = Layout(slots)
        if not layout.nodes:
            raise ChannelError(f"{node}: the Cluster has no slots yet")
        self._known = sorted(layout.nodes)
        return layout

    def check(self, *, history: bool = False) -> None:
        """See whether messages can be published, and come back.

        Args:
            history: Whether they are to be kept as well.

        Raises:
            ChannelError: they cannot, and why.
        """
        layout = self.find()
        channel = (self.prefix + _PROBE).encode()
        with self._publisher(layout, channel) as (connection, node):
            for verb in ("SUBSCRIBE", "PUBLISH"):
                arguments = (channel,) if verb == "SUBSCRIBE" else (channel, b"")
                _ask(connection, node, _verb(layout, verb), *arguments)
            if history:
                _ask(connection, node, *_keeping(layout, channel, b"", Keep(1, 1)))
                _ask(connection, node, b"EVAL", scripts.READ.text, *scripts.READ.arguments(channel, Keep(1, 1)))

    def publish(self, name: bytes, data: bytes, keep: Keep | None = None) -> None:
        """Publish, and wait for the server's answer.

        Args:
            name: Redis's.
            data: The message, encoded.
            keep: How much of the channel is kept, this message included.

        Raises:
            ChannelError: it was not published.
        """
        layout = self.find()
        with self._publisher(layout, name) as (connection, node):
            if keep is not None:
                _ask(connection, node, *_keeping(layout, name, data, keep))
            else:
                _ask(connection, node, _verb(layout, "PUBLISH"), name, data)

    @contextmanager
    def _publisher(self, layout: Layout, name: bytes) -> Iterator[tuple[Any, Node]]:
        node = layout.node_of(name)
        if node is None:
            raise ChannelError(f"{self.name}: the Cluster has no server for this channel now")
        connection = self.connect(node)
        with _closing(connection):
            yield connection, node


@contextmanager
def _closing(connection: Any) -> Iterator[None]:
    try:
        yield
    finally:
        connection.disconnect()


def _verb(layout: Layout, verb: str) -> str:
    return f"S{verb}" if layout.is_sharded else verb


def _keeping(layout: Layout, name: bytes, data: bytes, keep: Keep) -> tuple[bytes, ...]:
    """Return the command that publishes and keeps something."""
    verb = _verb(layout, "PUBLISH").encode()
    return (b"EVAL", scripts.PUBLISH.text, *scripts.PUBLISH.arguments(name, keep, data, verb))


def _ask(connection: Any, node: Node, *command: str | bytes) -> None:
    """Have a command answered, by a push where that is its answer."""
    reader = Reader()
    is_push_due = "SUBSCRIBE" in str(command[0])
    sock = connection._sock  # there is no public way to it
    try:
        sock.sendall(_pack(command))
        while True:
            reader.feed(sock.recv(_READ_SIZE) or _raise_end())
            while (reply := reader.gets()) is not False:
                if isinstance(reply, ReplyError):
                    raise ChannelError(f"{node}: {_advice(reply)}")
                if isinstance(reply, PushNotification) == is_push_due:
                    return
    except OSError as exc:
        raise ChannelError(f"{node}: {_advice(exc)}") from exc


def _raise_end() -> bytes:
    raise ConnectionError("it has closed the connection")


def _advice(exc: Exception) -> str:
    """Return an error's text, and what it means where that needs to be said."""
    text = str(exc) or type(exc).__name__
    if text.startswith(("NOAUTH", "HELLO must be called with the client already authenticated")):
        return "it asks for a password, and the URL has none"
    if text.startswith("unknown command 'HELLO'") or "NOPROTO" in text:
        return f"it is too old, channels need version {OLDEST} or newer"
    if text.startswith("NOPERM"):
        needed = "channels need +publish +subscribe, in a Cluster +spublish +ssubscribe, and &PREFIX*"
        return f"{text} ({needed}; for --channel-history see docs/channel-history.md)"
    return text
