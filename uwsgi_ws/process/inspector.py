"""``--inspector``: a page that shows what an instance does at this moment, and can end one of its WebSockets.

The master serves it: the page by HTTP, and all that is in it over a WebSocket of our own engine. The page sends
requests (see ``operations``), each with a number ``n``, and gets pieces with that number; once a second it gets a
*pulse*, which tells of the workers from shared memory. So workers answer only what a page asks, and a page that takes
nothing misses pulses and events, and slows nobody.

Who may: the page itself holds no secret, and anybody who connects gets it. Its WebSocket opens only for a page of the
same origin (a foreign one is cross-site WebSocket hijacking), at a host that is an address or ``localhost`` (a name may
be one that an attacker has led to this machine: DNS rebinding), and then says nothing before it has heard the token.
The token is in the fragment of the URL, which browsers send to no server, neither in a request nor as a Referer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import select
import socket
from collections.abc import Callable
from importlib.resources import files
from ipaddress import ip_address
from time import monotonic
from typing import Any

from uwsgi_ws.errors import RequestError
from uwsgi_ws.log import say
from uwsgi_ws.options import Options
from uwsgi_ws.process.common import Common
from uwsgi_ws.process.control import read_token
from uwsgi_ws.process.operations import Operations, parse_request
from uwsgi_ws.process.responder import Client, Responder, http_response
from uwsgi_ws.process.vitals import Vitals
from uwsgi_ws.protocol.http.http1 import Limits, RequestParser
from uwsgi_ws.protocol.websocket.engine import State, WebSocket
from uwsgi_ws.protocol.websocket.frames import TEXT, CloseCode
from uwsgi_ws.protocol.websocket.handshake import accept_value, check_request, is_origin_allowed

__all__ = ["Inspector"]

#: Where the page's WebSocket is.
_LIVE = "/live"
#: Pages that are shown at once, requests that one may have open, and bytes of such a request.
_MOST_PAGES, _MOST_OPEN, _MOST_ASKED = 16, 16, 16_384
#: Bytes that may wait for a page: beyond the first it gets no pulse and no event, beyond the second no answer either.
_SLOW, _TOO_SLOW = 262_144, 8_388_608
#: Seconds for the token, for workers' answers, and for a page to take some of what waits for it.
_TOKEN_TIMEOUT, _TIMEOUT, _PATIENCE = 5.0, 2.5, 20.0
#: Seconds between two pulses.
_PULSE = 1.0
#: What pages may ask for: they look, and close. To stop or reload an instance there are other ways.
_ALLOWED = ("list", "channels", "close", "watch")
#: Close codes: those that the page knows what to say about.
_WRONG_TOKEN, _TOO_MANY = 4001, 4002
_TRY_AGAIN, _MISUSE = CloseCode.TRY_AGAIN_LATER, CloseCode.POLICY_VIOLATION

_HEADERS = (
    "Cache-Control: no-store",
    "Referrer-Policy: no-referrer",
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: DENY",
    "Cross-Origin-Opener-Policy: same-origin",
    "Cross-Origin-Resource-Policy: same-origin",
)


class _Answer:
    """The answer to one request of a page's."""

    def __init__(self, page: _Page, number: int) -> None:
        self._page = page
        self._number = number

    @property
    def is_gone(self) -> bool:
        """See Reply."""
        return self._page.client.is_gone or self._page.open.get(self._number) is not self

    def add(self, piece: dict[str, Any]) -> None:
        """See Reply."""
        page = self._page
        if piece.get("is_last"):
            page.open.pop(self._number, None)
        elif "events" in piece and page.is_slow:
            page.lost[self._number] = page.lost.get(self._number, 0) + len(piece["events"]) + piece.get("left_out", 0)
            return
        if self._number in page.lost and "events" in piece:
            piece["left_out"] = piece.get("left_out", 0) + page.lost.pop(self._number)
        page.tell({"n": self._number, **piece})


