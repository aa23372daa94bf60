"""What a .pxd may declare: Cython's ``bytes``, ``str``, ``dict``, ``list`` and ``tuple`` refuse subclasses.

So a name that an application's own object may reach is declared as ``object``, and each other one stands here with
the reason why none can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "uwsgi_ws"

_BUILTIN = r"(?:bytes|bytearray|str|dict|list|tuple|set|frozenset|unicode|type|slice|memoryview)"
_FUNCTION = re.compile(r"c(?:p?)def\s+(?:inline\s+)?[\w ]*?(\w+)\(([^)]*)\)")
_ATTRIBUTE = re.compile(rf"cdef\s+(?:public\s+|readonly\s+)?{_BUILTIN}\s+(\w[\w, ]*)$")
_LOCALS = re.compile(r"@cython\.locals\(([^)]*)\)", re.DOTALL)

WIRE = "comes from a socket: RawSocket and its like make plain bytes"
PARSED = "made by a parser out of the wire's bytes"
COMPANION = "comes from a companion's socket, or from the engine, for one; no Python application gets at it"
FRAME = "a frame that protocol.websocket.frames has encoded"
OURS = "made in this class, and no application gets at it"
PLAIN = "whoever calls it has made it plain: as_message, api._payload, Response.write or check_head"

#: By reason and file: a function's argument in parentheses, its local name after a colon, a class's attribute.
ALLOWED_BY_REASON = {
    WIRE: {
        "hub/poller.pxd": ("Receiver.take_if_simple(data)", "Receiver.receive(data)"),
        "net/stream.pxd": ("SocketStream._early", "recv() returns", "recv_now() returns"),
        "net/raw.pxd": ("recv() returns", "_recv_large() returns"),
        "net/tls.pxd": (  # by way of OpenSSL, which makes plain bytes as well
            "TlsStream._decrypt(ciphertext)", "TlsStream._decrypted(ciphertext)", "TlsStream._early",
            "TlsStream._push(ciphertext)", "TlsStream.receive(ciphertext)", "TlsStream.take_if_simple(ciphertext)",
            "_decrypt() returns", "_decrypt: part", "_decrypt: parts", "_decrypted() returns", "_push: data",
            "_take_early() returns", "_take_held() returns", "recv() returns", "recv_now() returns",
            "take_if_simple: data",
        ),
        "protocol/http/http1.pxd": ("RequestParser.receive(data)",),
        "protocol/websocket/engine.pxd": ("WebSocket._pending", "WebSocket.receive(data)"),
        "websocket/live.pxd": ("LiveConnection.take_if_simple(data)", "LiveConnection.receive(data)"),
        "wsgi/input.pxd": ("BodyFile._held", "read_chunk() returns", "_take() returns"),
    },
    COMPANION: {
        "companions/link.pxd": ("Link.answer(record)", "Link.send(head)", "Link.send(payload)", "send: record"),
        "companions/records.pxd": ("Decoder._buffer", "Decoder.feed(data)", "feed() returns"),
        "companions/runner.pxd": (
            "_Exchange._greenlets", "_Exchange._held", "_Exchange._pings", "_Exchange._said",
            "_Exchange._send(payload)", "_bring_messages: batch", "_bring_messages: head",
            "_bring_messages: payload", "_read: data", "_read: said",
        ),
    },
    PARSED: {
        "request/base.pxd": ("Request._set_up(environ)", "Request.environ"),
        "fronts/stream_request.pxd": ("StreamRequest._target", "_begin: environ"),
        "protocol/http/cgi.pxd": (
            "Fields._key_of_underscored(name)", "Fields.dropped", "Fields.underscores", "Fields.variables",
            "_key_of_underscored() returns", "is_target(text)", "method_of(name)", "method_of() returns",
            "split_target(method)", "split_target(target)",
            "split_target() returns",
        ),
        "protocol/http/http1.pxd": (
            "Head.upgrade", "Head.variables", "RequestParser._authority", "RequestParser._find(mark)",
            "RequestParser._given", "RequestParser._known", "RequestParser._line", "_head(authority)",
            "_head(variables)", "_head: codings", "_head: connection", "_head: declared", "_head: host",
            "RequestParser.dropped_names", "_read_fields: target", "_read_fields: variables", "_read_fields: version",
            "_read_line: ending", "_read_line: method", "_read_line: name", "_read_line: path", "_read_line: query",
            "_read_line: target", "_read_line: version", "_read_line: words",
        ),
        # The same dict as the request's; the runner has it before the application.
        "wsgi/environ.pxd": ("EnvironBase._shared", "complete: environ"),
    },
    FRAME: {
        "protocol/websocket/engine.pxd": ("WebSocket.output", "encode() returns", "frame_of() returns"),
        "protocol/websocket/prepared.pxd": ("Prepared._compressed", "Prepared.plain"),
        "websocket/connection.pxd": ("send_message: frame",),
        "websocket/outbox.pxd": (
            "Outbox._add_to_batch(frame)", "Outbox._append(frame)", "Outbox._batch", "Outbox._senders",
            "Outbox._write(frames)", "Outbox.cork(frame)", "Outbox.offer(frame)", "Outbox.send_corked(frame)",
            "flush: batch",
        ),
    },
    OURS: {
        "api/uwsgi.pxd": ("_connection(text)", "_send(error_text)"),
        "request/base.pxd": ("Request.logvars",),
        "fronts/stream_request.pxd": ("StreamRequest._held", "write_head: lines", "_date_line() returns"),
        "net/raw.pxd": ("RawSocket.sendmsg(buffers)",),
        "hub/poller.pxd": ("Poller.ready",),
        "hub/cork.pxd": ("Cork._many", "Cork._touched", "_flush: touched", "_flush_slice: many"),
        "protocol/http/grammar.pxd": ("check_head() returns", "check_head: kept"),
        "stats.pxd": (
            "Histogram.bounds", "Histogram.counts", "Measures._labels", "Measures.counts", "Measures.outboxes",
        ),
    },
    PLAIN: {
        "protocol/websocket/engine.pxd": ("WebSocket.encode(payload)",),
        "protocol/websocket/prepared.pxd": ("Prepared.payload",),
        "websocket/broadcast.pxd": ("_offer(connections)",),
        "websocket/connection.pxd": ("Connection.send_message(payload)",),
    },
}  # fmt: skip
ALLOWED = {(file, name) for files in ALLOWED_BY_REASON.values() for file, names in files.items() for name in names}


def declarations() -> Iterator[tuple[str, str]]:
    """Each name that is declared with one of Python's own types."""
    for path in sorted(PACKAGE.rglob("*.pxd")):
        file = str(path.relative_to(PACKAGE))
        source = path.read_text()
        for match in _LOCALS.finditer(source):
            following = _FUNCTION.search(source, match.end())
            assert following is not None
            for name in re.findall(rf"(\w+)\s*=\s*{_BUILTIN}\b", match[1]):
                yield file, f"{following[1]}: {name}"
        owner = ""
        for line in re.sub(r"@cython\.locals\([^)]*\)", "", source).splitlines():
            if found := re.match(r"cdef class (\w+)", line):
                owner = found[1] + "."
            elif line and not line[0].isspace():
                owner = ""
            if found := _FUNCTION.search(line):
                if re.search(rf"def\s+(?:inline\s+)?{_BUILTIN}\s+\w+\(", line):
                    yield file, f"{found[1]}() returns"
                for argument in found[2].split(","):
                    if typed := re.match(rf"\s*{_BUILTIN}\s+(\w+)", argument):
                        yield file, f"{owner}{found[1]}({typed[1]})"
            elif found := _ATTRIBUTE.search(line):
                for name in found[1].split(","):
                    yield file, f"{owner}{name.strip()}"


def test_no_pxd_declares_a_type_for_what_an_application_hands_over() -> None:
    declared = set(declarations())
    assert len(declared) > 20
    assert declared - ALLOWED == set(), "declare it as object, or say in ALLOWED why no application reaches it"
    assert ALLOWED - declared == set(), "gone: take it out of ALLOWED"
