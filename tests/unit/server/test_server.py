"""The frame around each request: it is counted, answered whatever goes wrong, logged, and over in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.errors import RequestError
from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.request.steps import Handler, Step
from uwsgi_ws.server import clients
from uwsgi_ws.server.accepting import FrontSettings
from uwsgi_ws.server.concurrency import Concurrency
from uwsgi_ws.server.loop import EventLoop
from uwsgi_ws.server.server import Answering, Server
from uwsgi_ws.stats import Stats


class Asked(Request):
    """A request in memory, and the status that it was answered with."""

    def __init__(self) -> None:
        super().__init__({"REQUEST_METHOD": "GET", "REQUEST_URI": "/", "SCRIPT_NAME": "", "PATH_INFO": "/"}, 10, 0)

    def fileno(self) -> int:
        return 0

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        self.status = int(status[:3])

    def write_body(self, data: bytes) -> None:
        self.body_bytes += len(data)

    def finish(self) -> None:
        pass


class Lines:
    """An access log that keeps whom it has written a line for."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, int]] = []

    def write(self, request: Request) -> None:
        assert not request.is_over, "what a line says of it is gone"
        self.requests.append((request, request.status))


ServerOf = Callable[..., Any]


@pytest.fixture
def server_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerOf]:
    """Makes a server with steps."""
    monkeypatch.setattr(clients, "_is_serving", False)
    loop = EventLoop.here()
    stats = Stats()
    lines = Lines()
    unused: Any = None  # settings of connections

    def make(*steps: Step, run: Handler = lambda request: request.write_head("200 OK", (), 0)) -> Any:
        server = Server(
            loop,
            2,
            concurrency=Concurrency(loop, 2, unused, stats),
            answering=Answering(steps, run, lambda port: steps, {}, lines),  # type: ignore[arg-type]
            fronts=FrontSettings(unused, {}, False, True),
            stats=stats,
        )
        return SimpleNamespace(handle=server.handle, stats=stats, lines=lines)

    yield make
    loop.poller.close()


def test_a_request_has_a_number_an_acceptor_and_a_line_and_is_over_then(server_of: ServerOf) -> None:
    seen: list[tuple[int, bool]] = []

    def run(request: Request) -> None:
        seen.append((request.request_id, request.acceptor is not None))
        request.write_head("200 OK", (), 3)
        request.write_body(b"abc")

    server = server_of(run=run)
    for asked in (first := Asked(), second := Asked()):
        server.handle(asked)
    assert seen == [(1, True), (2, True)]
    assert server.lines.requests == [(first, 200), (second, 200)]
    assert first.is_over
    assert (server.stats.requests, server.stats.bytes_sent) == (2, 6)


def refuse(request: Request, otherwise: Handler) -> None:
    raise RequestError(403, "not today")


def fall(request: Request, otherwise: Handler) -> None:
    raise LookupError("a mistake")


@pytest.mark.parametrize(("step", "status"), [(refuse, 403), (fall, 500)])
def test_an_error_of_a_step_is_answered_and_the_request_counts_like_others(
    server_of: ServerOf, step: Step, status: int
) -> None:
    server = server_of(step)
    server.handle(asked := Asked())
    assert server.lines.requests == [(asked, status)]
    assert asked.is_over
    assert server.stats.bytes_sent > 0


def test_a_request_without_a_line_is_over_all_the_same(server_of: ServerOf) -> None:
    def silent(request: Request, otherwise: Handler) -> None:
        request.log_this = False
        otherwise(request)

    server = server_of(silent)
    server.handle(asked := Asked())
    assert server.lines.requests == []
    assert asked.is_over


def test_a_client_that_the_server_ends_is_answered_no_more(server_of: ServerOf) -> None:
    def stop(request: Request, otherwise: Handler) -> None:
        raise Dismissed

    server = server_of(stop)
    with pytest.raises(Dismissed):
        server.handle(asked := Asked())
    assert (asked.status, server.lines.requests) == (0, [])
