"""Run by support.bus: forks workers that only use the channels, and has each answer on a unix socket.

    python bus_process.py FOLDER SEATS QUEUE_SIZE MAX_MESSAGE_SIZE [URL]

Each line of stdin is a seat in which to start a (further) worker; each line of stdout says ``SEAT PID``. At the end of
stdin all workers are killed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from typing import Any, NoReturn


def main(folder: str, seats: int, queue_size: int, max_message_size: int, url: str = "") -> None:
    from uwsgi_ws.channels.inboxes import Inboxes

    inboxes = Inboxes(seats)
    children = []
    for line in sys.stdin:
        seat = int(line)
        pid = os.fork()
        if pid == 0:
            work(inboxes, folder, seat, queue_size, max_message_size, url)
        children.append(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


def work(inboxes: Any, folder: str, seat: int, queue_size: int, max_message_size: int, url: str) -> NoReturn:
    import gevent
    import gevent.socket
    from gevent.server import StreamServer

    from uwsgi_ws.channels.bus import Bus
    from uwsgi_ws.channels.events import Gap
    from uwsgi_ws.channels.pipes import PipeBackend
    from uwsgi_ws.channels.subscription import Subscription
    from uwsgi_ws.hub.cork import Cork
    from uwsgi_ws.protocol.websocket.frames import TEXT
    from uwsgi_ws.stats import Stats

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
            inboxes, seat, hub, Cork(hub.loop), stats, queue_size=queue_size, max_message_size=max_message_size
        )
    bus = Bus(backend, hub, stats, max_message_size=max_message_size)
    received: dict[str, list[str]] = {}
    subscriptions: dict[str, Subscription[Any]] = {}

    def collect(subscription: Subscription[Any], into: list[str]) -> None:
        for message in subscription:
            if isinstance(message, Gap):
                into.append("gap")
            elif isinstance(message, str):
                into.append(message.partition(" ")[0])  # without its padding
            else:
                into.append(repr(message))

    def subscribe(channel: str) -> None:
        subscription = subscriptions[channel] = Subscription(bus, 1 << 30, gaps=True)
        subscription.join(channel)
        gevent.spawn(collect, subscription, received.setdefault(channel, []))

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

    commands = {
        "subscribe": subscribe,
        "unsubscribe": unsubscribe,
        "publish": publish,
        "publish_next": publish_next,
        "publish_next_in_background": lambda *arguments: gevent.spawn(publish_next, *arguments) and None,
        "publish_in_background": lambda *arguments: gevent.spawn(publish, *arguments) and None,
        "received": lambda channel: received.get(channel, []),
        "count_received": lambda channel, prefix: sum(text.startswith(prefix) for text in received.get(channel, [])),
        "drops": lambda: backend.drops(),
        "count": bus.count,
        "stats": lambda: {name: getattr(stats, name) for name in Stats.__slots__},
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
