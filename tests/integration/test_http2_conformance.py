"""What RFC 9113, 7541 and 8441 say of servers, case by case: those of ``tests/compliance/http2.py``."""

from __future__ import annotations

import pytest
from compliance.http2 import CARRIERS, play
from compliance.http2_cases import CASES, Seen


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_case_gets_what_its_rfc_says(carrier: str) -> None:
    wrong = play(carrier, CASES)
    assert not wrong, "\n".join(wrong)


def test_no_case_is_content_with_silence() -> None:
    """A server that only answers pings fails all but those that ask for no more than a connection that goes on."""
    content = [case.name for case in CASES if any(want.holds(Seen()) for want in case.wants)]
    assert len(content) < 5, content
