"""An application called once, for one request: plain HTTP, or a WebSocket with the messages that a client sends.

``environ`` makes what PEP 3333 wants, also for a call by hand. ``call`` has the server's own parts make it, in this
process, so ``uwsgi.*`` and ``uwsgi_ws.*`` do what they do in production.
"""

from __future__ import annotations

import http.client
import io
import json as json_of
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from uwsgi_ws.client.connection import HandshakeRefused, Headers
from uwsgi_ws.errors import ClientGone, ConnectionClosed
from uwsgi_ws.protocol.websocket.messages import Sendable

if TYPE_CHECKING:
    from uwsgi_ws.request.base import Request
    from uwsgi_ws.request.steps import Handler
    from uwsgi_ws.testing.in_process import InProcess

__all__ = ["Answer", "call", "environ"]

#: What an opening handshake has besides; ``call`` sends its own.
_WEBSOCKET = {
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}
#: Variables that the request itself says, or the server: they are not put over its own.
_OF_REQUEST = {
    *("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "SERVER_PORT"),
    *("CONTENT_LENGTH", "CONTENT_TYPE", *_WEBSOCKET),
}

#: Seconds between two looks at the application; and after which one that says nothing, and waits for something else
#: than a message, has said all.
_LOOK, _QUIET = 0.002, 0.1


def environ(
    path: str = "/",
    *,
    method: str = "GET",
    headers: Headers = (),
    body: bytes | str = b"",
    json: object = None,
    websocket: bool = False,
    subprotocols: Iterable[str] = (),
    **variables: Any,
) -> dict[str, Any]:
    """Return the environ of a request, as PEP 3333 and uWSGI have it.

    Args:
        path: Of the URL, with its query, as a client writes it.
        method: Such as ``POST``.
        headers: Of the request.
        body: Of the request; str goes as UTF-8.
        json: Goes as body instead, with its Content-Type.
        websocket: Make it an opening handshake.
        subprotocols: That the handshake asks for.
        variables: Others, such as ``REMOTE_USER="ada"``; they come last.
    """
    path, _, query = path.partition("?")
    if json is not None:
        body = json_of.dumps(json)
    if isinstance(body, str):
        body = body.encode()
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": f"{path}?{query}" if query else path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body:
        made["CONTENT_LENGTH"] = str(len(body))
    if json is not None:
        made["CONTENT_TYPE"] = "application/json"
    if websocket:
        made.update(_WEBSOCKET)
    if names := ", ".join(subprotocols):
        made["HTTP_SEC_WEBSOCKET_PROTOCOL"] = names
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        made[key] = f"{made[key]}, {value}" if key in made and key != "HTTP_HOST" else value
    made.update(variables)
    return made


@dataclass(frozen=True)
class Answer:
    """What an application has answered.

    Attributes:
        status: 101 for a WebSocket.
        headers: Names in any case.
        body: Of a plain response.
        messages: Those that the application sent, in order.
        close_code: How the WebSocket ended; None where there was none. 1000 is the client's own, or the application's
            return.
        close_reason: Often empty.
        subprotocol: What was chosen; None for none.
    """

    status: int
    headers: http.client.HTTPMessage
    body: bytes = b""
    messages: list[str | bytes] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""
    subprotocol: str | None = None

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the value that the body holds."""
        return json_of.loads(self.body)


def call(
    application: Callable[..., Any],
    environ_of_request: Mapping[str, Any] | None = None,
    *,
    messages: Iterable[Sendable] | None = None,
    timeout: float = 5.0,
    **options: Any,
) -> Answer:
    """Call an application for one request, and return all that it answers.

    With ``messages``, or an environ of a WebSocket, the request is an opening handshake: the client sends these
    messages, and closes with 1000 once the application has taken them and waits for more, or does nothing.

    Args:
        application: Any WSGI application; what its middlewares find in the environ is what ``environ`` was told.
        environ_of_request: Made by ``environ``; by default that of ``/``.
        messages: What the client sends.
        timeout: Seconds that each step may take.
        options: Of the server, by name.

    Raises:
        Exception: What the application raises, but for the OSError by which a client's end is told.
        TimeoutError: It does not answer.
    """
    from uwsgi_ws.testing.in_process import InProcess
    from uwsgi_ws.testing.words import words_of

    asked = dict(environ_of_request if environ_of_request is not None else environ())
    raised: list[BaseException] = []
    requests: list[Request] = []

    def watched(variables: dict[str, Any], start_response: Any) -> Any:
        try:
            return application(variables, start_response)
        except (ClientGone, ConnectionClosed):
            raise
        except BaseException as exc:
            raised.append(exc)
            raise

    def put_over(request: Request, otherwise: Handler) -> None:
        requests.append(request)
        request.environ.update(
            {
                name: value
                for name, value in asked.items()
                if name not in _OF_REQUEST and not name.startswith("HTTP_SEC_WEBSOCKET_") and name[:5] != "wsgi."
            }
        )
        otherwise(request)

    if not {"gevent", "threads"} & {*options}:
        options["gevent"] = 1  # an event loop of its own, which nobody else needs
    with InProcess(watched, list(words_of(options)), timeout, put_over) as server:
        if messages is None and "HTTP_UPGRADE" not in asked:
            answer = _ask(server, asked, timeout)
        else:
            answer = _converse(server, asked, list(messages or ()), timeout, requests)
    if raised:
        raise raised[0]
    return answer


def _resource(asked: Mapping[str, Any]) -> str:
    path = quote((asked.get("SCRIPT_NAME", "") + asked.get("PATH_INFO", "/")).encode("latin-1"), safe="/:@!$&'()*+,;=~")
    query = asked.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


def _headers(asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    headers = [
        (name[5:].replace("_", "-").title(), value)
        for name, value in asked.items()
        if name.startswith("HTTP_") and name not in _WEBSOCKET and name != "HTTP_SEC_WEBSOCKET_PROTOCOL"
    ]
    if "CONTENT_TYPE" in asked:
        headers.append(("Content-Type", asked["CONTENT_TYPE"]))
    return headers


def _ask(server: InProcess, asked: Mapping[str, Any], timeout: float) -> Answer:
    client = http.client.HTTPConnection(server.host, server.port, timeout=timeout)
    try:
        body = asked["wsgi.input"].read() if "wsgi.input" in asked else b""
        method = asked.get("REQUEST_METHOD", "GET")
        client.request(method, _resource(asked), body or None, dict(_headers(asked)))
        response = client.getresponse()
        return Answer(response.status, response.headers, response.read())
    except TimeoutError:
        raise TimeoutError(f"{server.name}: no answer to {method} {_resource(asked)} within {timeout:g} s") from None
    finally:
        client.close()


def _converse(
    server: InProcess, asked: Mapping[str, Any], messages: list[Sendable], timeout: float, requests: list[Request]
) -> Answer:
    subprotocols = [name.strip() for name in asked.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",") if name.strip()]
    try:
        client = server.connect(_resource(asked), headers=_headers(asked), subprotocols=subprotocols, timeout=timeout)
    except HandshakeRefused as refused:
        return Answer(refused.status, refused.headers, refused.body)
    came: list[str | bytes] = []
    deadline = monotonic() + timeout
    quiet_at = monotonic() + _QUIET
    try:
        for message in messages:
            client.send(message)
        # Not before the application has had its say: it may close with a code of its own.
        while monotonic() < deadline:
            # None for a moment yet; and one whose socket a library has taken over does not tell what it has taken.
            connection: Any = requests[0].websocket
            has_all = connection is not None and getattr(connection, "messages_received", len(messages)) >= len(
                messages
            )
            if has_all and (getattr(connection, "_waiter", None) is not None or monotonic() > quiet_at):
                break
            try:
                came.append(client.recv(_LOOK))
            except TimeoutError:
                continue
            quiet_at = monotonic() + _QUIET
        came += client.finish()
    except ConnectionClosed:
        pass  # the application has ended it; what it said before is there
    return Answer(101, client.headers, b"", came, client.close_code, client.close_reason, client.subprotocol)
