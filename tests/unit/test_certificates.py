"""What secures an address, read from text."""

from __future__ import annotations

import pytest

from uwsgi_ws.addresses import Address
from uwsgi_ws.certificates import (
    CertificateFiles,
    NamedCertificate,
    Redirect,
    SecureAddress,
    parse_named_certificate,
    parse_redirect,
    parse_secure_address,
)

HERE = Address("tcp", host="127.0.0.1", port=443)


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("127.0.0.1:443,a.pem,a.key", CertificateFiles("a.pem", "a.key")),
        ("127.0.0.1:443,a.pem,a.key,HIGH:!aNULL", CertificateFiles("a.pem", "a.key", "HIGH:!aNULL")),
        ("127.0.0.1:443,a.pem,a.key,,ca.pem", CertificateFiles("a.pem", "a.key", "", "ca.pem")),
        ("127.0.0.1:443,a.pem,a.key,HIGH,!ca.pem", CertificateFiles("a.pem", "a.key", "HIGH", "ca.pem", True)),
        ("addr=127.0.0.1:443,cert=a.pem,key=a.key", CertificateFiles("a.pem", "a.key")),
        ("key=a.key,crt=a.pem,addr=127.0.0.1:443,spdy=1", CertificateFiles("a.pem", "a.key")),
        (
            "addr=127.0.0.1:443,cert=a.pem,key=a.key,ciphers=HIGH,clientca=!ca.pem",
            CertificateFiles("a.pem", "a.key", "HIGH", "ca.pem", True),
        ),
        ("client_ca=ca.pem,addr=127.0.0.1:443,cert=a.pem,key=a.key", CertificateFiles("a.pem", "a.key", "", "ca.pem")),
    ],
)
def test_a_secure_address_is_read_by_place_or_by_key(text: str, files: CertificateFiles) -> None:
    assert parse_secure_address(text) == SecureAddress(HERE, files)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "lacks an address"),
        (":443", "lacks a certificate"),
        (":443,a.pem", "lacks a key"),
        (":443,,a.key", "lacks a certificate"),
        (":443,a.pem,a.key,,ca.pem,more", "more than five parts"),
        (":443,a.pem,a.key,,!", "lacks the file of the clients' authorities"),
        ("addr=:443,key=a.key", "lacks a certificate"),
        ("addr=:443,cert=a.pem,key=a.key,colour=blue", "has 'colour=blue', which is none of addr=, "),
        ("addr=:443,cert=a.pem,a.key", "has 'a.key', which is none of addr=, "),
        ("443,a.pem,a.key", "'443' is no address"),
    ],
)
def test_what_is_wrong_with_a_secure_address_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^'") as caught:
        parse_secure_address(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", ["example.org", "*.example.org", "a", "xn--bcher-kva.example", "x_y.z"])
def test_a_certificate_has_a_server_name(name: str) -> None:
    assert parse_named_certificate(f"{name} a.pem,a.key") == NamedCertificate(name, CertificateFiles("a.pem", "a.key"))
    assert parse_named_certificate(f"{name.upper()} a.pem, a.key").name == name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("example.org", "not of the form"),
        ("example.org a.pem", "not of the form"),
        ("example.org a.pem,", "not of the form"),
        ("example.org a.pem,a.key,,ca.pem", "ciphers and client_ca belong to the address"),
        ("*example.org a.pem,a.key", "does not begin with a server name"),
        (" a.pem,a.key", "does not begin with a server name"),
    ],
)
def test_what_is_wrong_with_a_named_certificate_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"{problem}"):
        parse_named_certificate(text)


def test_a_redirect_has_an_address_and_perhaps_a_port() -> None:
    assert parse_redirect("127.0.0.1:443") == Redirect(HERE, "")
    assert parse_redirect("127.0.0.1:443,8443") == Redirect(HERE, "8443")
    with pytest.raises(ValueError, match="needs a port after its comma"):
        parse_redirect("127.0.0.1:443,https")
    with pytest.raises(ValueError, match="is no address"):
        parse_redirect("here")
