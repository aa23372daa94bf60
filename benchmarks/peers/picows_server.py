"""picows on uvloop: `picows_server.py echo|fanout PORT [CERTIFICATE KEY]`."""

import asyncio
import sys

import uvloop
from picows import WSListener, WSMsgType, ws_create_server
from with_tls import server_context

DATA = (WSMsgType.TEXT, WSMsgType.BINARY)
clients = set()


class Echo(WSListener):
    """Sends every message back, text as text."""

    def on_ws_frame(self, transport, frame):
        """Take one frame."""
        if frame.msg_type in DATA:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


class Fanout(Echo):
    """Sends every message to all clients."""

    def on_ws_connected(self, transport):
        """Remember the client."""
        clients.add(transport)

    def on_ws_disconnected(self, transport):
        """Forget the client."""
        clients.discard(transport)

    def on_ws_frame(self, transport, frame):
        """Take one frame."""
        if frame.msg_type in DATA:
            message = frame.get_payload_as_bytes()
            for client in clients:
                client.send(frame.msg_type, message)
        else:
            super().on_ws_frame(transport, frame)


async def main(mode, port):
    """Serve until killed."""
    listener = {"echo": Echo, "fanout": Fanout}[mode]
    server = await ws_create_server(lambda request: listener(), "127.0.0.1", port, ssl=server_context())
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
