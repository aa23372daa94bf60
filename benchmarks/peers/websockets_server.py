"""The websockets library on asyncio, no compression: `websockets_server.py echo|fanout PORT [CERTIFICATE KEY]`."""

import asyncio
import sys

from websockets.asyncio.server import broadcast, serve
from with_tls import server_context


async def echo(websocket):
    """Send every message back, text as text."""
    async for message in websocket:
        await websocket.send(message)


async def fanout(websocket):
    """Send every message to all clients, with the library's own broadcast."""
    async for message in websocket:
        broadcast(websocket.server.connections, message)


async def main(mode, port):
    """Serve until killed."""
    handler = {"echo": echo, "fanout": fanout}[mode]
    async with serve(handler, "127.0.0.1", port, compression=None, ssl=server_context()) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
