"""Run by support.bus: forks workers that only use the channels, and has each answer on a unix socket.

Channels whose names begin with ``kept`` keep their last 100 messages.

    python bus_process.py FOLDER SEATS QUEUE_SIZE MAX_MESSAGE_SIZE [URL]

Each line of stdin is a seat in which to start a (further) worker, or ``death``, as a master would note it; each line
of stdout says ``SEAT PID``. At the end of
stdin all workers are killed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from typing import Any, NoReturn


def main(folder: str, seats: int, queue_size: int, max_message_size: int, url: str = "") -> None:
    from uwsgi_ws.channels.inboxes import Inboxes
    from uwsgi_ws.channels.message_log import LogMemory

    inboxes = Inboxes(seats)
    memory = LogMemory(1 << 24)
    children = []
    for line in sys.stdin:
        if line == "death\n":
            memory.note_death()
            continue
        seat = int(line)
        pid = os.fork()
        if pid == 0:
            work(inboxes, memory, folder, seat, queue_size, max_message_size, url)
        children.append(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


def work(
    inboxes: Any, memory: Any, folder: str, seat: int, queue_size: int, max_message_size: int, url: str
) -> NoReturn:
    import gevent
    import gevent.socket
    from gevent.server import StreamServer

    from uwsgi_ws.channels import presence as presence_module
    from uwsgi_ws.channels import roster
    from uwsgi_ws.channels.bus import Bus
    from uwsgi_ws.channels.events import Gap, MemberJoined, MemberLeft
    from uwsgi_ws.channels.local_history import LocalHistory
    from uwsgi_ws.channels.pipes import PipeBackend
    from uwsgi_ws.channels.positions import Keep, keeper
    from uwsgi_ws.channels.subscription import Subscription
    from uwsgi_ws.hub.cork import Cork
    from uwsgi_ws.protocol.websocket.frames import TEXT
    from uwsgi_ws.stats import Stats

    if beat := os.environ.get("UWSGI_WS_TEST_BEAT"):
        presence_module.BEAT = roster.BEAT = float(beat)
    hub = gevent.get_hub()
    stats = Stats()
    backend: Any
    if url:
        from uwsgi_ws.channels.redis.backend import RedisBackend
        from uwsgi_ws.channels.redis.engine import Engine

        backend = RedisBackend(
            Engine(url), inboxes, seat, hub, stats, queue_size=queue_size, max_message_size=max_message_size
        )
    else:
        backend = PipeBackend(
            inboxes,
            seat,
            hub,
            Cork(hub.loop),
            stats,
            queue_size=queue_size,
            max_message_size=max_message_size,
            history=LocalHistory(memory, hub, is_used=True),
        )
    bus = Bus(backend, hub, stats, max_message_size=max_message_size, keep_for=keeper([("kept*", 100, 3_600)]))
    received: dict[str, list[str]] = {}
    positions: dict[str, str] = {}  # the last of each channel
    subscriptions: dict[str, Subscription[Any]] = {}

    class Client:
        """A WebSocket that takes everything."""

        def offer(self, prepared: object, overflow: object) -> bool:
            return True

        def close(self, code: int | None, reason: str) -> None:
            pass

    def collect(subscription: Subscription[Any], into: list[str]) -> None:
        for item in subscription:
            if isinstance(item, Gap):
                into.append("gap")
                continue
            if isinstance(item, MemberJoined | MemberLeft):
                into.append(f"{'joined' if isinstance(item, MemberJoined) else 'left'} {item.member['name']}")
                continue
            message = item.message
            if item.position is not None:
                positions[item.channel] = item.position
            if isinstance(message, str):
                into.append(message.partition(" ")[0])  # without its padding
            else:
                into.append(repr(message))

    def subscribe(channel: str, since: str | None = None, presence: bool = False) -> tuple[bool | None, str | None]:
        subscription = subscriptions[channel] = Subscription(bus, 1 << 30, gaps=True, positions=True, presence=presence)
        membership = subscription.join(channel, since=since)
        gevent.spawn(collect, subscription, received.setdefault(channel, []))
        return membership.recovered, membership.position

    def subscribe_many(channel: str, since: str, count: int) -> tuple[list[Any], float]:
        """Have many come back at once; return how much each of them got and whether that was all, and the seconds."""
        began = time.monotonic()
        back = [Subscription[Any](bus, 1 << 30) for _ in range(count)]
        joins = [gevent.spawn(subscription.join, channel, since=since) for subscription in back]
        recovered = [join.get().recovered for join in joins]
        took = time.monotonic() - began
        outcomes = []
        for subscription, is_all in zip(back, recovered, strict=True):
            taken = 0
            while subscription.recv(0) is not None:
                taken += 1
            subscription.close()
            outcomes.append((taken, is_all))
        return sorted(set(outcomes)), took

    def die_before_the_bell(channel: str, message: str) -> None:
        backend._history.append(channel, TEXT, message.encode(), 0, Keep(100))
        os.kill(os.getpid(), signal.SIGKILL)

    def unsubscribe(channel: str) -> None:
        subscriptions.pop(channel).close()

    def publish(channel: str, first: int, count: int, size: int, burst: int) -> None:
        for number in range(first, first + count):
            message = f"{seat}.{os.getpid()}:{number} "
            bus.publish(channel, TEXT, message.ljust(size, "x").encode())
            if (number + 1) % burst == 0:
                gevent.sleep(0)

    numbers = itertools.count()

    def publish_next(channel: str, count: int, size: int, burst: int) -> int:
        """Publish the next numbers, whoever else does so at the same time; return the last one."""
        last = -1
        for done in range(1, count + 1):
            last = next(numbers)
            publish(channel, last, 1, size, last + 2)
            if done % burst == 0:
                gevent.sleep(0)
        return last

    clients: dict[str, Client] = {}

    def enter(channel: str, *names: str) -> None:
        for name in names:
            bus.join(channel, clients.setdefault(name, Client()), member={"name": name})

    def leave(channel: str, *names: str) -> None:
        for name in names:
            bus.leave(channel, clients[name])

    commands = {
        "enter": enter,
        "leave": leave,
        "members": lambda channel: sorted(member["name"] for _, member in bus.members(channel)),
        "subscribe": subscribe,
        "unsubscribe": unsubscribe,
        "publish": publish,
        "publish_next": publish_next,
        "publish_next_in_background": lambda *arguments: gevent.spawn(publish_next, *arguments) and None,
        "publish_in_background": lambda *arguments: gevent.spawn(publish, *arguments) and None,
        "subscribe_many": subscribe_many,
        "publish_with_history": lambda channel, text, history: bus.publish(channel, TEXT, text.encode(), None, history),
        "die_before_the_bell": die_before_the_bell,
        "position": lambda channel: positions.get(channel),
        "received": lambda channel: received.get(channel, []),
        "count_received": lambda channel, prefix: sum(text.startswith(prefix) for text in received.get(channel, [])),
        "drops": lambda: backend.drops(),
        "count": bus.count,
        "stats": lambda: {name: getattr(stats, name) for name in Stats.__slots__ if name != "measures"},
        "close": bus.close,
    }

    def serve(sock: Any, address: object) -> None:
        with sock.makefile("rw") as file:
            for line in file:
                name, *arguments = json.loads(line)
                file.write(json.dumps(commands[name](*arguments)) + "\n")
                file.flush()

    path = os.path.join(folder, f"{os.getpid()}.sock")
    listener = gevent.socket.socket(gevent.socket.AF_UNIX)
    listener.bind(path)
    listener.listen(10)
    print(seat, os.getpid(), flush=True)
    StreamServer(listener, serve).serve_forever()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:])
