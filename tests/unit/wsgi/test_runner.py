"""Calling an application, with a request that keeps what is written to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import gevent
import pytest

from uwsgi_ws.errors import BodyError, ClientGone, ConnectionClosed
from uwsgi_ws.hub.dismissed import Dismissed
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.wsgi.runner import run

Steps = list[tuple[str, Any]]


class RecordingRequest(Request):
    """Keeps each step of the response; raises ``fails_at``'s error at the step of that number."""

    def __init__(self, method: str = "GET", fail_at: int | None = None) -> None:
        super().__init__({"REQUEST_METHOD": method, "REQUEST_URI": "/"}, 0, 0)
        self.steps: Steps = []
        self.fail_at = fail_at

    def _step(self, name: str, detail: Any = None) -> None:
        if self.fail_at == len(self.steps):
            self.steps.append(("gone", None))
            raise ClientGone("the client left before the end of the response")
        self.steps.append((name, detail))

    scheme = "http"
    can_sendfile = True

    def fileno(self) -> int:
        return 42

    def read_body(self) -> bytes:
        return b""

    def read_body_now(self) -> bytes | None:
        return b""

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        self._step("head", (status, list(headers), body_length))
        self.status = int(status[:3])

    def write_body(self, data: bytes) -> None:
        self._step("body", data)

    def write_file(self, fd: int, offset: int, count: int) -> int:
        self._step("file", (offset, count))
        return count

    def finish(self) -> None:
        self._step("finish")

    def abandon(self) -> None:
        self.steps.append(("abandon", None))

    def upgrade(self, reason: str, headers: Headers) -> Any:
        raise AssertionError("no test here upgrades")

    def disconnect(self) -> None:
        raise AssertionError("no test here disconnects")


class Body:
    """An iterable that counts its ``close`` calls."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1


def answering(result: Any) -> Callable[..., Any]:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("A", "b")])
        return result

    return application


def raising(error: BaseException) -> Callable[..., Any]:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        raise error

    return application


def test_a_response_goes_out_in_order() -> None:
    request = RecordingRequest()
    assert run(answering(iter([b"", b"one", b"", b"two"])), request)
    head = ("head", ("200 OK", [("A", "b")], None))
    assert request.steps == [head, ("body", b"one"), ("body", b"two"), ("finish", None)]


def test_close_is_called_once_wherever_the_client_goes() -> None:
    step = 0
    while True:
        body = Body(iter([b"one", b"two"]))
        request = RecordingRequest(fail_at=step)
        assert run(answering(body), request)  # it is no fault of the application
        assert body.closed == 1
        if ("gone", None) not in request.steps:
            break
        assert request.steps[-1] == ("abandon", None)
        step += 1
    assert step == 4  # head, two pieces, the end


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("wrong"),
        SystemExit(1),
        KeyboardInterrupt(),
        gevent.Timeout(1),
        ConnectionClosed(1000),
        SystemError(),
        gevent.GreenletExit(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_an_application_raises_ends_its_request_only(error: BaseException) -> None:
    request = RecordingRequest()
    assert not run(raising(error), request)
    assert request.steps[0][1][0] == "500 Internal Server Error"
    assert request.steps[-1] == ("finish", None)


def test_an_application_that_the_server_ends_dies() -> None:
    body = Body(iter([b"one"]))

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        raise Dismissed

    with pytest.raises(Dismissed):
        run(application, RecordingRequest())
    assert body.closed == 0


def test_an_error_of_the_body_becomes_its_own_status() -> None:
    request = RecordingRequest()
    assert run(raising(BodyError(413, "the request body is too big")), request)
    assert request.steps[0][1][0].startswith("413 ")
    phrase = HTTPStatus(413).phrase  # another one since Python 3.13
    assert request.steps[1] == ("body", f"413 {phrase}: the request body is too big\n".encode())


def test_an_error_after_the_head_abandons_the_response() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"begun"
        raise RuntimeError("wrong")

    request = RecordingRequest()
    assert not run(answering(chunks()), request)
    assert [name for name, _ in request.steps] == ["head", "body", "abandon"]


def test_the_replaced_head_is_the_one_that_goes_out() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("A", "b")])
        try:
            raise ValueError
        except ValueError as exc:
            start_response("500 Oops", [("C", "d")], (ValueError, exc, exc.__traceback__))
        return [b"body"]

    request = RecordingRequest()
    assert run(application, request)
    assert request.steps[0] == ("head", ("500 Oops", [("C", "d"), ("Content-Length", "4")], 4))


def test_headers_changed_after_start_response_do_not_count() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("A", "b")]
        start_response("200 OK", headers)
        headers.append(("Evil", "a\r\nb"))  # it would not have been looked at
        return [b"body"]

    request = RecordingRequest()
    assert run(application, request)
    assert request.steps[0][1][1] == [("A", "b"), ("Content-Length", "4")]
