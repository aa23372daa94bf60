"""Opening handshakes: any header fields, judged strictly and not, and held to the websockets library's judgement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from fuzz.builds import Build, raised

MEASURED = ("protocol/websocket/handshake", "protocol/http/forwarded", "protocol/http/redirect")
VECTORS = None
GOOD = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13"
)
SEEDS = [
    GOOD + b"\r\nSec-WebSocket-Protocol: a, b\r\nOrigin: http://x\0",
    GOOD.replace(b"Upgrade\r", b"keep-alive, upgrade\r") + b"\r\nOrigin: https://Example.org:443\1",
    GOOD.replace(b"13", b"8") + b"\0",
    GOOD.replace(b"dGhl", b"dGh\xff") + b"\2",
    GOOD.replace(b"Upgrade\r", b"close\r") + b"\2",
    GOOD.replace(b"websocket", b"h2c, WebSocket") + b"\r\nSec-WebSocket-Protocol: a b, @\3",
    b"Connection: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\2",
    b"X-Forwarded-For: 10.1.1.1, [2001:db8::1]:80, 10.0.0.2\r\nX-Forwarded-Host: a, b.test\r\nX-Forwarded-Port: 8443\4",
    b"X-Forwarded-For: unknown, 10.0.0.9:1234\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\5",
    b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\6",
]
LENIENT = ((), ("handshake",), ("subprotocol",), ("handshake", "subprotocol"))
PEERS = ("10.0.0.1", "", "192.0.2.1", "nonsense", "::ffff:10.0.0.3", "fe80::1%eth0")


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    ends = [End(build) for build in builds]

    def check(data: bytes) -> None:
        settings, fields = data[-1] if data else 0, data[:-1]
        first, *others = [end.outcome(fields, settings) for end in ends]
        for other in others:
            assert other == first
        variables, strict = first[:2]
        if variables is not None:
            compare_with_websockets(variables, strict)

    return check


class End:
    """The server's end, of one build."""

    def __init__(self, build: Build) -> None:
        module = build.module
        self.http1, self.handshake = module("protocol.http.http1"), module("protocol.websocket.handshake")
        self.redirect, self.errors = module("protocol.http.redirect"), module("errors")
        self.proxies = module("protocol.http.forwarded").Proxies((ip_network("10.0.0.0/8"), ip_network("fe80::/10")))
        self.limits = self.http1.Limits(65_536, 8_192, None, "drop")

    def outcome(self, fields: bytes, settings: int) -> tuple[Any, ...]:
        method = b"POST" if settings & 128 else b"GET"
        version = b"HTTP/1.0" if settings & 64 else b"HTTP/1.1"
        parser = self.http1.RequestParser(self.limits)
        parser.receive(b"%b http://x/a?b=\xe9 %b\r\nHost: x\r\n%b\r\n\r\n" % (method, version, fields))
        try:
            head = parser.next_head()
        except self.errors.RequestError as exc:
            return None, raised(exc)
        if head is None:
            return None, None
        variables = head.variables
        strict = self.judged(variables, ())
        lenient = self.judged(variables, LENIENT[settings & 3])
        assert strict != () or lenient == (), "it is refused only where one is lenient"
        call = self.handshake
        key = variables.get("HTTP_SEC_WEBSOCKET_KEY", "")
        chosen = call.choose_subprotocol(variables, ("b", "a", "superchat"))
        assert chosen is None or chosen in call.offered_subprotocols(variables)
        origins = [
            call.is_origin_allowed(variables, scheme, allowed)
            for scheme in ("http", "https")
            for allowed in (("same",), ("https://example.org", "null"), ())
        ]
        variables["REMOTE_ADDR"] = PEERS[settings >> 3 & 7 if (settings >> 3 & 7) < len(PEERS) else 0]
        before = dict(variables)
        is_believed = self.proxies.settle(variables)
        if not is_believed:
            assert not {f"HTTP_X_FORWARDED_{name}" for name in ("FOR", "HOST", "PORT", "PROTO", "SSL")} & set(variables)
        url = self.redirect.https_url(variables, "8443" if settings & 4 else "")
        assert url is None or (url.isascii() and url.isprintable() and " " not in url)
        return before, strict, lenient, call.accept_value(key), chosen, origins, is_believed, variables, url

    def judged(self, variables: dict[str, str], lenient: tuple[str, ...]) -> Any:
        try:
            return self.handshake.check_request(variables, lenient)
        except self.errors.HandshakeError as exc:
            assert exc.status in (400, 405, 426)
            return (exc.status, exc.headers, *raised(exc))


def compare_with_websockets(variables: dict[str, str], strict: Any) -> None:
    """What we take another library takes as well, and gives the same key back."""
    if strict != ():
        return
    names = {"HTTP_UPGRADE": "Upgrade", "HTTP_SEC_WEBSOCKET_KEY": "Sec-WebSocket-Key",
             "HTTP_SEC_WEBSOCKET_VERSION": "Sec-WebSocket-Version"}  # fmt: skip
    # It refuses a member that is no token, beside the one that counts.
    fields = Headers([*((name, variables[key]) for key, name in names.items()), ("Connection", "Upgrade")])
    response = ServerProtocol().accept(Request("/", fields))
    if "," in variables["HTTP_UPGRADE"] or response.status_code == 101:
        return  # it takes "websocket" alone
    raise AssertionError(f"it answers {response.status_code}: {response.body!r}")
