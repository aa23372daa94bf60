"""One room: /publish takes bursts of messages, a line each; the others are given what comes.

What /return and /strict have in their query is a position: what came after that comes first. At a gap /strict ends.
"""

import uwsgi_ws

ROOM = "room"


def publish(ws):
    for burst in ws:
        for message in burst.split("\n"):
            uwsgi_ws.publish(ROOM, message)
        ws.send(message.partition(" ")[0])  # all up to here is published


def join(ws):
    ws.join(ROOM, on_gap="close")
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
        return f"{event.position} {event.message}"
    return "gap" if isinstance(event, uwsgi_ws.Gap) else None


def come_back(ws, since, on_gap):
    membership = ws.join(ROOM, since=since, encode=encode, on_gap=on_gap)
    ws.send(f"recovered {membership.recovered} {membership.position}")
    for _ in ws:
        pass


def application(environ, start_response):
    with uwsgi_ws.accept(environ) as ws:
        path = environ["PATH_INFO"]
        if path in ("/return", "/strict"):
            come_back(ws, environ["QUERY_STRING"], "close" if path == "/strict" else "ignore")
        else:
            {"/publish": publish, "/join": join, "/subscribe": subscribe}[path](ws)
    return []
