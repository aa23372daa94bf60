"""https and wss, spoken to by other people's TLS: Python's and OpenSSL's, by way of several clients, and Chromium's."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.chromium import chromium_page
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.peers import require_module, require_program
from support.server import EXAMPLES, Server, ServerFailed
from support.tls import Authority, https, names_of
from support.websocket_client import BINARY, TEXT, RawClient, frame, handshake, text

from uwsgi_ws.certificates import CertificateFiles
from uwsgi_ws.net.contexts import Certificates

Serve = Callable[..., Server]

ECHO = """
import uwsgi

def application(environ, start_response):
    if "HTTP_UPGRADE" not in environ:
        start_response("200 OK", [])
        return [b"hello"]
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())
"""
ENVIRON = """
def application(environ, start_response):
    names = ("HTTPS", "wsgi.url_scheme", "HTTPS_DN", "HTTPS_CC", "REQUEST_METHOD")
    body = "".join(f"{name}={environ.get(name)!r}\\n" for name in names)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode() + environ["wsgi.input"].read()]
"""
MESSAGES = ["Hello", "", "é" * 70, "x" * 16_384, "x" * 16_385, "ü" * 500_000]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(serve: Serve, authority: Authority) -> Server:
    return serve(ECHO, program=https(authority.issue()))


def client_of(server: Server, authority: Authority, **settings: object) -> HttpClient:
    return HttpClient(server.addresses[0], tls=authority.client_context(), **settings)  # type: ignore[arg-type]


@contextlib.contextmanager
def websocket(server: Server, authority: Authority) -> Iterator[RawClient]:
    """An open WebSocket, its frames made by hand."""
    with RawClient(server.port) as client:
        context = authority.client_context()
        client.sock = context.wrap_socket(client.sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        client.send(handshake())
        assert client.read_response().status == 101
        yield client


# Clients ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="CPython 3.10's SSLSocket does not stand this client's two threads: it loses the close that the server sent",
)
def test_websockets_speaks_wss(server: Server, authority: Authority) -> None:
    client = require_module("websockets.sync.client")
    url = f"wss://127.0.0.1:{server.port}/"
    with client.connect(url, ssl=authority.client_context(), max_size=None) as connection:
        for message in MESSAGES:
            connection.send(message)
            assert connection.recv(10) == message
    assert connection.close_code == 1000


def test_websocket_client_speaks_wss(server: Server, authority: Authority) -> None:
    client = require_module("websocket")
    connection = client.create_connection(
        f"wss://127.0.0.1:{server.port}/", timeout=10, sslopt={"ca_certs": str(authority.path)}
    )
    for message in MESSAGES:
        connection.send(message)
        assert connection.recv() == message
    connection.close()


def test_chromium_speaks_https_and_wss(serve: Serve, authority: Authority) -> None:
    server = serve(EXAMPLES / "echo.py", program=https(authority.issue()))
    with chromium_page(ignore_https_errors=True) as page:
        page.goto(f"https://127.0.0.1:{server.port}/")
        assert (
            page.evaluate(
                """() => new Promise((resolve, reject) => {
                const socket = new WebSocket(`wss://${location.host}/ws`);
                socket.onopen = () => socket.send('x'.repeat(100000));
                socket.onmessage = (event) => { resolve(event.data.length); socket.close(); };
                socket.onerror = reject;
            })"""
            )
            == 100_000
        )


# What applications see --------------------------------------------------------------------------------


def test_the_environ_says_https(serve: Serve, authority: Authority) -> None:
    server = serve(ENVIRON, program=https(authority.issue()))
    with client_of(server, authority) as client:
        for _ in range(2):
            lines = client.request("POST", body=b"the body").text.splitlines()
            assert lines[:4] == ["HTTPS='on'", "wsgi.url_scheme='https'", "HTTPS_DN=None", "HTTPS_CC=None"]
            assert lines[-1] == "the body"


def test_a_client_is_asked_for_a_certificate_and_known_by_it(serve: Serve, authority: Authority) -> None:
    """uWSGI takes any certificate whatsoever: its verify callback always says yes."""
    program = https(authority.issue(), f",,{authority.path}")
    server = serve(ENVIRON, "--https-export-cert", program=program)
    files = authority.issue("alice@example.org", stem="client", common_name="Älice")
    with HttpClient(server.addresses[0], tls=authority.client_context(files)) as client:
        text = client.request().text
        assert "/CN=\\\\xC3\\\\x84lice'" in text
        assert "HTTPS_CC='-----BEGIN CERTIFICATE-----\\n" in text
    with client_of(server, authority) as client:
        assert "HTTPS_DN=None" in client.request().text


def test_a_certificate_of_another_authority_is_refused(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    server = serve(ENVIRON, program=https(authority.issue(), f",,{authority.path}"))
    (tmp_path / "other").mkdir()
    files = Authority(tmp_path / "other").issue("mallory@example.org")
    with (
        pytest.raises((ssl.SSLError, ConnectionError), match=r"(?i)unknown.ca|reset"),
        HttpClient(server.addresses[0], tls=authority.client_context(files)) as client,
    ):
        client.request()
    server.wait_for_log("127.0.0.1: no TLS handshake: .*certificate verify failed")


def test_a_mandatory_certificate_must_be_shown(serve: Serve, authority: Authority) -> None:
    server = serve(ENVIRON, program=https(authority.issue(), f",,!{authority.path}"))
    with (
        pytest.raises((ssl.SSLError, ConnectionError), match=r"(?i)certificate.required|reset"),
        client_of(server, authority) as client,
    ):
        client.request()
    files = authority.issue("alice@example.org", stem="client")
    with HttpClient(server.addresses[0], tls=authority.client_context(files)) as client:
        assert client.request().status == 200


def test_connection_fd_tells_of_messages_not_of_records(serve: Serve, authority: Authority) -> None:
    """Several messages in one record: the descriptor stays readable until the last one is taken."""
    server = serve(
        """
