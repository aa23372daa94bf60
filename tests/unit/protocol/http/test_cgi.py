"""A request's parts in CGI's terms."""

from __future__ import annotations

import pytest

from uwsgi_ws.errors import RequestError
from uwsgi_ws.protocol.http import cgi


def variables_of(*fields: tuple[bytes, bytes]) -> dict[str, str]:
    variables: dict[str, str] = {}
    listener = cgi.Fields(variables)
    for name, value in fields:
        listener.on_header(name, value)
    return variables


def test_fields_get_their_cgi_names() -> None:
    assert variables_of((b"content-type", b"a"), (b"X-Ours", b"b "), (b"CONTENT-LENGTH", b"1")) == {
        "CONTENT_TYPE": "a",
        "HTTP_X_OURS": "b",
        "CONTENT_LENGTH": "1",
    }
    assert variables_of((b"x_ours", b"a")) == {}, "nobody could tell it from x-ours"
    assert variables_of((b"x" * 65, b"a")) == {"HTTP_" + "X" * 65: "a"}


def test_a_new_table_knows_the_two_names_that_cgi_has_without_http() -> None:
    names = b"Content-Type", b"content-length", b"HOST"
    table = cgi._Keys()
    assert [dict.get(table, name) for name in names] == ["CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_HOST"]


def test_names_and_values_are_kept_up_to_their_bounds() -> None:
    name, value = b"y" * cgi._Keys.NAME_SIZE, b"y" * cgi._Values.SIZE
    variables_of((name, b""), (name + b"y", b""), (b"User-Agent", value))
    assert name in cgi._KEYS
    assert name + b"y" not in cgi._KEYS
    assert value in cgi._VALUES


@pytest.mark.parametrize("name", [b"User-Agent", b"X-Ours"])
def test_only_blanks_and_tabs_stand_around_a_value(name: bytes) -> None:
    assert list(variables_of((name, b"\t \x0cX \xa0X\x0c\t ")).values()) == ["\x0cX \xa0X\x0c"]
    assert list(variables_of((name, b"Xa\tX ")).values()) == ["Xa\tX"]


def test_repeated_fields_are_joined_unless_they_must_be_single() -> None:
    assert variables_of((b"a", b"1"), (b"A", b"2"), (b"cookie", b"c"), (b"cookie", b"d")) == {
        "HTTP_A": "1, 2",
        "HTTP_COOKIE": "c; d",
    }
    with pytest.raises(RequestError) as caught:
        variables_of((b"host", b"a"), (b"host", b"b"))
    assert caught.value.status == 400


def test_invented_names_neither_grow_the_table_nor_keep_others_out() -> None:
    for i in range(2 * cgi._Keys.CAPACITY):
        variables_of((b"x-invented-%d" % i, b""))
        assert len(cgi._KEYS) <= cgi._Keys.CAPACITY
    assert "HTTP_USER_AGENT" in cgi._KEYS.values()


def test_values_that_clients_have_in_common_are_one_object() -> None:
    first, second = (variables_of((b"User-Agent", b"Browser " + b"%d " % 1)) for _ in range(2))
    assert first["HTTP_USER_AGENT"] == "Browser 1"
    assert first["HTTP_USER_AGENT"] is second["HTTP_USER_AGENT"]


@pytest.mark.parametrize("name", [b"Cookie", b"Authorization", b"Sec-WebSocket-Key", b"X-Forwarded-For", b"X-Ours"])
def test_a_client_s_own_values_are_not_kept(name: bytes) -> None:
    variables_of((name, b"secret"))
    assert b"secret" not in cgi._VALUES


def test_invented_values_do_not_grow_the_table() -> None:
    for i in range(2 * cgi._Values.CAPACITY):
        variables_of((b"user-agent", b"invented %d" % i))
        assert len(cgi._VALUES) <= cgi._Values.CAPACITY
    long = b"x" * (cgi._Values.SIZE + 1)
    assert variables_of((b"user-agent", long)) == {"HTTP_USER_AGENT": long.decode()}
    assert long not in cgi._VALUES


@pytest.mark.parametrize(
    ("method", "target", "path", "query", "authority"),
    [
        ("GET", "/a%20b", "/a b", "", ""),
        ("GET", "/a?b?c", "/a", "b?c", ""),
        ("GET", "http://x:1/a?b", "/a", "b", "x:1"),
        ("GET", "HTTP://x", "/", "", "x"),
        ("OPTIONS", "*", "", "", ""),
    ],
)
def test_a_target_is_split(method: str, target: str, path: str, query: str, authority: str) -> None:
    assert cgi.split_target(method, target) == (authority, path, query)


@pytest.mark.parametrize("target", ["*", "a", "http://u@x/", "ftp://x/"])
def test_a_target_that_does_not_fit_is_refused(target: str) -> None:
    with pytest.raises(RequestError):
        cgi.split_target("GET", target)


def test_a_target_has_visible_ascii_characters_but_the_number_sign_and_bytes_beyond_them() -> None:
    for place, not_here in (("/{}", "#\\"), ("/?{}", "#")):
        assert [code for code in range(256) if cgi.is_target(place.format(chr(code)))] == [
            code for code in range(0x21, 0x100) if code != 0x7F and chr(code) not in not_here
        ]
        assert not cgi.is_target(place.format("\xe9 "))
    assert not cgi.is_target("")


def test_bytes_beyond_ascii_are_decoded_as_pep_3333_has_it() -> None:
    target = "/caf\u00e9%C3%A9?\u00e9".encode().decode("latin-1")
    assert cgi.split_target("GET", target) == ("", "/caf\u00e9\u00e9".encode().decode("latin-1"), "\xc3\xa9")


@pytest.mark.parametrize("name", ["CONNECT", "PRI", "A" * 65])
def test_a_method_that_is_not_for_an_origin_server_is_refused(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        cgi.method_of(name)
    assert caught.value.status == 501


def test_a_usual_method_is_one_object_for_all_requests() -> None:
    first, second = (cgi.method_of("".join(letters)) for letters in (["PUR", "GE"], ["P", "URGE"]))
    assert first == "PURGE"
    assert first is second


def test_any_other_token_is_a_method() -> None:
    assert [cgi.method_of(name) for name in ("GET", "get", "BREW", "A" * 64)] == ["GET", "get", "BREW", "A" * 64]
    assert [cgi.method_of(name) for name in ("", "A B", "A\xe9", "A:")] == [None] * 4


UNDERSCORED = (
    (b"X_A", b"1"),
    (b"x-a", b"2"),
    (b"Content_Length", b"3"),
    (b"transfer_encoding", b"x"),
    (b"HO_ST", b"y"),
    (b"A_b-C", b"z"),
)


def test_a_name_with_an_underscore_is_dropped_kept_or_refused() -> None:
    results = {}
    for way in ("drop", "keep"):
        listener = cgi.Fields({}, way)
        for name, value in UNDERSCORED:
            listener.on_header(name, value)
        results[way] = listener.variables, listener.dropped
    assert results["drop"] == ({"HTTP_X_A": "2"}, [name for name, _ in UNDERSCORED if b"_" in name])
    assert results["keep"] == (
        {"HTTP_X_A": "1, 2", "HTTP_HO_ST": "y", "HTTP_A_B_C": "z"},
        [b"Content_Length", b"transfer_encoding"],
    )
    with pytest.raises(RequestError) as caught:
        cgi.Fields({}, "refuse").on_header(b"X_A", b"1")
    assert caught.value.status == 400
