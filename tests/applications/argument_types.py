"""Calls everything with subclasses of str, bytes and int, which answer falsely when their own methods are asked."""

import array
import enum
import json

import uwsgi

import uwsgi_ws


def lies(*args, **kwargs):
    raise AssertionError("an application's method was asked")


class Text(str):
    encode = __str__ = __format__ = __len__ = __getitem__ = __eq__ = __iter__ = __add__ = isascii = lower = lies

    def __hash__(self):
        return 1


class Bytes(bytes):
    decode = __bytes__ = __len__ = __getitem__ = __eq__ = __iter__ = __add__ = __buffer__ = isascii = lies
    __hash__ = None


class Buffer(bytearray):
    __bytes__ = __len__ = __getitem__ = __iter__ = lies


class Number(int):
    __str__ = __repr__ = __format__ = lies


class Code(enum.IntEnum):
    MINE = 4001


class Table(dict):
    pass


class Lines(list):
    pass


class Generated(list):
    def __iter__(self):
        return iter([b"gene", b"rated"])


def released():
    view = memoryview(b"gone")
    view.release()
    return view


def outcome(function, *args, **kwargs):
    try:
        return repr(function(*args, **kwargs))
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"


text, data = Text("grüße"), Bytes(b"\x00\xff")
messages = {
    "str": "plain",
    "bytes": b"plain",
    "Text": text,
    "Bytes": data,
    "Buffer": Buffer(b"buffer"),
    "bytearray": bytearray(b"array"),
    "memoryview": memoryview(b"view"),
    "every second": memoryview(b"s_e_c_o_n_d")[::2],
    "numbers": memoryview(array.array("H", [0x4141, 0x4242])),
    "array": array.array("B", [67]),
    "square": memoryview(b"abcd").cast("B", (2, 2)),
    "released": released(),
    "surrogate": "\ud800",
    "None": None,
    "int": 5,
    "list": [1],
}
LONG = Bytes(b"x" * 70_000)


def application(environ, start_response):
    return globals()[environ["PATH_INFO"][1:]](Table(environ), start_response)


def uwsgi_names(environ, start_response):
    uwsgi.websocket_handshake(Text(environ["HTTP_SEC_WEBSOCKET_KEY"]), Bytes(b"http://origin"), Text("chat"))
    context = uwsgi.request_context()
    found = {}
    for name, message in messages.items():
        found["send " + name] = outcome(uwsgi.websocket_send, message)
        found["send_binary " + name] = outcome(uwsgi.websocket_send_binary, message, context)
        found["channel_send " + name] = outcome(uwsgi.channel_send, Text("nobody"), message)
    found["long"] = outcome(uwsgi.websocket_send_binary, LONG)
    found["context"] = outcome(uwsgi.websocket_send, "x", 5)
    for name in ("name", Text("name"), Bytes(b"name"), None, 5):
        kind = type(name).__name__
        found["join " + kind] = outcome(uwsgi.websocket_channel_join, name)
        found["plain join " + kind] = outcome(uwsgi.channel_join, name)
        found["plain recv " + kind] = outcome(uwsgi.channel_recv, name, Number(0))
        found["plain leave " + kind] = outcome(uwsgi.channel_leave, name)
        found["leave " + kind] = outcome(uwsgi.websocket_channel_leave, name)
        found["count " + kind] = outcome(uwsgi_ws.count, name)
        found["set_logvar " + kind] = outcome(uwsgi.set_logvar, name, Text("value"))
        found["get_logvar " + kind] = outcome(uwsgi.get_logvar, name)
        found["add_var " + kind] = outcome(uwsgi.add_var, name, Bytes(b"value"))
        found["log " + kind] = outcome(uwsgi.log, name)
        found["setprocname " + kind] = outcome(uwsgi.setprocname, name)
    found["var"] = outcome(lambda: type(environ.get("name")))
    for number in (Number(0), True, None, "0", Number(7)):
        kind = f"{type(number).__name__} {int(number or 0)}"
        found["lock " + kind] = outcome(uwsgi.lock, number)
        found["is_locked " + kind] = outcome(uwsgi.is_locked, number)
        found["unlock " + kind] = outcome(uwsgi.unlock, number)
    found["is_connected"] = outcome(uwsgi.is_connected, Number(-1))
    found["async_sleep"] = outcome(uwsgi.async_sleep, Number(0))
    found["chunked_read"] = outcome(uwsgi.chunked_read, Number(1))
    found["wait_fd_read"] = outcome(uwsgi.wait_fd_read, 1, Number(1))
    uwsgi.websocket_send(json.dumps(found))
    return b""


