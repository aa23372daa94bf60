"""What a connection to Redis hands on, without a Redis."""

from __future__ import annotations

from typing import Any, NoReturn

import gevent
import pytest

pytest.importorskip("redis")

from uwsgi_ws.channels.redis.engine import Node
from uwsgi_ws.channels.redis.link import Link
from uwsgi_ws.errors import ChannelError
from uwsgi_ws.stats import Stats


class Nowhere:
    """An engine that nothing can be connected to."""

    timeout = 1.0

    def connect(self, node: Node) -> NoReturn:
        raise ChannelError("down")


class Owner:
    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def take(self, name: bytes, data: bytes) -> None:
        self.taken.append(data)

    def doubt(self) -> None:
        pass


def test_what_still_comes_from_where_a_channel_was_is_not_handed_on() -> None:
    owner: Any = Owner()
    engine: Any = Nowhere()
    link = Link(owner, engine, Node("host", 1), gevent.get_hub(), Stats(), is_sharded=True, limit=1_000)
    try:
        link.subscribe(b"room", has_gap=False)
        link._take_push([b"smessage", b"room", b"1"])
        link.unsubscribe(b"room")
        link._take_push([b"smessage", b"room", b"2"])
        assert owner.taken == [b"1"]
    finally:
        link.close()
