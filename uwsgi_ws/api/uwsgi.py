"""The module that applications import as ``uwsgi``: uWSGI's names, types and error texts.

``install`` puts it into ``sys.modules`` before any application is imported. What is not offered does not exist:
applications feature-test with ``hasattr``. ``request_context`` is uWSGI 2.1-dev's; libraries that find it take a much
simpler path, and it works from any greenlet.

Source: uWSGI 2.0.30, plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from operator import index
from types import ModuleType
from typing import Any

import gevent

from uwsgi_ws.api import channels as api_channels
from uwsgi_ws.api import descriptors
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.errors import BodyError, ClientGone, ConnectionClosed, Error
from uwsgi_ws.hub import greenlets, own
from uwsgi_ws.hub.hub_calls import is_hub_here
from uwsgi_ws.log import say
from uwsgi_ws.log import size as log_size
from uwsgi_ws.net.binding import waiting_at
from uwsgi_ws.protocol.http.grammar import check_head
from uwsgi_ws.protocol.plain import plain_bytes, plain_str
from uwsgi_ws.protocol.websocket import handshake
from uwsgi_ws.protocol.websocket.frames import BINARY, TEXT, CloseCode
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.server.clients import ClientGreenlet
from uwsgi_ws.shared.status import memory
from uwsgi_ws.websocket.connection import Connection
from uwsgi_ws.wsgi.current import REQUEST_KEY, current_request, current_start_response

__all__ = ["VERSION", "VERSION_INFO", "call_hook", "install"]

greenlets.prepare()

#: The version of uWSGI whose API this is.
VERSION = b"2.0.31"
VERSION_INFO = (2, 0, 31, 0, b"")

_RECV_FAILED = "unable to receive websocket message"
_SEND_FAILED = "unable to send websocket message"
_SEND_BINARY_FAILED = "unable to send websocket binary message"
_HANDSHAKE_FAILED = "unable to complete websocket handshake"


class RequestContext:
    """A request that other greenlets may act for; opaque to applications."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def websocket(self) -> Connection | None:
        """The request's connection."""
        return self._request.websocket


class WebSocketError(ConnectionClosed):
    """What uWSGI raises as a bare IOError: its text, with our close code and reason beside it."""

    def __init__(self, text: str, cause: ConnectionClosed | None) -> None:
        if cause is None:
            super().__init__(CloseCode.ABNORMAL_CLOSURE)
        else:
            super().__init__(cause.code, cause.reason, is_clean=cause.is_clean)
        self.args = (text,)
        self.__cause__ = cause


class HandshakeFailed(Error, OSError):
    """uWSGI's IOError for a handshake that cannot be."""

    def __str__(self) -> str:
        return str(self.args[0])


class _ClientLeft(HandshakeFailed, ClientGone):
    """The same, where nobody is there any more: no fault of the application's."""


def _connection(context: RequestContext | None, text: str) -> Connection:
    """Return the connection that a call is about.

    Raises:
        SystemError: no context was given, and no request is being handled here.
        TypeError: not a context.
        WebSocketError: with ``text``, the request is no WebSocket.
    """
    try:
        # Each message asks, so the usual answer comes without a further call, and in a client's own greenlet without
        # the dict of its locals: with many clients that lies outside the processor's caches.
        here: Any = context
        if here is None:
            greenlet: Any = greenlets.getcurrent()
            here = greenlet.front.request if type(greenlet) is ClientGreenlet else None
            if here is None:
                here = greenlet.spawn_tree_locals[REQUEST_KEY]
        websocket: Connection | None = here.websocket
    except (AttributeError, KeyError, TypeError):
        websocket = None
    if websocket is None:
        if context is None:
            current_request()
        elif not isinstance(context, RequestContext):
            raise TypeError("Invalid argument!")
        raise WebSocketError(text, None)
    return websocket


def _text(value: str | bytes, name: str) -> str:
    if isinstance(value, bytes):
        return bytes.decode(value, "latin-1")
    if isinstance(value, str):
        return plain_str(value, f"{name} must be str")
    raise TypeError(f"{name} must be str or bytes, not {type(value).__name__}")


