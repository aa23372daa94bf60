"""PEP 3333 as clients and applications see it, over real sockets."""

from __future__ import annotations

import ast
import gzip
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import EndOfStream, HttpClient, Response, chunked, fetch, request_bytes, resident_kib
from support.server import APPLICATIONS, Server

APPLICATION = APPLICATIONS / "wsgi_requests.py"

MIB = 1 << 20
GET_AND_KIN = ("GET", "POST", "HEAD", "PUT")


@pytest.fixture(scope="module", params=["--gevent", "--threads"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """It must outlive every application's mistake, and still end properly."""
    with Server(APPLICATION, request.param, "50") as server:
        pid = server.pid
        yield server
        assert fetch(("127.0.0.1", server.port), "/nothing").status == 200
        assert server.pid == pid
        assert server.stop() == 0
        assert "Traceback" not in server.log.rpartition("received...stopping")[2]


@pytest.fixture
def client(server: Server) -> Iterator[HttpClient]:
    with HttpClient(("127.0.0.1", server.port)) as client:
        yield client


def literal(client: HttpClient, status: object, headers: object, chunks: object, method: str = "POST") -> Response:
    """Have an application answer just that."""
    return client.request(method, "/literal", body=repr((status, headers, chunks)).encode())


def still_works(client: HttpClient) -> bool:
    """Whether the connection can be used again."""
    return client.request("GET", "/ignore_body").body == b"ignored"


# wsgiref.validate over a corpus

BODIES = {
    "empty": b"",
    "short": b"five!",
    "lines": b"one\ntwo\r\n\nfour, without an end",
    "binary": bytes(range(256)) * 3 + b"\n" * 50,
    "long": b"0123456789abcdef\n" * 6_000,
}
ECHOES = [
    "echo_read",
    "echo_read_small",
    "echo_readline",
    "echo_readline_sized",
    "echo_readlines",
    "echo_lines_iterated",
    "echo_write",
    "echo_write_then_return",
    "echo_closing",
    "echo_file",
    "echo_late_start",
    "echo_second_thought",
]


@pytest.mark.parametrize("name", ECHOES)
def test_wsgiref_validate_finds_nothing(server: Server, client: HttpClient, name: str) -> None:
    before = len(server.log)
    for method in GET_AND_KIN:
        for kind, body in BODIES.items():
            # In threads each line is a write that takes two changes of threads, and for a HEAD an application has a
            # second: a long body that it has not read by then costs the connection.
            if "--threads" in server.name or method == "HEAD":
                body = body[:20_000]
            by_length = client.request(method, f"/valid/{name}?a=b", [("Content-Type", "text/x; charset=x")], body)
            framing = [("Transfer-Encoding", "chunked")]
            in_chunks = client.request(method, f"/valid/{name}", framing, chunked(*pieces_of(body)))
            for response in (by_length, in_chunks):
                assert response.status == 200, (method, kind)
                assert response.body == (b"" if method == "HEAD" else body), (method, kind)
        without = client.request(method, f"/valid/{name}")
        assert without.status == 200
        assert without.body == b""
    eventually(lambda: server.log.count(f"/valid/{name}", before) >= len(GET_AND_KIN) * (2 * len(BODIES) + 1))
    log = server.log[before:]
    assert f"to the log from {name}" in log
    assert "without being closed" not in log
    assert "Traceback" not in log


def pieces_of(body: bytes) -> list[bytes]:
    return [body[i : i + 5_000] for i in range(0, len(body), 5_000)]


@pytest.mark.parametrize(("name", "status"), [("no_content", 204), ("not_modified", 304), ("nothing", 200)])
def test_wsgiref_validate_finds_nothing_where_there_is_no_body(client: HttpClient, name: str, status: int) -> None:
    for method in GET_AND_KIN:
        response = client.request(method, f"/valid/{name}", body=b"unread")
        assert response.status == status
        assert response.body == b""


# start_response

BAD_HEADS = {
    "status is bytes": (b"200 OK", []),
    "status is int": (200, []),
    "status is empty": ("", []),
    "status has no number": ("OK", []),
    "status has two digits": ("20 OK", []),
    "status has four digits": ("2000 OK", []),
    "status without a space": ("200OK", []),
    "status of other digits": ("٢٠٠ OK", []),
    "status is interim": ("100 Continue", []),
    "status switches protocols": ("101 Switching Protocols", []),
    "status with a line end": ("200 OK\r\nX-Injected: yes", []),
    "status with a line feed": ("200 OK\n", []),
    "status with NUL": ("200 O\0K", []),
    "status beyond latin-1": ("200 Ω", []),
    "headers are a tuple": ("200 OK", (("A", "b"),)),
    "headers are a dict": ("200 OK", {"A": "b"}),
    "headers are None": ("200 OK", None),
    "header has one part": ("200 OK", [("A",)]),
    "header has three parts": ("200 OK", [("A", "b", "c")]),
    "name is bytes": ("200 OK", [(b"A", "b")]),
    "name is empty": ("200 OK", [("", "b")]),
    "name has a space": ("200 OK", [("A ", "b")]),
    "name has a colon": ("200 OK", [("A:", "b")]),
    "name has a line end": ("200 OK", [("A: b\r\nX-Injected", "yes")]),
    "name is not ASCII": ("200 OK", [("Ä", "b")]),
    "value is bytes": ("200 OK", [("A", b"b")]),
    "value is int": ("200 OK", [("Content-Length", 4)]),
    "value is None": ("200 OK", [("A", None)]),
    "value with CRLF": ("200 OK", [("A", "b\r\nX-Injected: yes")]),
    "value with two CRLF": ("200 OK", [("A", "b\r\n\r\nHTTP/1.1 200 OK\r\nX-Injected: yes\r\n\r\n")]),
    "value with CR": ("200 OK", [("A", "b\rX-Injected: yes")]),
    "value with LF": ("200 OK", [("A", "b\nX-Injected: yes")]),
    "value ends with LF": ("200 OK", [("A", "b\n")]),
    "value with NUL": ("200 OK", [("A", "b\0c")]),
    "value with DEL": ("200 OK", [("A", "b\x7fc")]),
    "value beyond latin-1": ("200 OK", [("A", "\u010d\u010a")]),  # whose low bytes are CR and LF
    "length is a word": ("200 OK", [("Content-Length", "four")]),
    "length is negative": ("200 OK", [("Content-Length", "-4")]),
    "length has a sign": ("200 OK", [("Content-Length", "+4")]),
    "length has an underscore": ("200 OK", [("Content-Length", "0_4")]),
    "length of other digits": ("200 OK", [("Content-Length", "\xb2")]),
    "length is empty": ("200 OK", [("Content-Length", "")]),
    "length is a list": ("200 OK", [("Content-Length", "4, 5")]),
    "length twice": ("200 OK", [("Content-Length", "4"), ("content-length", "5")]),
    "length is endless": ("200 OK", [("Content-Length", "4" * 5_000)]),
}


@pytest.mark.parametrize("head", BAD_HEADS.values(), ids=BAD_HEADS.keys())
def test_a_head_that_must_not_go_out_becomes_500(client: HttpClient, head: tuple[object, object]) -> None:
    response = literal(client, *head, [b"body"])
    assert response.status == 500
    assert response.body == b"500 Internal Server Error\n"
    assert response.get("X-Injected") is None
    assert still_works(client)


def test_odd_but_legal_heads_pass_as_they_are(client: HttpClient) -> None:
    headers = [("x-LOWER", "tab\tand é"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Empty", "")]
    response = literal(client, "299 Sehr schön", headers, [b"body"])
    assert response.status == 299
    assert response.reason == "Sehr schön"
    assert [header for header in headers if header not in response.headers] == []
    assert literal(client, "200", [], [b"body"]).status == 200
    assert literal(client, "200 ", [], [b"body"]).status == 200


def test_the_date_is_the_servers_unless_the_application_has_one(client: HttpClient) -> None:
    assert (client.request("GET", "/nothing").get("Date") or "").endswith(" GMT")
    mine = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert literal(client, "200 OK", [("date", mine)], []).get("Date") == mine


@pytest.mark.parametrize(
    "name",
    [
        "start_twice",
        "start_never",
        "start_never_and_empty",
        "returns_none",
        "returns_int",
        "write_str",
        "raises_first",
        "raises_after_start",
        "raises_before_first_chunk",
        "exits",
        "times_out",
        "receives_nothing",
        "environ_cleared_raises",
    ],
)
def test_an_application_that_fails_before_the_head_gets_500(server: Server, client: HttpClient, name: str) -> None:
    before = len(server.log)
    for method in ("GET", "HEAD"):
        response = client.request(method, f"/{name}")
        assert response.status == 500
        assert response.body == (b"" if method == "HEAD" else b"500 Internal Server Error\n")
    assert still_works(client)
    eventually(lambda: server.log.count("Traceback", before) == 2)


@pytest.mark.parametrize("name", ["raises_first", "raises_midway", "restart_with_exc_info"])
def test_the_log_has_the_whole_traceback_and_the_client_none_of_it(server: Server, name: str) -> None:
    before = len(server.log)
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send_request("GET", f"/{name}", [("Connection", "close")])
        assert b"cause" not in client.read_to_end()
    eventually(lambda: "the cause, in full" in server.log[before:])
    log = server.log[before:]
    assert f'in {name}\n    raise RuntimeError("the cause, in full")' in log


@pytest.mark.parametrize("name", ["raises_midway", "restart_with_exc_info"])
def test_an_error_after_the_head_cuts_the_answer_short(client: HttpClient, name: str) -> None:
    client.send_request("GET", f"/{name}")
    head = client.read_head()
    assert head.status == 200
    pieces = client.read_pieces(head)
    assert next(pieces) == b"begun"
    with pytest.raises(EndOfStream):
        next(pieces)  # not the last chunk: the client sees that it has not all


def test_a_second_start_after_the_head_says_so_in_uwsgis_words(client: HttpClient) -> None:
    assert client.request("GET", "/restart_without_exc_info").body == b"begun headers already sent"


# Bodies of responses


def test_a_length_is_added_for_one_item_only(client: HttpClient) -> None:
    for name, length in [("one_in_a_tuple", "3"), ("ignore_body", "7"), ("nothing", "0"), ("bare_bytes", "4")]:
        response = client.request("GET", f"/{name}")
        assert response.get("Content-Length") == length
        assert not response.is_chunked
    for name, chunks in [("two_in_a_list", [b"one", b"two"]), ("generate", [b"first ", b"second"])]:
        response = client.request("GET", f"/{name}")
        assert response.get("Content-Length") is None
        assert response.chunks == chunks  # as they were, and no empty one, which would be the end


def test_a_body_of_unknown_length_ends_with_the_connection_for_http_1_0(server: Server) -> None:
    with HttpClient(("127.0.0.1", server.port)) as client:
        response = client.request("GET", "/two_in_a_list", [("Connection", "keep-alive")], version="HTTP/1.0")
        assert response.body == b"onetwo"
        assert response.says_close
        assert response.get("Transfer-Encoding") is None


def test_http_1_0_keeps_the_connection_where_it_asks_to_and_the_length_is_known(client: HttpClient) -> None:
    for _ in range(2):
        response = client.request("GET", "/ignore_body", [("Connection", "Keep-Alive")], version="HTTP/1.0")
        assert response.get("Connection") == "keep-alive"
        assert response.body == b"ignored"
    assert client.request("GET", "/ignore_body", version="HTTP/1.0").says_close
    client.assert_ended()


def test_the_first_chunk_is_not_held_back(server: Server, client: HttpClient) -> None:
    client.send_request("GET", "/first_then_wait")
    pieces = client.read_pieces(client.read_head())
    assert next(pieces) == b"early"
    fetch(("127.0.0.1", server.port), "/release_it")
    assert list(pieces) == [b"late"]


def test_head_is_answered_as_get_without_its_body(client: HttpClient) -> None:
    for name in ("ignore_body", "two_in_a_list", "generate", "nothing"):
        response = client.request("HEAD", f"/{name}")
        assert response.status == 200
        assert response.get("Transfer-Encoding") is None
        # "MUST NOT send Content-Length in such a response unless its field value equals" GET's (RFC 9110 8.6)
        assert response.get("Content-Length") == ("7" if name == "ignore_body" else None)


def test_head_may_state_a_length_without_having_a_body(client: HttpClient) -> None:
    for chunks in ([], [b""], [b"x" * 1000], [b"x"] * 2000):
        response = literal(client, "200 OK", [("Content-Length", "1000")], chunks, method="HEAD")
        assert response.get("Content-Length") == "1000"
    assert still_works(client)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("chunks", [[], [b"body"], [b"more", b"of it"]])
def test_204_and_304_have_no_body_whatever_the_application_returns(
    client: HttpClient, status: str, chunks: list[bytes]
) -> None:
    response = literal(client, status, [("Content-Length", "4")], chunks)
    assert response.status == int(status[:3])
    assert response.get("Content-Length") is None
    assert response.get("Transfer-Encoding") is None
    assert still_works(client)


def test_middleware_that_changes_the_environ_does_not_change_the_framing(client: HttpClient) -> None:
    assert client.request("HEAD", "/head_made_get").body == b""
    assert still_works(client)
    assert client.request("GET", "/head_made_get").chunks == [b"one", b"two"]
    assert client.request("GET", "/environ_cleared").chunks == [b"one", b"two"]
    assert still_works(client)


def test_a_body_longer_than_its_length_is_cut_there(server: Server, client: HttpClient) -> None:
    for chunks in ([b"0123456789"], [b"01", b"234", b"5", b"6789"]):
        with HttpClient(("127.0.0.1", server.port)) as client:
            response = literal(client, "200 OK", [("Content-Length", "5")], chunks)
            assert response.body == b"01234"
            client.assert_ended()
    server.wait_for_log("/literal: the body is longer than its Content-Length")


def test_a_body_shorter_than_its_length_ends_the_connection(server: Server, client: HttpClient) -> None:
    client.send_request("POST", "/literal", body=repr(("200 OK", [("Content-Length", "10")], [b"12345"])).encode())
    client.read_head()
    assert client.read_exactly(5) == b"12345"
    client.assert_ended()
    server.wait_for_log("/literal: the body is shorter than its Content-Length")


def test_a_str_among_the_chunks_is_not_sent(server: Server, client: HttpClient) -> None:
    assert literal(client, "200 OK", [], ["text"]).body == b""
    assert literal(client, "200 OK", [], [b"a", "text", b"b"]).body == b"ab"
    assert client.request("GET", "/empty_str").body == b""
    server.wait_for_log(r"Unhandled object from iterator: <class 'str'>")
    eventually(lambda: "GET /empty_str =>" in server.log)  # nothing of these is on its way any more
    before = len(server.log)
    assert client.request("GET", "/long_str").body == b""
    eventually(lambda: "/long_str =>" in server.log[before:])
    assert server.log.count("Unhandled object", before) == 1  # not one for each character


# close()


def closes(server: Server, name: str) -> int:
    return int(fetch(("127.0.0.1", server.port), f"/close_count/{name}").body)


@pytest.mark.parametrize("name", ["end", "raise", "raise_midway"])
def test_close_is_called_once(server: Server, name: str) -> None:
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send_request("GET", f"/closing/{name}", [("Connection", "close")])
        client.read_to_end()
    assert closes(server, name) == 1


@pytest.mark.parametrize("name", ["reset", "leave"])
def test_close_is_called_once_when_the_client_goes(server: Server, name: str) -> None:
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send_request("GET", f"/closing/{name}")
        client.read_exactly(200_000)
        if name == "reset":
            client.reset()
    assert eventually(lambda: closes(server, name)) == 1


def test_close_that_raises_does_no_harm_to_the_answer(server: Server, client: HttpClient) -> None:
    client.send_request("GET", "/close_raises")
    head = client.read_head()
    assert b"".join(client.read_pieces(head)) == b"body"
    server.wait_for_log("RuntimeError: in close")
    assert closes(server, "close_raises") == 1


# wsgi.input


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_reading_stops_at_the_end_of_the_body(server: Server, framing: str) -> None:
    body = b"one\ntwo"
    expected = [body, b"", b"", b"", [], []]
    if framing == "length":
        request = request_bytes("POST", "/read_past_the_end", body=body)
    else:
        request = request_bytes(
            "POST", "/read_past_the_end", [("Transfer-Encoding", "chunked")], chunked(b"one\nt", b"wo")
        )
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send(request + request)  # the second must not be taken for more of the first
        for _ in range(2):
            assert ast.literal_eval(client.read_response().text) == expected


def test_each_way_to_read_takes_its_share(client: HttpClient) -> None:
    body = b"abcdef\nghij\nkl\nmn\nop\nqr\n"
    expected = [b"", b"abc", b"def\n", b"gh", b"", b"ij\n", b"kl\n", [b"mn\n"], b"op\nqr\n", b""]
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))], [body[:5], body[5:11], body[11:]]):
        framing = [("Transfer-Encoding", "chunked")]
        response = client.request("POST", "/methods_of_input", framing, chunked(*pieces))
        assert ast.literal_eval(response.text) == expected


