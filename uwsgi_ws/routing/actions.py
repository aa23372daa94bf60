"""The actions of rules: uWSGI's names, each compiled from its argument at start-up.

An action is called with a request and returns how the chain goes on: `NEXT`, `CONTINUE`, `BREAK`, or the position of
the rule to go to.

The module is long because there are many actions: a function for each, and the table of their names at the end.

Source: uWSGI's core/routing.c and its router_* plugins.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from uwsgi_ws.addresses import Address, parse_address
from uwsgi_ws.errors import RequestError
from uwsgi_ws.log import escape
from uwsgi_ws.protocol.http.grammar import HOST, REASON, TOKEN, check_head
from uwsgi_ws.protocol.http.hop_by_hop import HOP_BY_HOP
from uwsgi_ws.request.answers import respond, respond_as_uwsgi, status_line
from uwsgi_ws.request.base import Headers
from uwsgi_ws.request.static import Directory, File, send_file
from uwsgi_ws.routing.auth import credentials, known_users
from uwsgi_ws.routing.backend import Forwarder, http_head, uwsgi_head
from uwsgi_ws.routing.conditions import is_in, network_of
from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.routing.templates import Template, wire_text

__all__ = ["BREAK", "CONTINUE", "HARAKIRI", "NEXT", "Action", "Site", "compile_action"]

_log = logging.getLogger("uwsgi_ws.routing")

NEXT: Final = -1  #: On to the next rule.
CONTINUE: Final = -2  #: No further rules: on to the application.
BREAK: Final = -3  #: The request has been answered.

#: The variable that holds a request's own time limit, in seconds; 0 for none.
HARAKIRI: Final = "uwsgi_ws.harakiri"

Action = Callable[[RoutedRequest], int]


@dataclass(frozen=True, slots=True)
class Site:
    """Where an action's rule stands, and what the action may use.

    Args:
        position: The rule's, in its chain.
        labels: Positions by name.
        forwarder: For actions that pass requests on.
    """

    position: int
    labels: Mapping[str, int]
    forwarder: Forwarder


def compile_action(text: str, site: Site) -> Action:
    """Return the action that ``NAME:ARGUMENT`` asks for.

    Raises:
        ValueError: The action is unknown, or its argument cannot be used.
    """
    name, colon, argument = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not of the form ACTION:ARGUMENT; where there is no argument, give {text}:")
    factory = _ACTIONS.get(name)
    if factory is None:
        raise ValueError(f"{name!r} is an action that is not known here, only {', '.join(sorted(_ACTIONS))}")
    try:
        return factory(argument, site)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from exc


# How the chain goes on --------------------------------------------------------------------------------


def _continue(argument: str, site: Site) -> Action:
    return lambda request: CONTINUE


def _pass(argument: str, site: Site) -> Action:
    return lambda request: NEXT


def _goto(argument: str, site: Site) -> Action:
    template = Template(argument)
    if template.constant is not None:
        target = _position(template.constant, site)
        return lambda request: target

    def go(request: RoutedRequest) -> int:
        try:
            return _position(template.expand(request), site)
        except ValueError as exc:
            return _cannot(request, "goto", exc)

    return go


def _cannot(request: RoutedRequest, action: str, problem: ValueError) -> int:
    """Answer 500 and log one line: the action cannot use the value that it got from the request."""
    _log.error("%s: %s: %s", escape(request.environ.get("REQUEST_URI", "")), action, escape(str(problem)))
    return _answer(request, 500)


def _position(label: str, site: Site) -> int:
    position = site.labels.get(label)
    if position is None:
        if not re.fullmatch("[0-9]{1,9}", label):
            raise ValueError(f"there is no label {label!r} in this chain")
        position = int(label)
    if position <= site.position:
        raise ValueError(f"{label!r} is not ahead, and routes only go forward")
    return position


# Answers ----------------------------------------------------------------------------------------------


def _answer(request: RoutedRequest, status: int, headers: Headers = ()) -> int:
    respond_as_uwsgi(request, status, headers)
    return BREAK


def _break(argument: str, site: Site) -> Action:
    status = Template(argument)
    if status.constant is not None and status.constant:
        _check_status(status.constant)
    return partial(_end, status)


def _end(status: Template, request: RoutedRequest) -> int:
    text = status.expand(request)
    if request.is_head_written:  # by "send:"
        request.finish()
    elif text:
        try:
            text = _check_status(text)
        except ValueError as exc:
            return _cannot(request, "break", exc)
        respond(request, text, [("Content-Type", "text/plain")], b"")
    else:
        request.abandon()
    return BREAK


def _check_status(text: str) -> str:
    """Return a status with its reason phrase.

    Raises:
        ValueError: It is no final status.
    """
    if not re.fullmatch("[2-5][0-9]{2}" + REASON, text):
        raise ValueError(f"{text!r} does not begin with the three digits of a final status")
    return text if len(text) > 3 else status_line(int(text))


def _return(argument: str, site: Site) -> Action:
    try:
        status = HTTPStatus(int(argument) if re.fullmatch("[2-5][0-9]{2}", argument) else 0)
    except ValueError:
        raise ValueError(f"{argument!r} is not the number of a final status") from None
    return lambda request: _answer(request, status)


def _redirect(status: int) -> Callable[[str, Site], Action]:
    def compile_redirect(argument: str, site: Site) -> Action:
        location = Template(_needed(argument, "URL"))

        def redirect(request: RoutedRequest) -> int:
            # Characters that a URL cannot hold are encoded: a line break would split the response.
            url = quote(location.expand(request).encode("latin-1"), safe="!#$%&'()*+,-./:;=?@[]_~")
            return _answer(request, status, [("Location", url)])

        return redirect

    return compile_redirect


def _send(end: str) -> Callable[[str, Site], Action]:
    def compile_send(argument: str, site: Site) -> Action:
        data = os.fsencode(argument) + end.encode()

        def send(request: RoutedRequest) -> int:
            try:
                if not request.is_head_written:
                    # In the other chains, the status of the response; instead of a WebSocket's 101, an ordinary one.
                    code = request.status_to_send if request.status_to_send >= 200 else 200
                    request.write_head(_check_status(str(code)), [("Content-Type", "text/plain")], None)
                request.write_body(data)
            except OSError:
                request.abandon()
                return BREAK
            return NEXT

        return send

    return compile_send


def _static(otherwise: int) -> Callable[[str, Site], Action]:
    def compile_static(argument: str, site: Site) -> Action:
        path = Template(_needed(argument, "FILE"))
        find = _finder(path)

        def serve(request: RoutedRequest) -> int:
            file = find(path.expand(request))
            if file is None:
                return otherwise if otherwise == NEXT else _answer(request, 404)
            send_file(request, file)
            return BREAK

        return serve

    return compile_static


def _finder(path: Template) -> Callable[[str], File | None]:
    """Return a function that finds the file that a path names.

    A path without placeholders may lead anywhere. With placeholders, the file must lie in the directory that stands
    before the first one: ``/srv/$1`` and ``/srv$1`` stay in ``/srv``, and ``/srv/a-$1`` does too.
    """
    if path.constant is not None:
        return lambda name: Directory("/").find(os.path.abspath(name))
    start = path.literal_start
    parent = start[: start.rfind("/") + 1]
    if not parent:
        raise ValueError("the path does not begin with the directory that the file must be in")
    below = Directory(os.fsdecode(start.encode("latin-1")))
    beside = Directory(os.fsdecode(parent.encode("latin-1")))

    def find(name: str) -> File | None:
        rest = name[len(start) :]
        if rest.startswith("/") or start == parent:
            return below.find(rest)
        return None if ".." in rest.split("/") else beside.find(name[len(parent) :])

    return find


# Access control ---------------------------------------------------------------------------------------


def _access(argument: str, site: Site) -> Action:
    items = dict(item.partition("=")[::2] for item in argument.split(","))
    unknown = items.keys() - {"action", "addr", "daemon"}
    if unknown or items.get("action") not in ("allow", "deny") or not items.get("addr"):
        raise ValueError(f"{argument!r} is not of the form action=allow,addr=NETWORK or action=deny,addr=NETWORK")
    network = network_of(items["addr"])
    lets_in = items["action"] == "allow"

    def judge(request: RoutedRequest) -> int:
        return NEXT if is_in(request.environ.get("REMOTE_ADDR", ""), network) is lets_in else _answer(request, 403)

    return judge


def _basic_auth(otherwise: int) -> Callable[[str, Site], Action]:
    def compile_basic_auth(argument: str, site: Site) -> Action:
        realm, comma, users = argument.partition(",")
        if not realm or not comma or '"' in realm or not realm.isascii() or not realm.isprintable():
            raise ValueError(f"{argument!r} is not of the form REALM,USER:PASSWORD or REALM,FILE")
        is_known = known_users(users)
        challenge = [("WWW-Authenticate", f'Basic realm="{realm}"')]

        def judge(request: RoutedRequest) -> int:
            user, password = credentials(request.environ.get("HTTP_AUTHORIZATION", ""))
            if user and is_known(user, password):
                request.environ["REMOTE_USER"] = user.decode("latin-1")
                return NEXT
            return otherwise if otherwise == NEXT else _answer(request, 401, challenge)

        return judge

    return compile_basic_auth


# Changes to the request -------------------------------------------------------------------------------


def _add_variable(argument: str, site: Site) -> Action:
    name, value = _pair(argument)
    return partial(_set, name, value)


def _setter(name: str) -> Callable[[str, Site], Action]:
    return lambda argument, site: partial(_set, name, Template(argument))


def _set(name: str, value: Template, request: RoutedRequest) -> int:
    request.environ[name] = value.expand(request)
    return NEXT


def _checked_setter(name: str, fits: re.Pattern[str], what: str) -> Callable[[str, Site], Action]:
    """Return what compiles a setter of a variable whose value must be valid, as others rely on it."""

    def compile_setter(argument: str, site: Site) -> Action:
        template = Template(argument)
        if template.constant is not None and not fits.fullmatch(template.constant):
            raise ValueError(f"{argument!r} is no {what}")

        def put(request: RoutedRequest) -> int:
            value = template.expand(request)
            if not fits.fullmatch(value):
                raise RequestError(400, f"a route would set a {what} that is none")
            request.environ[name] = value
            return NEXT

        return put

    return compile_setter


def _set_path(argument: str, site: Site) -> Action:
    path = Template(argument)

    def set_path(request: RoutedRequest) -> int:
        request.environ["PATH_INFO"] = unquote_to_bytes(path.expand(request).encode("latin-1")).decode("latin-1")
        return NEXT

    return set_path


def _fix_path(argument: str, site: Site) -> Action:
    """Take SCRIPT_NAME off the beginning of PATH_INFO, where a front server has left both."""

    def fix_path(request: RoutedRequest) -> int:
        environ = request.environ
        environ["PATH_INFO"] = environ.get("PATH_INFO", "").removeprefix(environ.get("SCRIPT_NAME", ""))
        return NEXT

    return fix_path


def _rewrite(verdict: int) -> Callable[[str, Site], Action]:
    def compile_rewrite(argument: str, site: Site) -> Action:
        target = Template(_needed(argument, "PATH[?QUERY]"))

        def rewrite(request: RoutedRequest) -> int:
            environ = request.environ
            path, mark, query = target.expand(request).partition("?")
            environ["PATH_INFO"] = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
            if mark:
                # The rule's query goes before the request's.
                environ["QUERY_STRING"] = "&".join(filter(None, (query, environ.get("QUERY_STRING"))))
            return verdict

        return rewrite

    return compile_rewrite


# Changes to the response ------------------------------------------------------------------------------


def _add_header(argument: str, site: Site) -> Action:
    name, colon, value = argument.partition(":")
    if not colon:
        raise ValueError(f"{argument!r} is not of the form NAME: VALUE")
    if name.lower() == "content-length":
        raise ValueError("Content-Length is the application's to say")
    check_head("200", [(name, "")])
    lowered = name.lower()
    if lowered in HOP_BY_HOP and lowered != "connection":
        _log.warning("addheader: %s is the server's to send: without effect", name)
        return lambda request: NEXT
    template = Template(value.strip(" \t"))

    def add(request: RoutedRequest) -> int:
        text = template.expand(request)
        try:
            _, headers, _, _ = check_head("200", [(name, text)])
        except ValueError as exc:
            raise RequestError(400, "a route would put a control character into a header") from exc
        request.added_headers.extend(headers)  # of Connection only "close"
        return NEXT

    return add


def _remove_header(argument: str, site: Site) -> Action:
    template = Template(_needed(argument, "NAME"))
    if template.constant is not None and template.constant.strip().lower() == "content-length":
        _log.warning("delheader: Content-Length says where a response ends: without effect")

    def remove(request: RoutedRequest) -> int:
        name = template.expand(request).strip().lower()
        request.removed_headers.add(name)
        request.added_headers = [header for header in request.added_headers if header[0].lower() != name]
        return NEXT

    return remove


def _gzip(argument: str, site: Site) -> Action:
    def compress(request: RoutedRequest) -> int:
        request.is_to_be_compressed = True
        return NEXT

    return compress


# Limits -----------------------------------------------------------------------------------------------


def _harakiri(argument: str, site: Site) -> Action:
    if not re.fullmatch("[0-9]{1,9}", argument):
        raise ValueError(f"{argument!r} is no number of seconds")
    seconds = int(argument)

    def limit(request: RoutedRequest) -> int:
        request.environ[HARAKIRI] = seconds
        return NEXT

    return limit


# Logging ----------------------------------------------------------------------------------------------


def _write_log(argument: str, site: Site) -> Action:
    template = Template(argument)

    def write(request: RoutedRequest) -> int:
        _log.info("%s", escape(template.expand(request)))
        return NEXT

    return write


def _no_access_line(argument: str, site: Site) -> Action:
    def leave_out(request: RoutedRequest) -> int:
        request.log_this = False
        return NEXT

    return leave_out


def _set_log_variable(argument: str, site: Site) -> Action:
    name, value = _pair(argument)

    def set_variable(request: RoutedRequest) -> int:
        if request.logvars is None:
            request.logvars = {}
        request.logvars[name] = value.expand(request)
        return NEXT

    return set_variable


# Other servers ----------------------------------------------------------------------------------------


def _uwsgi(argument: str, site: Site) -> Action:
    """``ADDRESS[,MODIFIER1,MODIFIER2[,APPID]]``; uWSGI demands the modifiers, its documents do not."""
    address, *rest = argument.split(",", 3)
    modifiers, app_id = rest[:2], rest[2:]
    if len(modifiers) == 1 or not all(re.fullmatch("[0-9]{1,3}", each) and int(each) < 256 for each in modifiers):
        raise ValueError(f"{argument!r} is not of the form ADDRESS[,MODIFIER1,MODIFIER2[,APPID]]")
    modifier1, modifier2 = map(int, modifiers or ("0", "0"))
    name = Template(app_id[0] if app_id else "")
    return _forward(address, site, lambda request: uwsgi_head(request, modifier1, modifier2, name.expand(request)))


def _http(argument: str, site: Site) -> Action:
    """``ADDRESS[,HOST[,URL]]``."""
    address, *rest = argument.split(",", 2)
    host, target = (Template(text) for text in [*rest, "", ""][:2])
    return _forward(address, site, lambda request: http_head(request, host.expand(request), target.expand(request)))


def _http_as_it_is(argument: str, site: Site) -> Action:
    return _forward(argument, site, lambda request: http_head(request, "", ""))


def _forward(text: str, site: Site, make_head: Callable[[RoutedRequest], bytes]) -> Action:
    template = Template(_needed(text, "ADDRESS"))
    constant = None if template.constant is None else _backend_address(template.constant)

    def forward(request: RoutedRequest) -> int:
        address = constant
        if address is None:
            try:
                address = _backend_address(template.expand(request))
            except ValueError as exc:
                _log.error("%s: %s", escape(request.environ.get("REQUEST_URI", "")), exc)
                raise RequestError(502, "the backend has no proper address") from exc
        site.forwarder.forward(request, address, make_head)
        return BREAK

    return forward


def _backend_address(text: str) -> Address:
    address = parse_address(os.fsdecode(text.encode("latin-1")))
    if address.family == "tcp" and not address.port:
        raise ValueError(f"{text!r} has port 0, which takes no connection")
    if address.host == "0.0.0.0":  # ":3031" means this machine
        return Address("tcp", "127.0.0.1", address.port)
    return address


# Arguments --------------------------------------------------------------------------------------------


def _needed(argument: str, what: str) -> str:
    if not argument:
        raise ValueError(f"lacks its {what}")
    return argument


def _pair(argument: str) -> tuple[str, Template]:
    name, equals, value = argument.partition("=")
    if not equals or not name:
        raise ValueError(f"{argument!r} is not of the form NAME=VALUE")
    return wire_text(name), Template(value)


_ACTIONS: dict[str, Callable[[str, Site], Action]] = {
    "access": _access,
    "addheader": _add_header,
    "addvar": _add_variable,
    "basicauth": _basic_auth(BREAK),
    "basicauth-next": _basic_auth(NEXT),
    "break": _break,
    "break-with-status": _return,
    "chunked": _pass,  # a response of unknown length is sent so anyway
    "continue": _continue,
    "delheader": _remove_header,
    "donotlog": _no_access_line,
    "donotoffload": _pass,  # there are no offload threads to keep out of it
    "fastfile": _static(BREAK),
    "file": _static(BREAK),
    "fixpathinfo": _fix_path,
    "flush": _pass,  # nothing is kept back
    "goto": _goto,
    "gzip": _gzip,
    "harakiri": _harakiri,
    "http": _http,
    "httpdumb": _http_as_it_is,
    "last": _continue,
    "log": _write_log,
    "logvar": _set_log_variable,
    "redirect": _redirect(302),
    "redirect-301": _redirect(301),
    "redirect-302": _redirect(302),
    "redirect-permanent": _redirect(301),
    "remheader": _remove_header,
    "return": _return,
    "rewrite": _rewrite(NEXT),
    "rewrite-last": _rewrite(CONTINUE),
    "send": _send(""),
    "send-crnl": _send("\r\n"),
    "sendfile": _static(BREAK),
    "setdocroot": _setter("DOCUMENT_ROOT"),
    "sethost": _checked_setter("HTTP_HOST", HOST, "host"),
    "setmethod": _checked_setter("REQUEST_METHOD", TOKEN, "method"),
    "setpathinfo": _set_path,
    "setremoteaddr": _setter("REMOTE_ADDR"),
    "setscheme": _setter("UWSGI_SCHEME"),
    "setscriptname": _setter("SCRIPT_NAME"),
    "seturi": _setter("REQUEST_URI"),
    "setuser": _setter("REMOTE_USER"),
    "static": _static(BREAK),
    "static-next": _static(NEXT),
    "uwsgi": _uwsgi,
}