def _optional_text(value: str | bytes | None, name: str) -> str:
    return "" if value is None else _text(value, name)


# WebSockets


def websocket_handshake(
    key: str | bytes | None = None, origin: str | bytes | None = None, proto: str | bytes | None = None, /
) -> None:
    """Complete the opening handshake; empty arguments count as not given, the request's headers fill in.

    Unlike uWSGI, a client that offers several subprotocols to an application that names none gets the first: a
    browser refuses the whole list.

    Raises:
        OSError: the request is no opening handshake, or has been answered.
    """
    request = current_request()
    environ = request.environ
    _optional_text(key, "key")  # the key that counts is the client's
    offered = handshake.offered_subprotocols(environ)
    subprotocol = _optional_text(proto, "proto") or (offered[0] if offered else None)
    headers = [("Sec-WebSocket-Origin", _optional_text(origin, "origin") or environ.get("HTTP_ORIGIN") or "*")]
    if subprotocol:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    try:
        _accept(request, headers, subprotocol)
    except ClientGone as exc:
        raise _ClientLeft(_HANDSHAKE_FAILED) from exc
    except (Error, OSError, ValueError) as exc:
        raise HandshakeFailed(_HANDSHAKE_FAILED) from exc


def _accept(request: Request, headers: Headers, subprotocol: str | None) -> None:
    check_head("101", list(headers))
    request.accept(headers, subprotocol, "Web Socket Protocol Handshake")


def websocket_recv(request_context: RequestContext | None = None) -> bytes:
    """Wait for the next message; always bytes, text and binary alike.

    Raises:
        OSError: the connection has ended.
    """
    # No `except` here, where most connections are at most times: it would have each keep 112 bytes more of C stack.
    websocket = _connection(request_context, _RECV_FAILED)
    message = websocket.recv_message()
    if message is None:
        raise WebSocketError(_RECV_FAILED, websocket.closed_error())
    return message[1]


def websocket_recv_nb(request_context: RequestContext | None = None) -> bytes:
    """Return the next message, or ``b""`` when there is none.

    Raises:
        OSError: the connection has ended.
    """
    try:
        message = _connection(request_context, _RECV_FAILED).recv_now()
    except ConnectionClosed as exc:
        raise WebSocketError(_RECV_FAILED, exc) from exc
    return b"" if message is None else message[1]


def websocket_send(message: str | bytes, request_context: RequestContext | None = None) -> None:
    """Send a text message; bytes go as they are.

    Raises:
        OSError: the connection has ended.
    """
    _send(TEXT, message, request_context, _SEND_FAILED)


def websocket_send_binary(message: str | bytes, request_context: RequestContext | None = None) -> None:
    """Send a binary message; str goes as UTF-8.

    Raises:
        OSError: the connection has ended.
    """
    _send(BINARY, message, request_context, _SEND_BINARY_FAILED)


def _send(opcode: int, message: str | bytes, context: RequestContext | None, error_text: str) -> None:
    if type(message) is not bytes:
        message = _payload(message)
    websocket = _connection(context, error_text)
    try:
        websocket.send_message(opcode, message)
    except ConnectionClosed as exc:
        raise WebSocketError(error_text, exc) from exc


def _payload(message: str | bytes) -> bytes:
    if isinstance(message, str):
        return str.encode(message)
    if isinstance(message, bytes):
        return plain_bytes(message)
    raise TypeError(f"argument 1 must be str or read-only bytes-like object, not {type(message).__name__}")


def request_context() -> RequestContext:
    """Return a handle by which any greenlet may act for the current request."""
    return RequestContext(current_request())


def connection_fd() -> int:
    """Return a descriptor that is readable while a message, or the end of the connection, waits.

    Before a handshake it is the client's socket.
    """
    request = current_request()
    return request.fileno() if request.websocket is None else request.websocket.fileno()


def disconnect() -> None:
    """Drop the client's connection now; the application goes on."""
    current_request().disconnect()