def test_chunked_read_gives_the_body_as_it_comes(client: HttpClient) -> None:
    trailers = b"X-Trailer: dropped\r\n"
    response = client.request(
        "POST", "/chunks_of_input", [("Transfer-Encoding", "chunked")], chunked(b"one", b"two", trailers=trailers)
    )
    assert ast.literal_eval(response.text) == b"onetwo"


def test_what_the_application_leaves_of_a_body_is_not_the_next_request(client: HttpClient) -> None:
    evil = request_bytes("GET", "/raises_first")
    for framing, body in [([], evil * 50), ([("Transfer-Encoding", "chunked")], chunked(evil, evil * 100))]:
        assert client.request("POST", "/read_five", framing, body).body == b"GET /"
        assert client.request("POST", "/ignore_body", framing, body).body == b"ignored"
    assert still_works(client)


# Expect: 100-continue

EXPECT = ("Expect", "100-continue")


def test_100_continue_comes_when_the_body_is_read(client: HttpClient) -> None:
    client.send_request("POST", "/echo_read", [EXPECT, ("Content-Length", "4")])
    assert client.read_head().status == 100
    client.send(b"body")
    assert client.read_response().body == b"body"
    assert still_works(client)


def test_100_continue_comes_once(client: HttpClient) -> None:
    client.send_request("POST", "/echo_read", [EXPECT, ("Transfer-Encoding", "chunked")])
    assert client.read_head().status == 100
    for piece in (b"2\r\nbo\r\n", b"2\r\ndy\r\n", b"0\r\n\r\n"):
        client.send(piece)
    response = client.read_response()
    assert response.body == b"body"
    assert response.interim == []


