"""Flask-SocketIO, with pages, sessions and rooms; ASYNC_MODE is the mode, the library's own choice if it is not set."""

import os

import flask
import flask_socketio

app = flask.Flask(__name__)
app.secret_key = "of a test"
socketio = flask_socketio.SocketIO(app, async_mode=os.environ.get("ASYNC_MODE") or None, cookie="io")


@app.route("/")
def page():
    return "a page"


@app.route("/say/<what>")
def say_from_a_view(what):
    socketio.emit("said", what, to="room")
    return "said"


@socketio.on("connect")
def connect(auth):
    if auth == "wrong":
        raise flask_socketio.ConnectionRefusedError("not you")
    flask.session["name"] = auth
    flask_socketio.emit("welcome", [socketio.async_mode, auth])


@socketio.on("echo")
def echo(data):
    return data


@socketio.on("ask_me")
def ask_me(data):
    return ["you said", flask_socketio.call("ask", data, timeout=5)]


@socketio.on("count")
def count(limit):
    sid = flask.request.sid  # type: ignore[attr-defined]  # the library adds it

    def task():
        for number in range(limit):
            socketio.sleep(0.001)
            socketio.emit("number", number, to=sid)

    socketio.start_background_task(task)


@socketio.on("join")
def join(room):
    flask_socketio.join_room(room)
    return flask.session["name"]


@socketio.on("say")
def say(room, what):
    flask_socketio.emit("said", what, to=room)


@socketio.on("drop")
def drop():
    flask_socketio.disconnect()


@socketio.on("disconnect")
def disconnect(reason):
    print(f"gone: {reason}")
