"""Where a request is sent on to."""

from __future__ import annotations

import pytest

from uwsgi_ws.protocol.http.redirect import https_url


@pytest.mark.parametrize(
    ("host", "target", "port", "url"),
    [
        ("example.org", "/a?b", "", "https://example.org/a?b"),
        ("example.org:8080", "/", "", "https://example.org/"),
        ("example.org:8080", "/", "8443", "https://example.org:8443/"),
        ("[::1]:8080", "/", "", "https://[::1]/"),
        ("[::1]", "/", "8443", "https://[::1]:8443/"),
        ("example.org", "http://example.org/a?b=http://c/", "", "https://example.org/a?b=http://c/"),
        ("example.org", "http://example.org", "", "https://example.org/"),
        ("example.org", "*", "", "https://example.org/"),
        ("example.org", "/caf\xc3\xa9\x7f<\x01~!", "", "https://example.org/caf%C3%A9%7F<%01~!"),
        ("example.org:", "/", "", "https://example.org/"),
    ],
)
def test_the_same_url_with_https(host: str, target: str, port: str, url: str) -> None:
    assert https_url({"HTTP_HOST": host, "REQUEST_URI": target}, port) == url


def test_without_a_host_there_is_no_url() -> None:
    assert https_url({"REQUEST_URI": "/"}, "") is None
