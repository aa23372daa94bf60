"""Places of gunicorn's workers: ids from 1 in each generation, seats never shared, and what happens beyond the last."""

from __future__ import annotations

from typing import Any

import pytest
from support.peers import require_module


@pytest.fixture
def places() -> Any:
    require_module("gunicorn")
    from uwsgi_ws.gunicorn_worker.places import Places

    places = Places(4)
    places.generation = 1
    return places


def test_ids_and_seats_count_from_the_first(places: Any) -> None:
    assert [places.give(age)[:3] for age in (1, 2)] == [(1, 1, 0), (2, 1, 1)]


def test_a_dead_workers_place_is_its_successors(places: Any) -> None:
    places.give(1), places.give(2)
    assert places.take_back(1) == 0
    assert places.give(3)[:3] == (1, 2, 0)


def test_a_new_generation_counts_anew_beside_the_old_one(places: Any) -> None:
    places.give(1), places.give(2)
    places.generation = 2
    assert [places.give(age)[:3] for age in (3, 4)] == [(1, 2, 2), (2, 2, 3)]


def test_a_worker_beyond_the_last_seat_has_none_until_one_is_free(places: Any) -> None:
    for age in range(4):
        places.give(age)
    assert places.give(4)[:3] == (5, 1, None)
    assert places.take_back(4) is None
    assert places.take_back(2) == 2
    assert places.give(5).seat == 2


def test_nobodys_place_is_taken_back_twice(places: Any) -> None:
    places.give(1)
    assert places.take_back(1) == 0
    assert places.take_back(1) is None
