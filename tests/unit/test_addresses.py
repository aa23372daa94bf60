"""The addresses a server listens on: every form, and a clear word about everything else."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from uwsgi_ws.addresses import Address, User, parse_address, parse_trusted


def test_a_colon_and_a_port_are_every_ipv4_address():
    assert parse_address(":8080") == Address("tcp", host="0.0.0.0", port=8080)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "ws-1.example.org", "service_name", "example.org."])
def test_a_name_or_an_ipv4_address_stands_before_the_port(host: str):
    assert parse_address(f"{host}:80") == Address("tcp", host=host, port=80)


@pytest.mark.parametrize("host", ["::", "::1", "2001:db8::17", "fe80::1%eth0"])
def test_an_ipv6_address_stands_in_brackets_and_is_kept_without(host: str):
    assert parse_address(f"[{host}]:443") == Address("tcp", host=host, port=443)


@pytest.mark.parametrize("port", [0, 1, 65_535])
def test_every_port_there_is_can_be_given(port: int):
    assert parse_address(f":{port}").port == port


@pytest.mark.parametrize("text", ["/run/app.sock", "./app", "run/app:1", "app.sock", "/tmp/ü"])
def test_a_slash_or_the_ending_sock_makes_a_unix_path(text: str):
    address = parse_address(text)
    assert address == Address("unix", path=text)
    assert not address.is_abstract


def test_an_at_sign_makes_an_abstract_socket_whose_path_is_ready_for_bind():
    address = parse_address("@chat@1")
    assert address == Address("unix", path="\0chat@1")
    assert address.is_abstract


@pytest.mark.parametrize("text", [":8080", "localhost:80", "[::1]:443", "/run/app.sock", "app.sock", "@chat@1"])
def test_an_address_prints_as_it_was_written(text: str):
    assert str(parse_address(text)) == text


def test_the_long_form_of_every_ipv4_address_is_the_same_address():
    assert parse_address("0.0.0.0:80") == parse_address(":80")


def test_a_unix_path_may_fill_the_field_of_the_kernel_and_no_more():
    assert parse_address("/" + "a" * 106).path
    assert parse_address("@" + "a" * 106).path
    for text in ("/" + "a" * 107, "@" + "a" * 107, "/" + "ü" * 54):
        with pytest.raises(ValueError, match="longer than the 107 bytes"):
            parse_address(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no address"),
        ("8080", "no address"),
        ("localhost", "no address"),
        ("=0", "no address"),
        ("http://localhost:8080", "URL"),
        ("@", "lacks the name"),
        (":", "needs a port"),
        ("localhost:", "needs a port"),
        ("localhost:http", "needs a port"),
        (":65536", "needs a port"),
        (":-1", "needs a port"),
        (":+1", "needs a port"),
        (":\u0661", "needs a port"),
        (":000080", "needs a port"),
        ("::1:8080", "in brackets"),
        ("[]:80", "no IPv6 address"),
        ("[localhost]:80", "no IPv6 address"),
        ("[127.0.0.1]:80", "no IPv6 address"),
        ("[::1]", "needs a port"),
        ("*:80", "neither a name nor"),
        ("-host:80", "neither a name nor"),
        ("host-:80", "neither a name nor"),
        ("two words:80", "neither a name nor"),
        ("[x:80", "neither a name nor"),
    ],
)
def test_anything_else_is_refused_with_its_text_and_the_reason(text: str, reason: str):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "is_public"),
    [
        (":80", True),
        ("[::]:80", True),
        ("8.8.8.8:80", True),
        ("[2606:4700::1]:80", True),
        ("127.0.0.1:80", False),
        ("[::1]:80", False),
        ("10.1.2.3:80", False),
        ("[fe80::1%eth0]:80", False),
        ("localhost:80", False),
        ("/run/app.sock", False),
    ],
)
def test_an_address_tells_whether_foreign_machines_may_reach_it(text: str, is_public: bool):
    assert parse_address(text).is_public == is_public


@pytest.mark.parametrize("text", ["10.1.2.3", "10.1.0.0/16", "0.0.0.0/0", "::1", "fd00::/8"])
def test_peers_are_an_address_or_a_network(text: str):
    assert parse_trusted(text) == ip_network(text)


@pytest.mark.parametrize("name", ["33", "www-data", "_nginx", "j.doe"])
def test_peers_are_a_user(name: str):
    assert parse_trusted(f"uid:{name}") == User(name)


@pytest.mark.parametrize("text", ["", "*", "example.org", "10.1.2.3/16", "10.1.2.3:80", "uid:", "uid:a b", "uid:-1"])
def test_whatever_else_names_no_peers(text: str):
    with pytest.raises(ValueError, match=r"give uid:|is no IP address") as caught:
        parse_trusted(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (": 5000", ":5000"),
        ("localhost:8080;", "localhost:8080"),
        ("localhost :8080", "localhost:8080"),
        ("127.0.0.1:8080,", "127.0.0.1:8080"),
        (":8080 ; a comment", ":8080"),
        ("0.0.0.0:8080 # here", ":8080"),
    ],
)
def test_what_stands_around_a_port_counts_as_little_as_in_uwsgi(text: str, meant: str) -> None:
    assert parse_address(text) == parse_address(meant)


@pytest.mark.parametrize("text", [":80a", ":80 90", ":8080 # see: there", "localhost:80;x"])
def test_a_port_with_more_behind_it_than_a_comment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="needs a port"):
        parse_address(text)


@pytest.mark.parametrize("text", ["site.socket", "my-site.uwsgi", "a.b.sock", "uwsgi.status"])
def test_a_name_with_an_ending_is_a_unix_socket_as_in_uwsgi(text: str) -> None:
    assert parse_address(text) == Address("unix", path=text)


@pytest.mark.parametrize("text", ["127.0.0.1", "10.1", "localhost", "1.2.3"])
def test_a_host_without_a_port_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        parse_address(text)
