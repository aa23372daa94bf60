"""The runners' WSGI applications for servers that want ASGI; their WebSockets are echoed here.

The variable ``APPLICATION`` names the module below ``tests/applications``.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
NAME = os.environ["APPLICATION"]
wsgi = importlib.import_module(f"applications.{NAME}").application

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


async def application(scope: Event, receive: Receive, send: Send) -> None:
    """Serve one scope of any kind."""
    if scope["type"] == "http":
        await respond(scope, receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        while (event := await receive())["type"] != "lifespan.shutdown":
            await send({"type": event["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})


async def respond(scope: Event, receive: Receive, send: Send) -> None:
    # The probe's application leaves other requests' bodies alone.
    body = await body_of(receive) if NAME == "seen" or scope["method"] == "POST" else b""
    environ = {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
    }
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + name
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]}, {text}" if key in environ else text

    head: Event = {}

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        head.update(type="http.response.start", status=int(status[:3]), headers=fields)

    content = b"".join(wsgi(environ, start_response))
    await send(head)
    await send({"type": "http.response.body", "body": content})


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


async def echo(receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            message = {key: event[key] for key in ("text", "bytes") if event.get(key) is not None}
            await send({"type": "websocket.send", **message})
