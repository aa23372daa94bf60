"""Rules, from their text to what they make of a request: templates, conditions, actions and chains."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from uwsgi_ws.errors import OptionError, RequestError
from uwsgi_ws.options import Setting, build
from uwsgi_ws.request.base import Headers, Request
from uwsgi_ws.routing.backend import Timeouts
from uwsgi_ws.routing.conditions import check
from uwsgi_ws.routing.request import RoutedRequest
from uwsgi_ws.routing.router import Router
from uwsgi_ws.routing.settings import RouteSettings
from uwsgi_ws.routing.templates import Template

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/caf%C3%A9/x?a=1&b=two%20words",
    "PATH_INFO": "/caf\xc3\xa9/x",
    "QUERY_STRING": "a=1&b=two%20words+more",
    "SCRIPT_NAME": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.168.1.7",
    "HTTP_HOST": "Example.org",
    "HTTP_COOKIE": "id=42; theme=dark=er",
    "HTTP_USER_AGENT": "curl/8",
    "wsgi.version": (1, 0),
}


class Asked(Request):
    """A request in memory, and what it was answered."""

    __slots__ = ("body", "headers", "is_finished", "status_line")
    scheme = "http"
    can_sendfile = True

    def __init__(self, **variables: str) -> None:
        super().__init__({**ENVIRON, **variables}, 0, 0)
        self.status_line = ""
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.is_finished = False

    def fileno(self) -> int:
        return 0

    def read_body(self) -> bytes:
        return b""

    def read_body_now(self) -> bytes | None:
        return b""

    def write_head(self, status: str, headers: Headers, body_length: int | None) -> None:
        assert not self.status, "a second head"
        self.status, self.status_line, self.headers = int(status[:3]), status, list(headers)

    def write_body(self, data: bytes) -> None:
        assert self.status
        assert not self.is_finished
        self.body += data

    def write_file(self, fd: int, offset: int, count: int) -> int:
        self.body += os.pread(fd, count, offset)
        return count

    def finish(self) -> None:
        assert not self.is_finished
        self.is_finished = True

    def abandon(self) -> None:
        self.is_finished = True

    def upgrade(self, reason: str, headers: Headers) -> Any:
        self.write_head(f"101 {reason}", headers, None)

    def disconnect(self) -> None:
        self.is_finished = True


def routed(**variables: str) -> RoutedRequest:
    return RoutedRequest(Asked(**variables), lambda request, headers: False)


def application(status: str = "200 OK") -> Any:
    def answer(request: Request) -> None:
        request.write_head(status, [("X-App", request.environ["PATH_INFO"]), ("Server", "app")], 3)
        request.write_body(b"app")
        request.finish()

    return answer


def compiled(*rules: tuple[str, str]) -> Router:
    options = build([Setting(name, value, f"a.ini:{number}") for number, (name, value) in enumerate(rules, 1)])
    return Router(RouteSettings.of(options.given), Timeouts(1.0, 1.0))


def run(*rules: tuple[str, str], status: str = "200 OK", **variables: str) -> Asked:
    """Take a request through rules, and on to an application that answers with a status."""
    asked = Asked(**variables)
    compiled(*rules).answer(asked, application(status))
    return asked


def routes(*rules: str, **variables: str) -> Asked:
    return run(*(("route", rule) for rule in rules), **variables)


class TestTemplates:
    @pytest.mark.parametrize(
        ("text", "expanded"),
        [
            ("plain", "plain"),
            ("", ""),
            ("$0-$1-$2", "whole-one-"),
            ("$", "$"),
            ("$x ${", "$x ${"),
            ("costs 5$", "costs 5$"),
            ("${REMOTE_ADDR}:${NONE}", "192.168.1.7:"),
            ("${wsgi.version}", ""),  # no text
            ("é${PATH_INFO}", "\xc3\xa9/caf\xc3\xa9/x"),
            ("${cookie[id]} ${cookie[theme]} ${cookie[none]}", "42 dark=er "),
            ("${qs[b]}|${qs[none]}", "two words more|"),
            ("${mime[NAME]}", "image/jpeg"),
            ("${base64[HTTP_HOST]} ${hex[HTTP_HOST]}", "RXhhbXBsZS5vcmc= 4578616d706c652e6f7267"),
            ("${lower[HTTP_HOST]} ${upper[HTTP_HOST]}", "example.org EXAMPLE.ORG"),
        ],
    )
    def test_places_are_filled(self, text: str, expanded: str) -> None:
        request = routed(NAME="a.jpg")
        request.groups = ("whole", "one")
        assert Template(text).expand(request) == expanded

    def test_the_process_has_its_number(self) -> None:
        assert Template("${uwsgi[pid]}").expand(routed()) == str(os.getpid())

    def test_time_passes(self) -> None:
        request = routed()
        unix, micros, date = (
            Template(text).expand(request) for text in ("${time[unix]}", "${time[micros]}", "${httptime[5]}")
        )
        assert len(unix) == 10
        assert micros.startswith(unix[:-2])
        assert date.endswith(" GMT")

    @pytest.mark.parametrize("text", ["${nofunc[x]}", "${uwsgi[none]}", "${time[none]}", "${httptime[x]}"])
    def test_an_unknown_function_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"not known here|needs a number"):
            Template(text)


class TestConditions:
    @pytest.mark.parametrize(
        ("text", "outcome"),
        [
            ("empty:${NONE}", True),
            ("empty:${HTTP_HOST}", False),
            ("exists:/etc/passwd", True),
            ("exists:/no/such", False),
            ("exists:\0", False),
            ("isfile:/etc/passwd", True),
            ("isfile:/etc", False),
            ("isdir:/etc", True),
            ("islink:/proc/self/exe", True),
            ("islink:/etc/passwd", False),
            ("isexec:/bin/sh", True),
            ("isexec:/etc/passwd", False),
            ("equal:${HTTP_HOST};Example.org", True),
            ("eq:a;b", False),
            ("isequal:a;a", True),
            ("==:;", True),
            ("startswith:${PATH_INFO};/café", True),
            ("endswith:abc;bc", True),
            ("endswith:bc;abc", False),
            ("contains:abc;b", True),
            ("contain:abc;d", False),
            ("regexp:${HTTP_HOST};^Exa", True),
            ("re:${HTTP_HOST};^exa", False),
            ("ishigher:10;9", True),
            (">:9;10", False),
            (">=:10;10", True),
            ("ishigherequal:x;0", True),
            ("islower:-5;3", True),
            ("<=:3;3", True),
            ("<:4;3", False),
            ("islowerequal:4;3", False),
            ("ipv4in:${REMOTE_ADDR};192.168.0.0/16", True),
            ("ipv4in:${REMOTE_ADDR};10.0.0.0/8", False),
            ("ipv4in:nonsense;10.0.0.0/8", False),
            ("ipv6in:fd00::5;fd00::/8", True),
        ],
    )
    def test_a_check_says_yes_or_no(self, text: str, outcome: bool) -> None:
        assert check(text)(routed()) is outcome

    def test_what_a_regular_expression_matched_is_left_for_the_action(self) -> None:
        request = routed()
        assert check("regexp:${REMOTE_ADDR};^(\\d+)\\.(x)?")(request)
        assert request.groups == ("192.", "192", "")


@pytest.mark.parametrize(
    ("name", "rule", "problem"),
    [
        ("route", "^/", "'^/' lacks the blank between its condition and its action"),
        ("route", "^/ nothing", "'nothing' is not of the form ACTION:ARGUMENT"),
        ("route", "^/ frobnicate:x", "'frobnicate' is an action that is not known here, only access, "),
        ("route-run", "wstcp:x", "'wstcp' is an action that is not known here"),
        ("route", "( log:x", "'(' is no regular expression: "),
        ("route-if", "lord:x log:x", "'lord' is a check that is not known here, only <, "),
        ("route-if", "equal:x log:x", "'equal:x' lacks the pattern after a semicolon"),
        ("route-if", "empty log:x", "'empty' is not of the form CHECK:SUBJECT"),
        ("route-if", "ipv4in:x;fd00::/8 log:x", "'fd00::/8' is no network of IPv4"),
        ("route-if-not", "ipv4in:x;300.0.0.0 log:x", "neither an IP address nor a network"),
        ("route-run", "log:${foo[x]}", "'foo' is not known here"),
        ("route-run", "goto:nowhere", "goto: there is no label 'nowhere' in this chain"),
        ("route-run", "goto:0", "goto: '0' is not ahead"),
        ("route-run", "break:OK", "'OK' does not begin with the three digits"),
        ("route-run", "return:100", "'100' is not the number of a final status"),
        ("route-run", "return:599", "'599' is not the number of a final status"),
        ("route-run", "redirect:", "redirect: lacks its URL"),
        ("route-run", "addheader:Bad Name: x", "addheader: not a header name: 'Bad Name'"),
        ("route-run", "addheader:Content-Length: 5", "Content-Length is the application's"),
        ("route-run", "addheader:x", "'x' is not of the form NAME: VALUE"),
        ("route-run", "delheader:", "delheader: lacks its NAME"),
        ("route-run", "addvar:x", "'x' is not of the form NAME=VALUE"),
        ("route-run", "logvar:=x", "'=x' is not of the form NAME=VALUE"),
        ("route-run", "static:${PATH_INFO}", "does not begin with the directory"),
        ("route-run", "static:", "static: lacks its FILE"),
        ("route-run", "basicauth:realm", "is not of the form REALM,USER:PASSWORD or REALM,FILE"),
        ("route-run", "basicauth:realm,/no/such", "basicauth: cannot read '/no/such'"),
        ("route-run", "access:action=hosts", "is not of the form action=allow,addr=NETWORK"),
        ("route-run", "access:action=deny,addr=x", "access: 'x' is neither an IP address"),
        ("route-run", "uwsgi:,0,0", "uwsgi: lacks its ADDRESS"),
        ("route-run", "uwsgi:127.0.0.1:1,0", "is not of the form ADDRESS[,MODIFIER1,MODIFIER2[,APPID]]"),
        ("route-run", "uwsgi:127.0.0.1:1,0,256", "is not of the form ADDRESS"),
        ("route-run", "uwsgi:127.0.0.1", "uwsgi: '127.0.0.1' is no address"),
        ("route-run", "http:127.0.0.1:0", "http: '127.0.0.1:0' has port 0"),
        ("route-run", "http:http://a", "is a URL"),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_names_file_line_and_word(
    name: str, rule: str, problem: str
) -> None:
    with pytest.raises(OptionError) as caught:
        compiled(("need-app", ""), (name, rule))
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert text.endswith("(a.ini:2)")
    assert problem in text


class TestChains:
    def test_a_request_that_no_rule_answers_is_the_applications(self) -> None:
        asked = routes("^/other break:403", "$ log:x")
        assert (asked.status_line, asked.body, asked.is_finished) == ("200 OK", b"app", True)

    def test_break_answers_with_its_status_alone_or_drops_the_connection(self) -> None:
        assert routes("^/ break:403 Keep out").status_line == "403 Keep out"
        assert routes("^/ break:404").status_line == "404 Not Found"
        dropped = routes("^/ break:")
        assert (dropped.status, dropped.is_finished) == (0, True)

    def test_return_answers_with_the_words_of_its_status(self) -> None:
        assert (routes("^/ return:403").body, routes("^/ break-with-status:410").body) == (b"Forbidden", b"Gone")

    def test_last_ends_the_rules(self) -> None:
        assert routes("^/ last:", "^/ break:500").status == 200

    @pytest.mark.parametrize(
        ("kind", "rule"),
        [
            ("route-host", "^Example return:409"),
            ("route-uri", "^/caf%C3 return:409"),
            ("route-qs", "^a= return:409"),
            ("route-remote-addr", "^192 return:409"),
            ("route-user-agent", "curl return:409"),
            ("route-if", "equal:1;1 return:409"),
            ("route-if-not", "equal:1;2 return:409"),
            ("route-run", "return:409"),
            ("route", "^/caf\xe9/x$ return:409"),
        ],
    )
    def test_each_relative_looks_at_its_variable(self, kind: str, rule: str) -> None:
        assert run((kind, rule)).status == 409

    def test_goto_skips_what_lies_between(self) -> None:
        rules = [
            ("route-host", r"^(.*)\.org goto:$1"),
            ("route-run", "break:500"),
            ("route-label", "Example"),
            ("route-run", "goto:5"),
            ("route-run", "break:501"),
            ("route-run", "return:409"),
        ]
        assert run(*rules).status == 409

    def test_a_jump_to_nowhere_made_from_the_request_is_a_500(self) -> None:
        assert run(("route-run", "goto:${HTTP_HOST}")).status == 500

    def test_variables_are_set_for_the_application(self) -> None:
        def seen(*rules: tuple[str, str], **variables: str) -> dict[str, Any]:
            return run(*rules, **variables).environ

        assert seen(("route", "^/(.) addvar:X=<$1>"))["X"] == "<c>"
        assert seen(("route-run", "setuser:me"))["REMOTE_USER"] == "me"
        assert seen(("route-run", "setscheme:https"))["UWSGI_SCHEME"] == "https"
        assert seen(("route-run", "sethost:${lower[HTTP_HOST]}"))["HTTP_HOST"] == "example.org"
        assert seen(("route-run", "setpathinfo:/a%20b"))["PATH_INFO"] == "/a b"
        assert seen(("route-run", "setremoteaddr:1.2.3.4"))["REMOTE_ADDR"] == "1.2.3.4"
        fixed = seen(("route-run", "fixpathinfo:"), PATH_INFO="/app/x", SCRIPT_NAME="/app")
        assert fixed["PATH_INFO"] == "/x"

    def test_rewrite_puts_its_query_before_the_requests(self) -> None:
        environ = routes("^/(caf.*)/ rewrite:/index?page=$1", QUERY_STRING="a=1").environ
        assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/index", "page=caf\xc3\xa9&a=1")
        kept = routes("^/ rewrite-last:/b%20c", "^/ break:500", QUERY_STRING="a=1").environ
        assert (kept["PATH_INFO"], kept["QUERY_STRING"]) == ("/b c", "a=1")
        assert routes("^/ rewrite:/?x", QUERY_STRING="").environ["QUERY_STRING"] == "x"

    @pytest.mark.parametrize(
        ("action", "status"),
        [("redirect", 302), ("redirect-302", 302), ("redirect-301", 301), ("redirect-permanent", 301)],
    )
    def test_a_redirect_encodes_what_would_split_the_response(self, action: str, status: int) -> None:
        asked = routes(f"^ {action}:https://example.org${{PATH_INFO}}?a=%20", PATH_INFO="/a\r\nX: y\xc3\xa9")
        assert asked.status == status
        assert ("Location", "https://example.org/a%0D%0AX:%20y%C3%A9?a=%20") in asked.headers

    def test_headers_are_added_and_taken_away(self) -> None:
        asked = routes("^/(c) addheader:X-Group: $1", "^ addheader:Server: ours", "^ delheader:server")
        assert asked.headers == [("X-App", "/caf\xc3\xa9/x"), ("X-Group", "c")]

    def test_a_header_that_would_split_the_response_is_refused(self) -> None:
        asked = routes("^ addheader:X: ${PATH_INFO}", PATH_INFO="/\r\nSet-Cookie: x")
        assert asked.status == 400
        assert all(name != "X" for name, _ in asked.headers)

    def test_send_is_the_response_when_the_rules_end(self) -> None:
        asked = routes("^ send:hello", "^ send-crnl: you", "^ last:")
        assert (asked.status_line, asked.body, asked.is_finished) == ("200 OK", b"hello you\r\n", True)

    def test_access_is_by_network(self) -> None:
        assert routes("^ access:action=allow,addr=192.168.0.0/16").status == 200
        assert routes("^ access:action=allow,addr=10.0.0.0/8").status == 403
        assert routes("^ access:action=deny,addr=192.168.*").status == 403
        assert routes("^ access:action=deny,addr=10.*", REMOTE_ADDR="").status == 200

    def test_the_log_gets_no_lines_of_the_clients(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", "uwsgi_ws.routing"):
            asked = routes("^ log:at ${PATH_INFO}", "^ logvar:a=$0b", "^ donotlog:", PATH_INFO="/\nfake")
        assert caplog.messages == ["at /\\x0afake"]
        assert (asked.logvars, asked.log_this) == ({"a": "b"}, False)

    def test_an_error_route_may_answer_instead(self) -> None:
        rule = ("error-route-status", "^40[34]$ redirect:/sorry?was=${uwsgi[status]}")
        asked = run(rule, status="404 Not Found")
        assert (asked.status, asked.body, asked.is_finished) == (302, b"Found", True)
        assert ("Location", "/sorry?was=404") in asked.headers
        assert run(rule, status="500 Oh").status == 500
        assert run(rule, status="200 OK").status == 200

    def test_an_error_route_may_send_other_words(self) -> None:
        asked = run(("error-route-run", "send:sorry"), ("error-route-run", "break:"), status="404 Not Found")
        assert (asked.status_line, asked.body) == ("404 Not Found", b"sorry")

    def test_response_routes_see_every_response(self) -> None:
        rules = [("response-route-status", "^(.) addheader:X-Class: $1"), ("response-route-run", "delheader:Server")]
        assert run(*rules).headers == [("X-App", "/caf\xc3\xa9/x"), ("X-Class", "2")]
        assert ("X-Class", "4") in run(*rules, ("route-run", "return:404")).headers

    def test_response_routes_see_the_opening_handshake(self) -> None:
        asked = Asked()
        router = compiled(("response-route-status", "101 addheader:X-Socket: yes"))
        router.answer(asked, lambda request: request.upgrade("Yes", [("A", "b")]))  # type: ignore[arg-type, return-value]
        assert asked.headers == [("A", "b"), ("X-Socket", "yes")]

    def test_final_routes_come_when_all_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        rules = [("final-route-run", "log:was ${uwsgi[status]}"), ("final-route-run", "redirect:/elsewhere")]
        with caplog.at_level("INFO", "uwsgi_ws.routing"):
            assert run(*rules, status="201 Created").body == b"app"
        assert caplog.messages == ["was 201"]


class TestBasicAuth:
    @staticmethod
    def header(text: str) -> dict[str, str]:
        return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(text.encode()).decode()}

    def test_only_the_right_password_passes_and_names_the_user(self) -> None:
        rule = "^ basicauth:My Realm,foo:b:r"
        assert routes(rule, **self.header("foo:b:r")).environ["REMOTE_USER"] == "foo"
        for wrong in (
            {},
            self.header("foo:bar"),
            self.header("x:b:r"),
            {"HTTP_AUTHORIZATION": "Basic ?"},
            {"HTTP_AUTHORIZATION": "Bearer x"},
        ):
            asked = routes(rule, **wrong)
            assert asked.status == 401
            assert ("WWW-Authenticate", 'Basic realm="My Realm"') in asked.headers

    def test_next_gives_the_following_rule_its_chance(self) -> None:
        rules = ("^ basicauth-next:R,a:1", "^ basicauth:R,b:2")
        assert routes(*rules, **self.header("b:2")).status == 200
        assert routes("^ basicauth-next:R,a:1").status == 200

    def test_any_password_or_none_at_all(self) -> None:
        assert routes("^ basicauth:R,a:", **self.header("a:whatever")).status == 200
        assert routes("^ basicauth:R,a:", **self.header("b:whatever")).status == 401
        assert routes("^ basicauth:R,", **self.header("a:b")).status == 401

    def test_a_password_file_is_read_at_start_up(self, tmp_path: Path) -> None:
        file = tmp_path / "users"
        coded = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
        file.write_text(f"# users\n\na:{{SHA}}{coded}\n")
        assert routes(f"^ basicauth:R,{file}", **self.header("a:secret")).status == 200
        assert routes(f"^ basicauth:R,{file}", **self.header("b:secret")).status == 401
        file.write_text("a:$apr1$x$y\n")
        with pytest.raises(OptionError, match=r"line 1: only \{SHA\} passwords are known here"):
            routes(f"^ basicauth:R,{file}")


class TestStatic:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "public").mkdir()
        (tmp_path / "public/logo.txt").write_text("logo")
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "public/out").symlink_to("../secret")
        return tmp_path

    def test_a_file_that_is_spelled_out_is_sent(self, folder: Path) -> None:
        asked = routes(f"^ static:{folder}/public/logo.txt")
        assert (asked.status, asked.body) == (200, b"logo")
        assert ("Content-Type", "text/plain") in asked.headers
        assert routes(f"^ file:{folder}/public/out").body == b"secret"  # it was asked for by name

    @pytest.mark.parametrize(
        "path",
        ["/out", "/../secret", "/./../secret", "//etc/passwd", "/none", "/", "/\0", "x/../secret", "-x/../../secret"],
    )
    def test_a_request_leads_nowhere_else(self, folder: Path, path: str) -> None:
        asked = routes(f"^(.*) static:{folder}/public$1", f"^(.*) static:{folder}/public/$1", PATH_INFO=path)
        assert (asked.status, asked.body) == (404, b"Not Found")
        assert routes(f"^(.*) static-next:{folder}/public/$1", PATH_INFO=path).body == b"app"

    def test_a_request_may_name_a_file_of_the_directory(self, folder: Path) -> None:
        assert routes(f"^/(.*) static:{folder}/public/$1", PATH_INFO="/logo.txt").body == b"logo"


def test_a_request_error_in_a_late_chain_reaches_the_server() -> None:
    with pytest.raises(RequestError):
        run(("final-route-run", "addheader:X: ${PATH_INFO}"), PATH_INFO="/\n")


BODY = b"ab" * 50_000


def compressible(*headers: tuple[str, str], status: str = "200 OK") -> Any:
    def answer(request: Request) -> None:
        request.write_head(status, headers, len(BODY))
        if request.can_sendfile:
            with tempfile.TemporaryFile() as file:
                file.write(BODY)
                file.flush()
                offset = 0
                while offset < len(BODY):
                    offset += request.write_file(file.fileno(), offset, len(BODY) - offset)
        request.finish()

    return answer


class TestCompression:
    def asked(self, router: Router, application: Any, accept: str | None = "br, GZIP;q=0.5") -> Asked:
        asked = Asked() if accept is None else Asked(HTTP_ACCEPT_ENCODING=accept)
        router.answer(asked, application)
        return asked

    def test_a_response_is_compressed_for_clients_that_take_it(self) -> None:
        headers = (("Content-Length", str(len(BODY))), ("ETag", '"x"'), ("Accept-Ranges", "bytes"))
        asked = self.asked(compiled(("route", "^ gzip:")), compressible(*headers))
        assert asked.headers == [("ETag", 'W/"x"'), ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        assert gzip.decompress(asked.body) == BODY
        assert len(asked.body) < 1_000

    @pytest.mark.parametrize("accept", [None, "", "br", "gzip;q=0", "*;q=0.0", "identity", "gzip;q=0, *"])
    def test_others_get_it_as_it_is(self, accept: str | None) -> None:
        asked = self.asked(compiled(("route", "^ gzip:")), compressible(("Content-Length", "100000")), accept)
        assert (asked.headers, asked.body) == ([("Content-Length", "100000")], BODY)

    @pytest.mark.parametrize(
        ("header", "status"),
        [
            (("Content-Encoding", "br"), "200 OK"),
            (("Cache-Control", "public, no-transform"), "200 OK"),
            (("Content-Range", "bytes 0-1/4"), "206 Partial Content"),
            (("X", "y"), "206 Partial Content"),
            (("X", "y"), "304 Not Modified"),
        ],
    )
    def test_what_would_break_stays_as_it_is(self, header: tuple[str, str], status: str) -> None:
        asked = self.asked(compiled(("response-route", "^ gzip:")), compressible(header, status=status))
        assert (asked.headers, asked.body) == ([header], BODY)

    def test_an_application_may_ask_for_it_where_the_option_is_on(self) -> None:
        answer = compressible(("uWSGI-Encoding", "gzip"))
        by_route = compressible(("Content-Type", "application/json"))
        auto = ("http-auto-gzip", "true")
        collect = ("collect-header", "Content-Type RESPONSE_CONTENT_TYPE")
        rule = ("response-route-if", "startswith:${RESPONSE_CONTENT_TYPE};application/ addheader:uWSGI-Encoding: gzip")
        for router, application in (compiled(auto), answer), (compiled(auto, collect, rule), by_route):
            asked = self.asked(router, application)
            assert gzip.decompress(asked.body) == BODY
            assert "uWSGI-Encoding" not in dict(asked.headers)
        assert self.asked(compiled(auto), compressible(("X", "y"))).body == BODY
        off = compiled(auto, ("http-auto-gzip", "false"))
        assert self.asked(off, answer).headers == [("uWSGI-Encoding", "gzip")]


def test_a_header_of_the_response_becomes_a_variable() -> None:
    asked = run(
        ("collect-header", "X-App app"),
        ("pull-header", "server SERVER"),
        ("response-route-run", "addheader:A: ${app}"),
        ("response-route-run", "addheader:S: ${SERVER}"),
    )
    assert asked.headers == [("X-App", "/caf\xc3\xa9/x"), ("A", "/caf\xc3\xa9/x"), ("S", "app")]
    with pytest.raises(OptionError, match=r"^pull-header: 'one' is not of the form HEADER VARIABLE \(a.ini:1\)"):
        compiled(("pull-header", "one"))


def test_a_rule_sets_the_time_limit_of_a_request() -> None:
    assert routes("^ harakiri:30").environ["uwsgi_ws.harakiri"] == 30
    with pytest.raises(OptionError, match="'soon' is no number of seconds"):
        compiled(("route", "^ harakiri:soon"))
