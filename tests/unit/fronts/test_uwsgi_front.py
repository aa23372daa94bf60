"""The front for uwsgi packets with an application behind it, over a stream that fails."""

from __future__ import annotations

from typing import Any

from support.breaking import break_everywhere, ways_to_fail, working
from support.uwsgi_client import packet, variables


def application(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read(), b"ab"]


@ways_to_fail
def test_a_connection_that_breaks_anywhere_leaves_nothing(how: dict[str, Any]) -> None:
    head = packet(variables("POST", headers=[("Content-Length", "6")]))
    with working(application) as worker:
        stream = break_everywhere(worker, worker.uwsgi, head[:20], head[20:], b"abcd", b"ef", **how)
    assert bytes(stream.sent).startswith(b"HTTP/1.1 200 OK\r\n")
    assert bytes(stream.sent).endswith(b"\r\n\r\nabcdefab") or b"\r\nab\r\n" in bytes(stream.sent)