import select
import uwsgi

def application(environ, start_response):
    uwsgi.websocket_handshake()
    fd = uwsgi.connection_fd()
    while True:
        select.select([fd], [], [])
        uwsgi.websocket_send(uwsgi.websocket_recv_nb())
""",
        program=https(authority.issue()),
    )
    with websocket(server, authority) as client:
        client.send(text("one") + text("two") + text("three"))
        for message in ("one", "two", "three"):
            client.expect_text(message)


# Bytes ------------------------------------------------------------------------------------------------


def test_large_bodies_and_files_go_both_ways(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file.bin").write_bytes(content)
    server = serve(ENVIRON, "--static-map", f"/static={tmp_path}", program=https(authority.issue()))
    with client_of(server, authority) as client:
        assert client.request("POST", body=content).body.endswith(content)
        assert client.request(target="/static/file.bin").body == content


def test_a_slow_reader_gets_everything_in_order(serve: Serve, authority: Authority) -> None:
    server = serve(
        """
import uwsgi

def application(environ, start_response):
    uwsgi.websocket_handshake()
    for number in range(400):
        uwsgi.websocket_send_binary(b"%d " % number * 10_000)
""",
        program=https(authority.issue()),
    )
    with RawClient(server.port, receive_buffer=4_096) as client:
        client.sock = authority.client_context().wrap_socket(client.sock, server_hostname="127.0.0.1")
        client.send(handshake())
        assert client.read_response().status == 101
        for number in range(400):
            client.expect(BINARY, b"%d " % number * 10_000)
        client.expect_close(1000)


def test_what_the_kernel_has_not_taken_follows_by_itself(serve: Serve, authority: Authority) -> None:
    """The application has sent its only message and waits; nothing else would make the rest go out."""
    server = serve(
        """
import uwsgi

def application(environ, start_response):
    uwsgi.websocket_handshake()
    uwsgi.websocket_send_binary(bytes(250_000))
    uwsgi.websocket_recv()
