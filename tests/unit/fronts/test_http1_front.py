"""The front for HTTP/1.1 with an application behind it, over a stream that is a list."""

from __future__ import annotations

from typing import Any, cast

from support.breaking import break_everywhere, ways_to_fail, working
from support.limits import make_limits
from support.streams import MemoryStream

from uwsgi_ws.fronts.http1 import Http1Front
from uwsgi_ws.fronts.peer import Peer, StreamSettings
from uwsgi_ws.net.base import Stream
from uwsgi_ws.request.base import Request
from uwsgi_ws.wsgi.input import BodyFile
from uwsgi_ws.wsgi.runner import Application, run

GET = b"GET /there HTTP/1.1\r\nHost: x\r\n\r\n"


class Text(str):
    """As template engines mark what is safe."""

    __slots__ = ()


class Octets(bytes):
    """As numpy's are."""

    __slots__ = ()


def answers(application: Application, *pieces: bytes) -> list[bytes]:
    """What a client that sends the pieces and leaves gets, without the Date lines."""
    stream = MemoryStream(*pieces)
    serve(application, stream)
    lines = [each.splitlines(True) for each in stream.writes]
    return [b"".join(line for line in each if not line.startswith(b"Date: ")) for each in lines]


def serve(application: Application, stream: MemoryStream) -> None:
    settings = StreamSettings(make_limits(), head_timeout=30, idle_timeout=60, io_timeout=30)

    def handle(request: Request) -> None:
        request.environ["wsgi.input"] = BodyFile(request)
        run(application, request)
        request.environ = {}

    Http1Front(cast(Stream, stream), settings, Peer("", "", "", ""), 0, handle, lambda: True).run()


def test_subclasses_of_str_and_bytes_are_sent_as_what_they_are() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(Text("200 OK"), [(Text("X-A"), Text("b")), (Text("Content-Length"), Text("3"))])
        return [Octets(b"abc")]

    expected = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc"
    assert answers(application, GET, GET) == [expected] * 2


def test_the_write_callable_takes_a_subclass_of_bytes() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])(Octets(b"abc"))
        return []

    head, end = answers(application, GET)
    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    assert end == b"0\r\n\r\n"


def test_a_length_of_any_size_may_be_declared() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "1" + "0" * 30)])
        return []

    stream = answers(application, GET)
    assert stream == [b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\n"]


@ways_to_fail
def test_a_connection_that_breaks_anywhere_leaves_nothing(how: dict[str, Any]) -> None:
    body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nab"

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(), b"ab"]

    with working(application) as worker:
        stream = break_everywhere(worker, worker.http1, GET, body, b"cd", b"ef", **how)
    assert bytes(stream.sent).count(b"200 OK") == 2
