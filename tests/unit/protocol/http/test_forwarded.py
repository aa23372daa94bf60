"""Whose client a request is, and what may be believed of it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from uwsgi_ws.protocol.http.forwarded import Proxies

PROXIES = Proxies([ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def settled(peer: str, **headers: str) -> dict[str, str]:
    variables = {"REMOTE_ADDR": peer, "REMOTE_PORT": "5", "HTTP_HOST": "inner", "SERVER_PORT": "80", **headers}
    PROXIES.settle(variables)
    return variables


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
        ("127.0.0.1", "[2001:DB8::1]:4711", "2001:db8::1"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "192.0.2.1, 10.1.1.1", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.9,192.0.2.1 ,10.1.1.1,\t127.0.0.1", "192.0.2.1"),
        ("127.0.0.1", "10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("127.0.0.1", "192.0.2.1, unknown, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "192.0.2.1, unknown", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1,", "127.0.0.1"),
        ("127.0.0.1", "300.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "1.2.3.4\x85", "127.0.0.1"),
        ("127.0.0.1", "X1.2.3.4", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("", "192.0.2.1", "192.0.2.1"),
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("fd00::1%eth0", "192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1" + ", 10.0.0.1" * 31, "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1" + ", 10.0.0.1" * 40, "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy(peer: str, forwarded: str, client: str) -> None:
    variables = settled(peer, HTTP_X_FORWARDED_FOR=forwarded)
    assert variables["REMOTE_ADDR"] == client
    if client != peer:
        assert variables["REMOTE_PORT"] == "0"
        assert (variables["REALIP_REMOTE_ADDR"], variables["REALIP_REMOTE_PORT"]) == (peer, "5")
    else:
        assert variables["REMOTE_PORT"] == "5"
        assert "REALIP_REMOTE_ADDR" not in variables
    assert variables["HTTP_X_FORWARDED_FOR"] == forwarded


@pytest.mark.parametrize(
    ("headers", "host", "port"),
    [
        ({}, "inner", "80"),
        ({"HOST": "example.org"}, "example.org", "80"),
        ({"HOST": "forged.example, example.org:8443"}, "example.org:8443", "80"),
        ({"HOST": "no host"}, "inner", "80"),
        ({"HOST": ""}, "inner", "80"),
        ({"HOST": "example.org\x85"}, "inner", "80"),
        ({"HOST": "a, XX"}, "XX", "80"),
        ({"PORT": "443"}, "inner", "443"),
        ({"PORT": "1, 8443"}, "inner:8443", "8443"),
        ({"PORT": "x"}, "inner", "80"),
        ({"HOST": "example.org:99", "PORT": "8443"}, "example.org:99", "8443"),
        ({"HOST": "[2001:db8::1]", "PORT": "8443"}, "[2001:db8::1]:8443", "8443"),
    ],
)
def test_host_and_port_are_the_nearest_proxys_word(headers: dict[str, str], host: str, port: str) -> None:
    variables = settled("127.0.0.1", **{f"HTTP_X_FORWARDED_{name}": value for name, value in headers.items()})
    assert (variables["HTTP_HOST"], variables["SERVER_PORT"]) == (host, port)


def test_a_unix_socket_s_end_has_no_address_to_tell() -> None:
    variables = {"HTTP_X_FORWARDED_FOR": "192.0.2.1"}
    assert Proxies(iter([])).settle(variables)
    assert variables == {
        "HTTP_X_FORWARDED_FOR": "192.0.2.1",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "0",
        "REALIP_REMOTE_ADDR": "",
        "REALIP_REMOTE_PORT": "",
    }


def test_each_request_is_judged_by_all_networks() -> None:
    proxies = Proxies(ip_network(network) for network in ("10.0.0.0/8", "fd00::/8"))
    for _ in range(2):
        assert proxies.settle({"REMOTE_ADDR": "fd00::1"})
        assert not proxies.settle({"REMOTE_ADDR": "192.0.2.1"})


def test_a_request_without_a_host_gets_none_by_a_port() -> None:
    variables = {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_PORT": "8443"}
    assert PROXIES.settle(variables)
    assert "HTTP_HOST" not in variables


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "nonsense"])
def test_nothing_is_believed_of_anybody_else(peer: str) -> None:
    said = {f"HTTP_X_FORWARDED_{name}": "1" for name in ("FOR", "HOST", "PORT", "PROTO", "SSL")}
    variables = {"REMOTE_ADDR": peer, "HTTP_HOST": "inner", **said}
    assert not PROXIES.settle(variables)
    assert variables == {"REMOTE_ADDR": peer, "HTTP_HOST": "inner"}


def test_a_long_list_of_a_client_is_read_no_further_than_proxies_go() -> None:
    assert settled("10.0.0.1", HTTP_X_FORWARDED_FOR="10.0.0.1," * 3_000 + "192.0.2.1")["REMOTE_ADDR"] == "192.0.2.1"
