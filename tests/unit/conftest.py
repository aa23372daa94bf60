"""Fixtures of several rooms' unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gevent import get_hub

from uwsgi_ws.hub.hub_calls import HubCalls, use_hub_calls


@pytest.fixture
def crossing() -> Iterator[HubCalls]:
    crossing = HubCalls(get_hub())
    use_hub_calls(crossing)
    yield crossing
    use_hub_calls(None)
    crossing.close()