class _Page:
    """A page that is connected.

    Attributes:
        client: Its socket, and what waits for it.
        open: Its requests that have no whole answer yet, by number.
        lost: Events that it has not got since the last one, by the number of its request.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.engine = WebSocket(_MOST_ASKED)
        self.has_token = False
        self.open: dict[int, _Answer] = {}
        self.lost: dict[int, int] = {}
        self.token_by = monotonic() + _TOKEN_TIMEOUT
        self.took_at = monotonic()

    @property
    def is_slow(self) -> bool:
        """Whether it has much to take."""
        return len(self.client.rest or b"") > _SLOW

    def tell(self, what: dict[str, Any]) -> None:
        """Send it something."""
        if self.engine.state is not State.OPEN or self.client.is_gone:
            return
        if len(self.client.rest or b"") > _TOO_SLOW:
            self.end(_TRY_AGAIN, "too slow")
            return
        payload = json.dumps(what, separators=(",", ":")).encode()
        self.client.say(self.engine.encode(TEXT, payload))

    def end(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        self.engine.close(code, reason)
        self.token_by = monotonic() + _TOKEN_TIMEOUT  # for its close frame
        self.open.clear()
        self.flush_engine()

    def flush_engine(self) -> None:
        """Have the engine's control frames sent."""
        for frame in self.engine.take_output():
            self.client.say(frame)


