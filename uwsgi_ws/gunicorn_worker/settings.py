"""gunicorn's settings in our options' words, and what there is to say about those that cannot be kept.

Our own options come from ``UWSGI_*`` variables; where gunicorn has a setting for the same thing, that counts.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from gevent import monkey

from uwsgi_ws.certificates import CertificateFiles
from uwsgi_ws.errors import BootError
from uwsgi_ws.options import BY_NAME, Options, parse
from uwsgi_ws.shared import MAX_WORKERS

__all__ = ["certificate_files", "dialect", "head_limits", "is_default", "make_options", "remarks"]

#: Groups of options whose business is gunicorn's, and what of them is a worker's own all the same.
_GUNICORNS = {"Application", "Concurrency", "Listening", "Logging", "Process"}
_WORKERS = {
    "harakiri",
    "hook-accepting",
    "hook-accepting-once",
    "hook-accepting1",
    "hook-accepting1-once",
    "hook-post-fork",
    "https-export-cert",
    "max-memory",
    "max-worker-lifetime",
    "max-worker-lifetime-delta",
    "min-worker-lifetime",
    "no-http2",
    "reload-on-as",
    "reload-on-exception",
    "reload-on-rss",
    "sni",
    "sni-dir",
    "websockets-harakiri",
}

#: Settings of gunicorn's without counterpart: what holds instead.
_UNKEPT = {
    "casefold_http_method": "methods are taken as they are sent",
    "forwarder_headers": "SCRIPT_NAME and PATH_INFO are not taken from headers; set the variable SCRIPT_NAME",
    "http2_cleartext": "HTTP/2 is spoken over TLS only",
    "http2_initial_window_size": "it is the server's own",
    "http2_max_concurrent_streams": "it is the server's own",
    "http2_max_frame_size": "it is the server's own",
    "http2_max_header_list_size": "UWSGI_BUFFER_SIZE bounds it",
    "limit_request_field_size": "the whole head is bounded instead, by UWSGI_BUFFER_SIZE",
    "permit_obsolete_folding": "folded headers are refused (RFC 9112 5.2)",
    "permit_unconventional_http_method": "methods are RFC 9110's tokens",
    "permit_unconventional_http_version": "HTTP/1.0 and 1.1 are served",
    "ssl_version": "TLS 1.2 and 1.3 are spoken",
    "strip_header_spaces": "blanks before a header's colon are refused (RFC 9112 5.1)",
    "threads": "requests run in greenlets",
}
_NETWORKS = {"*": ("0.0.0.0/0", "::/0")}
_HEADER_MAPS = {"dangerous": "keep"}
#: gunicorn's own bounds where 0 is said to be none.
_LONGEST_LINE, _MOST_FIELDS = 8_190, 32_768


def is_default(cfg: Any, name: str) -> bool:
    """Say whether one of gunicorn's settings is as if nobody had given it."""
    setting = cfg.settings[name]
    return bool(setting.get() == type(setting)().get())


def make_options(cfg: Any) -> Options:
    """Return our options for gunicorn's settings.

    Raises:
        OptionError: one of them, or of the environment's, cannot be used.
    """
    return parse([*_words(cfg)], os.environ)


def _words(cfg: Any) -> Iterator[str]:
    yield "--master"
    yield "--disable-logging"  # gunicorn's own logger writes access lines
    yield f"--processes={min(max(cfg.workers, 1), MAX_WORKERS)}"
    yield f"--gevent={max(cfg.worker_connections, 1)}"
    patience = float(cfg.graceful_timeout)
    # The arbiter kills workers after just that time where it stops; they should have said good-bye by then.
    yield f"--reload-mercy={max(patience - min(0.5, patience / 10), 0.1):g}"
    yield f"--worker-reload-mercy={max(patience, 0.1):g}"
    if cfg.keepalive > 0:
        yield f"--http-timeout={cfg.keepalive}"
    else:
        yield "--add-header=Connection: close"
    yield f"--header-map={_HEADER_MAPS.get(cfg.header_map, cfg.header_map)}"
    if cfg.proxy_protocol != "off":
        yield "--http-enable-proxy-protocol"
        yield from _each("--proxy-allow-from", cfg.proxy_allow_ips)
    if dialect(cfg) == "uwsgi":
        yield from _each("--uwsgi-allow-from", cfg.uwsgi_allow_ips)
    if not is_default(cfg, "websocket_max_message_size"):
        yield f"--websockets-max-size={max(cfg.websocket_max_message_size // 1024, 1)}"
    if not (is_default(cfg, "limit_request_line") and is_default(cfg, "limit_request_field_size")):
        size = BY_NAME["buffer-size"]
        largest = head_limits(cfg)["target_size"] + max(cfg.limit_request_field_size, _LONGEST_LINE)
        if largest > size.default:
            yield f"--buffer-size={min(largest, size.at_most)}"


def _each(option: str, networks: list[str]) -> Iterator[str]:
    for network in networks:
        yield from (f"{option}={text}" for text in _NETWORKS.get(network, (network,)))


def dialect(cfg: Any) -> str:
    """Return what is spoken at gunicorn's addresses: ``http`` or ``uwsgi``."""
    return "uwsgi" if cfg.protocol == "uwsgi" else "http"


def head_limits(cfg: Any) -> dict[str, int]:
    """Return the limits of a request's head that no option of ours has."""
    line, fields = cfg.limit_request_line, cfg.limit_request_fields
    return {
        "target_size": line if 0 < line < _LONGEST_LINE else _LONGEST_LINE,
        "header_count": fields if 0 < fields < _MOST_FIELDS else _MOST_FIELDS,
    }


def certificate_files(cfg: Any) -> CertificateFiles | None:
    """Return the files that gunicorn's addresses are secured by; None where they are not.

    Raises:
        BootError: one that is needed is not given.
    """
    if not cfg.is_ssl:
        return None
    if not cfg.certfile:
        raise BootError("--keyfile needs --certfile")
    asks = cfg.cert_reqs != ssl.CERT_NONE
    if asks and not cfg.ca_certs:
        raise BootError("--cert-reqs needs --ca-certs: nobody's certificate could be believed")
    return CertificateFiles(
        cfg.certfile,
        cfg.keyfile or cfg.certfile,
        cfg.ciphers or "",
        cfg.ca_certs if asks else "",
        cfg.cert_reqs == ssl.CERT_REQUIRED,
    )


def remarks(cfg: Any, options: Options) -> Iterator[str]:
    """Yield a line for each thing that does not count, or not as it seems."""
    for name, instead in _UNKEPT.items():
        if not is_default(cfg, name):
            yield f"{name} cannot be kept: {instead}"
    if "h2" in cfg.http_protocols and (options.no_http2 or find_spec("h2") is None):
        yield "http_protocols has h2, which is not spoken: without UWSGI_NO_HTTP2 and with the package h2 it would be"
    if cfg.preload_app and not monkey.is_module_patched("socket"):
        yield (
            "preload_app: the application is imported before the standard library is made cooperative, as with "
            "gunicorn's gevent worker; what it takes out of a module by 'from socket import ...' and the like blocks a "
            "worker. 'from gevent import monkey; monkey.patch_all()' at the top of gunicorn.conf.py helps"
        )
    for setting in options.given:
        row = BY_NAME[setting.name]
        if setting.source.startswith("UWSGI_") and row.group in _GUNICORNS and row.name not in _WORKERS:
            yield f"{setting.source} has no effect: that is gunicorn's to do"
    for note in options.notes:
        yield str(note)
