"""Header fields that end with a connection (RFC 9110 7.6.1)."""

from __future__ import annotations

import pytest

from uwsgi_ws.protocol.http.hop_by_hop import HOP_BY_HOP, connection_options, end_to_end


@pytest.mark.parametrize(
    ("headers", "options"),
    [
        ([], set()),
        ([("Connection", "close")], {"close"}),
        ([("connection", "Close, X-Secret")], {"close", "x-secret"}),
        ([("CONNECTION", " a ,\tb\t, c d ,,")], {"a", "b", "c d"}),
        ([("Connection", "XaX")], {"xax"}),
        ([("Connection", "a"), ("X", "b"), ("Connection", "c")], {"a", "c"}),
    ],
)
def test_the_options_of_a_connection_are_those_of_all_its_fields(
    headers: list[tuple[str, str]], options: set[str]
) -> None:
    assert connection_options(headers) == options


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_a_field_of_one_connection_goes_no_further_however_it_is_spelt(name: str) -> None:
    kept = [("Server", "s")]
    assert end_to_end([(name, "x"), *kept, (name.title(), "y")], 200) == kept


def test_what_connection_names_goes_no_further_but_for_the_length() -> None:
    headers = [("Connection", "X-Secret, Content-Length"), ("x-secret", "1"), ("Content-Length", "3"), ("X", "2")]
    assert end_to_end(headers, 200) == [("Content-Length", "3"), ("X", "2")]


def test_only_a_426_keeps_the_upgrade_that_it_asks_for() -> None:
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    assert end_to_end(headers, 426) == [("Upgrade", "websocket")]
    assert end_to_end(headers, 425) == end_to_end(headers, 427) == []
