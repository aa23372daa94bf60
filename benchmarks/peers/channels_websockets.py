"""Fan-out over four processes on websockets: one Redis subscription a process, and its broadcast().

python channels_websockets.py PORT
"""

import asyncio
import os
import sys

import redis.asyncio
from websockets.asyncio.server import broadcast, serve

PROCESSES = 4
clients = set()


async def forward(bus):
    """Give every message of the channel to the clients of this process."""
    subscription = bus.pubsub()
    await subscription.subscribe("room")
    async for message in subscription.listen():
        if message["type"] == "message":
            broadcast(clients, message["data"].decode())


async def main(port):
    """Serve one process's share of the clients."""
    bus = redis.asyncio.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])

    async def handler(websocket):
        clients.add(websocket)
        try:
            async for message in websocket:
                await bus.publish("room", message)
        finally:
            clients.discard(websocket)

    forwarding = asyncio.create_task(forward(bus))
    async with serve(handler, "127.0.0.1", port, reuse_port=True, compression=None):
        await forwarding


for _ in range(PROCESSES - 1):
    if os.fork() == 0:
        break
asyncio.run(main(int(sys.argv[1])))
