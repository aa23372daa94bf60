"""What secures a listening address: the text of an option, read into names of files.

Pure, as ``addresses`` is: it opens no file and knows no TLS library, so that the option table may use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from uwsgi_ws.addresses import Address, parse_address

__all__ = [
    "CertificateFiles",
    "NamedCertificate",
    "Redirect",
    "SecureAddress",
    "is_server_name",
    "parse_named_certificate",
    "parse_redirect",
    "parse_secure_address",
]

#: uWSGI's names in ``--https2``, several for one thing, and ours.
_KEYS = {
    "addr": "addr",
    "cert": "cert",
    "crt": "cert",
    "key": "key",
    "ciphers": "ciphers",
    "clientca": "client_ca",
    "client_ca": "client_ca",
    "spdy": "spdy",
}
_KEYED = re.compile(rf"({'|'.join(_KEYS)})=")
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The files that a server's identity is made of, all PEM.

    Args:
        cert: The certificate, then those that lead to the root.
        key: Its private key, not encrypted.
        ciphers: OpenSSL's cipher list for TLS 1.2; empty for the server's own choice.
        client_ca: Certificates that may have signed those of clients; empty to ask clients for none.
        must_have_client: Whether a client without a certificate is refused; one with a wrong certificate always is.
    """

    cert: str
    key: str
    ciphers: str = ""
    client_ca: str = ""
    must_have_client: bool = False


@dataclass(frozen=True, slots=True)
class SecureAddress:
    """An address where TLS is spoken, and with which certificate."""

    address: Address
    files: CertificateFiles


@dataclass(frozen=True, slots=True)
class NamedCertificate:
    """The certificate for clients that ask for one server name (SNI); ``*.`` in front stands for one label."""

    name: str
    files: CertificateFiles


@dataclass(frozen=True, slots=True)
class Redirect:
    """An address where every request is sent on to https; ``port`` is that of the URL, empty for its default."""

    address: Address
    port: str


def parse_secure_address(text: str) -> SecureAddress:
    """Read ``ADDRESS,CERT,KEY[,CIPHERS[,[!]CLIENT_CA]]``, or the same as ``addr=...,cert=...,key=...``.

    Raises:
        ValueError: The text is neither; the message holds the text and says why.

    Source: uWSGI's plugins/http/https.c (``uwsgi_opt_https``, ``uwsgi_opt_https2``).
    """
    fields = _keyed(text) if _KEYED.match(text) else _positional(text)
    for name, what in (("addr", "an address"), ("cert", "a certificate"), ("key", "a key")):
        if not fields.get(name):
            raise ValueError(f"{text!r} lacks {what}: give ADDRESS,CERT,KEY or addr=ADDRESS,cert=CERT,key=KEY")
    client_ca = fields.get("client_ca", "")
    files = CertificateFiles(
        fields["cert"],
        fields["key"],
        fields.get("ciphers", ""),
        client_ca.removeprefix("!"),
        client_ca.startswith("!"),
    )
    if files.must_have_client and not files.client_ca:
        raise ValueError(f"{text!r} lacks the file of the clients' authorities after '!'")
    return SecureAddress(parse_address(fields["addr"]), files)


def _positional(text: str) -> dict[str, str]:
    values = text.split(",")
    names = ("addr", "cert", "key", "ciphers", "client_ca")
    if len(values) > len(names):
        raise ValueError(f"{text!r} has more than five parts: give ADDRESS,CERT,KEY[,CIPHERS[,CLIENT_CA]]")
    return dict(zip(names, values, strict=False))


def _keyed(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(f"{text!r} has {part!r}, which is none of {', '.join(f'{key}=' for key in _KEYS)}")
        fields[_KEYS[key]] = value
    return fields


def parse_named_certificate(text: str) -> NamedCertificate:
    """Read ``NAME CERT,KEY``.

    Raises:
        ValueError: The text is not that; the message holds the text and says why.

    Source: uWSGI's core/ssl.c (``uwsgi_opt_sni``). Its further parts, ciphers and client_ca, are refused: OpenSSL
    settles what to ask of a client before it knows the name, so a client_ca here would be no protection.
    """
    name, _, rest = text.partition(" ")
    files = [part.strip() for part in rest.split(",")]
    if len(files) != 2 or not all(files):
        raise ValueError(f"{text!r} is not of the form 'NAME CERT,KEY'; ciphers and client_ca belong to the address")
    if not is_server_name(name.lower()):
        raise ValueError(f"{text!r} does not begin with a server name such as example.org or *.example.org")
    cert, key = files
    return NamedCertificate(name.lower(), CertificateFiles(cert, key))


def is_server_name(text: str) -> bool:
    """Say whether a text in lower case is a server name, or ``*.`` and one; such a name is no path to anywhere else."""
    return _NAME.fullmatch(text) is not None


def parse_redirect(text: str) -> Redirect:
    """Read ``ADDRESS[,PORT]``.

    Raises:
        ValueError: The text is not that; the message holds the text and says why.

    Source: uWSGI's plugins/http/https.c (``uwsgi_opt_http_to_https``).
    """
    address, comma, port = text.partition(",")
    if comma and not re.fullmatch("[0-9]{1,5}", port):
        raise ValueError(f"{text!r} needs a port after its comma: give ADDRESS or ADDRESS,PORT")
    return Redirect(parse_address(address), port)
