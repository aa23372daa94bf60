"""aiohttp on uvloop: `aiohttp_server.py echo|fanout|http PORT [CERTIFICATE KEY]`."""

import asyncio
import sys

import uvloop
from aiohttp import WSMsgType, web
from with_tls import server_context

clients = set()


async def accept(request):
    """Answer the handshake."""
    websocket = web.WebSocketResponse(compress=False)
    await websocket.prepare(request)
    return websocket


async def echo(request):
    """Send every message back, text as text."""
    websocket = await accept(request)
    async for message in websocket:
        if message.type == WSMsgType.TEXT:
            await websocket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
    return websocket


async def fanout(request):
    """Send every message to all clients."""
    websocket = await accept(request)
    clients.add(websocket)
    try:
        async for message in websocket:
            for client in tuple(clients):
                await client.send_str(message.data)
    finally:
        clients.discard(websocket)
    return websocket


async def http(request):
    """Answer with a greeting."""
    return web.Response(body=b"Hello, world!\n", content_type="text/plain")


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    app = web.Application()
    app.router.add_get("/{path:.*}", {"echo": echo, "fanout": fanout, "http": http}[sys.argv[1]])
    context = server_context()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), ssl_context=context, access_log=None, print=None)
