"""One room: /publish takes bursts of messages, a line each; the others are given what comes.

What /return and /strict have in their query is a position: what came after that comes first. At a gap /strict ends.
/join has the name of a member there, and /members tells all of them.
"""

import json

import uwsgi_ws

ROOM = "room"


def publish(ws):
    for burst in ws:
        for message in burst.split("\n"):
            uwsgi_ws.publish(ROOM, message)
        ws.send(message.partition(" ")[0])  # all up to here is published


def join(ws, name):
    ws.join(ROOM, on_gap="close", member={"name": name})
    for _ in ws:
        pass


def subscribe(ws):
    with uwsgi_ws.subscribe(ROOM, gaps=True, slow="drop") as messages:
        while ws.is_open:
            item = messages.recv(timeout=1)
            if item is not None:
                ws.send("gap" if isinstance(item, uwsgi_ws.Gap) else item)


def encode(event):
    if isinstance(event, uwsgi_ws.Published):
        assert isinstance(event.message, str)
        return f"{event.position} {event.message}"
    return "gap" if isinstance(event, uwsgi_ws.Gap) else None


def come_back(ws, since, on_gap):
    membership = ws.join(ROOM, since=since, encode=encode, on_gap=on_gap)
    ws.send(f"recovered {membership.recovered} {membership.position}")
    for _ in ws:
        pass


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/members":
        start_response("200 OK", [])
        return [json.dumps([each.member["name"] for each in uwsgi_ws.presence(ROOM)]).encode()]
    with uwsgi_ws.accept(environ) as ws:
        if path == "/publish":
            publish(ws)
        elif path == "/join":
            join(ws, query)
        elif path == "/subscribe":
            subscribe(ws)
        else:
            come_back(ws, query, "close" if path == "/strict" else "ignore")
    return []
