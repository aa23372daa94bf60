"""HTTP/2 heads in CGI's terms, and the budget of frames that carry nothing."""

from __future__ import annotations

import pytest
from support.limits import make_limits

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http.http2 import Head, read_head

LIMITS = make_limits(head_size=1_000, target_size=100, header_count=10, body_size=50)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def head(*fields: tuple[bytes, bytes], **pseudo: bytes | None) -> Head:
    """The head of a valid request, some of its pseudo-headers replaced or (None) left out."""
    values = {"method": b"GET", "scheme": b"https", "authority": b"example.org", "path": b"/", **pseudo}
    start = [(b":" + name.encode(), value) for name, value in values.items() if value is not None]
    return read_head([*start, *fields], KEY, LIMITS)


def refusal(*fields: tuple[bytes, bytes], **pseudo: bytes | None) -> int:
    with pytest.raises(RequestError) as caught:
        head(*fields, **pseudo)
    return caught.value.status


def test_a_request_becomes_cgi_variables() -> None:
    read = head((b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"50"), path=b"/a%20b?c", method=b"POST")
    assert read.variables == {
        "HTTP_X_A": "1, 2",
        "CONTENT_LENGTH": "50",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/a%20b?c",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c",
        "SERVER_PROTOCOL": "HTTP/2.0",
        "HTTP_HOST": "example.org",
    }
    assert (read.content_length, read.is_websocket, read.expects_continue) == (50, False, False)


def test_the_size_is_counted_as_the_rfc_counts_it() -> None:
    """RFC 9113 6.5.2: name, value and 32 for each field."""
    assert head().size == 4 * 32 + len(":methodGET:schemehttps:authorityexample.org:path/")


def test_a_host_field_does_where_there_is_no_authority() -> None:
    assert head((b"host", b"other.example"), authority=None).variables["HTTP_HOST"] == "other.example"


def test_an_extended_connect_looks_like_an_opening_handshake() -> None:
    read = head((b"sec-websocket-version", b"13"), method=b"CONNECT", protocol=b"websocket")
    assert read.is_websocket
    assert read.variables["REQUEST_METHOD"] == "GET"
    assert read.variables["HTTP_UPGRADE"] == "websocket"
    assert read.variables["HTTP_CONNECTION"] == "Upgrade"
    assert read.variables["HTTP_SEC_WEBSOCKET_KEY"] == KEY


def test_who_waits_for_100_continue_says_so() -> None:
    assert head((b"expect", b"100-Continue")).expects_continue


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ((b"x(y", b""), 400),
        ((b"x", b"\x01"), 400),
        ((b"x", b"\x7f"), 400),
        ((b"x", b"y" * 1_000), 431),
        ((b"content-length", b"51"), 413),
        ((b"content-length", b"+1"), 400),
        ((b"content-length", b"1" * 21), 400),
        ((b"content-length", "²".encode("latin-1")), 400),
        ((b"expect", b"miracles"), 417),
    ],
)
def test_a_field_that_will_not_do_is_refused(field: tuple[bytes, bytes], status: int) -> None:
    assert refusal(field) == status


@pytest.mark.parametrize(
    ("pseudo", "status"),
    [
        ({"method": b"BR EW"}, 400),
        ({"method": b"PRI"}, 501),
        ({"method": b"CONNECT"}, 501),
        ({"method": b"CONNECT", "protocol": b"connect-udp"}, 501),
        ({"scheme": b"ftp"}, 400),
        ({"path": b""}, 400),
        ({"path": b"a"}, 400),
        ({"path": b"*"}, 400),
        ({"path": b"http://example.org/"}, 400),
        ({"path": b"/ "}, 400),
        ({"path": b"/#"}, 400),
        ({"path": b"/\xff\x7f"}, 400),
        ({"path": b"/a\\b"}, 400),
        ({"path": b"/" + b"x" * 100}, 414),
        ({"authority": b""}, 400),
        ({"authority": b"user@example.org"}, 400),
        ({"authority": b"a b"}, 400),
    ],
)
def test_a_request_that_will_not_do_is_refused(pseudo: dict[str, bytes], status: int) -> None:
    assert refusal(**pseudo) == status


def test_too_many_fields_are_refused() -> None:
    assert head(*[(b"x", b"")] * 6)
    assert refusal(*[(b"x", b"")] * 7) == 431


def test_without_a_limit_a_body_may_have_any_length() -> None:
    fields = [(b":method", b"PUT"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"x")]
    assert read_head([*fields, (b"content-length", b"9" * 20)], KEY, make_limits()).content_length == int("9" * 20)
