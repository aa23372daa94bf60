"""Fan-out over processes on python-socketio: its own documented pattern, a Redis manager in each, served by aiohttp.

python channels_socketio.py PORT PROCESSES
"""

import os
import sys

import socketio
from aiohttp import web

port, processes = map(int, sys.argv[1:])
for _ in range(processes - 1):
    if os.fork() == 0:
        break
manager = socketio.AsyncRedisManager("unix://" + os.environ["REDIS_SOCKET"])
server = socketio.AsyncServer(
    async_mode="aiohttp", client_manager=manager, transports=["websocket"], cors_allowed_origins="*"
)


@server.event
async def connect(sid, environ):
    """Have a client join."""
    await server.enter_room(sid, "room")


@server.event
async def m(sid, message):
    """Give a client's message to all."""
    await server.emit("m", message, room="room")


app = web.Application()
server.attach(app)
web.run_app(app, host="127.0.0.1", port=port, reuse_port=True, access_log=None, print=None)
