"""The opening handshake, server side: every MUST of RFC 6455 4.2.1 negated, and what is answered."""

from __future__ import annotations

import pytest
from support.growth import growth

from uwsgi_ws.errors import HandshakeError
from uwsgi_ws.protocol.websocket import handshake

VALID = {
    "REQUEST_METHOD": "GET",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "example.org",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


def request(**changes: str | None) -> dict[str, str]:
    """The valid request with some variables changed, or left out (None)."""
    variables: dict[str, str | None] = {**VALID, **changes}
    return {name: value for name, value in variables.items() if value is not None}


def refusal(**changes: str | None) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        handshake.check_request(request(**changes))
    assert str(caught.value) == caught.value.reason
    return caught.value


def test_the_rfc_s_example_passes() -> None:
    handshake.check_request(
        request(
            HTTP_ORIGIN="http://example.com",
            HTTP_SEC_WEBSOCKET_PROTOCOL="chat, superchat",
            HTTP_SEC_WEBSOCKET_EXTENSIONS='unknown; a="b, c"',
        )
    )


@pytest.mark.parametrize(
    "upgrade", ["websocket", "WebSocket", "WEBSOCKET", "h2c, websocket", "websocket,foo", " websocket"]
)
def test_upgrade_may_be_a_list_in_any_case(upgrade: str) -> None:
    assert handshake.is_websocket(request(HTTP_UPGRADE=upgrade))
    handshake.check_request(request(HTTP_UPGRADE=upgrade))


@pytest.mark.parametrize("upgrade", [None, "", "h2c", "websockets", "web socket", "websocket/13x", "notwebsocket"])
def test_without_websocket_in_upgrade_it_is_no_opening_handshake(upgrade: str | None) -> None:
    assert not handshake.is_websocket(request(HTTP_UPGRADE=upgrade))
    assert refusal(HTTP_UPGRADE=upgrade).status == 400


@pytest.mark.parametrize(
    "connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade,keep-alive", "a,\tUPGRADE\t,b"]
)
def test_connection_may_be_a_list_in_any_case(connection: str) -> None:
    handshake.check_request(request(HTTP_CONNECTION=connection))


@pytest.mark.parametrize("connection", [None, "", "keep-alive", "close", "upgraded", "not-upgrade", "up grade"])
def test_connection_without_upgrade_is_refused(connection: str | None) -> None:
    assert refusal(HTTP_CONNECTION=connection).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS", "get"])
def test_another_method_is_not_allowed(method: str) -> None:
    error = refusal(REQUEST_METHOD=method)
    assert error.status == 405
    assert error.headers == (("Allow", "GET"),)


def test_http_2_and_its_extended_connect_pass() -> None:
    """RFC 8441: a front makes the same of it."""
    assert handshake.check_request(request(SERVER_PROTOCOL="HTTP/2.0")) == ()


@pytest.mark.parametrize("protocol", ["HTTP/2", "HTTP/3.0", "http/1.1", ""])
def test_another_protocol_is_refused(protocol: str) -> None:
    assert refusal(SERVER_PROTOCOL=protocol).status == 400


@pytest.mark.parametrize("word", ["\xa0{}", "{}\x85", "\x0b{}", "X{}", "{}X", "{}\x0c"])
def test_only_blanks_and_tabs_stand_around_a_word(word: str) -> None:
    """RFC 9110 5.6.3; what else Python takes for white space is part of the word."""
    assert not handshake.is_websocket(request(HTTP_UPGRADE=word.format("websocket")))
    assert refusal(HTTP_CONNECTION=word.format("upgrade")).status == 400
    assert handshake.offered_subprotocols(request(HTTP_SEC_WEBSOCKET_PROTOCOL=f"\t{word.format('a')} ,b")) == [
        word.format("a"),
        "b",
    ]


def test_the_answer_to_another_version_names_ours() -> None:
    """RFC 6455 4.4; RFC 9110 15.5.22."""
    assert refusal(HTTP_SEC_WEBSOCKET_VERSION="8").headers == (
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
    )


@pytest.mark.parametrize("origin", ["http://none", "http://None", "http://xxxx", "http://example.org"])
def test_without_a_host_no_origin_is_the_same(origin: str) -> None:
    variables = request(HTTP_HOST=None, HTTP_ORIGIN=origin)
    assert not handshake.is_origin_allowed(variables, "http", ["same"])


def test_http_1_0_is_refused() -> None:
    assert refusal(SERVER_PROTOCOL="HTTP/1.0").status == 400


@pytest.mark.parametrize("host", [None, ""])
def test_a_request_without_a_host_is_refused(host: str | None) -> None:
    assert refusal(HTTP_HOST=host).status == 400


@pytest.mark.parametrize(
    "version", [None, "", "0", "7", "8", "12", "14", "013", "+13", "13, 8", "13, 13", "13.0", "13 ", "\u0661\u0663"]
)
def test_another_version_is_told_which_one_is_spoken(version: str | None) -> None:
    error = refusal(HTTP_SEC_WEBSOCKET_VERSION=version)
    assert error.status == 426
    assert ("Sec-WebSocket-Version", "13") in error.headers


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ", id="no padding"),
        pytest.param("dGhlIHNhbXBsZSBub25jZ===", id="wrong padding"),
        pytest.param("dGhlIHNhbXBsZSBub25jZXM=", id="17 bytes"),
        pytest.param("dGhlIHNhbXBsZSBub25j", id="15 bytes"),
        pytest.param("dGhlIHNhbXBsZSBub25jZXMhISEh", id="21 bytes"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ= ", id="a space"),
        pytest.param("dGhlIHNhbXBs!SBub25jZQ==", id="not in the alphabet"),
        pytest.param("dGhlIHNhbXBsZSBub25j_Q==", id="the alphabet of URLs"),
        pytest.param("dGhlIHNhbXBsZSBub25j\xe9Q==", id="not ASCII"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==", id="twice"),
        pytest.param("====dGhlIHNhbXBsZSBub25j", id="padding first"),
    ],
)
def test_a_key_that_is_not_16_bytes_in_base64_is_refused(key: str | None) -> None:
    assert refusal(HTTP_SEC_WEBSOCKET_KEY=key).status == 400


