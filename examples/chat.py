# python -m uwsgi_ws --http 127.0.0.1:8080 --processes 4 --gevent 1000 --wsgi-file examples/chat.py
"""A chat at http://127.0.0.1:8080/. A room is a channel: all who are in it get its messages, in all workers.

With `--channels redis://HOST` all instances that use this Redis share their rooms. A room keeps its last messages, so
who comes back is told what was said meanwhile; `client.js` does that. Pages whose WebSockets fail get the same by
Server-Sent Events.
"""

import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qs

import uwsgi_ws

HERE = Path(__file__).parent
FILES = {"/": ("chat.html", "text/html"), "/client.js": ("client.js", "text/javascript")}
KEPT = int(os.environ.get("CHAT_KEPT", "100"))  # messages of a room
LONGEST = 4_000  # characters of a message, and bytes of what is posted


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    name = query.get("name", ["Somebody"])[0][:40]
    room = "room:" + query.get("room", ["lobby"])[0][:40]
    match environ["PATH_INFO"]:
        case "/ws":
            return chat(environ, name, room, query.get("lastEventId", ["oldest"])[0])
        case "/events":
            member = {"name": name}
            stream = uwsgi_ws.event_stream(environ, start_response, room, since="oldest", encode=as_data, member=member)
            stream.send(json.dumps(welcome(room)), event="welcome")
            return stream
        case "/say" if environ["REQUEST_METHOD"] == "POST":
            return say(environ, start_response, name, room)
        case path if path in FILES:
            file, kind = FILES[path]
            return respond(start_response, "200 OK", kind, (HERE / file).read_bytes())
    return respond(start_response, "404 Not Found", "text/plain", b"Not found\n")


def chat(environ, name, room, since):
    ws = uwsgi_ws.accept(environ)
    try:
        # From here on what happens in the room goes to this client, whatever is done below; first what it has missed.
        joined = ws.join(room, since=since, encode=as_message, member={"name": name})
        if since != "oldest":
            send(ws, "recovered" if joined.recovered else "gap")
        send(ws, "welcome", welcome(room), joined.position)
        for text in ws:
            match json.loads(text):
                case {"ping": _}:
                    send(ws, "pong")
                case {"send": str(said)}:
                    publish(room, name, said)
    except uwsgi_ws.ConnectionClosed:
        pass  # the network has gone, or the computer was shut
    return []


def say(environ, start_response, name, room):
    """Answer a page that cannot use a WebSocket."""
    match json.loads(environ["wsgi.input"].read(LONGEST * 4)):
        case {"send": str(said)}:
            publish(room, name, said)
    return respond(start_response, "200 OK", "text/plain", b"")


def publish(room, name, text):
    message = {"name": name, "text": text[:LONGEST], "at": int(time.time() * 1000)}
    uwsgi_ws.publish(room, json.dumps(message), history=KEPT)


def welcome(room):
    people = [{"id": each.id, **each.member} for each in uwsgi_ws.presence(room)]
    return {"worker": os.getpid(), "people": people}


def as_data(event):
    """Return what a page gets for something that happens in its room, in JSON: once for all pages of a worker."""
    match event:
        case uwsgi_ws.Published(message=message):
            return message
        case uwsgi_ws.MemberJoined(id=id, member=member) | uwsgi_ws.MemberLeft(id=id, member=member):
            return json.dumps({"id": id, **member})
        case _:
            return "null"  # a gap


KINDS = {
    uwsgi_ws.Published: "message",
    uwsgi_ws.MemberJoined: "joined",
    uwsgi_ws.MemberLeft: "left",
    uwsgi_ws.Gap: "gap",
}


def as_message(event):
    """Return the same for a WebSocket, with what Server-Sent Events have in fields of their own: type and id."""
    return envelope(KINDS[type(event)], as_data(event), getattr(event, "position", None))


def send(ws, kind, data=None, position=None):
    ws.send(envelope(kind, json.dumps(data), position))


def envelope(kind, data, position):
    return f'{{"event": "{kind}", "data": {data}, "id": {json.dumps(position)}}}'


def respond(start_response, status, content_type, body):
    headers = [
        ("Content-Type", f"{content_type}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-cache"),
    ]
    start_response(status, headers)
    return [body]