class Inspector(Responder):
    """The addresses of ``--inspector``, and the pages there.

    Args:
        options: They name the addresses, and the token's file.
        common: What workers tell.
        operations: What pages ask for.
        about: Returns what is said of the instance as a whole.

    Raises:
        OptionError: An address cannot be bound, or the token be read.
    """

    def __init__(
        self, options: Options, common: Common, operations: Operations, about: Callable[[], dict[str, Any]]
    ) -> None:
        addresses = options.inspector
        self._token = read_token(options, "inspector-token", options.inspector_token)
        is_own_token = not self._token
        if is_own_token:
            self._token = secrets.token_urlsafe(24).encode()
        super().__init__(options, "inspector", addresses, is_asked=True, is_private=True)
        self._is_reached_by_others = not all(address.is_of_this_machine for address in addresses)
        for address, sock in zip(addresses, self._listeners, strict=True):
            if not address.is_of_this_machine:
                say(f"*** inspector: other machines reach {address}, unencrypted: only the token protects it ***")
            host = f"[{address.host}]" if ":" in address.host else address.host
            place = f"{host}:{sock.getsockname()[1]}" if address.family == "tcp" else "localhost"
            where = "" if address.family == "tcp" else f" at {address}"
            say(f"inspector: http://{place}/#token={self._token.decode() if is_own_token else '...'}{where}")
        self._html, self._policy = _load_page()
        self._operations = operations
        self._about = about
        self._vitals = Vitals(common)
        self._pages: dict[Client, _Page] = {}
        self._pulse: dict[str, Any] = {}
        self._pulse_at = 0.0

    def register(self, poll: select.poll) -> None:
        """See Responder."""
        super().register(poll)
        for client in self._pages:
            poll.register(client.sock, select.POLLIN | (select.POLLOUT if client.rest else 0))

    def serve(self) -> None:
        """See Responder."""
        if monotonic() >= self._pulse_at:
            self._pulse_at = monotonic() + _PULSE
            # Without a page, too: the next one shows the last minutes.
            workers = self._vitals.sample(self._operations.targets())
            self._pulse = {"pulse": self._about(), "workers": workers, "sample": self._vitals.samples[-1]}
            for page in self._pages.values():
                if page.has_token and not page.is_slow:
                    page.tell(self._pulse)
        super().serve()
        for client in [client for client in self._pages if client.is_gone]:
            del self._pages[client]

    # HTTP

    def _respond(self, client: Client) -> None:
        """See Responder."""
        head = client.asked
        try:
            variables = _variables(head)
            if not self._is_host_good(variables.get("HTTP_HOST", "")):
                raise RequestError(421, "this is reached by an IP address or as localhost only")
            if variables["PATH_INFO"] == _LIVE:
                self._open(client, variables)
            elif variables["PATH_INFO"] != "/":
                raise RequestError(404, f"there are / and {_LIVE}")
            elif variables["REQUEST_METHOD"] not in ("GET", "HEAD"):
                raise RequestError(405, "only GET and HEAD")
            else:
                host = variables["HTTP_HOST"]
                policy = f"{self._policy}; connect-src 'self' ws://{host}"
                headers = (*_HEADERS, f"Content-Security-Policy: {policy}")
                client.say(http_response(head, 200, "text/html; charset=utf-8", self._html, *headers))
        except RequestError as error:
            more = [f"{name}: {value}" for name, value in error.headers]
            text = f"{error.reason}\n".encode()
            client.say(http_response(head, error.status, "text/plain; charset=utf-8", text, *_HEADERS, *more))

    def _is_host_good(self, field: str) -> bool:
        """Return whether a Host field names this machine in a way that nobody else has a say in."""
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?", field)
        if found is None:
            return False
        host = found[1] or found[2]
        if host.lower() == "localhost":
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or self._is_reached_by_others

    def _open(self, client: Client, variables: dict[str, str]) -> None:
        """Answer an opening handshake.

        Raises:
            RequestError: It is refused.
        """
        check_request(variables)
        if "HTTP_ORIGIN" not in variables or not is_origin_allowed(variables, "http", ("same",)):
            raise RequestError(403, "only the page of this address may open this")
        lines = (
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_value(variables['HTTP_SEC_WEBSOCKET_KEY'])}",
        )
        client.say("\r\n".join(lines).encode() + b"\r\n\r\n")
        client.is_waiting = True  # for good: it asks by the engine now
        page = self._pages[client] = _Page(client)
        if len(self._pages) > _MOST_PAGES:
            page.end(_TOO_MANY, f"{_MOST_PAGES} pages are open already")
        else:
            self._receive(page, client.asked.partition(b"\r\n\r\n")[2])

    # The WebSocket

    def _send(self, client: Client) -> bool:
        """See Responder."""
        page = self._pages.get(client)
        return super()._send(client) if page is None else self._talk(page)

    def _talk(self, page: _Page) -> bool:
        """Take what a page sends, and send what waits; return whether it is still there."""
        client, now = page.client, monotonic()
        try:
            data = client.sock.recv(65_536)
            if not data:
                return False
            self._receive(page, data)
        except BlockingIOError:
            pass
        if client.rest:
            try:
                sent = client.sock.send(client.rest)
                client.rest = client.rest[sent:]
                page.took_at = now
            except BlockingIOError:
                pass
        else:
            page.took_at = now
        if page.engine.finished and not client.rest:
            client.sock.shutdown(socket.SHUT_WR)
            return False
        if now > page.token_by and (not page.has_token or page.engine.state is not State.OPEN):
            return False
        return now < page.took_at + _PATIENCE

    def _receive(self, page: _Page, data: bytes) -> None:
        if data:
            page.engine.receive(data)
        while page.engine.messages:
            opcode, payload, *_ = page.engine.messages.popleft()
            try:
                request = parse_request(payload if opcode == TEXT else b"")
            except ValueError:
                page.end(_MISUSE, "a request is an object")
                continue
            if page.has_token:
                self._do(page, request)
            elif hmac.compare_digest(str(request.get("token", "")).encode("utf-8", "replace"), self._token):
                page.has_token = True
                page.tell({"samples": list(self._vitals.samples)})
                page.tell(self._pulse)
            else:
                page.end(_WRONG_TOKEN, "wrong token")
        if page.engine.ending is not None:
            page.engine.settle()
        page.flush_engine()

    def _do(self, page: _Page, request: dict[str, Any]) -> None:
        number, what = request.get("n"), request.get("do")
        if not isinstance(number, int):
            page.end(_MISUSE, "a request has a number")
            return
        if what == "cancel":
            page.open.pop(number, None)
            page.lost.pop(number, None)
            return
        answer = _Answer(page, number)
        try:
            if what not in _ALLOWED:
                raise ValueError(f"{what!r} is none of {', '.join(_ALLOWED)}")
            if number in page.open or len(page.open) >= _MOST_OPEN:
                raise ValueError("too much is asked at once")
            page.open[number] = answer
            self._operations.begin(request, answer, _TIMEOUT)
        except (KeyError, TypeError, ValueError) as exc:
            answer.add({"error": f"no {exc}" if isinstance(exc, KeyError) else str(exc), "is_last": True})


def _variables(head: bytes) -> dict[str, str]:
    """Return a request's CGI variables.

    Raises:
        RequestError: It is malformed.
    """
    parser = RequestParser(Limits(head_size=16_384, target_size=2_048, body_size=0, underscores="drop"))
    parser.receive(head)
    parsed = parser.next_head()
    if parsed is None:
        raise RequestError(400, "the request's head is not whole")
    return parsed.variables


def _load_page() -> tuple[bytes, str]:
    """Return the page, and the policy by which a browser runs what is in it and nothing else."""
    html = files("uwsgi_ws.process").joinpath("inspector.html").read_text(encoding="utf-8")
    hashes = {}
    for element in ("script", "style"):
        text = html.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        hashes[element] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.encode(), policy
