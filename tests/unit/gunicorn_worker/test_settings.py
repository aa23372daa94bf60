"""gunicorn's settings in our options' words, each as gunicorn itself has read it."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from support.peers import require_module

from uwsgi_ws.errors import BootError, OptionError


@pytest.fixture
def settings() -> Any:
    require_module("gunicorn")
    from uwsgi_ws.gunicorn_worker import settings

    return settings


@pytest.fixture
def config(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return gunicorn's configuration with these settings."""
    from gunicorn.config import Config

    def make(**given: Any) -> Any:
        cfg = Config()
        for name, value in given.items():
            cfg.set(name, value)
        return cfg

    return make


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"processes": 1, "gevent": 1000, "http_timeout": 2, "buffer_size": 32_768, "header_map": "drop"}),
        ({"workers": 4, "worker_connections": 50}, {"processes": 4, "gevent": 50}),
        ({"workers": 0, "worker_connections": 0}, {"processes": 1, "gevent": 1}),
        ({"workers": 5_000}, {"processes": 512}),
        ({"graceful_timeout": 30}, {"reload_mercy": 29.5, "worker_reload_mercy": 30}),
        ({"graceful_timeout": 1}, {"reload_mercy": 0.9, "worker_reload_mercy": 1}),
        ({"graceful_timeout": 0}, {"reload_mercy": 0.1, "worker_reload_mercy": 0.1}),
        ({"keepalive": 0}, {"closes_connections": True}),
        ({"keepalive": 75}, {"closes_connections": False, "http_timeout": 75}),
        ({"header_map": "dangerous"}, {"header_map": "keep"}),
        ({"header_map": "refuse"}, {"header_map": "refuse"}),
        ({"limit_request_field_size": 40_000}, {"buffer_size": 44_094}),
        ({"limit_request_field_size": 100, "limit_request_line": 100}, {"buffer_size": 32_768}),
        ({"limit_request_field_size": 0, "limit_request_line": 0}, {"buffer_size": 32_768}),
        ({"limit_request_field_size": 1_000_000}, {"buffer_size": 65_535}),
        ({"websocket_max_message_size": 65_536}, {"websockets_max_size": 64}),
        ({"proxy_protocol": True}, {"http_enable_proxy_protocol": True}),
    ],
)
def test_options(settings: Any, config: Any, given: dict[str, Any], expected: dict[str, Any]) -> None:
    options = settings.make_options(config(**given))
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "networks"),
    [("10.0.0.0/8,::1", ["10.0.0.0/8", "::1/128"]), ("*", ["0.0.0.0/0", "::/0"])],
)
def test_networks(settings: Any, config: Any, text: str, networks: list[str]) -> None:
    options = settings.make_options(config(proxy_protocol="v2", proxy_allow_ips=text))
    assert [str(network) for network in options.proxy_allow_from] == networks
    options = settings.make_options(config(protocol="uwsgi", uwsgi_allow_ips=text))
    assert [str(network) for network in options.uwsgi_allow_from] == networks
    assert settings.make_options(config(proxy_allow_ips=text)).proxy_allow_from == ()


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [(4_094, 100, (4_094, 100)), (0, 0, (8_190, 32_768)), (200, 5, (200, 5)), (8_190, 100_000, (8_190, 32_768))],
)
def test_limits_of_a_head(settings: Any, config: Any, line: int, fields: int, expected: tuple[int, int]) -> None:
    limits = settings.head_limits(config(limit_request_line=line, limit_request_fields=fields))
    assert (limits["target_size"], limits["header_count"]) == expected


def test_certificates(settings: Any, config: Any) -> None:
    assert settings.certificate_files(config()) is None
    files = settings.certificate_files(config(certfile="both.pem", ciphers="ECDHE", ca_certs="ca.pem"))
    assert (files.cert, files.key, files.ciphers, files.client_ca) == ("both.pem", "both.pem", "ECDHE", "")
    files = settings.certificate_files(
        config(certfile="a.pem", keyfile="a.key", ca_certs="ca.pem", cert_reqs=ssl.CERT_REQUIRED)
    )
    assert (files.key, files.client_ca, files.must_have_client) == ("a.key", "ca.pem", True)
    with pytest.raises(BootError, match="--keyfile needs --certfile"):
        settings.certificate_files(config(keyfile="a.key"))
    with pytest.raises(BootError, match="--cert-reqs needs --ca-certs"):
        settings.certificate_files(config(certfile="a.pem", cert_reqs=ssl.CERT_OPTIONAL))


def test_variables_count_but_where_gunicorn_has_a_setting(
    settings: Any, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UWSGI_WEBSOCKETS_PING_FREQ", "7")
    monkeypatch.setenv("UWSGI_GEVENT", "3")
    monkeypatch.setenv("UWSGI_HARAKIRI", "20")
    cfg = config()
    options = settings.make_options(cfg)
    assert (options.websockets_ping_freq, options.gevent, options.harakiri) == (7, 1000, 20)
    assert [*settings.remarks(cfg, options)] == ["UWSGI_GEVENT has no effect: that is gunicorn's to do"]
    monkeypatch.setenv("UWSGI_WEBSOCKETS_PING_FREQ", "often")
    with pytest.raises(OptionError, match="UWSGI_WEBSOCKETS_PING_FREQ"):
        settings.make_options(cfg)


def test_nothing_is_said_of_what_nobody_has_given(settings: Any, config: Any) -> None:
    cfg = config()
    assert [*settings.remarks(cfg, settings.make_options(cfg))] == []


def test_every_setting_of_which_something_can_be_said_is_gunicorns(settings: Any, config: Any) -> None:
    known = config().settings
    assert settings._UNKEPT.keys() <= known.keys()
    cfg = config(threads=4, casefold_http_method=True, preload_app=True)
    said = "\n".join(settings.remarks(cfg, settings.make_options(cfg)))
    assert "threads cannot be kept" in said
    assert "casefold_http_method cannot be kept" in said
    assert "preload_app: the application is imported before" in said
