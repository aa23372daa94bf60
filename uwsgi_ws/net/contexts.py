"""The TLS contexts of a listening address, loaded anew when their files change."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from uwsgi_ws.certificates import CertificateFiles, NamedCertificate, is_server_name
from uwsgi_ws.net.pem import Contents, paths_of, read_files

__all__ = ["Certificates"]

_log = logging.getLogger("uwsgi_ws.tls")

#: Forward secrecy and authenticated encryption only (RFC 9325 4.2); TLS 1.3 has nothing else, nor has HTTP/2.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: The property of the type written in C. gevent's, which patching puts over it, works for its own sockets only.
_sni_callback: Any = next(kind for kind in ssl.SSLContext.__mro__ if kind.__module__ == "_ssl").__dict__["sni_callback"]


class Certificates:
    """The contexts of one address: its own, and those for the server names that clients may ask for (SNI).

    The files are looked at for each new connection and loaded anew when they have changed; connections that are open
    keep what they began with. Files that cannot be loaded change nothing but the log. Files that may not be read are
    replaced by what they held for somebody who might, all those of a certificate together.

    Args:
        files: What clients get who ask for no name, or for one not listed.
        named: The others.
        folder: Where there are more; None for nowhere.
        protocols: What may be agreed on by ALPN (RFC 7301), best first.
        kept: What files held when they were read before.

    Raises:
        OSError: a file cannot be read, or is not what it should be; ``str`` names it and says why.
        ValueError: likewise.
    """

    def __init__(
        self,
        files: CertificateFiles,
        named: Sequence[NamedCertificate],
        folder: str | None,
        protocols: Sequence[str],
        kept: Contents,
    ) -> None:
        self._folder = None if folder is None else _Folder(folder, protocols, kept)
        self._own = _Loaded(files, protocols, kept)
        self._named = {each.name: _Loaded(each.files, protocols, kept) for each in named}

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        context = self._own.fresh()
        if self._named or self._folder is not None:
            _sni_callback.__set__(context, self._choose)
        return context

    def _choose(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        wildcard = "*." + name.partition(".")[2]
        loaded = self._named.get(name) or self._named.get(wildcard)
        if loaded is None and self._folder is not None:
            loaded = self._folder.find(name) or self._folder.find(wildcard)
        if loaded is not None:
            tls.context = loaded.fresh()


class _Loaded:
    """A context made of files, and what the files were like then."""

    def __init__(self, files: CertificateFiles, protocols: Sequence[str], kept: Contents) -> None:
        self._files = files
        self._protocols = list(protocols)
        self._stamp = _stamp(files)
        try:
            contents: Contents = read_files(files)
        except PermissionError as exc:
            if not kept.keys() >= {*paths_of(files)}:
                raise
            _log.warning("%s; the certificate that was read at the start is used", exc)
            contents = kept
        self._context = _context(files, contents, self._protocols)

    def fresh(self) -> ssl.SSLContext:
        stamp = _stamp(self._files)
        if stamp != self._stamp:
            self._stamp = stamp  # also if it fails: the next try is for the next change
            try:
                self._context = _context(self._files, read_files(self._files), self._protocols)
            except (OSError, ValueError) as exc:
                _log.error("%s; the certificate in use stays", exc)
            else:
                _log.info("loaded %s, which has changed", self._files.cert)
        return self._context


class _Folder:
    """Certificates by server name, in files called after it, each loaded when it is first asked for.

    A client can make us look for files, but only what is there is remembered.
    """

    def __init__(self, path: str, protocols: Sequence[str], kept: Contents) -> None:
        self._path = path
        self._kept = kept
        self._protocols = protocols
        self._loaded: dict[str, _Loaded] = {}
        self._unfit: dict[str, _Stamp] = {}  # what could not be loaded, and has been said so

    def find(self, name: str) -> _Loaded | None:
        """Return a name's certificate; None when there is none, or none that will do."""
        if not is_server_name(name):
            return None
        base = os.path.join(self._path, name)
        files = CertificateFiles(f"{base}.crt", f"{base}.key", client_ca=f"{base}.ca")
        stamp = _stamp(files)
        if stamp[0] is None or stamp[1] is None:
            self._loaded.pop(name, None)
            self._unfit.pop(name, None)
        elif name not in self._loaded and self._unfit.get(name) != stamp:
            try:
                if stamp[2] is not None:
                    # OpenSSL settles what to ask of a client before it knows the name; see parse_named_certificate.
                    raise ValueError(f"{files.client_ca!r} would protect nothing: a client_ca belongs to the address")
                self._loaded[name] = _Loaded(CertificateFiles(files.cert, files.key), self._protocols, self._kept)
                _log.info("loaded %s", files.cert)
            except (OSError, ValueError) as exc:
                _log.error("%s; %s is not used", exc, files.cert)
                self._unfit[name] = stamp
        return self._loaded.get(name)


_Stamp: TypeAlias = "list[tuple[int, int, int] | None]"


def _stamp(files: CertificateFiles) -> _Stamp:
    stamp: _Stamp = []
    for path in paths_of(files):
        try:
            info = os.stat(path)
        except OSError:
            stamp.append(None)
        else:
            stamp.append((info.st_ino, info.st_size, info.st_mtime_ns))
    return stamp


def _context(files: CertificateFiles, contents: Contents, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.set_ciphers(files.ciphers or _CIPHERS)
    except ssl.SSLError:
        raise ValueError(f"OpenSSL knows no cipher of the list {files.ciphers!r}") from None
    try:
        with _file_of(contents[files.cert]) as cert, _file_of(contents[files.key]) as key:
            context.load_cert_chain(cert, key, _no_password)
    except (ssl.SSLError, _Encrypted) as exc:
        raise ValueError(f"{files.cert!r} and {files.key!r} are no certificate and its key: {_reason(exc)}") from exc
    if files.client_ca:
        try:
            with _file_of(contents[files.client_ca]) as client_ca:
                context.load_verify_locations(client_ca)
        except ssl.SSLError as exc:
            raise ValueError(f"{files.client_ca!r} has no certificates: {_reason(exc)}") from exc
        context.verify_mode = ssl.CERT_REQUIRED if files.must_have_client else ssl.CERT_OPTIONAL
    context.set_alpn_protocols(protocols)
    return context


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """Yield the path of a file that is in memory only: the ``ssl`` module takes keys from files alone."""
    fd = os.memfd_create("uwsgi_ws.pem", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


class _Encrypted(Exception):
    """A private key asks for a password, and nobody is there to give it."""


def _no_password() -> str:
    raise _Encrypted("the key is encrypted")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error)).replace("_", " ").lower()
