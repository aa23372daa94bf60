"""An application of flask-uwsgi-websocket, or of what has become of it: LIBRARY is the module, KIND its class."""

import asyncio
import importlib
import os
import types

import flask
import flask.app

if os.environ["LIBRARY"] == "flask_uwsgi_websocket":  # it looks for what Python 3.11 and Flask 3 have no longer
    asyncio.coroutine = types.coroutine
    flask.app.setupmethod = importlib.import_module("flask.sansio.scaffold").setupmethod  # type: ignore[attr-defined]

library = importlib.import_module(os.environ["LIBRARY"])

app = application = flask.Flask(__name__)
sockets = getattr(library, os.environ["KIND"])(app)
# The original's rules match no WebSocket in today's Werkzeug unless they are told to; the others see to it themselves.
options = {"websocket": True} if library.__name__ == "flask_uwsgi_websocket" else {}
clients = {}


@app.route("/echo")
@app.route("/")
def page():
    return "a page"


@sockets.route("/echo", **options)
def echo(client):
    while (message := client.receive()) is not None:
        if message:
            client.send(message, binary=False)


@sockets.route("/room/<name>", **options)
def room(client, name):
    clients[client.id] = client
    while (message := client.receive()) is not None and client.connected:
        if message:
            for each in list(clients.values()):
                each.send(name.encode() + b": " + message, binary=False)
    del clients[client.id]


@sockets.route("/once", **options)
def once(client):
    client.send(client.receive(), binary=False)
