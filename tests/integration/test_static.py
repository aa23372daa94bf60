"""Files served before any application is asked, and no file that was not meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, Response, fetch
from support.server import Server

APPLICATION = """
def application(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"application " + environ["PATH_INFO"].encode("latin-1")]
"""

MODIFIED = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``secret`` beside ``public``, and ``public-not``, whose name begins alike."""
    folder = tmp_path_factory.mktemp("static")
    files = {
        "secret": b"secret",
        "public-not/secret": b"secret",
        "public/page.html": b"<p>page</p>",
        "public/style.css": b"p{}",
        "public/data.json.gz": b"not really gzip",
        "public/plain": b"plain",
        "public/empty.txt": b"",
        "public/large.bin": os.urandom(1 << 20),
        "public/with space é.txt": b"spaced",
        "public/deep/index.html": b"<p>index</p>",
        "public/deep/er/file.txt": b"deep",
        "checked/page.html": b"<p>checked</p>",
        "checked/app/file.txt": b"checked",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (MODIFIED, MODIFIED))
    (folder / "public/out").symlink_to(folder / "secret")
    (folder / "public/outdir").symlink_to(folder)
    (folder / "public/beside").symlink_to(folder / "public-not")
    (folder / "public/in").symlink_to("page.html")
    (folder / "public/nowhere").symlink_to("missing")
    (folder / "public/round").symlink_to("round")
    os.mkfifo(folder / "public/fifo")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    options = ["--static-map", f"/static={folder}/public", "--static-map", f"/favicon.ico={folder}/public/plain"]
    options += ["--check-static", f"{folder}/checked", "--static-index", "index.html"]
    with Server(APPLICATION, *options) as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log


def get(server: Server, target: str, method: str = "GET", *headers: tuple[str, str]) -> Response:
    return fetch(("127.0.0.1", server.port), target, headers, method)


@pytest.mark.parametrize(
    ("target", "body", "kind"),
    [
        ("/static/page.html", b"<p>page</p>", "text/html"),
        ("/static/page.html?query", b"<p>page</p>", "text/html"),
        ("/static/style.css", b"p{}", "text/css"),
        ("/static/plain", b"plain", "application/octet-stream"),
        ("/static/empty.txt", b"", "text/plain"),
        ("/static/with%20space%20%C3%A9.txt", b"spaced", "text/plain"),
        ("/static/deep/er/file.txt", b"deep", "text/plain"),
        ("/static/deep/./er/../er/file.txt", b"deep", "text/plain"),
        ("/static//page.html", b"<p>page</p>", "text/html"),
        ("/static/in", b"<p>page</p>", "text/html"),
        ("/static/deep/", b"<p>index</p>", "text/html"),
        ("/static/deep", b"<p>index</p>", "text/html"),
        ("/favicon.ico", b"plain", "application/octet-stream"),
        ("/page.html", b"<p>checked</p>", "text/html"),
        ("/app/file.txt", b"checked", "text/plain"),
    ],
)
def test_a_file_is_served_with_its_type(server: Server, target: str, body: bytes, kind: str) -> None:
    response = get(server, target)
    assert response.status == 200
    assert response.body == body
    assert response.get("Content-Length") == str(len(body))
    assert response.get("Content-Type") == kind
    assert response.get("Last-Modified") == formatdate(MODIFIED, usegmt=True)
    head = get(server, target, "HEAD")
    assert head.body == b""
    assert {name: value for name, value in head.headers if name != "Date"} == {
        name: value for name, value in response.headers if name != "Date"
    }


def test_a_packed_file_says_so(server: Server) -> None:
    response = get(server, "/static/data.json.gz")
    assert response.get("Content-Type") == "application/json"
    assert response.get("Content-Encoding") == "gzip"


def test_a_large_file_comes_whole_and_the_connection_goes_on(server: Server, folder: Path) -> None:
    with HttpClient(("127.0.0.1", server.port)) as client:
        for _ in range(2):
            assert client.request("GET", "/static/large.bin").body == (folder / "public/large.bin").read_bytes()
        assert client.request("HEAD", "/static/large.bin").status == 200
        assert client.request("GET", "/static/plain").body == b"plain"


@pytest.mark.parametrize(
    ("since", "status"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 304),  # RFC 9110 5.6.7: the obsolete forms must be read too
        ("Sun Nov  6 08:49:37 1994", 304),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 304),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("Sun Nov  6 08:49:36 1994", 200),
        ("yesterday", 200),
        ("", 200),
    ],
)
def test_if_modified_since_saves_the_body(server: Server, since: str, status: int) -> None:
    response = get(server, "/static/page.html", "GET", ("If-Modified-Since", since))
    assert response.status == status
    assert response.body == (b"" if status == 304 else b"<p>page</p>")
    assert response.get("Last-Modified") == formatdate(MODIFIED, usegmt=True)
    assert response.get("Content-Type") == (None if status == 304 else "text/html")


