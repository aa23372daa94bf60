"""Loads what requests will need, before there are any and before workers are forked.

A worker may be out of descriptors when a request needs a module, and an import opens files. Workers share the memory of
what was loaded before they were forked. What no option asks for is not loaded: a start takes as long as its imports do.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

import uwsgi_ws
from uwsgi_ws.collector import at_rest
from uwsgi_ws.options import Options
from uwsgi_ws.routing.settings import RouteSettings

__all__ = ["import_for_requests"]

#: Of other packages: they import these inside functions.
_NEEDED_BY_REQUESTS = (
    "encodings.idna",
    "gevent.resolver._addresses",
    "gevent.resolver.thread",
    "gevent.threadpool",
    "linecache",
    "traceback",
)


def import_for_requests(options: Options) -> None:
    """Import what requests would import when they first need it.

    Before ``--uid`` where that is possible: the interpreter's own files may be root's.

    Raises:
        OptionError: an option needs a package that is not installed.
    """
    with at_rest():
        for name in uwsgi_ws.__all__:
            getattr(uwsgi_ws, name)
        for module in (*_NEEDED_BY_REQUESTS, *_needed_by_options(options)):
            import_module(module)
        if options.otel:
            try:
                import_module("uwsgi_ws.request.tracing")
                import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
            except ModuleNotFoundError as exc:
                problem = f"OpenTelemetry needs more packages ({exc.name}): pip install 'uwsgi_ws[otel]'"
                raise options.error("otel", problem) from None
    mimetypes.init()  # reads the system's files


def _needed_by_options(options: Options) -> Iterator[str]:
    """Yield our modules that not every worker needs."""
    by_tls = (options.https or options.https_socket) and not options.no_http2
    if (by_tls or options.http2_socket) and find_spec("h2") is not None:
        yield "uwsgi_ws.fronts.http2.front"
    if not options.gevent:
        yield from ("uwsgi_ws.threads.connection", "uwsgi_ws.threads.pool", "uwsgi_ws.wsgi.serial")
    if options.has_master:
        yield from ("uwsgi_ws.channels.pipes", "uwsgi_ws.process.mastered")
    if options.companions:
        yield "uwsgi_ws.companions.runner"
    if options.has_static_files:
        yield "uwsgi_ws.request.static"
    has_routes = bool(RouteSettings.of(options.given))
    if has_routes:
        yield "uwsgi_ws.routing.router"
    if has_routes or options.harakiri:
        yield "uwsgi_ws.process.harakiri"
    if options.post_buffering:
        yield "uwsgi_ws.wsgi.kept"
    if options.debug:
        yield "uwsgi_ws.request.error_pages"