# Request bodies


def chunked_read(timeout: int = 0, /) -> bytes:
    """Return the next piece of the request's body, ``b""`` at its end.

    Args:
        timeout: Accepted for uWSGI's sake; ``--socket-timeout`` bounds the wait.

    Raises:
        OSError: the body is malformed or does not come.
    """
    try:
        return current_request().environ["wsgi.input"].read_chunk()  # type: ignore[no-any-return]
    except BodyError as exc:
        raise OSError("unable to receive chunked part") from exc


def chunked_read_nb() -> bytes | None:
    """Return what is there of the request's body, ``b""`` at its end, None when nothing is there yet.

    Raises:
        OSError: the body is malformed.
    """
    try:
        return current_request().environ["wsgi.input"].read_chunk_now()  # type: ignore[no-any-return]
    except BodyError as exc:
        raise OSError("unable to receive chunked part") from exc


# Waiting


def wait_fd_read(fd: int, timeout: int = 0, /) -> bytes:
    """Refuse, as uWSGI does under gevent: its async engines alone have it."""
    raise OSError(f"unable to fd {fd} to the event queue")


def wait_fd_write(fd: int, timeout: int = 0, /) -> bytes:
    """Refuse; see ``wait_fd_read``."""
    raise OSError(f"unable to fd {fd} to the event queue")


def suspend() -> bool:
    """Let other greenlets, or other threads, run."""
    if is_hub_here():
        gevent.sleep(0)
    else:
        time.sleep(0)
    return True


def ready_fd() -> int:
    """Return the descriptor that ended an async wait: there is none under gevent."""
    return -1


def async_sleep(seconds: float, /) -> bytes:
    """Sleep; other greenlets and threads go on."""
    if is_hub_here():
        gevent.sleep(seconds)
    else:
        time.sleep(seconds)
    return b""


# The request


def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
    """Call the ``start_response`` that the current request's application was called with."""
    return current_start_response()(status, headers, exc_info)  # type: ignore[no-any-return]


def cl() -> int:
    """Return the Content-Length of the current request; 0 when it has none."""
    length = str(current_request().environ.get("CONTENT_LENGTH") or 0)  # the application may have set it
    return int(length) if length.isascii() and length.isdigit() else 0


def _attribute(name: str) -> Any:
    """Return what the module has while a request is being handled: ``env``, its environ.

    uWSGI has that of the request that came last there, whosesoever.

    Raises:
        AttributeError: no request is being handled here, or there is no such name.
    """
    if name == "env":
        try:
            return current_request().environ
        except SystemError as exc:
            raise AttributeError(f"module 'uwsgi' has no attribute 'env' here: {exc}") from None
    raise AttributeError(f"module 'uwsgi' has no attribute {name!r}")


# Logging


def logsize() -> int:
    """Return the size of the log's file in bytes; 0 without ``--logto``."""
    return log_size()


def log(text: str, /) -> bool:
    """Write a line to the server's log."""
    say(plain_str(text, "argument 1 must be str"))
    return True


def log_this_request() -> None:
    """Write this request's access line even if it would be left out."""
    current_request().log_this = True


def set_logvar(name: str | bytes, value: str | bytes, /) -> None:
    """Set a variable that ``--log-format`` may name."""
    request = current_request()
    if request.logvars is None:
        request.logvars = {}
    request.logvars[_text(name, "name")] = _text(value, "value")


def get_logvar(name: str | bytes, /) -> bytes | None:
    """Return a log variable, None when it is not set."""
    value = (current_request().logvars or {}).get(_text(name, "name"))
    return None if value is None else value.encode("latin-1", "replace")


def add_var(name: str | bytes, value: str | bytes, /) -> bool:
    """Set a variable of the current request's environ."""
    current_request().environ[_text(name, "name")] = _text(value, "value")
    return True


def request_id() -> int:
    """Return the number of requests begun, this one included."""
    return current_request().request_id


# Process


