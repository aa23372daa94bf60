"""One room: /publish takes bursts of messages, a line each; /join and /subscribe are given what comes."""

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


def application(environ, start_response):
    with uwsgi_ws.accept(environ) as ws:
        {"/publish": publish, "/join": join, "/subscribe": subscribe}[environ["PATH_INFO"]](ws)
    return []
