"""What a client of Socket.IO may ask for. ASYNC_MODE is the mode, the library's own choice if it is not set."""

import os

import uwsgi

if os.environ.get("WITHOUT_REQUEST_CONTEXT"):  # the library takes the way of uWSGI 2.0 then, which has none
    del uwsgi.request_context

import socketio

queue = os.environ.get("QUEUE")
server = socketio.Server(
    async_mode=os.environ.get("ASYNC_MODE") or None,
    client_manager=socketio.RedisManager(queue) if queue else None,
)


@server.event
def connect(sid, environ, auth):
    if auth == "wrong":
        raise socketio.exceptions.ConnectionRefusedError("not you")
    server.emit("welcome", [server.async_mode, auth], to=sid)


@server.event
def echo(sid, data):
    return data


@server.event
def ask_me(sid, data):
    return ["you said", server.call("ask", data, to=sid, timeout=5)]


@server.event
def count(sid, limit):
    def task():
        for number in range(limit):
            server.sleep(0.001)
            server.emit("number", number, to=sid)

    server.start_background_task(task)


@server.event
def join(sid, room):
    server.enter_room(sid, room)
    return os.getpid()


@server.event
def say(sid, room, what):
    server.emit("said", what, room=room)


@server.event
def drop(sid):
    server.disconnect(sid)


@server.event
def disconnect(sid, reason):
    print(f"gone: {reason}")


def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"a page"]


application = socketio.WSGIApp(server, page)