""",
        "--log-format",
        "%(uri)",
        program=https(authority.issue()),
    )
    with RawClient(server.port, receive_buffer=4_096) as client:
        client.sock = authority.client_context().wrap_socket(client.sock, server_hostname="127.0.0.1")
        client.send(handshake())
        assert client.read_response().status == 101
        client.expect_binary(bytes(250_000))


@pytest.mark.parametrize("how", ["close_notify", "end of the stream", "reset"])
def test_a_client_that_is_gone_ends_its_application(server: Server, authority: Authority, how: str) -> None:
    with websocket(server, authority) as client:
        client.send_text("here")
        client.expect_text("here")
        if how == "close_notify":
            client.sock.settimeout(0)
            with contextlib.suppress(ssl.SSLWantReadError):
                client.sock.unwrap()  # type: ignore[attr-defined]
        elif how == "reset":
            client.reset()
        else:
            client.sock.shutdown(socket.SHUT_WR)
        server.wait_for_log("closed 1006")


def test_records_may_come_in_any_pieces(server: Server, authority: Authority) -> None:
    """Byte by byte, the handshake too; then many records in one packet."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(server.addresses[0], 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def until_done(step: Callable[[], object]) -> object:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        sock.send(bytes((byte,)))
                    incoming.write(sock.recv(65_536))

        until_done(tls.do_handshake)
        tls.write(handshake())
        assert b" 101 " in until_done(lambda: tls.read(65_536))  # type: ignore[operator]
        for number in range(50):
            tls.write(frame(TEXT, b"%d" % number))
        sock.sendall(outgoing.read())
        came = b""
        expected = b"".join(bytes((0x81, len(str(number)))) + b"%d" % number for number in range(50))
        while len(came) < len(expected):
            came += until_done(lambda: tls.read(65_536))  # type: ignore[operator]
        assert came == expected


