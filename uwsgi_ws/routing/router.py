"""Takes a request through the chains, from the first rule to the last."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from uwsgi_ws.errors import ClientGone, OptionError, OptionErrors, RequestError
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.options import Setting, settings_of
from uwsgi_ws.request.answers import respond_error
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.routing.backend import Forwarder, Timeouts
from uwsgi_ws.routing.chain import compile_chain
from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.routing.tunnel import Tunnel

__all__ = ["RouteSettings", "Router"]

_log = logging.getLogger("uwsgi_ws.routing")


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """The settings that give rules, each chain's in their order.

    Args:
        request: ``--route`` and its relatives (``--route-host`` ...); so the next three of theirs.
        error: ``--error-route``.
        response: ``--response-route``.
        final: ``--final-route``.
        removed_headers: ``--rem-header``.
        added_headers: ``--add-header``.
    """

    request: Sequence[Setting] = ()
    error: Sequence[Setting] = ()
    response: Sequence[Setting] = ()
    final: Sequence[Setting] = ()
    removed_headers: Sequence[Setting] = ()
    added_headers: Sequence[Setting] = ()

    @classmethod
    def of(cls, settings: Sequence[Setting]) -> RouteSettings:
        """Return the rules among an instance's settings."""
        names = ("route", "error-route", "response-route", "final-route", "rem-header", "add-header")
        return cls(*(settings_of(settings, name) for name in names))

    def __bool__(self) -> bool:
        return any((self.request, self.error, self.response, self.final, self.removed_headers, self.added_headers))

    def for_every_response(self) -> Iterator[Setting]:
        """Yield the rules for which ``--rem-header`` and ``--add-header`` stand."""
        for setting in self.removed_headers:
            yield Setting("response-route-run", f"remheader:{setting.value}", setting.source)
        for setting in self.added_headers:
            if (setting.value or "").partition(":")[0].lower() != "connection":  # that one is the server's
                yield Setting("response-route-run", f"addheader:{setting.value}", setting.source)


class Router:
    """The routes: compiled once, before workers are forked.

    Args:
        settings: They give the rules.
        timeouts: How long backends may take.

    Raises:
        OptionError: Routes cannot be understood; all of them are told together.

    Attributes:
        tunnels: The WebSockets that it passes on now, by the front's request.
    """

    def __init__(self, settings: RouteSettings, timeouts: Timeouts) -> None:
        self._forwarder = forwarder = Forwarder(timeouts)
        self.tunnels: Mapping[Request, Tunnel] = forwarder.tunnels
        errors: list[OptionError] = []
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

    def _before_response(self, request: RoutedRequest) -> bool:
        """Run the chains that come before a response; return True when a rule has sent another one instead."""
        if self._error is not None and request.status_to_send >= 400 and self._error.run(request):
            return True
        return self._response is not None and self._response.run(request)
