"""Certificates made when a test needs them, and clients that trust them."""

from __future__ import annotations

import contextlib
import ssl
import sys
from pathlib import Path

from support.http_client import HttpClient
from support.peers import require_module
from support.server import Program, Server

READY = r"spawned uwsgi_ws worker"


class TlsSocket(ssl.SSLSocket):
    """A socket that ends its direction as TLS does, by close_notify, and goes on to read (RFC 8446 6.1)."""

    def shutdown(self, how: int) -> None:
        timeout = self.gettimeout()
        self.settimeout(0)
        with contextlib.suppress(ssl.SSLError):  # it would like to wait for the server's
            self.unwrap()
        self.settimeout(timeout)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(size, flags)
        except ssl.SSLZeroReturnError:  # both have ended their directions
            return b""


class Authority:
    """A certificate authority of a test's own, its files in a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = require_module("trustme").CA()
        self.path = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.path))

    def issue(self, *names: str, stem: str = "server", common_name: str | None = None) -> str:
        """Write ``STEM.pem`` and ``STEM.key``, anew if they are there; return them as the options want them."""
        issued = self._ca.issue_cert(*(names or ("127.0.0.1", "localhost")), common_name=common_name)
        cert, key = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return f"{cert},{key}"

    def client_context(self, client_files: str | None = None) -> ssl.SSLContext:
        """Return what trusts this authority, and shows a certificate of ``issue``'s if one is given."""
        context = ssl.create_default_context(cafile=str(self.path))
        if client_files is not None:
            context.load_cert_chain(*client_files.split(","))
        return context


def https(files: str, rest: str = "") -> Program:
    """Return a server that listens for https only, with files as ``Authority.issue`` returns them."""
    return Program((sys.executable, "-m", "uwsgi_ws", "--https", f"127.0.0.1:0,{files}{rest}"), READY)


def names_of(server: Server, authority: Authority, asked_for: str = "127.0.0.1") -> set[str]:
    """The names in the certificate that the server shows."""
    context = authority.client_context()
    context.check_hostname = False
    with HttpClient(server.addresses[-1], tls=context, server_name=asked_for) as client:
        certificate = client.sock.getpeercert()  # type: ignore[attr-defined]
    return {name for _, name in certificate["subjectAltName"]}