def test_new_keys_are_agreed_on_in_the_middle(server: Server, authority: Authority) -> None:
    """RFC 8446 4.6.3: a KeyUpdate that asks for one of ours. OpenSSL's client sends it when told ``K``."""
    command = [require_program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3"]
    with subprocess.Popen(
        [*command, "-CAfile", str(authority.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for _ in range(2):
            client.stdin.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            seen = b""
            while b"hello" not in seen:
                piece = client.stdout.read(65_536)
                assert piece, seen
                seen += piece
            client.stdin.write(b"K\n")
            while b"KEYUPDATE" not in seen:
                seen += client.stdout.read(65_536)
        client.kill()


def test_the_end_is_told_by_close_notify(server: Server, authority: Authority) -> None:
    """Without it the client could not tell a whole answer from a truncated one (RFC 8446 6.1)."""
    with client_of(server, authority) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        while client.sock.recv(65_536):
            pass  # suppress_ragged_eofs is off: an end without close_notify would raise
    with websocket(server, authority) as connection:
        connection.finish()


def test_a_broken_record_ends_its_connection_only(server: Server, authority: Authority) -> None:
    with websocket(server, authority) as good:
        with websocket(server, authority) as bad:
            plain = socket.socket(fileno=os.dup(bad.sock.fileno()))
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            with pytest.raises((ssl.SSLError, ConnectionError)):
                bad.read_frame()
            plain.close()
        good.send_text("still here")
        good.expect_text("still here")


# The handshake ----------------------------------------------------------------------------------------


def test_a_handshake_has_a_deadline_however_it_trickles(serve: Serve, authority: Authority) -> None:
    server = serve(ECHO, "--socket-timeout", "0.6", program=https(authority.issue()))
    begun = time.monotonic()
    with (
        socket.create_connection(server.addresses[0], 10) as silent,
        socket.create_connection(server.addresses[0], 10) as trickling,
    ):
        trickling.settimeout(0.1)
        for byte in b"\x16\x03\x01\x02\x00" + bytes(60):
            try:
                trickling.send(bytes((byte,)))
                if not trickling.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.monotonic() - begun < 3
        assert silent.recv(1) == b""


def test_a_handshake_does_not_hold_up_a_stop(serve: Serve, authority: Authority) -> None:
    server = serve(ECHO, program=https(authority.issue()))
    with socket.create_connection(server.addresses[0], 10) as sock:
        sock.send(b"\x16\x03\x01")
        with client_of(server, authority) as client:
            assert client.request().text == "hello"
        assert server.stop(deadline=5) == 0
    assert not server.killed


def test_who_speaks_http_is_told_so(server: Server, authority: Authority) -> None:
    response = fetch(server.addresses[0])
    assert response.status == 400
    assert response.text == "400 Bad Request: this address speaks https\n"


@pytest.mark.parametrize(
    ("version", "cipher", "accepted"),
    [
        ("TLSv1_3", None, True),
        ("TLSv1_2", None, True),
        ("TLSv1_2", "AES128-SHA", False),  # no forward secrecy, no AEAD
        ("TLSv1_1", "ALL:@SECLEVEL=0", False),  # RFC 8996
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_modern_tls_is_spoken(
    server: Server, authority: Authority, version: str, cipher: str | None, accepted: bool
) -> None:
    context = authority.client_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    if cipher is not None:
        context.set_ciphers(cipher)
    if accepted:
        with HttpClient(server.addresses[0], tls=context) as client:
            assert client.request().text == "hello"
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            HttpClient(server.addresses[0], tls=context)


def test_ciphers_can_be_chosen(serve: Serve, authority: Authority) -> None:
    server = serve(ECHO, program=https(authority.issue(), ",ECDHE+CHACHA20"))
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with HttpClient(server.addresses[0], tls=context) as client:
        assert "CHACHA20" in client.sock.cipher()[0]  # type: ignore[attr-defined]


def test_alpn_agrees_on_http_1_1(server: Server, authority: Authority) -> None:
    context = authority.client_context()
    context.set_alpn_protocols(["acme", "http/1.1"])
    with HttpClient(server.addresses[0], tls=context) as client:
        assert client.sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]


# Certificates -----------------------------------------------------------------------------------------


def test_the_server_name_chooses_the_certificate(serve: Serve, authority: Authority) -> None:
    server = serve(
        ECHO,
        "--sni",
        f"one.example {authority.issue('one.example', stem='one')}",
        "--sni",
        f"*.two.example {authority.issue('*.two.example', stem='two')}",
        program=https(authority.issue()),
    )
    assert names_of(server, authority, "one.example") == {"one.example"}
    assert names_of(server, authority, "ONE.example") == {"one.example"}
    assert names_of(server, authority, "www.two.example") == {"*.two.example"}
    assert names_of(server, authority, "three.example") == {"127.0.0.1", "localhost"}
    assert names_of(server, authority, "127.0.0.1") == {"127.0.0.1", "localhost"}  # an address: no SNI at all


def test_a_folder_has_certificates_by_server_name(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()

    def put(name: str, *names: str) -> None:
        """Rename the files into their place, as they must not be seen half-written."""
        files = authority.issue(*(names or (name,)), stem="new").split(",")
        for source, ending in zip(files, (".crt", ".key"), strict=True):
            Path(source).rename(folder / f"{name}{ending}")

    own = {"127.0.0.1", "localhost"}
    listed = f"listed.example {authority.issue('listed.example', stem='listed')}"
    server = serve(ECHO, "--sni-dir", str(folder), "--sni", listed, program=https(authority.issue()))
    assert names_of(server, authority, "one.example") == own
    put("one.example")  # nothing has to be told
    assert names_of(server, authority, "ONE.example") == {"one.example"}
    put("*.two.example")
    assert names_of(server, authority, "www.two.example") == {"*.two.example"}
    put("listed.example", "folder.example")
    assert names_of(server, authority, "listed.example") == {"listed.example"}
    put("one.example", "one.example", "new.example")
    assert names_of(server, authority, "one.example") == {"one.example", "new.example"}
    (folder / "one.example.key").unlink()
    assert names_of(server, authority, "one.example") == own
    assert names_of(server, authority, "three.example") == own


def test_what_is_wrong_in_the_folder_is_said_once_and_harms_nobody(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / "bad.example.crt").write_text("no certificate")
    (folder / "bad.example.key").write_text("no key")
    for source, ending in zip(authority.issue("ca.example").split(","), (".crt", ".key"), strict=True):
        Path(source).rename(folder / f"ca.example{ending}")
    (folder / "ca.example.ca").write_text("clients' authority")
    server = serve(ECHO, "--sni-dir", str(folder), program=https(authority.issue()))
    for name in ("bad.example", "ca.example"):
        for _ in range(2):
            assert names_of(server, authority, name) == {"127.0.0.1", "localhost"}
        server.wait_for_log(rf"{name}\.crt is not used")
        assert len(re.findall(rf"{name}\.crt is not used", server.log)) == 1
    (folder / "ca.example.ca").unlink()
    assert names_of(server, authority, "ca.example") == {"ca.example"}


@pytest.mark.parametrize("name", ["../outside", "certificates/../../outside", "..", ".outside", "x" * 253])
def test_no_name_leads_out_of_the_folder(authority: Authority, tmp_path: Path, name: str) -> None:
    """Clients here refuse to ask for such names, so the callback is asked as OpenSSL would."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    for path in (folder / "..crt", tmp_path / "outside.crt", folder / ".outside.crt"):
        cert, key = authority.issue("outside.example", stem="moved").split(",")
        Path(cert).rename(path)
        Path(key).rename(path.with_suffix(".key"))
    files = CertificateFiles(*authority.issue().split(","))
    tls = SimpleNamespace(context=None)
    Certificates(files, (), str(folder), ("http/1.1",), {})._choose(tls, name, None)  # type: ignore[arg-type]
    assert tls.context is None


def test_a_folder_that_is_none_is_named_at_the_start(authority: Authority) -> None:
    with pytest.raises(ServerFailed, match="--sni-dir: 'missing' is no folder"):
        Server(ECHO, "--sni-dir", "missing", program=https(authority.issue()))


def test_a_new_certificate_is_used_without_dropping_anybody(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    server = serve(ECHO, program=https(authority.issue("before.example", "127.0.0.1")))
    with websocket(server, authority) as connection:
        authority.issue("after.example", "127.0.0.1")
        assert names_of(server, authority, "127.0.0.1") == {"after.example", "127.0.0.1"}
        server.wait_for_log(r"loaded .*server\.pem, which has changed")
        # Broken, it is not used; whole again, it is.
        (tmp_path / "server.pem").write_text("no certificate")
        assert names_of(server, authority, "127.0.0.1") == {"after.example", "127.0.0.1"}
        server.wait_for_log("no certificate and its key: .*; the certificate in use stays")
        authority.issue("third.example", "127.0.0.1")
        assert names_of(server, authority, "127.0.0.1") == {"third.example", "127.0.0.1"}
        connection.send_text("all the time")
        connection.expect_text("all the time")


def test_the_key_may_come_after_its_certificate(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    """Whoever renews writes two files, one after the other; in between they do not fit."""
    server = serve(ECHO, program=https(authority.issue("before.example")))
    old_key = (tmp_path / "server.key").read_bytes()
    authority.issue("after.example")
    new_key = (tmp_path / "server.key").read_bytes()
    (tmp_path / "server.key").write_bytes(old_key)
    assert names_of(server, authority, "127.0.0.1") == {"before.example"}
    (tmp_path / "server.key").write_bytes(new_key)
    assert names_of(server, authority, "127.0.0.1") == {"after.example"}


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ("missing.pem,{key}", "--https: cannot read 'missing.pem': No such file or directory"),
        ("{cert},missing.key", "--https: cannot read 'missing.key': No such file or directory"),
        ("{cert},{cert}", "are no certificate and its key"),
        ("{cert},{key},NO-SUCH-CIPHER", "--https: OpenSSL knows no cipher of the list 'NO-SUCH-CIPHER'"),
        ("{cert},{key},,{key}", "has no certificates"),
        ("{cert},{encrypted}", "are no certificate and its key: the key is encrypted"),
    ],
)
def test_files_that_will_not_do_are_named_at_the_start(
    authority: Authority, tmp_path: Path, files: str, problem: str
) -> None:
    cert, key = authority.issue().split(",")
    encrypted = tmp_path / "encrypted.key"
    if "{encrypted}" in files:
        command = [require_program("openssl"), "pkey", "-in", key, "-aes128", "-passout", "pass:secret"]
        encrypted.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    with pytest.raises(ServerFailed) as failed:
        Server(ECHO, program=https(files.format(cert=cert, key=key, encrypted=encrypted)))
    assert problem in str(failed.value)


# Sending on -------------------------------------------------------------------------------------------


def test_http_is_sent_on_to_https(serve: Serve, authority: Authority) -> None:
    server = serve(ECHO, "--http-to-https", "127.0.0.1:0,8443", "--http-to-https", "127.0.0.1:0")
    to_8443, to_usual = server.addresses[1:]
    with HttpClient(to_8443) as client:
        for _ in range(2):  # and the connection may stay
            response = client.request(target="/a%20b?c=d", headers=[("Host", "example.org:80")])
            assert (response.status, response.get("Location")) == (301, "https://example.org:8443/a%20b?c=d")
    assert fetch(to_usual, "/x").get("Location") == "https://test.example/x"
    assert fetch(to_usual, "http://test.example/y?z").get("Location") == "https://test.example/y?z"
    with HttpClient(to_usual) as client:
        assert client.request(version="HTTP/1.0").status == 400  # without a Host
    eventually(lambda: server.log.count("=> generated") == 5)