def test_an_answer_without_the_body_read_closes_and_sends_no_100(client: HttpClient) -> None:
    response = client.request("POST", "/ignore_body", [EXPECT, ("Content-Length", "4")])
    assert response.interim == []
    assert response.body == b"ignored"
    assert response.says_close
    client.assert_ended()


def test_no_100_comes_in_the_middle_of_an_answer(client: HttpClient) -> None:
    client.send_request("POST", "/answer_then_read", [EXPECT], b"body")
    response = client.read_response()
    assert response.chunks == [b"before ", b"body"]
    assert response.says_close


def test_nobody_waits_for_100_without_a_body_or_with_http_1_0(client: HttpClient) -> None:
    response = client.request("GET", "/ignore_body", [EXPECT])
    assert response.interim == []
    assert not response.says_close
    response = client.request("POST", "/echo_read", [EXPECT], b"body", version="HTTP/1.0")
    assert response.interim == []
    assert response.body == b"body"


# The environ


def environ_of(client: HttpClient, *args: Any, **kwargs: Any) -> dict[str, Any]:
    seen: dict[str, Any] = ast.literal_eval(client.request(*args, **kwargs).body.decode())
    return seen


def test_the_environ_of_a_plain_request(server: Server, client: HttpClient) -> None:
    environ = environ_of(client, "GET", "/show_environ/%C3%A9%2Fx?q=%41&r")
    port = client.sock.getsockname()[1]
    assert 0 <= environ.pop("uwsgi.core") < 50
    assert environ == {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/show_environ/%C3%A9%2Fx?q=%41&r",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/show_environ/\xc3\xa9/x",
        "QUERY_STRING": "q=%41&r",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": socket.gethostname(),
        "SERVER_PORT": str(server.port),
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(port),
        "HTTP_HOST": "test.example",
        "UWSGI_ROUTER": "http",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": "<BodyFile>",
        "wsgi.input_terminated": True,
        "wsgi.errors": "<ErrorLog>",
        "wsgi.multithread": "--threads" in server.name,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": "<type>",
        "uwsgi.version": b"2.0.31",
        "uwsgi.node": socket.gethostname().encode(),
        "type": "dict",
    } | {"wsgi.file_wrapper": environ["wsgi.file_wrapper"]}


