"""What every kind of request must have; compiled classes have no ABC to see to it."""

from __future__ import annotations

import pytest

from uwsgi_ws.fronts.http2.request import Http2Request
from uwsgi_ws.fronts.stream_request import StreamRequest
from uwsgi_ws.request.base import Request
from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.threads.request import ThreadRequest

KINDS = [StreamRequest, Http2Request, RoutedRequest, ThreadRequest]
#: What Request does itself.
GIVEN = {"accept", "bytes_sent", "end", "is_head_written", "scheme", "takes_body", "write_last"}


def test_these_are_all_kinds() -> None:
    assert {kind for kind in Request.__subclasses__() if kind.__module__.startswith("uwsgi_ws.")} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_request_leaves_nothing_out(kind: type[Request]) -> None:
    expected = {name for name in vars(Request) if not name.startswith("_")} - set(Request.__slots__) - GIVEN
    assert len(expected) == 14
    assert expected <= set(vars(kind))
