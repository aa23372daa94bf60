"""WebSocket echo on BlackBull, the Python framework in HttpArena's WebSocket profiles."""

import socket
import sys
from http import HTTPMethod

from blackbull import BlackBull
from blackbull.utils import Scheme
from blackbull.websocket import WebSocket

app = BlackBull()


@app.route(path="/ws", methods=[HTTPMethod.GET], scheme=Scheme.websocket)
async def echo(ws: WebSocket) -> None:
    """Send every message back, text as text."""
    await ws.accept()
    async for message in ws:
        await ws.send(message)


if __name__ == "__main__":
    # By itself it listens on all addresses.
    listening = socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=1024)
    app.run(inherited_fd=listening.detach())
