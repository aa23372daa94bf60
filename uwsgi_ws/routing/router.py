"""Takes a request through the chains, from the first rule to the last."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from uwsgi_ws.errors import ClientGone, OptionError, OptionErrors, RequestError
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.options import Setting
from uwsgi_ws.request.answers import respond_error
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.routing.backend import Forwarder, Timeouts
from uwsgi_ws.routing.chain import compile_chain
from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.routing.settings import RouteSettings
from uwsgi_ws.websocket.tunnel import Tunnel

__all__ = ["Router"]

_log = logging.getLogger("uwsgi_ws.routing")


class Router:
    """The routes: compiled once, before workers are forked.

    Args:
        settings: They give the rules.
        timeouts: How long backends may take.

    Raises:
        OptionError: Routes cannot be understood; all of them are told together.

    Attributes:
        tunnels: The WebSockets that it passes on now, by the front's request.
        may_set_harakiri: Whether a rule may give a request a time limit of its own.
    """

    def __init__(self, settings: RouteSettings, timeouts: Timeouts) -> None:
        self._forwarder = forwarder = Forwarder(timeouts)
        self.tunnels: Mapping[Request, Tunnel] = forwarder.tunnels
        errors: list[OptionError] = []
        self._collected = [each for setting in settings.collected_headers if (each := _collected(setting, errors))]
        self._has_auto_gzip = settings.has_auto_gzip
        self.may_set_harakiri = any("harakiri:" in (setting.value or "") for setting in settings.request)
        self._request = compile_chain("route", settings.request, forwarder, errors)
        self._error = compile_chain("error-route", settings.error, forwarder, errors)
        response = [*settings.for_every_response(), *settings.response]
        self._response = compile_chain("response-route", response, forwarder, errors)
        self._final = compile_chain("final-route", settings.final, forwarder, errors)
        if errors:
            raise OptionErrors(errors)

    def start(self, poller: Poller, timers: Timers) -> None:
        """Begin to work for a worker, by its poller and timers; before the first request."""
        self._forwarder.start(poller, timers)

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Answer a request by the rules, or have ``otherwise`` answer it where none does; a step.

        Raises:
            RequestError: A rule that runs after the response cannot do what it should.
        """
        routed = RoutedRequest(request, self._before_response)
        try:
            if self._request is None or not self._request.run(routed):
                if routed.is_head_written:  # by "send:"
                    routed.finish()
                else:
                    otherwise(routed)
        except RequestError as error:
            respond_error(routed, error)
        except ClientGone as gone:
            _log.info("%s: %s", request.environ.get("REQUEST_URI"), gone)
            routed.abandon()
        if self._final is not None:
            routed.seal()
            self._final.run(routed)

    def _before_response(self, request: RoutedRequest, headers: Headers) -> bool:
        """Run the chains that come before a response; return True when a rule has sent another one instead."""
        for collected in self._collected:
            collected.look(request, headers)
        if self._error is not None and request.status_to_send >= 400 and self._error.run(request):
            return True
        is_answered = self._response is not None and self._response.run(request)
        if self._has_auto_gzip and not is_answered:
            _mark_for_gzip(request, headers)
        return is_answered


class _Collected(NamedTuple):
    """A header of the response that becomes a variable of the request, for rules and ``--log-format``."""

    header: str
    variable: str
    is_pulled: bool  # then the client does not get it

    def look(self, request: RoutedRequest, headers: Headers) -> None:
        for name, value in headers:
            if name.lower() == self.header:
                request.environ[self.variable] = value
                if self.is_pulled:
                    request.removed_headers.add(self.header)


def _collected(setting: Setting, errors: list[OptionError]) -> _Collected | None:
    header, _, variable = (setting.value or "").strip().partition(" ")
    if not variable.strip():
        errors.append(setting.error(f"{setting.value!r} is not of the form HEADER VARIABLE"))
        return None
    return _Collected(header.lower(), variable.strip(), setting.name == "pull-header")


def _mark_for_gzip(request: RoutedRequest, headers: Headers) -> None:
    """Have a response compressed whose application, or whose routes, ask for it by ``uWSGI-Encoding: gzip``."""
    names = {name.lower() for name, _ in headers}
    for name, value in (*headers, *request.added_headers):
        if name.lower() == "uwsgi-encoding" and value.lower() == "gzip" and "content-length" not in names:
            request.is_to_be_compressed = True
    request.removed_headers.add("uwsgi-encoding")
    request.added_headers = [each for each in request.added_headers if each[0].lower() != "uwsgi-encoding"]
