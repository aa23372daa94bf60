"""The TLS contexts of a listening address, loaded anew when their files change."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence
from typing import Any

from uwsgi_ws.certificates import CertificateFiles, NamedCertificate

__all__ = ["Certificates"]

_log = logging.getLogger("uwsgi_ws.tls")

#: Forward secrecy and authenticated encryption only (RFC 9325 4.2); TLS 1.3 has nothing else, nor has HTTP/2.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: The property of the type written in C. gevent's, which patching puts over it, works for its own sockets only.
_sni_callback: Any = next(kind for kind in ssl.SSLContext.__mro__ if kind.__module__ == "_ssl").__dict__["sni_callback"]


class Certificates:
    """The contexts of one address: its own, and those for the server names that clients may ask for (SNI).

    The files are looked at for each new connection and loaded anew when they have changed; connections that are open
    keep what they began with. Files that cannot be loaded change nothing but the log.

    Args:
        files: What clients get who ask for no name, or for one not listed.
        named: The others.
        protocols: What may be agreed on by ALPN (RFC 7301), best first.

    Raises:
        OSError: a file cannot be read, or is not what it should be; ``str`` names it and says why.
        ValueError: likewise.
    """

    def __init__(self, files: CertificateFiles, named: Sequence[NamedCertificate], protocols: Sequence[str]) -> None:
        self._own = _Loaded(files, protocols)
        self._named = {each.name: _Loaded(each.files, protocols) for each in named}

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        context = self._own.fresh()
        if self._named:
            _sni_callback.__set__(context, self._choose)
        return context

    def _choose(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        loaded = self._named.get(name) or self._named.get("*." + name.partition(".")[2])
        if loaded is not None:
            tls.context = loaded.fresh()


class _Loaded:
    """A context made of files, and what the files were like then."""

    def __init__(self, files: CertificateFiles, protocols: Sequence[str]) -> None:
        self._files = files
        self._protocols = list(protocols)
        self._stamp = _stamp(files)
        self._context = _context(files, self._protocols)

    def fresh(self) -> ssl.SSLContext:
        stamp = _stamp(self._files)
        if stamp != self._stamp:
            self._stamp = stamp  # also if it fails: the next try is for the next change
            try:
                self._context = _context(self._files, self._protocols)
            except (OSError, ValueError) as exc:
                _log.error("%s; the certificate in use stays", exc)
            else:
                _log.info("loaded %s, which has changed", self._files.cert)
        return self._context


def _stamp(files: CertificateFiles) -> list[tuple[int, int, int] | None]:
    stamp: list[tuple[int, int, int] | None] = []
    for path in filter(None, (files.cert, files.key, files.client_ca)):
        try:
            info = os.stat(path)
        except OSError:
            stamp.append(None)
        else:
            stamp.append((info.st_ino, info.st_size, info.st_mtime_ns))
    return stamp


def _context(files: CertificateFiles, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.set_ciphers(files.ciphers or _CIPHERS)
    except ssl.SSLError:
        raise ValueError(f"OpenSSL knows no cipher of the list {files.ciphers!r}") from None
    for path in filter(None, (files.cert, files.key, files.client_ca)):
        try:
            open(path, "rb").close()
        except OSError as exc:
            raise OSError(f"cannot read {path!r}: {exc.strerror}") from exc
    try:
        context.load_cert_chain(files.cert, files.key, _no_password)
    except (ssl.SSLError, _Encrypted) as exc:
        raise ValueError(f"{files.cert!r} and {files.key!r} are no certificate and its key: {_reason(exc)}") from exc
    if files.client_ca:
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as exc:
            raise ValueError(f"{files.client_ca!r} has no certificates: {_reason(exc)}") from exc
        context.verify_mode = ssl.CERT_REQUIRED if files.must_have_client else ssl.CERT_OPTIONAL
    context.set_alpn_protocols(protocols)
    return context


class _Encrypted(Exception):
    """A private key asks for a password, and nobody is there to give it."""


def _no_password() -> str:
    raise _Encrypted("the key is encrypted")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error)).replace("_", " ").lower()
