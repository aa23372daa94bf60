"""What attacks on servers of this kind have in common, looked for in the whole package rather than in one place."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from support.growth import growth

from uwsgi_ws.errors import HandshakeError, RequestError
from uwsgi_ws.protocol.http import conditional
from uwsgi_ws.protocol.http.forwarded import Proxies
from uwsgi_ws.protocol.http.redirect import https_url
from uwsgi_ws.protocol.websocket import deflate, handshake
from uwsgi_ws.request.identity import trace_of
from uwsgi_ws.request.static import _accepts
from uwsgi_ws.routing.compression import takes_gzip

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "uwsgi_ws").rglob("*.py"))

# ---- code that is executed ------------------------------------------------------------------------------

#: Modules that run code out of data.
EXECUTING = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
#: Loaders of YAML that make any object that a document names.
UNSAFE = {"Loader", "FullLoader", "UnsafeLoader", "full_load", "unsafe_load"}


@functools.cache
def trees() -> list[tuple[str, ast.Module]]:
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in SOURCES]


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
            yield from (alias.name for alias in node.names)


def test_nothing_that_executes_data_is_imported() -> None:
    """What comes over the bus, a socket or a file is bytes and JSON: python-socketio had CVE-2025-61765 by pickle."""
    assert len(SOURCES) > 200
    assert {(path, name) for path, tree in trees() for name in imported(tree) if name in EXECUTING} == set()
    attributes = {
        (path, node.attr) for path, tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    assert {(path, name) for path, name in attributes if name in UNSAFE} == set()


def test_nothing_is_evaluated() -> None:
    called = {
        path
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")
    }
    assert called == set()


# ---- secrets --------------------------------------------------------------------------------------------

_SECRET = re.compile(r"(^|_)(token|password|passwd|secret|credentials|hmac)s?($|_)")


def named(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


def test_no_secret_is_compared_byte_by_byte() -> None:
    """``==`` ends at the first byte that differs, which a client can measure (websockets: CVE-2021-33880)."""
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                sides = [node.left, *node.comparators]
                if any(_SECRET.search(named(side)) for side in sides):
                    found.append(f"{path}:{node.lineno}")
    assert found == []


def test_the_two_places_that_know_secrets_compare_them_in_constant_time() -> None:
    for path in ("routing/auth.py", "process/control.py"):
        assert "hmac.compare_digest(" in (ROOT / "uwsgi_ws" / path).read_text()


# ---- headers whose reading takes long -------------------------------------------------------------------


def refused(function: Callable[[], object]) -> None:
    """Call what may refuse what it is given."""
    try:
        function()
    except (HandshakeError, RequestError):
        pass


def _handshake(**headers: str) -> dict[str, str]:
    return {
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "h",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }


PROXIES = Proxies([ip_network("127.0.0.1")])


def _settle(name: str, value: str) -> None:
    PROXIES.settle({"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "1", "HTTP_HOST": "h", "SERVER_PORT": "1", name: value})


#: Who reads a header of a request, by its name.
READERS: dict[str, Callable[[str], object]] = {
    "Sec-WebSocket-Extensions": lambda value: deflate.negotiate(
        {"HTTP_SEC_WEBSOCKET_EXTENSIONS": deflate.NAME + value}, deflate.DeflateSettings()
    ),
    "Sec-WebSocket-Protocol": lambda value: refused(
        lambda: handshake.check_request(_handshake(HTTP_SEC_WEBSOCKET_PROTOCOL=value))
    ),
    "Sec-WebSocket-Key": lambda value: refused(
        lambda: handshake.check_request(_handshake(HTTP_SEC_WEBSOCKET_KEY=value))
    ),
    "Upgrade": lambda value: refused(lambda: handshake.check_request(_handshake(HTTP_UPGRADE=value))),
    "Connection": lambda value: refused(lambda: handshake.check_request(_handshake(HTTP_CONNECTION=value))),
    "Origin": lambda value: handshake.is_origin_allowed({"HTTP_ORIGIN": value, "HTTP_HOST": "h"}, "http", ["same"]),
    "Host": lambda value: https_url({"HTTP_HOST": value, "REQUEST_URI": "/"}, "443"),
    "Accept-Encoding": lambda value: (takes_gzip(value), _accepts(value, "gzip")),
    "Range": lambda value: conditional.select({"REQUEST_METHOD": "GET", "HTTP_RANGE": value}, '"e"', 0, 100),
    "If-Match": lambda value: conditional.select({"REQUEST_METHOD": "GET", "HTTP_IF_MATCH": value}, '"e"', 0, 100),
    "If-None-Match": lambda value: conditional.select(
        {"REQUEST_METHOD": "GET", "HTTP_IF_NONE_MATCH": value}, '"e"', 0, 100
    ),
    "If-Modified-Since": lambda value: conditional.select(
        {"REQUEST_METHOD": "GET", "HTTP_IF_MODIFIED_SINCE": value}, '"e"', 0, 100
    ),
    "X-Forwarded-For": lambda value: _settle("HTTP_X_FORWARDED_FOR", value),
    "X-Forwarded-Host": lambda value: _settle("HTTP_X_FORWARDED_HOST", value),
    "traceparent": trace_of,
}
#: What has made other people's readers slow: each is repeated up to the size, between a beginning and an end.
PATTERNS = [
    ("", ",", ""),
    ("", " ", "!"),
    ("a", " ", "!"),
    ("a;q=1", " ", "!"),
    ("a;", " ", "q=x"),
    ("", "a,", "\xe9"),
    ("", "a;b=1,", '"'),
    ("", ';a="b"', ";"),
    ("", '"', ""),
    ('"', "a", ""),
    ("", "W/", '"'),
    ("", ":", "x"),
    ("", "1:", "x"),
    ("bytes=", "0-1,", ""),
    ("", "Mon 1 ", ""),
    ("Mon, 01 Jan ", "1", " 00:00:00 GMT"),
]


@pytest.mark.parametrize("name", READERS)
def test_no_header_takes_more_time_than_its_length_says(name: str) -> None:
    """Sixteen times the bytes take about 16 times as long; quadratic would be 256 times."""
    read = READERS[name]

    def read_all(size: int) -> None:
        for begin, middle, end in PATTERNS:
            read(begin + middle * (size // len(middle)) + end)

    assert growth(read_all, 2_000, 32_000) < 60