def own_names(environ, start_response):
    ws = uwsgi_ws.accept(environ, subprotocols=[Text("other"), Text("chat")], headers=[(Text("X-Kind"), Text("own"))])
    found = {"subprotocol": repr((type(ws.subprotocol), ws.subprotocol))}
    for name, message in messages.items():
        found["send " + name] = outcome(ws.send, message)
        found["broadcast " + name] = outcome(uwsgi_ws.broadcast, Lines([ws]), message)
        found["publish " + name] = outcome(uwsgi_ws.publish, Text("nobody"), message)
        found["ping " + name] = outcome(ws.ping, message) if name != "str" else ""
    found["send long"] = outcome(ws.send, LONG)
    found["broadcast to int"] = outcome(uwsgi_ws.broadcast, [ws, 5], "never")
    found["broadcast to None"] = outcome(uwsgi_ws.broadcast, [ws, None], "never")
    found["broadcast to a set"] = outcome(uwsgi_ws.broadcast, {ws}, Text("set"), slow="drop")
    for name in ("name", Text("name"), Bytes(b"name"), None, 5):
        kind = type(name).__name__
        found["join " + kind] = outcome(ws.join, name)
        found["count " + kind] = outcome(uwsgi_ws.count, name)
        found["publish to " + kind] = outcome(uwsgi_ws.publish, name, "published")
        found["leave " + kind] = outcome(ws.leave, name)
        found["subscribe " + kind] = outcome(lambda name=name: uwsgi_ws.subscribe(name).close())
        found["reason " + kind] = outcome(ws.close, 4000, name) if not isinstance(name, str) else ""
    found["recv"] = outcome(ws.recv, Number(0))
    found["code str"] = outcome(ws.close, "1000")
    found["code float"] = outcome(ws.close, 1000.0)
    found["code"] = outcome(ws.close, Number(1))
    ws.send(json.dumps(found))
    ws.close(Code.MINE, Text("so long"))
    return []


def read(environ, start_response):
    body = environ["wsgi.input"]
    found = [
        outcome(body.read, Number(2)),
        outcome(body.readline, Number(1)),
        outcome(body.readline),
        outcome(body.read, True),
        outcome(body.read, 3.0),
        outcome(body.read, "3"),
        outcome(body.readline, 1.5),
        outcome(body.readlines, "1"),
        outcome(body.readlines, Number(1)),
        outcome(body.read, 1),
        outcome(body.readline, 2**80),
        outcome(body.read, 2**80),
        outcome(body.read, -(2**80)),
        outcome(body.read, None),
    ]
    start_response("200 OK", [])
    return [json.dumps(found).encode()]


def one(environ, start_response):
    headers = [(Text("X-Name"), Text("grüße")), [Text("X-List"), "yes"], ("Content-Length", Text("2"))]
    start_response(Text("201 Created Anew"), Lines(headers))
    return [data]


def several(environ, start_response):
    start_response(Text("200"), [])
    return iter([data, Text("not sent"), Bytes(b""), bytearray(b"not sent"), None, Bytes(b"end")])


def written(environ, start_response):
    write = start_response("200 OK", [])
    for kind in (b"w", Bytes(b"r"), Text("x"), bytearray(b"x"), memoryview(b"x"), None):
        found = outcome(write, kind)
        if found != "None":
            write(found.encode() + b";")
    return Lines()


def whole(environ, start_response):
    start_response("200 OK", [])
    return Bytes(b"whole")


def generated(environ, start_response):
    start_response("200 OK", [])
    return Generated([b"other"])


def subclassed(environ, start_response):
    start_response("200 OK", [])
    return Lines([Bytes(b"one")])


def none(environ, start_response):
    start_response("200 OK", [])
    return None


def heads(environ, start_response):
    found = []
    for status, headers in (
        (b"200 OK", []),
        (Bytes(b"200 OK"), []),
        (None, []),
        (Number(200), []),
        ("200 OK", ()),
        ("200 OK", None),
        ("200 OK", {}),
        ("200 OK", [("only",)]),
        ("200 OK", [("a", "b", "c")]),
        ("200 OK", [5]),
        ("200 OK", ["ab"]),
        ("200 OK", [("a", b"b")]),
        ("200 OK", [(b"a", "b")]),
        ("200 OK", [("a", 5)]),
        ("200 OK", [("a", None)]),
        ("200 OK", [("a", "\ud800")]),
        (Text("200 OK\r\nX: y"), []),
        ("200 OK", [(Text("a"), Text("b\r\nc"))]),
        ("200 OK", [(Text("a b"), "")]),
        (Text("100"), []),
        ("200 OK", [("Content-Length", Text("x"))]),
    ):
        found.append(outcome(start_response, status, headers))
    start_response("200 OK", [])
    return [json.dumps(found).encode()]
