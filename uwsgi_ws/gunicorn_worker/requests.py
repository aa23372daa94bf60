"""What gunicorn does around each request: the scheme that proxies tell of, its hooks, its access log.

Each is a step of its own, put in only where the configuration asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import lru_cache
from ipaddress import ip_address
from time import monotonic
from typing import Any

from gunicorn import SERVER_SOFTWARE

from uwsgi_ws.errors import RequestError
from uwsgi_ws.request.access_log import AccessLog
from uwsgi_ws.request.answers import status_line
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler, Step
from uwsgi_ws.wsgi.runner import Application

__all__ = ["RequestLog", "environ_step", "hooks_step", "keeping_headers"]

#: Where `keeping_headers` leaves what an application answers with.
_ANSWER = "uwsgi_ws.gunicorn.answer"
#: What we believe of the scheme by ourselves.
_OURS = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_SSL")


def environ_step(cfg: Any) -> Step:
    """Return the step that gives requests gunicorn's own variables, and the scheme that a trusted proxy tells of."""
    secure = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in cfg.secure_scheme_headers.items()}
    names = tuple(dict.fromkeys((*secure, *_OURS)))
    trusts_all = "*" in cfg.forwarded_allow_ips

    @lru_cache(1024)
    def is_trusted(address: str) -> bool:
        if trusts_all or not address:  # a unix socket's peer has none; its file's mode says who may
            return True
        try:
            peer = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(peer in network for network in cfg.forwarded_allow_networks())

    def settle(request: Request, otherwise: Handler) -> None:
        environ = request.environ
        try:
            environ["RAW_URI"] = environ["REQUEST_URI"]
        except KeyError:
            environ["RAW_URI"] = ""  # a front server need not say it
        environ["SERVER_SOFTWARE"] = SERVER_SOFTWARE
        for name in names:
            if name in environ:
                environ["UWSGI_SCHEME"] = scheme_of(request)  # it comes before what anybody else says
                break
        otherwise(request)

    def scheme_of(request: Request) -> str:
        environ = request.environ
        if is_trusted(environ.get("REMOTE_ADDR", "")):
            said = {"https" if environ[name] == value else "http" for name, value in secure.items() if name in environ}
            if len(said) > 1:
                raise RequestError(400, "proxies contradict one another about the scheme")
            if said:
                return said.pop()
        return request.carrier_scheme

    return settle


def hooks_step(worker: Any, cfg: Any) -> Step:
    """Return the step that calls gunicorn's ``pre_request`` and ``post_request``."""

    def surround(request: Request, otherwise: Handler) -> None:
        seen = _Seen(request)
        try:
            cfg.pre_request(worker, seen)
            otherwise(request)
        finally:
            try:
                cfg.post_request(worker, seen, request.environ, _Answer(request))
            except Exception:
                worker.log.exception("Exception in post_request hook")

    return surround


def keeping_headers(application: Application) -> Application:
    """Return an application whose answers' headers can be shown later."""

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes] | None:
        def start(status: str, headers: Any, *args: Any, **options: Any) -> Any:
            write = start_response(status, headers, *args, **options)
            environ[_ANSWER] = (status, list(headers))
            return write

        return application(environ, start)

    return call


class RequestLog(AccessLog):
    """Has gunicorn's logger write a line for each request.

    Args:
        log: gunicorn's logger.
    """

    def __init__(self, log: Any) -> None:
        self._log = log

    def write(self, request: Request) -> None:
        """Write the request's line."""
        environ = request.environ
        if "SERVER_PROTOCOL" not in environ or "RAW_URI" not in environ:
            return  # it was refused before it was known what it is
        took = timedelta(seconds=monotonic() - request.began_at)
        self._log.access(_Answer(request), _Seen(request), environ, took)


class _Seen:
    """A request as gunicorn's hooks and logger see it."""

    def __init__(self, request: Request) -> None:
        environ = request.environ
        self.method = environ.get("REQUEST_METHOD", "")
        self.uri = environ.get("RAW_URI", "")
        self.path, _, self.query = self.uri.partition("?")
        self.fragment = ""
        self.scheme = request.scheme
        protocol = environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2]
        self.version = tuple(int(part) for part in protocol.split(".") if part.isdigit())
        self.peer_addr = self.remote_addr = (environ.get("REMOTE_ADDR", ""), int(environ.get("REMOTE_PORT") or 0))
        self._environ = environ

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names in upper case, each with its value."""
        found = [
            (name[5:].replace("_", "-"), value) for name, value in self._environ.items() if name.startswith("HTTP_")
        ]
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if self._environ.get(name):
                found.append((name.replace("_", "-"), self._environ[name]))
        return found


class _Answer:
    """What was answered, likewise."""

    def __init__(self, request: Request) -> None:
        self.status_code = request.status
        status, self.headers = request.environ.get(_ANSWER, ("", []))
        # A server's own answer may have taken the place of the application's.
        self.status = status if status.startswith(str(request.status)) else status_line(request.status)
        self.sent = request.body_bytes if request.websocket is None else request.websocket.bytes_sent
        self.response_length = self.sent
        self.headers_sent = request.is_head_written
        self.upgrade = request.websocket is not None
