"""socketify (uWebSockets): `socketify_server.py echo|fanout|http PORT`."""

import sys

from socketify import App, AppListenOptions, CompressOptions

TOPIC = "all"
LARGEST_MESSAGE = 16 * 1024 * 1024


def echo(websocket, message, opcode):
    """Send every message back, text as text."""
    websocket.send(message, opcode)


def fanout(websocket, message, opcode):
    """Send every message to all clients, with the library's own publish."""
    app.publish(TOPIC, message, opcode)


def http(response, request):
    """Answer with a greeting."""
    response.write_header("Content-Type", "text/plain")
    response.end(b"Hello, world!\n")


if __name__ == "__main__":
    mode, port = sys.argv[1], int(sys.argv[2])
    app = App()
    if mode == "http":
        app.get("/*", http)
    else:
        app.ws(
            "/*",
            {
                "compression": CompressOptions.DISABLED,
                "max_payload_length": LARGEST_MESSAGE,
                "max_backpressure": LARGEST_MESSAGE,
                "idle_timeout": 120,
                "open": lambda websocket: websocket.subscribe(TOPIC),
                "message": {"echo": echo, "fanout": fanout}[mode],
            },
        )
    app.listen(AppListenOptions(port=port, host="127.0.0.1"))
    app.run()