@pytest.mark.parametrize("offer", ["chat room", "a b, c", "chat;v=1", 'say "hi"', "ch\xe4t", "a, b/c", "a@b"])
def test_subprotocols_that_are_no_tokens_are_refused(offer: str) -> None:
    assert refusal(HTTP_SEC_WEBSOCKET_PROTOCOL=offer).status == 400


def test_the_accept_value_is_the_rfc_s() -> None:
    assert handshake.accept_value("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("offer", "names"),
    [
        (None, []),
        ("", []),
        (", ,", []),
        ("chat", ["chat"]),
        ("chat, superchat", ["chat", "superchat"]),
        (" chat\t,,superchat ", ["chat", "superchat"]),
        ("Chat,chat", ["Chat", "chat"]),
    ],
)
def test_offered_subprotocols_keep_their_order_and_case(offer: str | None, names: list[str]) -> None:
    assert handshake.offered_subprotocols(request(HTTP_SEC_WEBSOCKET_PROTOCOL=offer)) == names


@pytest.mark.parametrize(
    ("offer", "supported", "chosen"),
    [
        ("v1, v2", ["v2", "v1"], "v2"),
        ("v1, v2", ["v3", "v1"], "v1"),
        ("v1", ["v2"], None),
        ("V1", ["v1"], None),
        ("v10", ["v1"], None),
        ("v1", [], None),
        (None, ["v1"], None),
    ],
)
def test_one_subprotocol_of_the_client_s_is_chosen_by_the_server_s_order(
    offer: str | None, supported: list[str], chosen: str | None
) -> None:
    assert handshake.choose_subprotocol(request(HTTP_SEC_WEBSOCKET_PROTOCOL=offer), supported) == chosen


def is_allowed(origin: str | None, *allowed: str, scheme: str = "http", host: str = "example.org") -> bool:
    return handshake.is_origin_allowed(request(HTTP_ORIGIN=origin, HTTP_HOST=host), scheme, allowed)


def test_a_client_without_an_origin_is_no_browser_and_passes() -> None:
    assert is_allowed(None, "https://example.org")
    assert is_allowed(None)


@pytest.mark.parametrize(
    "origin", ["https://example.org", "HTTPS://Example.ORG", "https://example.org:443", "https://other.example:8443"]
)
def test_a_listed_origin_passes_however_it_is_spelt(origin: str) -> None:
    assert is_allowed(origin, "https://Example.org", "https://other.example:8443")


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.org",
        "wss://example.org",
        "https://example.org:8443",
        "https://example.org:80",
        "https://example.org:0443",
        "https://example.org.evil.test",
        "https://evilexample.org",
        "https://sub.example.org",
        "https://example.org@evil.test",
        "https://evil.test/https://example.org",
        "https://example.org/",
        "https://example.org, https://evil.test",
        "https://93.184.216.34",
        "https://example.org%00",
        "example.org",
        "//example.org",
        "null",
        "",
        "*",
        "same",
    ],
)
def test_an_origin_that_looks_like_a_listed_one_does_not_pass(origin: str) -> None:
    assert not is_allowed(origin, "https://example.org")
    assert not is_allowed(origin, "same", scheme="https")


def test_only_a_port_at_the_end_is_a_port() -> None:
    assert not is_allowed("https://host443.com", "https://host443.org")
    assert not is_allowed("https://host:443.evil", "https://host")


def test_null_passes_only_where_it_is_listed() -> None:
    assert is_allowed("null", "null")
    assert not is_allowed("null", "same")


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("http://example.org", "http", "example.org"),
        ("http://example.org", "http", "example.org:80"),
        ("http://example.org:80", "http", "Example.org"),
        ("https://example.org", "https", "example.org:443"),
        ("http://example.org:8080", "http", "example.org:8080"),
        ("http://[::1]:8080", "http", "[::1]:8080"),
    ],
)
def test_same_is_the_origin_that_the_host_header_names(origin: str, scheme: str, host: str) -> None:
    assert is_allowed(origin, "same", scheme=scheme, host=host)


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("https://example.org", "http", "example.org"),
        ("http://example.org:8080", "http", "example.org"),
        ("http://example.org:443", "http", "example.org"),
        ("http://example.org", "http", "example.org:443"),
        ("http://evil.test", "http", "example.org"),
    ],
)
def test_same_is_not_another_scheme_port_or_host(origin: str, scheme: str, host: str) -> None:
    assert not is_allowed(origin, "same", scheme=scheme, host=host)


def test_long_header_values_take_linear_time() -> None:
    """Sixteen times the bytes take 16 times as long; quadratic would be 256 times."""

    def check(size: int) -> None:
        for value in ("," * size, " " * size, "a," * (size // 2), "a" * size + "\xe9"):
            variables = request(HTTP_CONNECTION="upgrade," + value, HTTP_SEC_WEBSOCKET_PROTOCOL=value)
            with pytest.raises(HandshakeError):
                handshake.check_request({**variables, "HTTP_SEC_WEBSOCKET_KEY": value})
            handshake.offered_subprotocols(variables)

    assert growth(check, 20_000, 320_000) < 40
