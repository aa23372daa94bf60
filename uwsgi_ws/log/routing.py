"""Which lines go to which loggers, and what becomes of them on the way.

Each process does this for its own lines, when they are written; no other process or thread is in between. A line is
what ends with a newline, whoever wrote it, however many there are in one write.

Source: uWSGI's core/logging.c (``uwsgi_master_log``, ``uwsgi_master_req_log``, ``uwsgi_log_func_do``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from uwsgi_ws.log.encoders import Encode, encoder
from uwsgi_ws.log.file import LogFile
from uwsgi_ws.log.output import LogOutput
from uwsgi_ws.loggers import LogEncoder, LogRoute

__all__ = ["LogRoutes", "Sink"]

#: Makes of one line what is written, a call each.
_Packets = Callable[[bytes], list[bytes]]


def _alone(line: bytes) -> list[bytes]:
    return [line]


class Sink:
    """A place that lines go to.

    Args:
        name: What routes and encoders call it; empty for none.
        packets: For those that do not take lines as they are.
        file: What is opened again and rotated.
    """

    def __init__(self, name: str, output: LogOutput, packets: _Packets = _alone, file: LogFile | None = None) -> None:
        self.name = name
        self.output = output
        self.packets = packets
        self.file = file


class LogRoutes:
    """Takes lines to sinks.

    Args:
        sinks: Those without a name get what no route takes.
        main: Gets it where all of them have names.
        encoders: In order.
        routes: A line goes to each sink whose pattern matches; names that no sink has lead nowhere.
        drains: Lines that match one go nowhere.
        filters: Lines that match none go nowhere; without any, all go on.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        main: Sink,
        encoders: Iterable[LogEncoder] = (),
        routes: Iterable[LogRoute] = (),
        drains: Iterable[str] = (),
        filters: Iterable[str] = (),
    ) -> None:
        self._encoders = tuple(encoders)
        self._drains = [_compiled(pattern) for pattern in drains]
        self._filters = [_compiled(pattern) for pattern in filters]
        named = {sink.name: self._way_to(sink) for sink in sinks if sink.name}
        self._routes = [(_compiled(route.pattern), named[route.logger]) for route in routes if route.logger in named]
        self._others = [self._way_to(sink) for sink in sinks if not sink.name] or [self._way_to(main)]

    def write(self, line: bytes) -> None:
        """Write one line, with its end, where it belongs."""
        for drain in self._drains:
            if drain.search(line):
                return
        if self._filters and not any(pattern.search(line) for pattern in self._filters):
            return
        for write in [way for pattern, way in self._routes if pattern.search(line)] or self._others:
            write(line)

    def _way_to(self, sink: Sink) -> Callable[[bytes], None]:
        steps: list[Encode] = [encoder(step) for step in self._encoders if step.logger in ("", sink.name)]
        packets, write = sink.packets, sink.output.write

        def encoded(line: bytes) -> bytes:
            for step in steps:
                line = step(line)
            return line

        def way(line: bytes) -> None:
            for packet in packets(encoded(line)):
                write(packet)

        sink.output.takes_records = True
        sink.output.form = lambda line: packets(encoded(line))[0]
        return way


def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode("utf-8", "surrogateescape"))