@pytest.mark.parametrize(
    "since",
    [
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        "Sun, 99 Nov 1994 99:99:99 GMT",
        "Mon, 01 Jan 0000 00:00:00 -0000",
    ],
)
def test_an_impossible_date_is_no_error(server: Server, since: str) -> None:
    assert get(server, "/static/page.html", "GET", ("If-Modified-Since", since)).status in (200, 304)


@pytest.mark.parametrize(
    "target",
    [
        "/static/../secret",
        "/static/../../../../../../../../etc/passwd",
        "/static/%2e%2e/secret",
        "/static/%2e./secret",
        "/static/..%2fsecret",
        "/static/deep/../../secret",
        "/static/%2e%2e/public-not/secret",
        "/static/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/..\\secret".replace("\\", "%5c"),
        "/static/page.html%00",
        "/static/page.html%00.css",
        "/static/%00",
        "/static/out",
        "/static/outdir/secret",
        "/static/beside/secret",
        "/static/nowhere",
        "/static/round",
        "/static/fifo",
        "/static/missing",
        "/static",
        "/static/",
        "/static/" + "a" * 300,
        "/static/" + "a/" * 3_000,
        "/static/%ff%fe",
        "/static/%ed%a0%80",
        "/static/deep/er",
        "/statics/page.html",
        "/static-not/page.html",
        "/Static/page.html",
        "/favicon.ico2",
        "/secret",
        "/../secret",
        "/%2e%2e/secret",
        "//etc/passwd",
        "/",
    ],
)
def test_everything_else_is_the_applications(server: Server, target: str) -> None:
    for method in ("GET", "HEAD"):
        response = get(server, target, method)
        assert response.status == 404
        assert response.body.startswith(b"application " if method == "GET" else b"")


def test_other_methods_are_the_applications(server: Server) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(server, "/static/page.html", method).text == "application /static/page.html"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_the_server_may_not_read_is_forbidden(server: Server, folder: Path) -> None:
    path = folder / "public/locked"
    path.write_bytes(b"locked")
    path.chmod(0)
    assert get(server, "/static/locked").status == 403


def test_a_part_of_a_file_comes_alone_and_says_where_it_belongs(server: Server, folder: Path) -> None:
    whole = (folder / "public/large.bin").read_bytes()
    with HttpClient(("127.0.0.1", server.port)) as client:
        response = client.request("GET", "/static/large.bin", [("Range", "bytes=70000-140001")])
        assert (response.status, response.reason) == (206, "Partial Content")
        assert response.get("Content-Range") == f"bytes 70000-140001/{len(whole)}"
        assert response.get("Content-Length") == "70002"
        assert response.get("Accept-Ranges") == "bytes"
        assert response.body == whole[70_000:140_002]
        # A download goes on where it stopped, of the same file only.
        etag = response.get("ETag")
        assert etag is not None
        rest = client.request("GET", "/static/large.bin", [("Range", "bytes=140002-"), ("If-Range", etag)])
        assert rest.status == 206
        assert rest.body == whole[140_002:]
        other = client.request("GET", "/static/large.bin", [("Range", "bytes=140002-"), ("If-Range", '"other"')])
        assert (other.status, other.body) == (200, whole)


def test_a_part_that_is_not_there_is_refused_with_the_size(server: Server) -> None:
    response = get(server, "/static/plain", "GET", ("Range", "bytes=5-"))
    assert response.status == 416
    assert response.get("Content-Range") == "bytes */5"


def test_several_parts_at_once_are_answered_with_the_whole(server: Server) -> None:
    response = get(server, "/static/plain", "GET", ("Range", "bytes=0-0,2-2"))
    assert (response.status, response.body) == (200, b"plain")


def test_an_entity_tag_saves_the_body_until_the_file_changes(server: Server, folder: Path) -> None:
    path = folder / "public/changing"
    path.write_bytes(b"one")
    etag = get(server, "/static/changing").get("ETag")
    assert etag is not None
    unchanged = get(server, "/static/changing", "GET", ("If-None-Match", etag))
    assert (unchanged.status, unchanged.body, unchanged.get("ETag")) == (304, b"", etag)
    assert get(server, "/static/changing", "GET", ("If-Match", etag)).status == 200
    path.write_bytes(b"other")
    changed = get(server, "/static/changing", "GET", ("If-None-Match", etag))
    assert (changed.status, changed.body) == (200, b"other")
    assert get(server, "/static/changing", "GET", ("If-Match", etag)).status == 412


