"""Clients join by what they know; messages come with their positions, or as they are."""

import json
import os

import uwsgi_ws


def as_json(event):
    if isinstance(event, uwsgi_ws.Published):
        return json.dumps({"text": event.message, "position": event.position})
    if isinstance(event, uwsgi_ws.Gap):
        return json.dumps({"gap": event.channel})
    return None


def application(environ, start_response):
    path, _, number = environ["PATH_INFO"].removeprefix("/").partition("/")
    if path == "publish":
        for each in range(int(number)):
            uwsgi_ws.publish("room-1", f"{environ['QUERY_STRING']}{each}")
        body = b"%d" % os.getpid()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if path == "subscribe":
        channel = number or "room-1"
        with uwsgi_ws.subscribe(channel, since=environ["QUERY_STRING"], positions=True) as messages:
            found = []
            while (item := messages.recv(0)) is not None:
                found.append(item.message)
            body = json.dumps([messages.recovered(channel), found]).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    with uwsgi_ws.accept(environ) as ws:
        encode = as_json if path == "json" else None
        joined = ws.join("room-1", since=environ["QUERY_STRING"] or None, encode=encode, slow="drop")
        ws.send(json.dumps([joined.recovered, joined.position, os.getpid()]))
        for message in ws:
            uwsgi_ws.publish("room-1", message, exclude=ws)
    return []
