"""An application written for gevent-websocket, with its classes at /chat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import uwsgi
from geventwebsocket import Resource, WebSocketApplication, WebSocketError
from geventwebsocket.handler import WebSocketHandler
from geventwebsocket.protocols.base import BaseProtocol
from geventwebsocket.websocket import MSG_ALREADY_CLOSED, MSG_SOCKET_DEAD, WebSocket

#: What WebSockets have told, by path.
told: dict[str, list[str]] = {}


def echo(ws: Any) -> None:
    while True:
        message = ws.receive()
        if message is None:
            break
        ws.send(message)


def loop_until_closed(ws: Any) -> None:
    """The loop of the package's own README."""
    while not ws.closed:
        message = ws.receive()
        if message:
            ws.send(message)


def only_sent_to(ws: Any) -> None:
    """Heroku's chat: others send to the client meanwhile."""
    ws.handler.active_client.name = ws.environ["QUERY_STRING"]
    while not ws.closed:
        time.sleep(0.01)  # as such applications do: an application's turn of polling


def broadcast(ws: Any) -> None:
    while (message := ws.receive()) is not None:
        for client in ws.handler.server.clients.values():
            if client is ws.handler.active_client:
                continue
            try:
                client.ws.send(f"{message} {client.name}")
            except WebSocketError:
                pass
        ws.send(str(sorted(client.name for client in ws.handler.server.clients.values() if client.ws is not ws)))


def kinds(ws: Any) -> None:
    ws.send(bytearray(b"\x00\x01"))
    ws.send(memoryview(b"\x02"))
    ws.send(b"text", binary=False)
    ws.send_frame("", ws.OPCODE_PING)
    ws.send_frame("alive", ws.OPCODE_PONG)
    for wrong in (None, 1.5):
        try:
            ws.send(wrong)
        except TypeError as exc:
            ws.send(type(exc).__name__)
    while (message := ws.receive()) is not None:
        ws.send(f"{type(message).__name__} {message!r}")


def after_the_end(ws: Any) -> None:
    lines = [f"{ws.receive()!r} {ws.closed}"]
    for step in (ws.receive, lambda: ws.send("x"), lambda: ws.send_frame("x", ws.OPCODE_TEXT)):
        try:
            step()
        except WebSocketError as exc:
            known = {MSG_ALREADY_CLOSED: "already closed", MSG_SOCKET_DEAD: "dead"}
            lines.append(f"{known[exc.args[0]]} {isinstance(exc, OSError)}")
    ws.close()
    told[ws.path] = lines


CLOSES = [(4000, "that is all"), (1000, b""), (1006, "never sent"), (1001, "ü" * 100), (4001, None)]


def close(ws: Any) -> None:
    number = int(ws.environ["QUERY_STRING"])
    if number == len(CLOSES):
        ws.send_frame((4002).to_bytes(2, "big") + b"by frame", ws.OPCODE_CLOSE)
    else:
        ws.close(*CLOSES[number])
    ws.close()
    told[ws.path] = [f"{ws.closed}"]


def said(ws: Any) -> None:
    ws.send(f"{ws.origin} {ws.protocol} {ws.version} {ws.path} {ws.handler.client_address[0]}")
    ws.send(f"{isinstance(ws, WebSocket)} {ws.environ is not None} {ws.current_app.on_close()} {ws}")


def kept(ws: Any) -> None:
    """The WebSocket, and another one's client, outlive their requests."""
    if "ws" in globals():
        globals()["told"][ws.path] = outcomes = []
        ended, client = globals()["ws"], globals()["client"]
        for one in (ended, client.ws):
            while one.environ is not None:
                time.sleep(0.01)  # the client may know of the end before the server is done with the request
            one.close()
            outcomes.append(f"{one.closed} {one.path} {one.environ} {one.handler.server.clients}")
    globals().update(client=ws.handler.active_client)
    if ws.environ["QUERY_STRING"] == "ws":
        globals().update(ws=ws)


VIEWS: dict[str, Callable[[Any], None]] = {
    "/echo": echo,
    "/loop": loop_until_closed,
    "/sent": only_sent_to,
    "/broadcast": broadcast,
    "/kinds": kinds,
    "/after": after_the_end,
    "/close": close,
    "/said": said,
    "/kept": kept,
}


class ChatProtocol(BaseProtocol):
    PROTOCOL_NAME = "chat"


class Chat(WebSocketApplication):
    protocol_class = ChatProtocol

    def on_open(self):
        self.ws.send(f"hello {self.protocol.server.clients == self.ws.handler.server.clients}")

    def on_message(self, message):
        told["/chat"].append(f"{message}")
        if message is not None:
            super().on_message(message)

    def on_close(self, reason):
        told["/chat"].append("closed")


def plain(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/server":
        WebSocketHandler()
    ws = environ.get("wsgi.websocket")
    if path == "/refused" or ws is None:
        start_response("200 OK" if ws is None else "403 Forbidden", [("Content-Type", "text/plain")])
        return ["\n".join(told.get(environ["QUERY_STRING"], ["no WebSocket"])).encode()]
    if path == "/uwsgi":
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(uwsgi.websocket_recv())
        return []
    if path == "/shared":
        uwsgi.websocket_handshake()
        ws.send(uwsgi.websocket_recv())
        return []
    VIEWS[path](ws)
    return []


told["/chat"] = []
resource = Resource([("^/chat", Chat), ("^/chat", plain)])


class Application:
    """The two, with what the resource says about subprotocols for its paths."""

    def __call__(self, environ, start_response):
        return (resource if environ["PATH_INFO"] == "/chat" else plain)(environ, start_response)

    def app_protocol(self, path):
        return "second" if path == "/said" else resource.app_protocol(path)


application = Application()
