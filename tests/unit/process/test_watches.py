"""What is watched is told in order, in pieces, and what does not fit is counted."""

from __future__ import annotations

from typing import Any

import pytest

from uwsgi_ws.process.watches import ConnectionWatch
from uwsgi_ws.protocol.websocket.frames import BINARY, CLOSE, PING, TEXT


class Tapped:
    """A WebSocket, as a watch sees it."""

    tap: Any = None

    def tap_to(self, tap: Any) -> None:
        self.tap = tap


def told(watch: ConnectionWatch) -> list[dict[str, Any]]:
    events, left_out = watch.take()
    assert not left_out
    return [{name: value for name, value in event.items() if name != "at"} for event in events]


def test_text_is_shown_as_text_and_all_else_as_hexadecimal() -> None:
    websocket = Tapped()
    watch = ConnectionWatch(websocket)
    websocket.tap("<", TEXT, "Grüße".encode())
    websocket.tap(">", BINARY, b"\x00\xff")
    websocket.tap("<", PING, b"")
    websocket.tap("<", CLOSE, b"\x0f\xa0over")
    websocket.tap(">", CLOSE, b"")
    websocket.tap("=", 4000, b"over")
    assert told(watch) == [
        {"sign": "<", "kind": "TEXT", "size": 7, "text": "Grüße"},
        {"sign": ">", "kind": "BINARY", "size": 2, "hex": "00ff"},
        {"sign": "<", "kind": "PING", "size": 0, "hex": ""},
        {"sign": "<", "kind": "CLOSE 4000", "size": 4, "text": "over"},
        {"sign": ">", "kind": "CLOSE", "size": 0, "text": ""},
        {"sign": "=", "kind": "closed 4000", "size": 4, "text": "over"},
    ]
    assert watch.has_ended


def test_of_a_long_payload_the_beginning_is_shown_also_where_a_character_is_cut() -> None:
    websocket = Tapped()
    watch = ConnectionWatch(websocket)
    websocket.tap("<", TEXT, b"x" + "ü".encode() * 500)
    websocket.tap("<", BINARY, bytes(1_000))
    text, binary = told(watch)
    assert (text["size"], text["is_cut"], text["text"]) == (1_001, True, "x" + "ü" * 199 + "\ufffd")
    assert (binary["size"], binary["is_cut"], binary["hex"]) == (1_000, True, "00" * 96)


def test_what_nobody_takes_in_time_is_counted() -> None:
    websocket = Tapped()
    watch = ConnectionWatch(websocket)
    for number in range(1_000):
        websocket.tap("<", TEXT, b"%d" % number)
    events, left_out = watch.take()
    assert (len(events), left_out, events[0]["text"]) == (50, 800, "800")
    while watch.has_more:
        more, left_out = watch.take()
        events += more
        assert not left_out
    assert [event["text"] for event in events] == [str(number) for number in range(800, 1_000)]
    assert watch.take() == ([], 0)


def test_several_watch_one_and_the_last_one_frees_it() -> None:
    websocket = Tapped()
    one, other = ConnectionWatch(websocket), ConnectionWatch(websocket)
    websocket.tap("<", TEXT, b"to both")
    one.stop()
    one.stop()
    websocket.tap("<", TEXT, b"to one")
    assert [event["text"] for event in told(one)] == ["to both"]
    assert [event["text"] for event in told(other)] == ["to both", "to one"]
    other.stop()
    assert websocket.tap is None


def test_a_websocket_whose_messages_pass_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="knows its messages"):
        ConnectionWatch(object())
