"""Event streams, returned as they are and by way of a middleware, and what the worker holds of them."""

import gc
import json
import os

import greenlet

import uwsgi_ws

KINDS = ("EventStream", "Outbox", "SocketStream", "StreamRequest", "Http2Request", "Http2Stream", "_Lookout")


def held():
    gc.collect()
    counts = dict.fromkeys(KINDS, 0)
    for each in gc.get_objects():
        name = type(each).__name__
        if name in counts:
            counts[name] += 1
        elif isinstance(each, greenlet.greenlet):
            counts["greenlets"] = counts.get("greenlets", 0) + 1
    counts["descriptors"] = len(os.listdir("/proc/self/fd"))
    counts["subscribers"] = uwsgi_ws.count("news")
    return counts


def encode(event):
    if not isinstance(event, uwsgi_ws.Published):
        return f"{type(event).__name__} {event.channel}"
    if event.message == "secret":
        return None
    if event.message == "raise":
        raise RuntimeError("ordered")
    return json.dumps([event.channel, event.message])


def application(environ, start_response):
    path = environ["PATH_INFO"]
    query = environ["QUERY_STRING"].partition("&lastEventId=")[0]
    channels = query.split("&") if query else ["news"]
    if path.startswith("/slow/"):
        return uwsgi_ws.event_stream(environ, start_response, *channels, slow=path[6:])
    if path.startswith("/wrapped/slow/"):
        return map(bytes, uwsgi_ws.event_stream(environ, start_response, *channels, slow=path[14:]))
    if path == "/events":
        return uwsgi_ws.event_stream(environ, start_response, *channels)
    if path == "/oldest":
        return uwsgi_ws.event_stream(environ, start_response, *channels, since="oldest")
    if path == "/encoded":
        return uwsgi_ws.event_stream(environ, start_response, *channels, encode=encode)
    if path == "/member":
        return uwsgi_ws.event_stream(environ, start_response, *channels, encode=encode, member={"name": "Ann"})
    if path == "/members":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps([each.member for each in uwsgi_ws.presence(channels[0])]).encode()]
    if path == "/wrapped":
        return map(bytes, uwsgi_ws.event_stream(environ, start_response, *channels))
    if path == "/own":
        stream = uwsgi_ws.event_stream(environ, start_response, *channels, headers=[("X-Mine", "yes")])
        stream.send("hello", event="welcome")
        stream.send(b"\0\xff")
        return stream
    if path == "/left":
        uwsgi_ws.event_stream(environ, start_response, *channels)
        return [b"another body"]
    if path == "/raises":
        uwsgi_ws.event_stream(environ, start_response, *channels)
        raise RuntimeError("ordered")
    if path == "/twice":
        uwsgi_ws.event_stream(environ, start_response, *channels)
        return uwsgi_ws.event_stream(environ, lambda *args: None, *channels)
    if path == "/wrong":
        return uwsgi_ws.event_stream(environ, start_response, "x" * 65_536)
    body = b""
    if path == "/publish":
        message = environ["wsgi.input"].read()
        uwsgi_ws.publish(channels[0], message if "HTTP_X_BINARY" in environ else message.decode())
    elif path == "/held":
        body = json.dumps(held()).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