def test_headers_become_variables(client: HttpClient) -> None:
    environ = environ_of(
        client,
        "POST",
        "/show_environ",
        [
            ("Content-Type", "text/x"),
            ("X-Latin", "é\xff"),
            ("Cookie", "a=1"),
            ("X-Twice", "1"),
            ("x-twice", "2"),
            ("Cookie", "b=2"),
            ("X_Under_Score", "dropped"),
        ],
        b"four",
    )
    assert environ["CONTENT_TYPE"] == "text/x"
    assert environ["CONTENT_LENGTH"] == "4"
    assert environ["HTTP_X_LATIN"] == "é\xff"
    assert environ["HTTP_X_TWICE"] == "1, 2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert not {"HTTP_X_UNDER_SCORE", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_a_chunked_body_has_no_content_length(client: HttpClient) -> None:
    environ = environ_of(client, "POST", "/show_environ", [("Transfer-Encoding", "chunked")], chunked(b"x"))
    assert "CONTENT_LENGTH" not in environ
    assert environ["HTTP_TRANSFER_ENCODING"] == "chunked"


def test_an_absolute_target_wins_over_host(client: HttpClient) -> None:
    environ = environ_of(client, "GET", "http://other.example:81/show_environ?q", [("Host", "test.example")])
    assert environ["HTTP_HOST"] == "other.example:81"
    assert environ["PATH_INFO"] == "/show_environ"
    assert environ["REQUEST_URI"] == "http://other.example:81/show_environ?q"


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ([("X-Forwarded-Proto", "https")], "https"),
        ([("X-Forwarded-Proto", "HTTPS")], "https"),
        ([("X-Forwarded-Proto", "http")], "http"),
        ([("X-Forwarded-Proto", "javascript")], "http"),
        ([("X-Forwarded-SSL", "on")], "https"),
        ([("X-Forwarded-SSL", "off")], "http"),
    ],
)
def test_the_scheme_is_the_proxys_word(client: HttpClient, headers: list[tuple[str, str]], scheme: str) -> None:
    environ = environ_of(client, "GET", "/show_environ", headers)
    assert environ["wsgi.url_scheme"] == scheme
    assert environ.get("HTTPS") == ("on" if scheme == "https" else None)


