"""URLs of engines: what they say, what is secret in them, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
from support.peers import require_module

from uwsgi_ws.errors import ChannelError


def engine(url: str) -> Any:
    require_module("redis")
    from uwsgi_ws.channels.redis.engine import Engine

    return Engine(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://h", "redis://h"),
        ("redis://u:p%40@h1:1,h2/3?prefix=a@b:&socket_timeout=2", "redis://***@h1:1,h2/3"),
        (
            "redis+sentinel://u:p@[::1]:1,h2/service/2?sentinel_password=x@y",
            "redis+sentinel://***@[::1]:1,h2/service/2",
        ),
        ("unix://:p@/tmp/redis.sock?db=2", "unix://***@/tmp/redis.sock"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0"),
    ],
)
def test_its_name_has_all_but_secrets(url: str, name: str) -> None:
    assert engine(url).name == name


def test_parameters_are_ours_or_the_client_s() -> None:
    found = engine("redis://h?prefix=chat:&socket_timeout=2.5")
    assert (found.prefix, found.timeout) == ("chat:", 2.5)
    assert (engine("redis://h").prefix, engine("redis://h").timeout) == ("uwsgi_ws:", 5.0)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("lobby", "a URL begins with redis://"),
        ("redis:h", "a URL begins with redis://"),
        ("redis://:secret@h:0x1", "Port could not be cast"),
        ("redis://:secret@h?socket_timeout=long", "Invalid value for 'socket_timeout'"),
        ("redis://:secret@h?colour=red", "no such parameter: 'colour'"),
        ("redis+sentinel://:secret@h", "the name of the service is missing"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, problem: str) -> None:
    with pytest.raises(ChannelError, match=problem) as caught:
        engine(url)
    assert "secret" not in str(caught.value)
