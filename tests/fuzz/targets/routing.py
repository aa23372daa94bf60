"""Routing rules: any text is compiled or refused by a documented error, and what is compiled answers a request once.

An input is rules, one a line, ``name = value`` as in an ini file without its options' prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fuzz.builds import Build

MEASURED = ("routing/templates", "routing/conditions", "routing/chain", "routing/actions", "routing/router")
VECTORS = None
SEEDS = [
    b"route = ^/(.*)$ redirect:/x/$1\nroute-label = end",
    b"route-if = equal:${PATH_INFO};/a break:404 Not Found\nroute-if-not = empty:${HTTP_HOST} goto:x\nroute-label = x",
    b"route-host = ^a addheader:X: ${cookie[a]}\nroute-uri = . rewrite:/y?a=$0\nroute-qs = b= delheader:Server",
    b"route-run = setpathinfo:${hex[PATH_INFO]}\nroute-run = log:${time[unix]} ${uwsgi[pid]}\nroute-run = last:",
    b"route-if = ipv4in:${REMOTE_ADDR};10.0.0.0/8 return:403\nroute-if = regexp:${QUERY_STRING};a=(.) addvar:A=$1",
    b"route-remote-addr = ^1 basicauth:Realm,a:b\nroute-user-agent = curl harakiri:5\nroute-run = setmethod:PUT",
    b"response-route-status = ^2 addheader:X: 1\nfinal-route-run = logvar:a=b\nerror-route-status = 404 break:410",
    b"route-if = startswith:${upper[HTTP_HOST]};EX send:${mime[PATH_INFO]}\nroute-run = gzip:\nroute-run = chunked:",
    b"route-if = >:${qs[a]};1 setscheme:https\nroute-if = contains:${base64[HTTP_HOST]};x sethost:y\nadd-header = A: b",
    b"route-cookie = a fixpathinfo:\nroute-request-method = GET donotlog:\nroute-run = setuser:x\nrem-header = Server",
    b"route-run = return:200\nroute-run = break-with-status:999\nroute-referer = x seturi:/\nhttp-auto-gzip = true",
    b"route-run = httpdumb\nroute = [ break:\nroute-if = x:y z\nroute-run = ${nope[a]}\ncollect-header = X\nroute-x",
]
NAMES = ("route", "error-route", "response-route", "final-route", "add-header", "rem-header", "collect-header",
         "pull-header", "http-auto-gzip")  # fmt: skip
#: Of these what happens is not the rules' alone: they need a server, or files.
OUTSIDE = ("http:", "httpdumb:", "uwsgi:", "file:", "fastfile:", "sendfile:", "static:", "access:", "chdir:")
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/caf%C3%A9/x?a=1&b=two",
    "PATH_INFO": "/caf\xc3\xa9/x",
    "QUERY_STRING": "a=1&b=two",
    "SCRIPT_NAME": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "10.0.0.7",
    "HTTP_HOST": "Example.org",
    "HTTP_COOKIE": "id=42; a=b",
    "HTTP_USER_AGENT": "curl/8",
}
#: Characters of a rule: a regular expression is its author's, who may write one that takes a thousand years.
LONGEST = 80


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    module = builds[0].module
    errors, options, router = module("errors"), module("options"), module("routing.router")
    settings_of = module("routing.settings").RouteSettings.of
    timeouts = module("routing.backend").Timeouts(1.0, 1.0)
    request = module("request.base").Request

    class Asked(request):  # type: ignore[misc, valid-type]  # of the build
        """A request in memory, and how it was answered."""

        __slots__ = ("answers", "body", "ends", "has_gone")
        scheme = "http"
        can_sendfile = False

        def __init__(self) -> None:
            super().__init__(dict(ENVIRON), 0, 0)
            self.answers: list[str] = []
            self.body = b""
            self.ends = 0
            self.has_gone = False

        def fileno(self) -> int:
            return 0

        def read_body(self) -> bytes:
            return b""

        def read_body_now(self) -> bytes:
            return b""

        def write_head(self, status: str, headers: Any, body_length: int | None) -> None:
            self.status = int(status[:3])
            self.answers.append(status)
            said = "".join([status, *(f"{name}{value}" for name, value in headers)])
            assert not set(said) & set("\r\n\0"), "a head would be split"

        def write_body(self, data: bytes) -> None:
            assert not self.ends
            self.body += data

        def finish(self) -> None:
            self.ends += 1

        def abandon(self) -> None:
            self.has_gone = True
            self.ends += 1

        disconnect = abandon

    def application(asked: Any) -> None:
        asked.write_head("200 OK", [("X", "y"), ("Server", "app")], 3)
        asked.write_body(b"app")
        asked.finish()

    def check(data: bytes) -> None:
        settings = []
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n")[:8], 1):
            name, _, value = (part.strip() for part in line[:LONGEST].partition("="))
            if name.startswith(NAMES) and name in options.BY_NAME and not any(word in value for word in OUTSIDE):
                settings.append(options.Setting(name, value, f"a:{number}"))
        try:
            built = options.build(settings)
            routes = router.Router(settings_of(built.given), timeouts)
        except (errors.OptionError, errors.OptionErrors) as exc:
            assert str(exc)
            return
        asked = Asked()
        try:
            routes.answer(asked, application)
        except errors.RequestError as exc:
            assert 400 <= exc.status < 600
            return
        # A rule may also end the connection without a word, as `break:` does.
        assert len(asked.answers) == 1 or (asked.has_gone and not asked.answers), asked.answers
        assert asked.ends >= 1

    return check