def listen_queue(number: int = 0, /) -> int:
    """Return how many clients wait to be accepted at a listening socket; always 0 for unix sockets.

    Args:
        number: Which of ``uwsgi.sockets``.

    Raises:
        ValueError: there is no such socket.
    """
    sockets: list[int] = sys.modules["uwsgi"].sockets
    number = index(number)
    if not 0 <= number < len(sockets):
        raise ValueError(f"unable to find socket {number}")
    with socket.socket(fileno=os.dup(sockets[number])) as sock:
        return waiting_at(sock)


def micros() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000


def mem() -> tuple[int, int]:
    """Return this process's resident and virtual size in bytes."""
    return memory()


def setprocname(name: str, /) -> None:
    """Name this process in ps and top; Linux keeps 15 bytes."""
    with open("/proc/self/comm", "wb") as comm:
        comm.write(plain_str(name, "argument 1 must be str").encode()[:15])


def mule_id() -> int:
    """Return 0: this is no mule."""
    return 0


def i_am_the_spooler() -> None:
    """Return None: this is no spooler. uWSGI's ``uwsgidecorators`` asks."""


def ready() -> bool:
    """Say whether the applications are loaded."""
    return True


_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    websocket_handshake,
    websocket_recv,
    websocket_recv_nb,
    websocket_send,
    websocket_send_binary,
    request_context,
    connection_fd,
    disconnect,
    chunked_read,
    chunked_read_nb,
    wait_fd_read,
    wait_fd_write,
    suspend,
    ready_fd,
    async_sleep,
    start_response,
    cl,
    logsize,
    log,
    log_this_request,
    set_logvar,
    get_logvar,
    add_var,
    request_id,
    listen_queue,
    micros,
    mem,
    setprocname,
    mule_id,
    i_am_the_spooler,
    ready,
    *api_channels.FUNCTIONS,
    *descriptors.FUNCTIONS,
)


def install(
    place: Instance,
    opt: dict[str, bytes | bool | list[bytes]],
    sockets: list[int],
    *,
    processes: int,
    cores: int,
    buffer_size: int,
    is_a_reload: bool = False,
    greenlets: bool = True,
    functions: Mapping[str, Callable[..., Any]] | None = None,
) -> None:
    """Make ``import uwsgi`` work in this process, and in those forked from it.

    Args:
        place: The process's.
        opt: Options by name, as ``options.opt_dict`` makes them.
        sockets: The listening descriptors.
        processes: Workers in all.
        cores: Places in each.
        buffer_size: Bytes allowed in a request's head.
        is_a_reload: Whether others have served before.
        greenlets: Whether all requests run in greenlets.
        functions: Those that depend on options, by name.
    """
    module = ModuleType("uwsgi", "uWSGI's API, served by uwsgi_ws.")
    names: dict[str, Any] = {function.__name__: function for function in (*_FUNCTIONS, *place.functions)}
    names.update(functions or {})
    names.update(
        green_schedule=names["suspend"],
        __getattr__=_attribute,
        RequestContext=RequestContext,
        version=VERSION,
        version_info=VERSION_INFO,
        hostname=socket.gethostname().encode(),
        mode=b"",
        loop=b"gevent" if greenlets else None,
        numproc=processes,
        cores=cores,
        has_threads=1,
        buffer_size=buffer_size,
        started_on=int(time.time()),
        sockets=sockets,
        magic_table={},
        unbit=None,
        is_a_reload=is_a_reload,
        applications=None,
        opt=opt,
        SPOOL_OK=-2,
        SPOOL_RETRY=-1,
        SPOOL_IGNORE=0,
    )
    module.__dict__.update(names)
    sys.modules["uwsgi"] = module


def call_hook(name: str) -> None:
    """Call what the application has assigned to ``uwsgi.NAME``, such as ``post_fork_hook`` or ``atexit``, if it has.

    Raises:
        Exception: whatever it raises.
    """
    hook = getattr(sys.modules["uwsgi"], name, None)
    if callable(hook):
        try:
            hook()
        finally:
            if own.is_copy:
                own.end_copy(sys.exc_info()[1])