def test_open_requests_have_different_cores(server: Server) -> None:
    clients = [HttpClient(("127.0.0.1", server.port)) for _ in range(5)]
    try:
        cores = [environ_of(client, "GET", "/show_environ")["uwsgi.core"] for client in clients]
        assert len(set(cores)) == 5
    finally:
        for client in clients:
            client.close()


def test_one_core_has_no_number(serve: Any) -> None:
    server = serve(APPLICATION, "--gevent", "1")
    with HttpClient(("127.0.0.1", server.port)) as client:
        assert "uwsgi.core" not in environ_of(client, "GET", "/show_environ")


# Large things


@pytest.mark.parametrize("places", ["--gevent", "--threads"])
def test_requests_leave_no_cycles_behind(places: str) -> None:
    with Server(APPLICATION, places, "2") as server, HttpClient(("127.0.0.1", server.port)) as client:
        counts = {client.request("GET", "/garbage").body for _ in range(5)}
        assert counts == {b"1"}


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "big"
    path.write_bytes(os.urandom(MIB) * 20)
    return path


def test_a_file_is_sent_by_the_kernel(server: Server, client: HttpClient, big_file: Path) -> None:
    before = resident_kib(server.pid)
    response = client.request("GET", f"/file?kernel&{big_file}")
    assert response.get("Content-Length") == str(20 * MIB)
    assert hashlib.sha256(response.body).digest() == hashlib.sha256(big_file.read_bytes()).digest()
    assert resident_kib(server.pid) - before < 5_000
    assert client.request("HEAD", f"/file?kernel&{big_file}").get("Content-Length") == str(20 * MIB)
    assert still_works(client)


