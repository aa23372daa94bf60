"""``--otel``: two spans of OpenTelemetry's for each WebSocket, one for the opening handshake and one for the end.

A span is told of when it is over. One for the whole of a WebSocket would be told of after days, or never; so the first
is the handshake, a child of the proxy's span, and what the application does then belongs to its trace. The end is a
span of a trace of its own, with a link to the first.

Where spans go is said as OpenTelemetry has it: by the application, which sets a provider while it is loaded, or else by
the variables OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and so on. This is the one module that imports it.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import context, trace
from opentelemetry.propagate import extract
from opentelemetry.trace import Link, SpanKind, StatusCode

from uwsgi_ws import __version__
from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.websocket import handshake
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler

__all__ = ["Tracing"]

#: Of a WebSocket, in the names of the end's attributes.
_COUNTED = ("messages_received", "messages_sent", "bytes_received", "bytes_sent")


class Tracing:
    """The step that makes the spans; made in the worker's own process, as what sends them has a thread."""

    def __init__(self) -> None:
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            _use_otlp()
        self._tracer: Any = trace.get_tracer("uwsgi_ws", __version__)

    def answer(self, request: Request, otherwise: Handler) -> None:
        """Have a request for a WebSocket answered inside of its span; let all others pass."""
        environ = request.environ
        if "HTTP_UPGRADE" not in environ or not handshake.is_websocket(environ):
            otherwise(request)
            return
        headers = {name: environ.get(f"HTTP_{name.upper()}", "") for name in ("traceparent", "tracestate", "baggage")}
        span = self._tracer.start_span(
            "websocket handshake",
            context=extract({name: value for name, value in headers.items() if value}),
            kind=SpanKind.SERVER,
            attributes=_attributes(request),
        )
        request.acceptor = _TracedAcceptor(request.acceptor, span)
        token = context.attach(trace.set_span_in_context(span))
        status = 0
        try:
            otherwise(request)
        except RequestError as error:
            status = error.status
            raise
        finally:
            context.detach(token)
            if request.websocket is None:
                _end_handshake(span, status or request.status)
            else:
                self._tell_end(request, span)

    def _tell_end(self, request: Request, span: Any) -> None:
        websocket: Any = request.websocket
        attributes = _attributes(request)
        for name in ("close_code", *_COUNTED):
            if isinstance(value := getattr(websocket, name, None), int):
                attributes[f"websocket.{name}"] = int(value)
        links = [Link(span.get_span_context())]
        end = self._tracer.start_span(
            "websocket end", context=context.Context(), kind=SpanKind.SERVER, links=links, attributes=attributes
        )
        end.end()


class _TracedAcceptor:
    """Stands in front of a request's acceptor, and ends the span of the handshake once that is answered."""

    def __init__(self, acceptor: Any, span: Any) -> None:
        self._acceptor = acceptor
        self._span = span

    def accept(self, request: Request, *args: Any) -> Any:
        """See Accepts."""
        connection = self._acceptor.accept(request, *args)
        _end_handshake(self._span, 101)
        return connection

    def hand_over(self, request: Request, *args: Any) -> Any:
        """See Accepts."""
        sock = self._acceptor.hand_over(request, *args)
        _end_handshake(self._span, 101)
        return sock

    def stream_events(self, request: Request, *args: Any) -> Any:
        """See Accepts."""
        return self._acceptor.stream_events(request, *args)


def _end_handshake(span: Any, status: int) -> None:
    if status:
        span.set_attribute("http.response.status_code", status)
    if not status or status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()


def _attributes(request: Request) -> dict[str, Any]:
    """Return what the semantic conventions for HTTP have a server say."""
    environ = request.environ
    attributes = {
        "http.request.method": environ.get("REQUEST_METHOD"),
        "url.path": environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
        "url.scheme": request.scheme,
        "server.address": environ.get("HTTP_HOST"),
        "client.address": environ.get("REMOTE_ADDR"),
        "user_agent.original": environ.get("HTTP_USER_AGENT"),
        "http.request.header.x_request_id": environ.get("HTTP_X_REQUEST_ID"),
    }
    return {name: value for name, value in attributes.items() if value}


def _use_otlp() -> None:
    """Send spans by OTLP, as the environment says."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
