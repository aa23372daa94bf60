"""Clients say in JSON what to call; what a call returns, or raises, comes back as JSON."""

import json
from collections.abc import Callable
from typing import Any

import gevent
import uwsgi

import uwsgi_ws

kept: dict[str, uwsgi_ws.Subscription] = {}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/publish":
        uwsgi_ws.publish("lobby", "from a request")
    elif path == "/greenlet":
        gevent.spawn(uwsgi_ws.publish, "lobby", "from a greenlet").join()
    elif path == "/thread":
        pool = gevent.get_hub().threadpool
        pool.apply(uwsgi_ws.publish, ("lobby", "from a thread"))
    elif path == "/count":
        body = b"%d" % uwsgi_ws.count("lobby")
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    elif path == "/plain":
        uwsgi.channel_join("lobby")
        uwsgi.channel_send("lobby", "to myself")
        assert uwsgi.channel_recv("lobby") == b"to myself"
        assert uwsgi.channel_recv("lobby", 0) is None
    elif path == "/busy":
        ws = uwsgi_ws.accept(environ)
        ws.join("lobby")
        while ws.is_open:
            uwsgi.async_sleep(0.02)
        return []
    else:
        return serve(uwsgi_ws.accept(environ))
    start_response("200 OK", [("Content-Length", "0")])
    return []


def serve(ws):
    for message in ws:
        name, *arguments = json.loads(message)
        try:
            outcome = CALLS[name](ws, *arguments)
        except Exception as exc:
            outcome = f"{type(exc).__name__}: {exc}"
        if outcome is not None:
            ws.send(json.dumps(outcome))
    return []


def subscribe(ws, *channels, **options):
    kept["subscription"] = uwsgi_ws.subscribe(*channels, **options)
    return "subscribed"


def flood(ws, count, size, slow):
    with (
        uwsgi_ws.subscribe("flood", slow=slow, max_bytes=10 * (size + 136)) as messages,
        uwsgi_ws.subscribe("flood") as witness,
    ):
        for number in range(count):
            uwsgi_ws.publish("flood", str(number).ljust(size))
        for _ in range(count):
            witness.recv(timeout=10)  # it has joined later: what it has got, the other one has been offered
        came: list[object] = []
        try:
            while (message := messages.recv(timeout=0)) is not None:
                came.append(int(message))
        except uwsgi_ws.ChannelError as exc:
            came.append(str(exc))
        return [came, messages.dropped]


def publish_many(ws, channel, count, size):
    for number in range(count):
        uwsgi_ws.publish(channel, str(number).ljust(size))
    return "published"


def unsubscribe(ws):
    kept.pop("subscription").close()
    return "closed"


def decoded(message):
    return message if message is None or isinstance(message, str) else list(message)


CALLS: dict[str, Callable[..., Any]] = {
    "join": lambda ws, channel, *slow: ws.join(channel, **({"slow": slow[0]} if slow else {})) and "joined",
    "leave": lambda ws, channel: ws.leave(channel) or "left",
    "publish": lambda ws, channel, message: uwsgi_ws.publish(channel, message),
    "publish_bytes": lambda ws, channel, message: uwsgi_ws.publish(channel, bytes(message)),
    "publish_to_others": lambda ws, channel, message: uwsgi_ws.publish(channel, message, exclude=ws),
    "publish_many": publish_many,
    "publish_large": lambda ws, channel, size: uwsgi_ws.publish(channel, "x" * size),
    "count": lambda ws, channel: uwsgi_ws.count(channel),
    "subscribe": subscribe,
    "recv": lambda ws, timeout: decoded(kept["subscription"].recv(timeout)) or "nothing",
    "unsubscribe": unsubscribe,
    "flood": flood,
    "uwsgi": lambda ws, name, *arguments: decoded(getattr(uwsgi, name)(*arguments)) or "done",
    "channel_send_large": lambda ws, channel, size: uwsgi.channel_send(channel, "x" * size),
    "channel_send_bytes": lambda ws, channel, message: uwsgi.channel_send(channel, bytes(message)),
}