@pytest.mark.parametrize("kind", ["buffered", "named_temporary", "bytes_io", "object", "gzip"])
def test_anything_with_a_read_can_be_wrapped(client: HttpClient, tmp_path: Path, kind: str) -> None:
    content = os.urandom(300_000)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if kind == "gzip" else content)
    response = client.request("GET", f"/file?{kind}&{path}")
    assert response.body == content
    # Only of a real file is the length known.
    assert response.get("Content-Length") == (str(len(content)) if kind in ("buffered", "named_temporary") else None)
    assert still_works(client)


def test_a_file_is_sent_from_where_it_stands(client: HttpClient, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert client.request("GET", f"/file?offset&{path}").body == content[1000:]
    assert still_works(client)


def test_a_file_ends_at_the_applications_length(server: Server, client: HttpClient, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert client.request("GET", f"/file?short&{path}&4").body == b"0123"
    assert still_works(client)
    client.send_request("GET", f"/file?short&{path}&11")
    assert client.read_head().get("Content-Length") == "11"
    assert client.read_to_end() == b"0123456789"
    server.wait_for_log("/file.*: the body is shorter than its Content-Length")


def test_a_file_goes_to_http_1_0(client: HttpClient, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    response = client.request("GET", f"/file?kernel&{path}", version="HTTP/1.0")
    assert response.body == b"0123456789"
    assert response.get("Content-Length") == "10"


def test_large_bodies_are_never_held_in_memory(serve: Any) -> None:
    server = serve(APPLICATION)
    block = bytes(65_536)
    with HttpClient(("127.0.0.1", server.port)) as client:
        assert still_works(client)
        before = resident_kib(server.pid)
        client.send_request("POST", "/count_upload", [("Content-Length", str(50 * MIB))])
        for _ in range(50 * MIB // len(block)):
            client.send(block)
        assert client.read_response().body == b"%d" % (50 * MIB)

        client.send_request("POST", "/count_upload", [("Transfer-Encoding", "chunked")])
        chunk = b"%x\r\n%b\r\n" % (len(block), block)
        for _ in range(50 * MIB // len(block)):
            client.send(chunk)
        client.send(b"0\r\n\r\n")
        assert client.read_response().body == b"%d" % (50 * MIB)

        client.send_request("GET", f"/download?{50 * MIB // len(block)}")
        total = 0
        for piece in client.read_pieces(client.read_head()):
            total += len(piece)
        assert total == 50 * MIB
        assert resident_kib(server.pid, "VmHWM") - before < 20 * 1024