@pytest.mark.parametrize(
    "target",
    [
        "/static/page.html/",
        "/static/page.html//",
        "/static/page.html/.",
        "/static/page.html/..",
        "/static/page.html/../page.html",
        "/static/page.html%2F",
        "/static/in/",
        "/static/missing/../page.html",
        "/favicon.ico/",
        "/static/" + "a/" * 3_990,
        "/static/" + "deep/../" * 1_000 + "page.html",
        "/static/" + "x" * 300,
    ],
    ids=lambda target: target[:30],
)
def test_what_is_no_path_of_a_file_is_the_applications(server: Server, target: str) -> None:
    """A slash at the end is a directory's; what the kernel does not find is not there."""
    assert get(server, target).status == 404


def test_files_are_found_without_a_descriptor_left_or_lost(server: Server, folder: Path) -> None:
    get(server, "/static/page.html")
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    for target in ("/static/page.html", "/static/deep/", "/static/deep", "/static/out", "/static/fifo", "/static/gone"):
        get(server, target)
    eventually(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= before)


def test_a_directory_that_is_not_there_is_said_at_the_start_and_may_come_later(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    later, ini = tmp_path / "later", tmp_path / "site.ini"
    ini.write_text(f"[uwsgi]\ncheck-static = {tmp_path}/none\nstatic-map = /here={tmp_path}\n")
    server = serve(APPLICATION, "--static-map", f"/s={later}", "--ini", str(ini))
    server.wait_for_log(rf"--static-map /s={later} .*there is no '{later}'")
    server.wait_for_log(rf"check-static {tmp_path}/none \({ini}:2\): there is no '{tmp_path}/none'")
    assert server.log.count("there is no") == 2
    later.mkdir()
    (later / "a.txt").write_bytes(b"later")
    assert get(server, "/s/a.txt").body == b"later"


@pytest.mark.parametrize(
    "option",
    ["--static-gzip-all", "--static-gzip=/a\\.", "--static-gzip-prefix={}", "--static-gzip-suffix=.css"],
)
def test_a_client_that_understands_it_gets_what_is_compressed_beside_a_file(
    serve: Callable[..., Server], tmp_path: Path, option: str
) -> None:
    for name, content in {
        "a.css": b"p{}", "a.css.gz": b"zip", "b.txt": b"other", "b.txt.gz": b"zip", "c.css": b"c{}", "d.css": b"d{}",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (MODIFIED, MODIFIED))
    (tmp_path / "c.css.gz").symlink_to("a.css.gz")
    server = serve(APPLICATION, "--static-map", f"/static={tmp_path}", option.format(f"{tmp_path}/a"))

    def get(name: str, accepted: str | None, *more: tuple[str, str]) -> Response:
        headers = [*more, *([] if accepted is None else [("Accept-Encoding", accepted)])]
        return fetch(server.addresses[0], f"/static/{name}", headers)

    for accepted in ("gzip", "deflate, GZIP;q=0.5", "br, gzip"):
        answer = get("a.css", accepted)
        assert (answer.body, answer.get("Content-Encoding"), answer.get("Vary")) == (b"zip", "gzip", "Accept-Encoding")
        assert answer.get("Content-Type") == "text/css"
        assert answer.get("Content-Length") == "3"
    compressed = answer.get("ETag")
    for accepted_or_not in (None, "", "gzip;q=0", "gzip; q=0.00", "identity", "x-gzip2", "*"):
        answer = get("a.css", accepted_or_not)
        assert (answer.body, answer.get("Content-Encoding"), answer.get("Vary")) == (b"p{}", None, "Accept-Encoding")
    plain = answer.get("ETag")
    assert plain != compressed  # of the same size and time
    assert get("a.css", "gzip", ("If-None-Match", str(compressed))).status == 304
    assert get("a.css", None, ("If-None-Match", str(compressed))).status == 200
    assert get("a.css", None, ("If-None-Match", str(plain))).status == 304
    assert get("a.css", "gzip", ("Range", "bytes=1-")).body == b"ip"
    assert (get("b.txt", "gzip").body == b"zip") is ("all" in option)
    assert get("c.css", "gzip").body == b"c{}"  # a link may lead anywhere
    assert get("d.css", "gzip").body == b"d{}"
    (tmp_path / "a.css.br").write_bytes(b"brotli")
    assert get("a.css", "gzip, br").get("Content-Encoding") == "br"
    answer = get("b.txt.gz", "gzip")
    assert (answer.body, answer.get("Vary")) == (b"zip", None)
