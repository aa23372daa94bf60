"""Which line goes where, with sinks that only remember; and what datagrams hold."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from uwsgi_ws.log.datagrams import packets_of
from uwsgi_ws.log.routing import LogRoutes, Sink
from uwsgi_ws.loggers import LogEncoder, LogRoute, parse_logger


def sink(name: str = "") -> Any:
    lines: list[bytes] = []
    output: Any = SimpleNamespace(write=lines.append, lines=lines)
    return Sink(name, output)


def test_a_line_goes_to_all_without_a_name_unless_a_route_takes_it() -> None:
    main, first, second, app, web = sink(), sink(), sink(), sink("app"), sink("web")
    routes = LogRoutes(
        [first, app, second, web], main, routes=[LogRoute("app", "^a"), LogRoute("web", "b$"), LogRoute("no", ".")]
    )
    for line in (b"a b\n", b"a\n", b"c\n"):
        routes.write(line)
    assert app.output.lines == [b"a b\n", b"a\n"]
    assert web.output.lines == [b"a b\n"]  # an end of a line is none of what is looked at
    assert first.output.lines == second.output.lines == [b"c\n"]
    assert main.output.lines == []


def test_where_all_have_names_the_rest_goes_where_the_log_goes() -> None:
    main, app = sink(), sink("app")
    routes = LogRoutes([app], main, routes=[LogRoute("app", "a")])
    routes.write(b"a\n")
    routes.write(b"b\n")
    assert (app.output.lines, main.output.lines) == ([b"a\n"], [b"b\n"])


def test_encoders_work_in_order_and_some_for_one_logger_only() -> None:
    main, app = sink(), sink("app")
    steps = [LogEncoder("prefix", "app", "A"), LogEncoder("prefix", "", "B"), LogEncoder("prefix", "other", "C")]
    routes = LogRoutes([app], main, steps, [LogRoute("app", "x")])
    routes.write(b"x\n")
    routes.write(b"y\n")
    assert (app.output.lines, main.output.lines) == ([b"BAx\n"], [b"By\n"])
    assert app.output.form(b"lost\n") == b"BAlost\n"


def test_drains_and_filters_keep_lines_from_everywhere() -> None:
    main = sink()
    routes = LogRoutes([], main, drains=["health", "^$"], filters=["GET", "POST"])
    for line in (b"GET /health\n", b"GET /\n", b"POST /\n", b"other\n", b"\n"):
        routes.write(line)
    assert main.output.lines == [b"GET /\n", b"POST /\n"]


def test_a_datagram_has_what_its_receiver_expects() -> None:
    def packets(text: str, line: bytes, largest: int = 1024, splits: bool = False) -> list[bytes]:
        return packets_of(parse_logger(text), largest, splits)(line)

    moment = rb"[A-Z][a-z]{2} [ 123][0-9] [0-9:]{8}"
    assert re.fullmatch(rb"<30>" + moment + b" uwsgi: a", packets("syslog", b"a\n")[0])
    assert re.fullmatch(rb"<134>" + moment + b" me: a", packets("syslog:me,local0", b"a\n")[0])
    assert re.fullmatch(rb"<29>" + moment + b" me: a", packets("rsyslog:h,me", b"a\n")[0])
    assert re.fullmatch(rb"<29>" + moment + rb" \S+ uwsgi: ", packets("rsyslog:h", b"\n")[0])
    assert packets("socket:/a", b"a\n") == [b"a\n"]
    assert packets("socket:/a,pre", b"a\n") == [b"prea\n"]
    (short,) = packets("rsyslog:h,me", b"x" * 300 + b"\n", 128)
    assert len(short) == 128
    pieces = packets("rsyslog:h,me", b"x" * 300 + b"\n", 128, splits=True)
    assert [len(piece) <= 128 for piece in pieces] == [True] * 3
    assert b"".join(piece.partition(b" me: ")[2] for piece in pieces) == b"x" * 300
