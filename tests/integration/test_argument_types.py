"""What applications hand over is what it holds, whatever subclass it is of; and both builds say the same.

One table of calls is made in a pure and in a compiled worker, greenlets and threads. Where no twin has been compiled
both are pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.http_client import HttpClient, fetch
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import BINARY, CLOSE, TEXT, RawClient, handshake

pytestmark = pytest.mark.matrix

APPLICATION = APPLICATIONS / "argument_types.py"

BUILDS = {"compiled": "0", "pure": "1"}
KINDS = {"greenlets": (), "threads": ("--threads", "4", "--no-monkey-patch")}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        started = {}
        for build, pure in BUILDS.items():
            for kind, options in KINDS.items():
                server = stack.enter_context(Server(APPLICATION, *options, env={"UWSGI_WS_PURE_PYTHON": pure}))
                started[f"{build} {kind}"] = server
        yield started
        for server in started.values():
            finish(server, allow_traceback=True)


@pytest.fixture(params=[f"{build} {kind}" for build in BUILDS for kind in KINDS])
def server(request: Any, servers: dict[str, Server]) -> Server:
    return servers[request.param]


def talk(server: Server, path: str) -> tuple[list[tuple[int, bytes]], dict[str, str]]:
    """Return the data and close frames that came, and what the application says of its calls."""
    client = RawClient(server.port)
    with client:
        response = client.shake_hands(handshake(path, [("Sec-WebSocket-Protocol", "chat")]))
        assert response.status == 101
        assert response.headers["sec-websocket-protocol"] == "chat"
        frames: list[tuple[int, bytes]] = []
        found: dict[str, str] = {}
        while True:
            frame = client.read_frame()
            if frame.payload.startswith(b"{"):
                found = json.loads(frame.payload)
                continue
            frames.append((frame.opcode, frame.payload))
            if frame.opcode == CLOSE:
                return frames, found


GREETING = "grüße".encode()
LONG = b"x" * 70_000
UNDECODABLE = "UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed"


def test_uwsgis_functions_take_what_a_subclass_holds(server: Server) -> None:
    frames, found = talk(server, "/uwsgi_names")
    sent = [b"plain", b"plain", GREETING, b"\0\xff"]
    assert frames == [
        *[(opcode, payload) for payload in sent for opcode in (TEXT, BINARY)],
        (BINARY, LONG),
        (CLOSE, b"\x03\xe8"),
    ]
    refused = "TypeError: argument {} must be str or read-only bytes-like object, not {}"
    for name in ("str", "bytes", "Text", "Bytes"):
        assert found[f"send {name}"] == found[f"send_binary {name}"] == found[f"channel_send {name}"] == "None"
    for name, kind in (
        ("Buffer", "Buffer"), ("bytearray", "bytearray"), ("memoryview", "memoryview"), ("numbers", "memoryview"),
        ("every second", "memoryview"), ("released", "memoryview"), ("array", "array"), ("square", "memoryview"),
        ("None", "NoneType"), ("int", "int"), ("list", "list"),
    ):  # fmt: skip
        assert found[f"send {name}"] == found[f"send_binary {name}"] == refused.format(1, kind)
        if name not in ("array",):
            assert found[f"channel_send {name}"] == refused.format(2, kind)
    assert found["send surrogate"] == found["send_binary surrogate"] == found["channel_send surrogate"] == UNDECODABLE
    assert found["context"] == "TypeError: Invalid argument!"
    for kind in ("str", "Text", "Bytes"):
        for name in ("join", "plain join", "plain leave", "leave", "set_logvar", "plain recv"):
            assert found[f"{name} {kind}"] == "None", name
        assert found[f"get_logvar {kind}"] == "b'value'"
        assert found[f"add_var {kind}"] == "True"
    for kind in ("NoneType", "int"):
        for name in ("join", "plain join", "plain recv", "plain leave", "leave", "count"):
            assert found[f"{name} {kind}"] == f"TypeError: the name of a channel is a str, not {kind}"
        for name in ("set_logvar", "get_logvar", "add_var"):
            assert found[f"{name} {kind}"] == f"TypeError: name must be str or bytes, not {kind}"
    for kind in ("Bytes", "NoneType", "int"):
        assert found[f"log {kind}"] == found[f"setprocname {kind}"] == f"TypeError: argument 1 must be str, not {kind}"
    assert found["log Text"] == "True"
    assert found["lock Number 0"] == found["unlock Number 0"] == "None"
    assert found["is_locked Number 0"] == "True"
    assert found["lock Number 7"] == found["lock bool 1"] == "ValueError: Invalid lock number"
    assert found["is_connected"] == "False"
    assert found["async_sleep"] == "b''"


def test_our_own_functions_take_what_a_subclass_holds(server: Server) -> None:
    frames, found = talk(server, "/own_names")
    sent = [
        (TEXT, b"plain"), (BINARY, b"plain"), (TEXT, GREETING), (BINARY, b"\0\xff"), (BINARY, b"buffer"),
        (BINARY, b"array"), (BINARY, b"view"), (BINARY, b"second"), (BINARY, b"AABB"), (BINARY, b"C"),
        (BINARY, b"abcd"),
    ]  # fmt: skip
    data = [frame for frame in frames if frame[0] in (TEXT, BINARY)]
    assert sorted(data) == sorted(
        [*sent, *sent, (BINARY, LONG), (TEXT, b"set"), (TEXT, b"published"), (TEXT, b"published")]
    )
    assert frames[-1] == (CLOSE, (4001).to_bytes(2, "big") + b"so long")
    assert found["subprotocol"] == "(<class 'str'>, 'chat')"
    for name in (
        "str",
        "bytes",
        "Text",
        "Bytes",
        "Buffer",
        "bytearray",
        "memoryview",
        "every second",
        "numbers",
        "array",
        "square",
    ):
        assert found[f"send {name}"] == found[f"publish {name}"] == "None", name
        assert found[f"broadcast {name}"] == "1", name
    for name, kind in (("None", "NoneType"), ("int", "int"), ("list", "list")):
        for call in ("send", "publish", "broadcast"):
            assert found[f"{call} {name}"] == f"TypeError: a message is str or bytes-like, not {kind}"
        assert found[f"ping {name}"] == f"TypeError: the payload of a ping is bytes-like, not {kind}"
    for call in ("send", "publish", "broadcast", "ping"):
        assert found[f"{call} released"] == "ValueError: operation forbidden on released memoryview object"
    for call in ("send", "publish", "broadcast"):
        assert found[f"{call} surrogate"] == UNDECODABLE
    assert found["ping Text"] == "TypeError: the payload of a ping is bytes-like, not Text"
    assert found["ping Buffer"] == found["ping every second"] == "None"
    assert found["broadcast to int"] == "TypeError: a broadcast goes to connections, not int"
    assert found["broadcast to None"] == "TypeError: a broadcast goes to connections, not NoneType"
    assert found["broadcast to a set"] == "1"
    for kind in ("str", "Text"):
        assert found[f"join {kind}"] == "Membership(recovered=None, position=None)"
        assert found[f"leave {kind}"] == found[f"publish to {kind}"] == "None"
        assert found[f"count {kind}"] == "1"
        assert found[f"subscribe {kind}"] == "None"
    for kind in ("Bytes", "NoneType", "int"):
        for name in ("join", "leave", "count", "publish to", "subscribe"):
            assert found[f"{name} {kind}"].startswith(f"TypeError: the name of a channel is a str, not {kind}"), name
        assert found[f"reason {kind}"] == f"TypeError: a close reason is str, not {kind}"
    assert found["recv"] == "None"
    assert found["code str"] == "TypeError: 'str' object cannot be interpreted as an integer"
    assert found["code float"] == "TypeError: 'float' object cannot be interpreted as an integer"
    assert found["code"] == "ValueError: 1 is not a close code that may be sent"


def test_a_body_is_read_by_numbers_of_any_kind(server: Server) -> None:
    with HttpClient(("127.0.0.1", server.port)) as client:
        response = client.request("POST", "/read", body=b"abcd\nefgh\nij\nk")
    assert json.loads(response.body) == [
        "b'ab'", "b'c'", "b'd\\n'", "b'e'",
        "TypeError: 'float' object cannot be interpreted as an integer",
        "TypeError: 'str' object cannot be interpreted as an integer",
        "TypeError: 'float' object cannot be interpreted as an integer",
        "TypeError: 'str' object cannot be interpreted as an integer",
        "[b'fgh\\n']", "b'i'", "b'j\\n'", "b'k'", "b''", "b''",
    ]  # fmt: skip


def answer(server: Server, path: str) -> tuple[int, bytes]:
    response = fetch(("127.0.0.1", server.port), path)
    return response.status, response.body


def test_a_response_is_what_subclasses_hold(server: Server) -> None:
    response = fetch(("127.0.0.1", server.port), "/one")
    assert (response.status, response.reason, response.body) == (201, "Created Anew", b"\0\xff")
    assert response.get("X-Name") == "grüße"
    assert response.get("X-List") == "yes"
    assert answer(server, "/several") == (200, b"\0\xffend")
    assert answer(server, "/whole") == (200, b"whole")
    assert answer(server, "/generated") == (200, b"generated")
    assert answer(server, "/subclassed") == (200, b"one")
    assert answer(server, "/none")[0] == 500
    refused = "TypeError: a response body is bytes, not {};"
    kinds = ("Text", "bytearray", "memoryview", "NoneType")
    assert answer(server, "/written") == (200, b"wr" + "".join(map(refused.format, kinds)).encode())


def test_bad_statuses_and_headers_are_refused_in_the_same_words(server: Server) -> None:
    assert json.loads(answer(server, "/heads")[1]) == [
        "TypeError: a status is str, not bytes",
        "TypeError: a status is str, not Bytes",
        "TypeError: a status is str, not NoneType",
        "TypeError: a status is str, not Number",
        "TypeError: response headers are a list, not tuple",
        "TypeError: response headers are a list, not NoneType",
        "TypeError: response headers are a list, not dict",
        "TypeError: a response header is a pair of str, not ('only',)",
        "TypeError: a response header is a pair of str, not ('a', 'b', 'c')",
        "TypeError: a response header is a pair of str, not 5",
        "TypeError: a response header is a pair of str, not 'ab'",
        "TypeError: a response header is a pair of str, not 'a': b'b'",
        "TypeError: a response header is a pair of str, not b'a': 'b'",
        "TypeError: a response header is a pair of str, not 'a': 5",
        "TypeError: a response header is a pair of str, not 'a': None",
        "ValueError: control or non-latin-1 characters in the response header 'a'",
        "ValueError: not a status line: '200 OK\\r\\nX: y'",
        "ValueError: control or non-latin-1 characters in the response header 'a'",
        "ValueError: not a header name: 'a b'",
        "ValueError: not the status of a final response: '100'",
        "ValueError: not a length: Content-Length 'x'",
    ]


def test_both_builds_say_the_same(servers: dict[str, Server]) -> None:
    for kind in KINDS:
        for path in ("/uwsgi_names", "/own_names"):
            assert talk(servers[f"compiled {kind}"], path)[1] == talk(servers[f"pure {kind}"], path)[1]
