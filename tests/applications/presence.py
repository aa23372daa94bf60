"""A room whose clients are members, called as their path says; /look shows who is there, /spectator is none itself."""

import json

import uwsgi_ws

ROOM = "room"


def as_json(event):
    if isinstance(event, uwsgi_ws.Published):
        return json.dumps(["said", event.message])
    if isinstance(event, uwsgi_ws.MemberJoined):
        return json.dumps(["joined", event.member, event.id])
    if isinstance(event, uwsgi_ws.MemberLeft):
        return json.dumps(["left", event.member, event.id])
    return None


def application(environ, start_response):
    name = environ["PATH_INFO"].removeprefix("/")
    if name == "look":
        body = json.dumps(sorted(each.member["name"] for each in uwsgi_ws.presence(ROOM))).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if name == "listen":
        return listen(start_response)
    with uwsgi_ws.accept(environ) as ws:
        if name == "spectator":
            ws.join(ROOM, encode=as_json)
        else:
            ws.join(ROOM, encode=as_json, member={"name": name})
        ws.send(json.dumps(["here", dict(uwsgi_ws.presence(ROOM))]))
        for text in ws:
            command, *arguments = json.loads(text)
            if command == "say":
                uwsgi_ws.publish(ROOM, *arguments)
            elif command == "leave":
                ws.leave(ROOM)
            else:
                try:
                    ws.join(ROOM, encode=as_json, member=arguments[0])
                except (TypeError, ValueError) as exc:
                    ws.send(json.dumps([type(exc).__name__, str(exc)]))
    return []


def listen(start_response):
    """Answer with the first four things that happen."""
    with uwsgi_ws.subscribe(ROOM, presence=True) as events:
        told = []
        while len(told) < 4:
            event = events.recv(10)
            assert event is not None
            told.append(event if isinstance(event, str | bytes) else [type(event).__name__, event.member["name"]])
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
