"""``--debug``: the traceback of an exception as the answer, for a browser of this machine and nobody else.

Source lines are shown, values of variables are not: they hold passwords and other people's data. A browser of this
machine is one whose connection comes from a loopback address, that calls the server by a loopback name (a page of
elsewhere whose name was made to lead here, DNS rebinding, does not), and for which no proxy says that it speaks. That
is judged before the application runs, which may change the environ.
"""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from html import escape
from ipaddress import ip_address
from typing import Any

from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.request.steps import Handler

__all__ = ["ErrorPages", "is_loopback", "is_of_this_machine"]

#: Lines of source around that of a frame; frames, of which the middle ones are left out; characters of a message.
_AROUND, _MOST_FRAMES, _MOST_TEXT = 4, 60, 4_000

#: What proxies send besides. nginx sends nothing by itself, but speaks HTTP/1.0.
_OF_PROXIES = re.compile(r"HTTP_(?:X_FORWARDED.*|FORWARDED|VIA|X_REAL_IP|X_CLIENT_IP|TRUE_CLIENT_IP|CF_CONNECTING_IP)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]+)?")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --mark: #f5c54233; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere; } h1 small { font-weight: normal; white-space: pre-wrap; }
h2 { font-size: 1rem; margin: 1.5rem 0 .3rem; } p { margin: .4rem 0; color: GrayText; overflow-wrap: anywhere; }
pre { margin: .2rem 0 1rem; border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; padding: .4rem 0; }
pre span { display: block; padding: 0 .8rem; min-height: 1.4em; font: 13px/1.4 ui-monospace, monospace; }
pre .at { background: var(--mark); font-weight: 600; }
pre i { display: inline-block; min-width: 3.5em; opacity: .5; font-style: normal; user-select: none; }
"""
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
]


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, by its address or by its name."""
    host = host.lower().strip("[]").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 6.3: browsers ask nobody for these
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or bool(address.version == 6 and address.ipv4_mapped and address.ipv4_mapped.is_loopback)


def is_of_this_machine(request: Request) -> bool:
    """Say whether a browser of this machine asks, as far as can be known."""
    variables = request.environ
    host = _HOST.fullmatch(variables.get("HTTP_HOST", ""))
    return (
        request.carrier != "uwsgi"  # a front server speaks it, and says what it likes about its client
        and variables.get("SERVER_PROTOCOL") != "HTTP/1.0"
        and _is_address_of_this_machine(variables.get("REMOTE_ADDR", ""))
        and host is not None
        and is_loopback(host[1])
        and not any(_OF_PROXIES.fullmatch(name) for name in variables)
    )


def _is_address_of_this_machine(address: str) -> bool:
    return bool(address) and address[-1].isalnum() and not address[0].isalpha() and is_loopback(address)


class ErrorPages:
    """Remembers which requests may be shown an error, and makes the pages."""

    def __init__(self) -> None:
        # By their environs: a thread, or a route, has another object for the request.
        self._shown: dict[int, str] = {}

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Take note of who asks; a step."""
        variables = request.environ
        if not is_of_this_machine(request):
            otherwise(request)
            return
        self._shown[id(variables)] = f"{variables['REQUEST_METHOD']} {variables.get('REQUEST_URI', '')}"
        try:
            otherwise(request)
        finally:
            self._shown.pop(id(variables), None)

    def page(self, request: Request) -> tuple[Headers, bytes] | None:
        """Return headers and body for the exception that is being handled; None when the client may not see it."""
        asked = self._shown.get(id(request.environ))
        error = sys.exc_info()[1]
        if asked is None or error is None:
            return None
        try:
            is_html = "text/html" in request.environ.get("HTTP_ACCEPT", "")
            body = _html(error, asked) if is_html else _text(error, asked)
            kind = "text/html" if is_html else "text/plain"
            return [("Content-Type", f"{kind}; charset=utf-8"), *_HEADERS], body.encode("utf-8", "backslashreplace")
        except Exception:  # whatever an exception's own methods do
            return None


def _described(error: BaseException) -> traceback.TracebackException:
    """Return what is known of an exception, without values, and without the frames that lead to the application."""
    first = error.__traceback__
    while first is not None and str(first.tb_frame.f_globals.get("__name__")).partition(".")[0] == "uwsgi_ws":
        first = first.tb_next
    return traceback.TracebackException(type(error), error, first or error.__traceback__, lookup_lines=False)


def _text(error: BaseException, asked: str) -> str:
    return f"{asked}\n\n{''.join(_described(error).format())}"


def _html(error: BaseException, asked: str) -> str:
    described = _described(error)
    title = escape(_last_line(described))
    parts = "".join(_sections(described, set()))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><body>{parts}"
        f"<p>{escape(asked)}</p><p>Shown to browsers of this machine by --debug; the log has it, too.</p>\n"
    )


def _last_line(described: traceback.TracebackException) -> str:
    return "".join(described.format_exception_only()).strip().rpartition("\n")[2][:_MOST_TEXT]


def _sections(described: traceback.TracebackException, seen: set[int]) -> Iterator[str]:
    """Yield the exception, and below it what it came from."""
    seen.add(id(described))
    message = "".join(described.format_exception_only()).strip()[:_MOST_TEXT]
    name, _, rest = message.partition(":")
    yield f"<h1>{escape(name)}<small>{':' + escape(rest) if rest else ''}</small></h1>"
    frames: list[Any] = list(described.stack)
    left_out = len(frames) - _MOST_FRAMES
    for number, frame in enumerate(frames):
        if left_out > 0 and _MOST_FRAMES // 2 <= number < _MOST_FRAMES // 2 + left_out:
            if number == _MOST_FRAMES // 2:
                yield f"<p>{left_out} frames are left out</p>"
            continue
        yield f"<h2>{escape(frame.name)}</h2><p>{escape(frame.filename)}, line {frame.lineno}</p>"
        yield f"<pre>{''.join(_lines(frame.filename, frame.lineno or 0))}</pre>"
    cause = described.__cause__
    before = cause or (None if described.__suppress_context__ else described.__context__)
    if before is not None and id(before) not in seen:
        yield f"<p>{'Its cause was:' if cause else 'It came while this was being handled:'}</p>"
        yield from _sections(before, seen)


def _lines(file: str, at: int) -> Iterator[str]:
    source = linecache.getlines(file)
    for number in range(max(1, at - _AROUND), min(len(source), at + _AROUND) + 1):
        mark = ' class="at"' if number == at else ""
        yield f"<span{mark}><i>{number}</i>{escape(source[number - 1].rstrip())}</span>"
