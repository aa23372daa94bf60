"""Redis, Valkey, Sentinels and Clusters: each is started once, by the first test that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from support.engines import Engine, running


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[Callable[[str], Engine]]:
    """Give an engine by its name. It is the same one for all tests, which do it no harm."""
    engines: dict[str, Engine] = {}
    with ExitStack() as stack:

        def give(name: str) -> Engine:
            if name not in engines:
                engines[name] = stack.enter_context(running(name))
            return engines[name]

        yield give


@pytest.fixture(scope="session")
def redis(shared_engine: Callable[[str], Engine]) -> Engine:
    return shared_engine("redis")


@pytest.fixture
def own_redis() -> Iterator[Engine]:
    """One for a test that does it harm."""
    with running("redis") as engine:
        yield engine
