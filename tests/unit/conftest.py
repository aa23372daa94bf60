"""Fixtures of several rooms' unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gevent import get_hub

from uwsgi_ws.hub.hub_calls import HubCalls, use_hub_calls


@pytest.fixture
def hub_calls() -> Iterator[HubCalls]:
    hub_calls = HubCalls(get_hub())
    use_hub_calls(hub_calls)
    yield hub_calls
    use_hub_calls(None)
    hub_calls.close()
