# python -m uwsgi_ws --http 127.0.0.1:8080 --processes 4 --gevent 1000 --wsgi-file examples/chat.py
"""A chat at http://127.0.0.1:8080/. A room is a channel: all who are in it get its messages, in all workers."""

import json
import os
from pathlib import Path
from urllib.parse import parse_qs

import uwsgi_ws

PAGE = Path(__file__).with_name("chat.html").read_bytes()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        return chat(environ)
    if environ["PATH_INFO"] == "/":
        return respond(start_response, "200 OK", "text/html", PAGE)
    return respond(start_response, "404 Not Found", "text/plain", b"Not found\n")


def chat(environ):
    query = parse_qs(environ["QUERY_STRING"])
    name = query.get("name", ["Somebody"])[0][:40]
    room = "room:" + query.get("room", ["lobby"])[0][:40]

    def tell(kind, **details):
        people = uwsgi_ws.count(room)
        uwsgi_ws.publish(room, json.dumps({"kind": kind, "name": name, "people": people, **details}))

    ws = uwsgi_ws.accept(environ)
    ws.send(json.dumps({"kind": "welcome", "worker": os.getpid()}))
    ws.join(room)  # from here on what is said in the room goes to this client, whatever happens below
    tell("joined")
    try:
        for text in ws:
            tell("said", text=text)
    except uwsgi_ws.ConnectionClosed:
        pass  # the network has gone, or the computer was shut
    finally:
        tell("left")
    return []


def respond(start_response, status, content_type, body):
    headers = [
        ("Content-Type", f"{content_type}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-cache"),
    ]
    start_response(status, headers)
    return [body]
