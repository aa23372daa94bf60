"""Dates of HTTP are those of the standard library's email package."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_ws.protocol.http.dates import http_date


def test_the_example_of_rfc_9110() -> None:
    """RFC 9110 5.6.7."""
    assert http_date(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.floats(-62_135_596_800, 253_402_300_799) | st.integers(-62_135_596_800, 253_402_300_799))
def test_it_is_what_the_standard_library_writes(seconds: float) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True)


@pytest.mark.parametrize("seconds", [253_402_300_800, -62_135_596_801, 2**63, 1e300, float("nan"), float("inf")])
def test_what_is_no_date_raises_what_it_raises_there(seconds: float) -> None:
    with pytest.raises((OSError, OverflowError, ValueError)) as ours:
        http_date(seconds)
    with pytest.raises(ours.type):
        formatdate(seconds, usegmt=True)
