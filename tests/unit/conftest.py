"""Fixtures of several rooms' unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gevent import get_hub

from uwsgi_ws.net.crossing import Crossing, use_crossing


@pytest.fixture
def crossing() -> Iterator[Crossing]:
    crossing = Crossing(get_hub())
    use_crossing(crossing)
    yield crossing
    use_crossing(None)
    crossing.close()
