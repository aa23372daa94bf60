"""A request as an application in a native thread has it: each step of reading and answering is the hub's."""

from __future__ import annotations

from typing import Any

from uwsgi_ws.errors import ClientGone
from uwsgi_ws.hub.hub_calls import in_hub
from uwsgi_ws.net.base import Stream
from uwsgi_ws.request.base import Headers, Request, pass_attributes_on

__all__ = ["ThreadRequest"]


class ThreadRequest(Request):
    """Stands in front of a request of any front, with the same attributes, until it is cut off.

    A thread cannot be ended. When the server has to go on without it, ``cut_off`` parts the two: for the thread it is
    then as if the client had left, and whatever it does still, the connection is not its any more.
    """

    __slots__ = ("_is_cut_off", "_request")

    def __init__(self, request: Request) -> None:
        # Without Request's: the attributes are those of the request itself.
        self._request = request
        self._is_cut_off = False

    def cut_off(self) -> None:
        """Have all further steps fail; called in the hub's thread, where the steps are made."""
        self._is_cut_off = True

    def _step(self, name: str, *args: Any) -> Any:
        """Make a step in the hub's thread: there, so that it is either before or after ``cut_off``."""
        return in_hub(self._step_in_hub, name, args)

    def _step_in_hub(self, name: str, args: tuple[Any, ...]) -> Any:
        if self._is_cut_off:
            raise ClientGone("the server has gone on without this thread")
        return getattr(self._request, name)(*args)

    @property
    def scheme(self) -> str:
        """See Request."""
        return self._request.scheme

    @property
    def carrier_scheme(self) -> str:
        """See Request."""
        return self._request.carrier_scheme

    @property
    def can_sendfile(self) -> bool:
        """See Request."""
        return self._request.can_sendfile

    @property
    def takes_body(self) -> bool:
        """See Request."""
        return self._request.takes_body

    def fileno(self) -> int:
        """See Request."""
        return -1 if self._is_cut_off else self._request.fileno()

    def read_body(self) -> bytes:
        """See Request."""
        return self._step("read_body")  # type: ignore[no-any-return]  # of the method named

    def read_body_now(self) -> bytes | None:
        """See Request."""
        return self._step("read_body_now")  # type: ignore[no-any-return]

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        """See Request."""
        self._step("write_head", status, headers, body_length)

    def write_body(self, data: bytes) -> None:
        """See Request."""
        self._step("write_body", data)

    def write_file(self, fd: int, offset: int, count: int) -> int:
        """See Request."""
        return self._step("write_file", fd, offset, count)  # type: ignore[no-any-return]

    def finish(self) -> None:
        """See Request."""
        self._step("finish")

    def write_last(self, data: bytes) -> None:
        """See Request."""
        self._step("write_last", data)

    def abandon(self) -> None:
        """See Request; without effect once cut off."""
        try:
            self._step("abandon")
        except ClientGone:
            pass

    def upgrade(self, reason: str, headers: Headers) -> tuple[Stream, bytes]:
        """See Request."""
        return self._step("upgrade", reason, headers)  # type: ignore[no-any-return]

    def disconnect(self) -> None:
        """See Request."""
        self._step("disconnect")


pass_attributes_on(ThreadRequest, "_request")
