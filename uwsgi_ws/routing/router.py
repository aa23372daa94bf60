"""Takes a request through the chains, from the first rule to the last."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from uwsgi_ws.errors import ClientGone, RequestError
from uwsgi_ws.hub.poller import Poller
from uwsgi_ws.hub.timers import Timers
from uwsgi_ws.options import Options, Setting
from uwsgi_ws.request.answers import respond_error
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.routing.backend import Forwarder, Timeouts
from uwsgi_ws.routing.chain import Chain, compile_chain
from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.routing.tunnel import Tunnel

__all__ = ["Router"]

_log = logging.getLogger("uwsgi_ws.routing")


class Router:
    """The routes: compiled once, also for several workers that are forked then.

    Args:
        options: With at least one route.

    Raises:
        OptionError: A route cannot be understood.

    Attributes:
        tunnels: The WebSockets that it passes on now, by the front's request.
    """

    def __init__(self, options: Options) -> None:
        self._forwarder = Forwarder(Timeouts(options.http_connect_timeout, options.route_timeout))
        self.tunnels: Mapping[Request, Tunnel] = self._forwarder.tunnels

        always = {"response-route": [*_always(options)]}

        def chain(name: str) -> Chain | None:
            return compile_chain(name, [*always.get(name, ()), *options.settings_of(name)], self._forwarder)

        self._request = chain("route")
        self._error = chain("error-route")
        self._response = chain("response-route")
        self._final = chain("final-route")

    def start(self, poller: Poller, clock: Timers) -> None:
        """Become a worker's, before the first request.

        Args:
            poller: The worker's.
            clock: The worker's.
        """
        self._forwarder.start(poller, clock)

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Answer a request by the rules; a step.

        Args:
            request: A front's, let in by admission.
            otherwise: Answers it where no rule has.

        Raises:
            RequestError: A rule that comes behind the response cannot do what it should.
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
        """Run the chains that come before a response; return True when a rule has sent another one."""
        if self._error is not None and request.status_to_send >= 400 and self._error.run(request):
            return True
        return self._response is not None and self._response.run(request)


def _always(options: Options) -> Iterator[Setting]:
    """Yield the rules that options stand for which change the headers of every response."""
    for setting in options.settings_of("rem-header"):
        yield Setting("response-route-run", f"remheader:{setting.value}", setting.source)
    for setting in options.settings_of("add-header"):
        if (setting.value or "").partition(":")[0].lower() != "connection":  # that one is the server's
            yield Setting("response-route-run", f"addheader:{setting.value}", setting.source)
