"""The options, a row each: what the server can be told. What of uWSGI's is not ours is in ``uwsgi_only``.

The module is long because there are many rows; the machinery is in the modules beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from uwsgi_ws.addresses import Address, Trusted
from uwsgi_ws.certificates import NamedCertificate, Redirect, SecureAddress
from uwsgi_ws.errors import OptionError
from uwsgi_ws.loggers import LogEncoder, Logger, LogPattern, LogRoute, SocketLogger, SyslogLogger
from uwsgi_ws.options.row import Row, option, rows_of
from uwsgi_ws.options.setting import COMMAND_LINE, Findings, Setting
from uwsgi_ws.options.uwsgi_only import FOREIGN, IGNORED, MISTAKEN, REFUSED
from uwsgi_ws.options.values import (
    ChannelHistory,
    CheaperAlgorithm,
    CompanionSpec,
    CronSpec,
    DaemonSpec,
    Dialect,
    Expiry,
    FileMode,
    FilePattern,
    Header,
    HeaderMap,
    HeaderName,
    Hook,
    KeyedCron,
    KeyedDaemon,
    Leniency,
    LocalAddress,
    MetricsAddress,
    Mount,
    Origin,
    SignalFile,
    SignalTimer,
    SmartDaemon,
    TouchCommand,
    TouchHook,
    Umask,
    UniqueCron,
    Variable,
    is_perl,
)
from uwsgi_ws.shared import MAX_WORKERS
from uwsgi_ws.shared.areas import AreaSpec
from uwsgi_ws.shared.cache import CacheShape
from uwsgi_ws.shared.metrics import MetricSpec

__all__ = [
    "BY_NAME",
    "BY_SHORT",
    "IGNORED",
    "LANGUAGE",
    "ROWS",
    "Options",
    "build",
    "opt_dict",
    "settings_of",
    "unknown_option",
]

#: Connections that a worker serves at once where no option says how many.
DEFAULT_PLACES = 1_000

_Value = TypeVar("_Value")
_Meaning = TypeVar("_Meaning")


def _relatives(route: str, *more: str) -> tuple[str, ...]:
    """Return the names of a chain's other rules: by what they look at, and what they are."""
    subjects = ("host", "uri", "qs", "remote-addr", "user-agent", "remote-user", "referer", *more)
    return tuple(f"{route}-{kind}" for kind in (*subjects, "if", "if-not", "run", "label"))


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)
class Options:
    """The options in effect, converted and checked by `build`.

    Durations are seconds, sizes bytes; where uWSGI has another unit a property converts it.
    ``given`` holds the settings they were built from, in order, and ``notes`` what there is to say about them.

    The methods of a dataclass would be compiled at each start, with three hundred fields in each; hence the decorator's
    arguments, and ``__init__``.
    """

    ini: tuple[str, ...] = option(
        (),
        metavar="FILE[:SECTION]",
        group="Configuration",
        reads="ini",
        help="Read options, a line 'name = value' each, from a file's section [uwsgi] or the one named; they "
        "count where the file is named. :SECTION alone is another section of the file before, and - is standard input.",
    )
    yaml: tuple[str, ...] = option(
        (),
        short="y",
        aliases=("yml",),
        metavar="FILE[:SECTION]",
        group="Configuration",
        reads="yaml",
        help="The same from a YAML file's mapping. Needs the package PyYAML, the extra 'yaml'.",
    )
    json: tuple[str, ...] = option(
        (),
        short="j",
        aliases=("js",),
        metavar="FILE[:SECTION]",
        group="Configuration",
        reads="json",
        help="The same from a JSON file's object.",
    )
    xml: tuple[str, ...] = option(
        (),
        short="x",
        aliases=("xmlconfig",),
        metavar="FILE[:ID]",
        group="Configuration",
        reads="xml",
        help="The same from an XML file's element. Needs the package defusedxml, the extra 'xml'.",
    )
    config: tuple[str, ...] = option(
        (),
        aliases=("include",),
        metavar="FILE[:SECTION]",
        group="Configuration",
        reads="any",
        help="The same from a file of any of these formats, by the ending of its name. A bare file name does it behind "
        "all options of the command line, as in uWSGI, so that the file wins.",
    )
    inherit: tuple[str, ...] = option(
        (),
        metavar="FILE[:SECTION]",
        group="Configuration",
        reads="any",
        help="The same behind everything else, so that it wins.",
    )
    strict: bool = option(
        False, group="Configuration", help="Treat an unknown name in a file as an error, not as a warning."
    )
    print: tuple[str, ...] = option((), metavar="TEXT", group="Configuration", help="Print a text at the start.")
    show_config: bool = option(
        False, group="Configuration", help="Print all options in effect, as an ini file, before the server starts."
    )

    http: tuple[Address, ...] = option(
        (),
        group="Listening",
        help="Serve HTTP/1.1, with keep-alive, and WebSocket here: :PORT (all of IPv4), HOST:PORT, "
        "[IPV6]:PORT, the path of a unix socket, or @NAME for an abstract one.",
    )
    http_socket: tuple[Address, ...] = option(
        (),
        aliases=("http11-socket",),
        group="Listening",
        help="The same as --http: workers serve their clients themselves, without a router process.",
    )
    socket: tuple[Address, ...] = option(
        (),
        short="s",
        group="Listening",
        help="Serve a front server here, such as nginx by uwsgi_pass, in the uwsgi protocol, or in the one that "
        "--protocol names.",
    )
    uwsgi_socket: tuple[Address, ...] = option(
        (), group="Listening", help="The same as --socket, in the uwsgi protocol whatever --protocol says."
    )
    protocol: Dialect = option(  # noqa: RUF009  # ruff takes only built-in types for immutable
        "uwsgi",
        aliases=("socket-protocol",),
        group="Listening",
        help="What is spoken at the addresses of --socket.",
    )
    shared_socket: tuple[Address, ...] = option(
        (),
        aliases=("undeferred-shared-socket",),
        group="Listening",
        help="Give an address a number, the first one 0: --https =0,CERT,KEY serves there. Every address is bound "
        "before --uid counts, so that it may as well be named where it is served.",
    )
    uwsgi_allow_from: tuple[Trusted, ...] = option(
        (),
        group="Listening",
        help="Let only these connect to a uwsgi socket: an IP address, a network such as 10.1.0.0/16, or, for a "
        "unix socket, uid:USER. A peer that may connect can say anything about clients. Default: everyone, as in "
        "uWSGI.",
    )
    enable_proxy_protocol: bool = option(
        False,
        group="Listening",
        help="Expect a PROXY header, version 1 or 2, at the beginning of each HTTP connection, and believe it "
        "about the client's address and TLS; a connection without one is dropped.",
    )
    http_enable_proxy_protocol: bool = option(
        False,
        group="Listening",
        help="Believe such a header where there is one, and serve clients without one as they are, as uWSGI does.",
    )
    proxy_allow_from: tuple[Trusted, ...] = option(
        (),
        group="Listening",
        help="With --enable-proxy-protocol, let only these connect, and with --http-enable-proxy-protocol believe only "
        "these; written as for --uwsgi-allow-from. Default: this machine.",
    )
    forwarded_allow_from: tuple[Trusted, ...] = option(
        (),
        group="Listening",
        help="Believe the X-Forwarded- headers of these proxies only, an address or network each, and those that come "
        "by a unix socket: For, Host, Port, Proto and SSL. Without it Proto and SSL count from every client, as "
        "in uWSGI, and the others never.",
    )
    https: tuple[SecureAddress, ...] = option(
        (),
        aliases=("https2",),
        metavar="ADDRESS,CERT,KEY[,CIPHERS[,CLIENT_CA]]",
        group="Listening",
        help="Serve https and wss here, TLS 1.2 and 1.3; files are PEM, and loaded anew when they change. CIPHERS are "
        "OpenSSL's for TLS 1.2. With CLIENT_CA clients may show a certificate that one of these authorities has "
        "signed, with !CLIENT_CA they must. The same may be said as addr=,cert=,key=,ciphers=,clientca=.",
    )
    https_socket: tuple[SecureAddress, ...] = option(
        (),
        metavar="ADDRESS,CERT,KEY[,CIPHERS[,CLIENT_CA]]",
        group="Listening",
        help="The same as --https: workers serve their clients themselves, without a router process.",
    )
    http2_socket: tuple[Address, ...] = option(
        (),
        group="Listening",
        help="Serve HTTP/2 in the clear here, with WebSockets by RFC 8441, to proxies that know so beforehand. Needs "
        "the package h2, the extra 'http2'.",
    )
    no_http2: bool = option(
        False, group="Listening", help="Speak HTTP/1.1 only at https addresses; else HTTP/2 too where h2 is installed."
    )
    http_to_https: tuple[Redirect, ...] = option(
        (),
        group="Listening",
        help="Send every request that comes here on to https, on PORT if it is not the usual one.",
    )
    sni: tuple[NamedCertificate, ...] = option(
        (),
        group="Listening",
        help="Certificate for clients that ask for this server name, at every https address; *.NAME stands for all "
        "names one label longer.",
    )
    sni_dir: str | None = option(
        None,
        metavar="DIR",
        group="Listening",
        help="Certificates by server name, in files NAME.crt and NAME.key, for names that no --sni has; loaded when a "
        "client first asks for one and anew when they change, forgotten when they are gone. '*' may be the first label "
        "of NAME.",
    )
    https_export_cert: bool = option(
        False, group="Listening", help="Show the application a client's certificate, as PEM, in HTTPS_CC."
    )
    listen: int = option(
        4_096,
        short="l",
        at_least=1,
        at_most=65_535,
        group="Listening",
        help="Connections the kernel keeps waiting for each address, as far as net.core.somaxconn lets it. One that "
        "finds no place tries again after a second or more.",
    )
    reuse_port: bool = option(
        False,
        group="Listening",
        help="Give each worker a TCP socket of its own, over which the kernel spreads connections, whichever worker is "
        "free; its successor takes it over. Another instance of the same user may listen on the same port then, too. "
        "Unix sockets and systemd's stay shared, and with --cheaper all are.",
    )

    chmod_socket: FileMode | None = option(  # noqa: RUF009 - it makes a field; that its type cannot change is not seen
        None,
        short="C",
        aliases=("chmod",),
        group="Listening",
        bare="666",
        help="Permissions of unix sockets, such as 660, or 666 where none are said; without, the umask decides.",
    )
    chown_socket: str | None = option(
        None, metavar="USER[:GROUP]", group="Listening", help="Owner, and group, of unix sockets."
    )

    umask: Umask | None = option(  # noqa: RUF009  # as above
        None, group="Listening", help="Permissions that sockets and files of this server do not get, such as 022."
    )

    wsgi_file: str | None = option(
        None,
        aliases=("file",),
        metavar="FILE",
        group="Application",
        help="Load the application from this file. A bare app.py or app.py:callable does the same.",
    )
    module: str | None = option(
        None,
        short="w",
        aliases=("wsgi",),
        metavar="MODULE[:CALLABLE]",
        group="Application",
        help="Load the application from this module, never a file; of a --wsgi-file beside it nothing is loaded. A "
        "bare pkg.mod:callable does the same.",
    )
    application: str | None = option(
        None,
        metavar="APP",
        group="Application",
        help="Load the application from this file or, if there is none, from the module of that name, such as "
        "mysite.wsgi. A bare argument does the same where it is not clear which of both it is.",
    )
    paste: str | None = option(
        None,
        metavar="config:FILE[#NAME]",
        group="Application",
        help="Load the application that a file of Paste Deployment describes, such as Pyramid's production.ini. Needs "
        "the package PasteDeploy, the extra 'paste'.",
    )
    paste_logger: bool = option(
        False, group="Application", help="Set up logging as that file says, in its sections [loggers] and others."
    )
    ini_paste: tuple[str, ...] = option(
        (),
        aliases=("ini-paste-logged",),
        metavar="FILE",
        group="Application",
        reads="ini",
        help="Read options from the section [uwsgi] of such a file, and load the application that it describes; "
        "with --ini-paste-logged set up logging, too.",
    )
    callable: str = option(
        "application",
        metavar="NAME",
        group="Application",
        help="The application's name in its file or module.",
    )
    mount: tuple[Mount, ...] = option(
        (),
        metavar="/PATH=APP",
        group="Application",
        help="Serve another application under a path; APP is app.py[:callable], pkg.mod[:callable] or app.psgi.",
    )
    manage_script_name: bool = option(
        False,
        group="Application",
        help="Move the longest mount point that matches from PATH_INFO to SCRIPT_NAME.",
    )
    no_default_app: bool = option(
        False, group="Application", help="With --manage-script-name, answer 500 where no mount point matches."
    )
    debug: bool = option(
        False,
        group="Application",
        help="Answer browsers of this machine with the traceback of what ended their request; nobody else.",
    )
    need_app: bool = option(False, group="Application", help="End with an error when no application could be loaded.")
    chdir: str | None = option(
        None, metavar="DIR", group="Application", help="Change to this directory before loading."
    )
    chdir2: str | None = option(
        None, metavar="DIR", group="Application", help="Change to this directory after loading."
    )
    pythonpath: tuple[str, ...] = option(
        (),
        aliases=("python-path", "pp"),
        metavar="DIR",
        group="Application",
        help="Put this directory, or those a glob pattern matches, in front of sys.path.",
    )
    virtualenv: str | None = option(
        None,
        short="H",
        aliases=("venv", "home", "pyhome"),
        metavar="DIR",
        group="Application",
        help="Use the packages of this virtual environment.",
    )
    shared_import: tuple[str, ...] = option(
        (),
        aliases=(
            "shared-pyimport",
            "shared-py-import",
            "shared-python-import",
            "import",
            "pyimport",
            "py-import",
            "python-import",
        ),
        metavar="MODULE",
        group="Application",
        help="Import this module, or the file of this name, before applications are loaded.",
    )
    pyargv: str | None = option(
        None,
        metavar="ARGUMENTS",
        group="Application",
        help="The application's sys.argv after the program's name, separated by spaces.",
    )
    env: tuple[Variable, ...] = option((), group="Application", help="Set an environment variable before loading.")
    unenv: tuple[str, ...] = option((), metavar="NAME", group="Application", help="Take one away.")
    envdir: tuple[str, ...] = option(
        (),
        aliases=("early-envdir",),
        metavar="DIR",
        group="Application",
        help="Set one for each file of this directory, to its first line.",
    )
    force_cwd: str | None = option(
        None, metavar="DIR", group="Application", help="Change to this directory before anything else."
    )

    psgi: str | None = option(
        None,
        metavar="FILE",
        group="Perl and Go",
        needs_master=True,
        help="Run the PSGI application of this file, in Perl processes. A bare app.psgi or app.pl does the same.",
    )
    perl_workers: int = option(
        0, metavar="N", group="Perl and Go", help="Perl processes of each application; 0: as many as --processes."
    )
    coroae: int = option(
        0,
        metavar="N",
        group="Perl and Go",
        help="Requests that a Perl process answers at once, in threads of Coro with AnyEvent; 0: one after the other.",
    )
    perl_arg: tuple[str, ...] = option((), metavar="ARG", group="Perl and Go", help="An item of Perl's @ARGV.")
    perl_args: tuple[str, ...] = option(
        (), metavar="ARGS", group="Perl and Go", help="Items of Perl's @ARGV, behind those of --perl-arg."
    )
    perl_local_lib: tuple[str, ...] = option(
        (), metavar="DIR", group="Perl and Go", help="Have Perl find modules in this directory, as local::lib does."
    )
    perl_no_plack: bool = option(
        False, group="Perl and Go", help="Load the file by Perl's do, even where Plack is installed."
    )
    perl_exec: tuple[str, ...] = option(
        (), metavar="FILE", group="Perl and Go", help="Run this file in each Perl process before the application."
    )
    perl_exec_post_fork: tuple[str, ...] = option(
        (), metavar="FILE", group="Perl and Go", help="Run this file in each Perl process behind the application."
    )
    perl_auto_reload: int = option(
        0,
        metavar="SECONDS",
        group="Perl and Go",
        help="Look so often whether a file that Perl has loaded has changed, and reload then; 0: never.",
    )
    perl_auto_reload_ignore: tuple[str, ...] = option(
        (), metavar="FILE", group="Perl and Go", help="Do not reload when this file has changed."
    )
    perl_no_die_catch: bool = option(
        False, group="Perl and Go", help="Log no stack trace where an application in Perl dies."
    )
    psgi_enable_psgix_io: bool = option(
        False, group="Perl and Go", help="Give PSGI applications the connection as psgix.io."
    )
    go_app: str | None = option(
        None,
        metavar="PATH",
        group="Perl and Go",
        needs_master=True,
        help="Run this program, which was made with the server's Go module, or speaks its protocol for companions.",
    )
    goroutines: int = option(
        0, metavar="N", group="Perl and Go", help="Requests that a Go program answers at once; 0: any number."
    )
    gevent: int = option(
        0,
        group="Concurrency",
        help="Connections a worker serves at once, a greenlet each; the next one waits to be accepted. The standard "
        "library is made cooperative. Without this and --threads a worker runs one request at a time, and WebSockets "
        "in threads beside it.",
    )
    threads: int = option(
        0,
        at_most=10_000,
        group="Concurrency",
        help="Connections a worker serves at once, a native thread each, and the standard library left alone; 0 and 1 "
        "are as if it were not given.",
    )
    thread_stacksize: int = option(
        0,
        unit="KiB",
        aliases=("threads-stacksize", "thread-stack-size", "threads-stack-size"),
        group="Concurrency",
        help="Stack of each native thread; 0 is the system's own.",
    )
    gevent_monkey_patch: bool = option(
        False,
        aliases=("gevent-early-monkey-patch",),
        group="Concurrency",
        help="Make the standard library cooperative, before anything else is imported; --gevent alone does so, too.",
    )
    no_monkey_patch: bool = option(
        False,
        group="Concurrency",
        help="Leave the standard library alone: what blocks in it then blocks all connections.",
    )

    buffer_size: int = option(
        32_768,
        short="b",
        unit="bytes",
        at_least=1_024,
        at_most=65_535,
        clamps=True,
        group="HTTP",
        help="Largest request line and headers together; uwsgi packets may have their 64 KiB in any case. "
        "uWSGI's default, 4096, is too small for the cookies and tokens of today.",
    )
    header_map: HeaderMap = option(  # noqa: RUF009  # ruff takes only built-in types for immutable
        "drop",
        group="HTTP",
        help="What becomes of request headers with '_' in their name, which an application cannot tell from those with "
        "'-': drop them, keep them, or refuse the request. Proxies that check X-Real-IP let X_Real_IP pass.",
    )
    socket_timeout: float = option(
        30.0,  # what uWSGI raises its 4 to under --gevent
        short="z",
        unit="s",
        at_least=0.1,
        group="HTTP",
        help="Longest wait for a client that is in the middle of sending a request or taking a response.",
    )
    http_timeout: float = option(
        60.0,
        unit="s",
        at_least=0.1,
        group="HTTP",
        help="Longest time a kept-alive connection may lie idle between two requests.",
    )
    add_header: tuple[Header, ...] = option(
        (), group="HTTP", help="Add a header to each response; 'Connection: close' ends each connection behind it."
    )
    rem_header: tuple[HeaderName, ...] = option(
        (), aliases=("del-header",), group="HTTP", help="Take a header out of each response."
    )
    collect_header: tuple[str, ...] = option(
        (),
        aliases=("response-header-collect", "pull-header"),
        metavar="'HEADER VARIABLE'",
        group="HTTP",
        help="Make a response's header a variable, for rules that look at responses and for --log-format; with "
        "--pull-header the client does not get it.",
    )
    http_auto_gzip: bool = option(
        False,
        group="HTTP",
        help="Compress a response that has the header 'uWSGI-Encoding: gzip' and no Content-Length, for clients that "
        "take gzip.",
    )
    post_buffering: int = option(
        0,
        unit="bytes",
        group="HTTP",
        help="Have request bodies read whole before they are used, so that wsgi.input can be read again after seek(0): "
        "in memory up to so many bytes, else in a file without a name. 0 reads them as the application asks.",
    )
    limit_post: int = option(
        0,
        unit="bytes",
        group="HTTP",
        help="Largest request body; 0 is no limit. Past it the client gets 413.",
    )

    websockets_ping_freq: float = option(
        30.0,
        unit="s",
        aliases=("websocket-ping-freq",),
        group="WebSocket",
        help="Silence after which a peer is pinged, whatever the application does; 0 switches pings off.",
    )
    websockets_pong_tolerance: float = option(
        3.0,
        unit="s",
        at_least=0.1,
        aliases=("websocket-pong-tolerance",),
        group="WebSocket",
        help="Time a pinged peer has to send anything at all before it is taken for dead.",
    )
    websockets_max_size: int = option(
        1_024,
        unit="KiB",
        at_least=1,
        aliases=("websocket-max-size",),
        group="WebSocket",
        help="Largest message accepted, its fragments counted together; past it the peer gets 1009.",
    )
    websockets_deflate: bool = option(
        False,
        aliases=("websocket-deflate",),
        group="WebSocket",
        help="Offer permessage-deflate (RFC 7692): messages go compressed to clients that ask for it, and come so. No "
        "message refers to earlier ones, so that an idle connection takes no memory for it.",
    )
    websockets_deflate_min_size: int = option(
        128,
        unit="bytes",
        aliases=("websocket-deflate-min-size",),
        group="WebSocket",
        help="Send shorter messages as they are.",
    )
    websockets_deflate_level: int = option(
        6,
        at_least=1,
        at_most=9,
        aliases=("websocket-deflate-level",),
        group="WebSocket",
        help="Compress so well: 1 takes the least time, 9 the most.",
    )
    websockets_deflate_takeover: bool = option(
        False,
        aliases=("websocket-deflate-takeover",),
        group="WebSocket",
        help="Let messages refer to earlier ones of their connection, both ways: less on the wire, and for each "
        "connection the memory of two windows.",
    )
    websockets_deflate_window: int = option(
        0,
        at_most=15,
        unit="bits",
        aliases=("websocket-deflate-window",),
        group="WebSocket",
        help="Refer back so far, as a power of 2: 9 to 15; 0 is 15, and 12 with --websockets-deflate-takeover.",
    )
    websockets_deflate_memory: int = option(
        0,
        at_most=9,
        aliases=("websocket-deflate-memory",),
        group="WebSocket",
        help="Compress with so much memory, zlib's level 1 to 9; 0 is 8, and 5 with --websockets-deflate-takeover.",
    )
    websockets_max_outbox: int = option(
        1_024,
        unit="KiB",
        at_least=1,
        aliases=("websocket-max-outbox",),
        group="WebSocket",
        help="What may wait for a client that is slower than what is broadcast to it; past it the client gets 1008, or "
        "loses messages where the application prefers that.",
    )
    websockets_origin: tuple[Origin, ...] = option(
        (),
        aliases=("websocket-origin",),
        group="WebSocket",
        help="Let only pages of this origin connect, such as https://example.org, or 'same' for the "
        "server's own; others get 403 before the application runs. uWSGI has no such option and lets "
        "every origin in, which is the default here too.",
    )
    websockets_lenient: tuple[Leniency, ...] = option(
        (),
        aliases=("websocket-lenient",),
        metavar="WHAT[,WHAT]",
        group="WebSocket",
        help="Let clients in that RFC 6455 does not, as uWSGI does: 'handshake' without upgrade in the Connection "
        "header, with a key of any length, or without a version; 'masking' with unmasked frames; 'subprotocol' with "
        "names that are no tokens. The access line names what a client has needed.",
    )
    websockets_drain_rate: int = option(
        5_000,
        at_least=1,
        aliases=("websocket-drain-rate",),
        group="WebSocket",
        help="Connections a second that all workers together close when they stop or are replaced, so that their "
        "clients do not all come back at once; more where the time allowed is too short.",
    )

    websockets_max: int = option(
        0,
        aliases=("websocket-max",),
        group="WebSocket",
        help="WebSockets that all workers together have open at once; a further client gets 503. 0 is no limit but "
        "--gevent's.",
    )
    websockets_per_address: int = option(
        0,
        aliases=("websocket-per-address",),
        group="WebSocket",
        help="WebSockets that clients of one address have open at once, in all workers together; a further one gets "
        "429. 0 is no limit.",
    )
    websockets_per_second: int = option(
        0,
        aliases=("websocket-per-second",),
        group="WebSocket",
        help="Opening handshakes that all workers together accept in a second; a further client gets 503. 0 is no "
        "limit.",
    )
    websockets_try_again_later: bool = option(
        False,
        aliases=("websocket-try-again-later",),
        group="WebSocket",
        help="Open the WebSockets past these three limits only to close them with 1013, which a page's script can see; "
        "it takes a 503 or 429 for a lost connection, 1006.",
    )
    websockets_messages_per_second: int = option(
        0,
        aliases=("websocket-messages-per-second",),
        group="WebSocket",
        help="Messages that a peer may send in a second, in the long run, each fragment, ping and pong counted as one; "
        "past them it gets 1008. 0 is no limit.",
    )
    websockets_bytes_per_second: int = option(
        0,
        unit="bytes",
        aliases=("websocket-bytes-per-second",),
        group="WebSocket",
        help="What a peer may send in a second, in the long run; past it the peer gets 1008. 0 is no limit.",
    )
    websockets_trace: bool = option(
        False,
        aliases=("websocket-trace",),
        group="WebSocket",
        help="Write a transcript of each WebSocket into the log: '<' frames received, '>' sent, '=' states, '%' timers "
        "and '!' faults; of payloads the size only.",
    )

    channel_socket: tuple[Address, ...] = option(
        (),
        group="Channels",
        help="Let programs of the same user publish here: the path of a unix socket, or @NAME. See python -m uwsgi_ws "
        "publish --help.",
    )
    channels: str = option(
        "pipes",
        metavar="URL",
        group="Channels",
        help="Share channels with all instances that use the same Redis or Valkey: redis://, rediss:// or unix:// "
        "(also of a Cluster), redis+sentinel://HOST:PORT/SERVICE. By default only the workers of this instance do, by "
        "pipes.",
    )
    channels_optional: bool = option(
        False,
        group="Channels",
        help="Start even though the --channels cannot be reached, and connect when they can be.",
    )
    channel_queue: int = option(
        8_192,
        unit="KiB",
        at_least=64,
        group="Channels",
        help="What may wait in a worker for each other worker, or Redis server, that does not take its messages; past "
        "it they are dropped.",
    )
    channel_history: tuple[ChannelHistory, ...] = option(
        (),
        group="Channels",
        help="Keep the last messages of the channels whose names fit a pattern as in a shell, for SECONDS or a day, "
        "for clients that come back. The first pattern that fits counts; 0 keeps none.",
    )
    channel_history_memory: int = option(
        65_536,
        unit="KiB",
        at_least=64,
        group="Channels",
        help="What the messages that are kept may take, of all channels together, where they are not kept in Redis. "
        "By default more where four messages of the largest size take more.",
    )
    static_map: tuple[Mount, ...] = option(
        (), metavar="/PATH=DIR", group="Static files", help="Serve the files of a directory under a path."
    )
    check_static: tuple[str, ...] = option(
        (),
        aliases=("static-check",),
        metavar="DIR",
        group="Static files",
        help="Serve a file of this directory when the request's path names one, else ask the application.",
    )
    static_map2: tuple[Mount, ...] = option(
        (),
        metavar="/PATH=DIR",
        group="Static files",
        help="The same, with the whole path below the directory, the mount point included.",
    )
    static_skip_ext: tuple[str, ...] = option(
        (), metavar="ENDING", group="Static files", help="Leave paths that end so to the application."
    )
    static_safe: tuple[str, ...] = option(
        (), metavar="DIR", group="Static files", help="Symbolic links may lead here from the directories above."
    )
    static_gzip_all: bool = option(
        False,
        group="Static files",
        help="Send FILE.br or FILE.gz in place of FILE, where there is one and the client understands it.",
    )
    static_gzip: tuple[FilePattern, ...] = option(
        (), group="Static files", help="The same for files whose path in the file system has this pattern in it."
    )
    static_gzip_dir: tuple[str, ...] = option(
        (),
        aliases=("static-gzip-prefix",),
        metavar="PREFIX",
        group="Static files",
        help="The same for files whose path begins so.",
    )
    static_gzip_ext: tuple[str, ...] = option(
        (),
        aliases=("static-gzip-suffix",),
        metavar="SUFFIX",
        group="Static files",
        help="The same for files whose path ends so.",
    )
    static_expires: tuple[Expiry, ...] = option(
        (),
        group="Static files",
        help="Let clients keep files for so long whose path in the file system has this pattern in it (Expires).",
    )
    static_expires_uri: tuple[Expiry, ...] = option((), group="Static files", help="The same by the request's URI.")
    static_expires_path_info: tuple[Expiry, ...] = option(
        (), group="Static files", help="The same by the request's path."
    )
    static_expires_type: tuple[Expiry, ...] = option(
        (), metavar="TYPE=SECONDS", group="Static files", help="The same by the file's media type."
    )
    static_expires_mtime: tuple[Expiry, ...] = option(
        (), group="Static files", help="As --static-expires, counted from the file's last change."
    )
    static_expires_uri_mtime: tuple[Expiry, ...] = option(
        (), group="Static files", help="As --static-expires-uri, counted so."
    )
    static_expires_path_info_mtime: tuple[Expiry, ...] = option(
        (), group="Static files", help="As --static-expires-path-info, counted so."
    )
    static_expires_type_mtime: tuple[Expiry, ...] = option(
        (), metavar="TYPE=SECONDS", group="Static files", help="As --static-expires-type, counted so."
    )
    mimefile: tuple[str, ...] = option(
        (),
        aliases=("mime-file",),
        metavar="FILE",
        group="Static files",
        help="Take media types by the names' endings from this file, too, such as /etc/mime.types.",
    )
    static_index: tuple[str, ...] = option(
        (), metavar="NAME", group="Static files", help="File to serve for a directory, such as index.html."
    )

    route: tuple[str, ...] = option(
        (),
        aliases=_relatives("route"),
        metavar="RULE",
        group="Routing",
        help="Before the application is asked, do what a rule says: 'REGEX ACTION:ARGUMENT' for the path, such as "
        "'^/chat uwsgi:127.0.0.1:3031', other variables by the names below, 'CHECK:SUBJECT;PATTERN ACTION:ARGUMENT' "
        "with -if and -if-not, 'ACTION:ARGUMENT' alone with -run. Rules count in their order.",
    )
    error_route: tuple[str, ...] = option(
        (),
        aliases=_relatives("error-route", "status"),
        metavar="RULE",
        group="Routing",
        help="The same when a response with a status of 400 or more is about to begin.",
    )
    response_route: tuple[str, ...] = option(
        (),
        aliases=_relatives("response-route", "status"),
        metavar="RULE",
        group="Routing",
        help="The same when any response is about to begin.",
    )
    final_route: tuple[str, ...] = option(
        (),
        aliases=_relatives("final-route", "status"),
        metavar="RULE",
        group="Routing",
        help="The same when the request is over, before its access line.",
    )
    http_connect_timeout: float = option(
        5.0,
        unit="s",
        at_least=0.1,
        group="Routing",
        help="Longest wait for the connection to a server that a route passes requests on to; past it the client "
        "gets 504.",
    )
    route_timeout: float = option(
        60.0,
        unit="s",
        at_least=0.1,
        group="Routing",
        help="Longest time without progress while a request, its response or a WebSocket's frames go through a route "
        "to another server. uWSGI has no such option and waits for --socket-timeout, or for ever.",
    )

    disable_logging: bool = option(
        False, short="L", group="Logging", help="Write no access lines, only errors and what the server does."
    )
    log_format: str | None = option(
        None,
        aliases=("logformat",),
        metavar="FORMAT",
        keeps="%",
        group="Logging",
        help="Access line in uWSGI's notation, such as '%(addr) %(uri) %(status)'.",
    )
    log_json: bool = option(
        False,
        group="Logging",
        help="Write each line as a JSON object, those that the application prints, too, and name requests as "
        "--request-id does. An access line has a field for each value, and --log-format's text as its message.",
    )
    request_id: bool = option(
        False,
        group="Logging",
        help="Name each request: by its X-Request-ID, or anew where it has none of up to 128 plain characters. The "
        "application finds the name in HTTP_X_REQUEST_ID, access lines as %(request_id), error lines at their end.",
    )
    otel: bool = option(
        False,
        group="Logging",
        help="Tell OpenTelemetry of each WebSocket: a span for the opening handshake, a child of a proxy's, and one "
        "for the end, linked to it. Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says, or to the application's own "
        "provider. Needs the extra 'otel'.",
    )
    log_x_forwarded_for: bool = option(
        False,
        group="Logging",
        help="Show what the X-Forwarded-For header says as the client's address in access lines; a client can write it "
        "itself. With --forwarded-allow-from the address is right without this option.",
    )
    stats: tuple[Address, ...] = option(
        (),
        aliases=("stats-server",),
        needs_master=True,
        group="Logging",
        help="Show the status of the workers to everyone who connects here, as JSON; uwsgitop reads it.",
    )
    stats_http: bool = option(False, group="Logging", help="Tell it by HTTP.")
    metrics: tuple[MetricsAddress, ...] = option(
        (),
        needs_master=True,
        group="Logging",
        help="Tell what all workers count together as OpenMetrics, for Prometheus, at this address and path, /metrics "
        "unless named; /healthz and /readyz there say how the instance is. Everyone who connects may read it.",
    )

    control: tuple[Address, ...] = option(
        (),
        needs_master=True,
        group="Logging",
        help="Let operators ask and tell this instance here, by 'python -m uwsgi_ws ctl ADDRESS': a unix socket, which "
        "is for its owner alone, or a port of this machine with --control-token.",
    )
    control_token: str | None = option(
        None, metavar="FILE", group="Logging", help="Have each request at --control begin with this file's first line."
    )
    inspector: tuple[LocalAddress, ...] = option(
        (),
        needs_master=True,
        group="Logging",
        help="Show workers, WebSockets, channels and their messages on a page here, live, and let WebSockets be closed "
        "there; a port alone is one of this machine. The log tells the URL, with a token made at the start.",
    )
    inspector_token: str | None = option(
        None, metavar="FILE", group="Logging", help="Take this file's first line for the token."
    )
    health_path: str | None = option(
        None,
        metavar="PATH",
        group="Logging",
        help="Answer requests for this path at every address, before any route and application: with 200, or 503 once "
        "the worker accepts no client any more. They have no access line.",
    )

    log_4xx: bool = option(
        False,
        name="log-4xx",
        group="Logging",
        help="With --disable-logging, write the lines of requests that ended with a status of 400 to 499.",
    )
    log_5xx: bool = option(False, name="log-5xx", group="Logging", help="The same for 500 to 599.")
    log_slow: int = option(
        0, unit="ms", group="Logging", help="The same for requests that took at least so long; 0 is never."
    )
    log_big: int = option(
        0, unit="bytes", group="Logging", help="The same for responses of at least so many; 0 is never."
    )
    log_zero: bool = option(False, group="Logging", help="The same for responses without a body.")
    log_date: str | None = option(
        None,
        aliases=("logdate",),
        bare="true",
        metavar="FORMAT",
        keeps="%",
        group="Logging",
        help="Begin the server's lines with the time, in strftime's notation where one is given.",
    )
    log_prefix: str | None = option(
        None, metavar="TEXT", bare="", group="Logging", help="Begin the server's lines with this text."
    )
    logformat_strftime: bool = option(
        False,
        aliases=("log-format-strftime",),
        group="Logging",
        help="Write %(ftime) of --log-format in the notation of --log-date.",
    )
    logto: str | None = option(
        None,
        metavar="FILE",
        group="Logging",
        help="Append the log to this file, not to stderr; it is opened before --uid.",
    )
    logto2: str | None = option(
        None,
        metavar="FILE",
        group="Logging",
        help="The same, opened after --uid: that user can open it again when it has been moved.",
    )
    log_maxsize: int = option(
        0,
        unit="bytes",
        at_most=8 * 2**30,
        clamps=True,
        group="Logging",
        help="Move the log's file away once it is larger, and begin another; it is looked at once a second. 0 is "
        "never.",
    )
    log_backupname: str | None = option(
        None,
        metavar="FILE",
        group="Logging",
        help="Where the log's file is moved to, in place of the one before; by default its own name with the time.",
    )
    log_truncate: bool = option(False, group="Logging", help="Empty the log's file at the start.")
    logfile_chown: bool = option(False, group="Logging", help="Give the log's files to --uid and --gid.")
    logfile_chmod: FileMode | None = option(  # noqa: RUF009 - as above
        None, group="Logging", help="The permissions of the log's files."
    )
    logger: tuple[Logger, ...] = option(
        (),
        group="Logging",
        help="Send the log there, too: file:PATH, file:logfile=PATH,maxsize=BYTES,backupname=PATH, fifo:PATH, fd:N, "
        "stdio, syslog[:NAME[,FACILITY]], rsyslog:HOST[:PORT][,NAME], rsyslog:SOCKET[,NAME] or "
        "socket:ADDRESS[,TEXT] by datagrams. Only stdio writes where the log would be without loggers. One with a "
        "NAME gets what --log-route sends there.",
    )
    log_syslog: tuple[SyslogLogger, ...] = option(
        (), bare="uwsgi", group="Logging", help="The same as --logger syslog:NAME."
    )
    log_socket: tuple[SocketLogger, ...] = option((), group="Logging", help="The same as --logger socket:ADDRESS.")
    req_logger: tuple[Logger, ...] = option(
        (),
        aliases=("logger-req",),
        group="Logging",
        help="Send access lines there, as --logger, and nowhere else.",
    )
    log_encoder: tuple[LogEncoder, ...] = option(
        (),
        keeps="%",
        group="Logging",
        help="Change each line on its way to loggers, or to the one of this name: prefix TEXT, suffix TEXT, nl (a "
        "line's end), gzip, compress, or format TEXT and json TEXT, in which ${msg} is the line without its end, "
        "${msgnl} with it, ${unix} and ${micros} the time, ${strftime:FORMAT} as well.",
    )
    log_req_encoder: tuple[LogEncoder, ...] = option(
        (), keeps="%", group="Logging", help="The same for access lines that have --req-logger."
    )
    log_route: tuple[LogRoute, ...] = option(
        (), keeps="%$@", group="Logging", help="Send lines that match to this logger instead of those without a name."
    )
    log_req_route: tuple[LogRoute, ...] = option(
        (), keeps="%$@", group="Logging", help="The same for access lines that have --req-logger."
    )
    log_drain: tuple[LogPattern, ...] = option(
        (), keeps="%$@", group="Logging", help="Do not write lines that match; access lines only without --req-logger."
    )
    log_filter: tuple[LogPattern, ...] = option(
        (), keeps="%$@", group="Logging", help="Write only lines that match; access lines likewise."
    )
    rsyslog_packet_size: int = option(
        1024,
        unit="bytes",
        at_least=128,
        at_most=65_507,
        group="Logging",
        help="The largest packet to rsyslog; the end of a line that is longer is cut off.",
    )
    rsyslog_split_messages: bool = option(False, group="Logging", help="Send such a line in several packets instead.")

    master: bool = option(
        False,
        short="M",
        group="Process",
        help="Have a master look after the workers: it replaces those that die and reloads without refusing a client.",
    )
    processes: int = option(
        1,
        short="p",
        aliases=("workers",),
        at_least=1,
        at_most=MAX_WORKERS,
        group="Process",
        help="Worker processes; more than one implies --master.",
    )
    cheaper: int = option(
        0,
        at_most=MAX_WORKERS - 1,
        needs_master=True,
        group="Process",
        help="Keep at least so many workers, fewer than --processes, and run the others while there is work for them; "
        "0 runs all. Worker 1 always stays. One that is to be put away accepts no client any more; it ends when the "
        "last one has left. How busy a worker is, 0 to 100 %, is what it has least of: places, CPU time, or without "
        "--gevent and --threads the time in which no request runs.",
    )
    cheaper_initial: int = option(0, group="Process", help="Start with so many workers; 0 is those of --cheaper.")
    cheaper_algo: CheaperAlgorithm = option(  # noqa: RUF009  # ruff takes only built-in types for immutable
        "spare",
        group="Process",
        help="When workers come and go. spare: one more when all are busy; spare2: --cheaper is the number of idle "
        "ones; backlog: when more than --cheaper-overload clients wait at TCP sockets; busyness: by their mean; "
        "manual: only by + and - to --master-fifo.",
    )
    cheaper_step: int = option(1, at_least=1, group="Process", help="Workers that come at once.")
    cheaper_overload: int = option(
        3,
        at_least=1,
        group="Process",
        help="For spare and spare2, looks, one a second, that must have found the same; for busyness, seconds over "
        "which it is the mean; for backlog, clients that wait.",
    )
    cheaper_mercy: float = option(
        300.0,
        unit="s",
        group="Process",
        help="Longest time that the clients of a worker that is to be put away may stay there; then WebSockets are "
        "closed with 1012, so that they come back to another worker, and requests have --worker-reload-mercy. If there "
        "is work again before, the worker goes on. uWSGI has no such option and puts away workers without a request.",
    )
    cheaper_rss_limit_soft: int = option(
        0,
        unit="bytes",
        at_most=2**50,
        group="Process",
        help="Have no more workers come while they hold so much resident memory together; 0 is no limit.",
    )
    cheaper_rss_limit_hard: int = option(
        0,
        unit="bytes",
        at_most=2**50,
        group="Process",
        help="Put a worker away while they hold so much, one after the other, down to --cheaper.",
    )
    cheaper_busyness_max: int = option(
        50, unit="%", at_most=100, group="Process", help="A worker is busy past this, for all algorithms."
    )
    cheaper_busyness_min: int = option(
        25,
        unit="%",
        at_most=100,
        group="Process",
        help="A worker is idle below this. For all algorithms one is put away only if the others would be no busier "
        "than half-way from here to --cheaper-busyness-max.",
    )
    cheaper_busyness_multiplier: int = option(
        10,
        at_least=1,
        group="Process",
        help="For busyness, means in a row, for backlog seconds, that must say that there are too many workers.",
    )
    cheaper_busyness_penalty: int = option(
        2, group="Process", help="Add so much to the multiplier when a worker that was put away had to come back soon."
    )
    cheaper_busyness_verbose: bool = option(False, group="Process", help="Log each mean of busyness.")
    cheaper_busyness_backlog_alert: int = option(
        33, group="Process", help="For busyness, more workers come at once when more clients than this wait."
    )
    cheaper_busyness_backlog_step: int = option(1, at_least=1, group="Process", help="So many come then.")
    cheaper_busyness_backlog_multiplier: int = option(
        3, at_least=1, group="Process", help="They go after so many means when nobody waits any more."
    )
    cheaper_busyness_backlog_nonzero: int = option(
        60, unit="s", at_least=1, group="Process", help="They come, too, when a client has waited for so long."
    )
    cheap: bool = option(
        False, needs_master=True, group="Process", help="Start no worker before the first client comes."
    )
    idle: float = option(
        0.0,
        unit="s",
        needs_master=True,
        group="Process",
        help="End all workers when there has been no client for so long; the next one starts them again. 0 is never.",
    )
    die_on_idle: bool = option(False, group="Process", help="End the instance instead.")
    lazy_apps: bool = option(
        False,
        aliases=("lazy",),
        group="Process",
        help="Load the application in each worker, not once before they are forked.",
    )
    max_requests: int = option(
        0,
        short="R",
        needs_master=True,
        group="Process",
        help="Replace a worker after it has begun so many requests, looked at once a second; 0 is never.",
    )
    max_requests_delta: int = option(
        0, group="Process", help="Add so many to --max-requests for each worker, times its number, so that not all go."
    )
    max_worker_lifetime_delta: float = option(
        0.0, unit="s", group="Process", help="The same for --max-worker-lifetime."
    )
    max_worker_lifetime: float = option(
        0.0, unit="s", needs_master=True, group="Process", help="Replace a worker after this time; 0 is never."
    )
    min_worker_lifetime: float = option(
        10.0, unit="s", group="Process", help="Replace no worker for a limit before this time."
    )
    reload_on_rss: int = option(
        0,
        unit="MiB",
        needs_master=True,
        group="Process",
        help="Replace a worker that holds so much resident memory; 0 is never.",
    )
    reload_on_as: int = option(
        0, unit="MiB", needs_master=True, group="Process", help="The same for its address space."
    )
    evil_reload_on_rss: int = option(
        0,
        unit="MiB",
        needs_master=True,
        group="Process",
        help="Kill a worker that holds so much resident memory, whatever it is doing; 0 is never.",
    )
    evil_reload_on_as: int = option(
        0, unit="MiB", needs_master=True, group="Process", help="The same for its address space."
    )
    reload_on_exception: bool = option(
        False, needs_master=True, group="Process", help="Replace a worker after an exception of the application's."
    )
    limit_as: int = option(0, unit="MiB", group="Process", help="Largest address space of each process; 0 is no limit.")
    limit_nproc: int = option(0, group="Process", help="Processes that the user may have; 0 is no limit.")
    max_fd: int = option(0, group="Process", help="Descriptors that a process may have; 0 leaves it at what it is.")
    max_memory: int = option(
        0,
        unit="MiB",
        group="Process",
        help="Resident memory from which on a worker refuses new clients with 503, rather than fail those it has; 0 is "
        "never.",
    )
    harakiri: float = option(
        0.0,
        short="t",
        unit="s",
        needs_master=True,
        group="Process",
        help="End a request that takes longer, by an exception where it waits; kill and replace a worker whose event "
        "loop has not run for so long. 0 is never.",
    )
    websockets_harakiri: bool = option(
        False,
        aliases=("websocket-harakiri",),
        group="Process",
        help="Let --harakiri end WebSockets too, which are exempt otherwise.",
    )
    gevent_stuck_report: float = option(
        5.0,
        unit="s",
        group="Process",
        help="Have the master log the Python stack of a worker whose event loop has not run for so long, because "
        "something in it does not yield; 0 is never.",
    )
    reload_mercy: float = option(
        10.0,
        unit="s",
        at_least=0.1,
        group="Process",
        help="Longest time a stop gives to what is being served, and a reload where there is no master.",
    )
    stop_delay: float = option(
        0.0,
        unit="s",
        group="Process",
        help="Serve on for so long when told to stop, while /readyz and --health-path answer 503 already: a proxy that "
        "asks them sends new clients elsewhere before this instance accepts none. A second signal does not wait.",
    )
    worker_reload_mercy: float = option(
        60.0,
        unit="s",
        at_least=0.1,
        group="Process",
        help="The same for a worker that its successor has taken over from.",
    )
    exit_on_reload: bool = option(
        False,
        group="Process",
        help="End where a reload is asked for; the program that started the server starts it again.",
    )
    die_on_term: bool = option(
        True, group="Process", help="Stop on SIGTERM, as it is. false in a file is --reload-on-term."
    )
    reload_on_term: bool = option(
        False, group="Process", help="Reload on SIGTERM, as uWSGI 2.0 does without --die-on-term."
    )
    touch_reload: tuple[str, ...] = option(
        (), metavar="FILE", needs_master=True, group="Process", help="Reload when this file changes."
    )
    touch_workers_reload: tuple[str, ...] = option(
        (),
        aliases=("touch-chain-reload",),
        metavar="FILE",
        needs_master=True,
        group="Process",
        help="Replace the workers one after the other when this file changes, without loading the application again.",
    )
    touch_logreopen: tuple[str, ...] = option(
        (), metavar="FILE", needs_master=True, group="Process", help="Open the log's file again when this file changes."
    )
    touch_logrotate: tuple[str, ...] = option(
        (), metavar="FILE", needs_master=True, group="Process", help="Move the log's file away when this file changes."
    )
    touch_exec: tuple[TouchCommand, ...] = option(
        (),
        keeps="$",
        needs_master=True,
        group="Process",
        help="Run a command when it changes.",
    )
    fs_reload: tuple[str, ...] = option(
        (),
        aliases=("fs-brutal-reload",),
        metavar="PATH",
        needs_master=True,
        group="Process",
        help="Reload when this file changes, or any file of this directory, or what is in it.",
    )
    py_auto_reload_ignore: tuple[str, ...] = option(
        (), metavar="MODULE", group="Process", help="Leave this module out of what --py-autoreload looks at."
    )
    py_autoreload: float = option(
        0.0,
        unit="s",
        aliases=("py-auto-reload", "python-autoreload", "python-auto-reload"),
        needs_master=True,
        group="Process",
        help="Look this often whether a module's file has changed, and reload then; 0 is never. For development.",
    )
    master_fifo: tuple[str, ...] = option(
        (),
        metavar="FILE",
        needs_master=True,
        group="Process",
        help="Make a fifo that takes orders: q stops, Q stops without waiting, r (or R, c) reloads, w (or W) replaces "
        "the workers one after the other without loading the application again, p has new clients wait until the next "
        "p, + and - have a worker more or fewer with --cheaper, l opens the log's file again after it was moved, L "
        "moves it away itself, P writes the pidfiles again, s logs how the workers stand.",
    )
    hook_asap: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this before anything else, once the configuration is read."
    )
    hook_pre_jail: tuple[Hook, ...] = option((), keeps="$", group="Process", help="Do this once addresses are bound.")
    hook_post_jail: tuple[Hook, ...] = option((), keeps="$", group="Process", help="Do this behind --hook-pre-jail.")
    hook_in_jail: tuple[Hook, ...] = option((), keeps="$", group="Process", help="Do this behind --hook-post-jail.")
    hook_as_root: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this before --uid and --gid count."
    )
    hook_as_user: tuple[Hook, ...] = option((), keeps="$", group="Process", help="Do this once --uid and --gid count.")
    hook_as_user_atexit: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this when the instance ends."
    )
    hook_pre_app: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this before applications are loaded."
    )
    hook_post_app: tuple[Hook, ...] = option((), keeps="$", group="Process", help="Do this once they are loaded.")
    hook_post_fork: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this in each worker, before it serves."
    )
    hook_accepting: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this in each worker, when it serves."
    )
    hook_accepting_once: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this the same, in its first process only."
    )
    hook_accepting1: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this in the first worker, when it serves."
    )
    hook_accepting1_once: tuple[Hook, ...] = option(
        (), keeps="$", group="Process", help="Do this the same, in its first process only."
    )
    hook_master_start: tuple[Hook, ...] = option(
        (),
        keeps="$",
        group="Process",
        help="Do this in the master, before there are workers; 'unix_signal:15 gracefully_kill_them_all' has "
        "SIGTERM stop.",
    )
    hook_touch: tuple[TouchHook, ...] = option(
        (),
        keeps="$",
        needs_master=True,
        group="Process",
        help="Do this when the file changes.",
    )
    exec_asap: tuple[str, ...] = option(
        (),
        metavar="COMMAND",
        keeps="$",
        group="Process",
        help="Run this before anything else, once the configuration is read.",
    )
    exec_pre_jail: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this once addresses are bound."
    )
    exec_post_jail: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this behind --hook-pre-jail."
    )
    exec_in_jail: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this behind --hook-post-jail."
    )
    exec_as_root: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this before --uid and --gid count."
    )
    exec_as_user: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this once --uid and --gid count."
    )
    exec_as_user_atexit: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this when the instance ends."
    )
    exec_pre_app: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this before applications are loaded."
    )
    exec_post_app: tuple[str, ...] = option(
        (), metavar="COMMAND", keeps="$", group="Process", help="Run this once they are loaded."
    )
    attach_daemon: tuple[DaemonSpec, ...] = option(
        (),
        keeps="$",
        needs_master=True,
        group="Process",
        help="Have the master run a program in the foreground, start it again when it ends, and end it at the end.",
    )
    smart_attach_daemon: tuple[SmartDaemon, ...] = option(
        (),
        keeps="$",
        needs_master=True,
        group="Process",
        help="Have the master start a program that goes to the background, unless the pidfile tells that it runs; look "
        "again so often, 10 s.",
    )
    smart_attach_daemon2: tuple[SmartDaemon, ...] = option(
        (), keeps="$", needs_master=True, group="Process", help="The same, and end it at the end."
    )
    attach_daemon2: tuple[KeyedDaemon, ...] = option(
        (),
        keeps="$",
        needs_master=True,
        group="Process",
        help="The same by keys: command, pidfile, freq, stopsignal, reloadsignal.",
    )
    cron: tuple[CronSpec, ...] = option(
        (),
        keeps="$",
        needs_master=True,
        group="Process",
        help="Have the master run a command at times of the day, by local time; -1 is any, -5 each that can be divided "
        "by 5, Sunday is 0 or 7.",
    )
    cron2: tuple[KeyedCron, ...] = option(
        (),
        keeps="$",
        needs_master=True,
        group="Process",
        help="The same by keys: minute, hour, day, month, week, each -1 by default, unique=1, harakiri=SECONDS.",
    )
    unique_cron: tuple[UniqueCron, ...] = option(
        (), keeps="$", needs_master=True, group="Process", help="The same, but not while it still runs."
    )
    cron_harakiri: float = option(
        0.0, unit="s", group="Process", help="Kill a command of --cron that takes longer; 0 is never."
    )
    timer: tuple[SignalTimer, ...] = option(
        (),
        aliases=("signal-timer",),
        needs_master=True,
        group="Process",
        help="Raise a signal each time that so many seconds have passed; uwsgi.register_signal says who handles it.",
    )
    rbtimer: tuple[SignalTimer, ...] = option(
        (), aliases=("signal-rbtimer",), needs_master=True, group="Process", help="The same."
    )
    touch_signal: tuple[SignalFile, ...] = option(
        (), needs_master=True, group="Process", help="Raise a signal when this file changes."
    )
    fs_signal: tuple[SignalFile, ...] = option(
        (),
        needs_master=True,
        group="Process",
        help="Raise a signal when this file changes, or any file of this directory, or what is in it.",
    )
    no_orphans: bool = option(
        False, needs_master=True, group="Process", help="Have workers stop when their master is gone."
    )
    uid: str | None = option(
        None, metavar="USER", group="Process", help="Become this user, after listening and before loading."
    )
    gid: str | None = option(
        None, metavar="GROUP", group="Process", help="Become this group, after listening and before loading."
    )
    add_gid: tuple[str, ...] = option(
        (), metavar="GROUP", group="Process", help="Be in this group, too, from the moment when --uid and --gid count."
    )
    immediate_uid: str | None = option(
        None,
        metavar="USER",
        group="Process",
        help="Become this user before anything else: before listening, and before the log is opened.",
    )
    immediate_gid: str | None = option(
        None, metavar="GROUP", group="Process", help="The same with a group, before the user changes."
    )
    daemonize: str | None = option(
        None,
        short="d",
        aliases=("daemonize2",),
        metavar="FILE",
        group="Process",
        help="Go to the background, and append the log to this file.",
    )
    pidfile: str | None = option(None, metavar="FILE", group="Process", help="Write the process id to this file.")
    pidfile2: str | None = option(None, metavar="FILE", group="Process", help="The same, once --uid and --gid count.")
    safe_pidfile: str | None = option(
        None,
        aliases=("safe-pidfile2",),
        metavar="FILE",
        group="Process",
        help="The same, but only once clients are accepted.",
    )
    procname: str | None = option(
        None, metavar="NAME", group="Process", help="Name of the processes in ps and, its first 15 bytes, in top."
    )
    procname_master: str | None = option(
        None, metavar="NAME", group="Process", help="Name of the master, whatever the others are called."
    )
    procname_prefix: str | None = option(
        None, metavar="TEXT", group="Process", help="Text in front of the processes' names."
    )
    procname_prefix_spaced: str | None = option(
        None, metavar="TEXT", group="Process", help="The same, with a blank after it."
    )
    procname_append: str | None = option(
        None, metavar="TEXT", group="Process", help="Text behind the processes' names."
    )
    auto_procname: bool = option(
        False,
        group="Process",
        help="Name each process after its role, such as 'uwsgi_ws worker 1'; the other procname options imply "
        "it where they give no name.",
    )

    cache: int = option(
        0,
        unit="items",
        group="Shared memory",
        help="Have a cache of so many items for uwsgi.cache_set and its relatives, the same for all workers.",
    )
    cache_blocksize: int = option(
        65_536, unit="bytes", at_least=1, group="Shared memory", help="Largest value in the cache of --cache."
    )
    cache2: tuple[CacheShape, ...] = option(
        (),
        group="Shared memory",
        help="Have a cache by keys: name, items, blocksize, and as uWSGI has them blocks, keysize, hashsize, bitmap, "
        "purge_lru, clear_on_full, ignore_full, no_expire, math_initial.",
    )
    cache_no_expire: bool = option(False, group="Shared memory", help="Keep the items of all caches for ever.")
    enable_metrics: bool = option(
        False, group="Shared memory", help="Have uwsgi.metric_get tell what the server counts; --metric implies it."
    )
    metric: tuple[MetricSpec, ...] = option(
        (),
        metavar="NAME|name=NAME,...",
        group="Shared memory",
        help="Have a number for uwsgi.metric_inc and its relatives, the same for all workers. Keys are uWSGI's: "
        "name, initial_value, type=alias with alias, collector=sum or avg with children=NAME;NAME, collector=file "
        "with arg1=PATH and arg1n.",
    )

    sharedarea: tuple[AreaSpec, ...] = option(
        (),
        short="A",
        group="Shared memory",
        help="Have raw memory of so many pages for uwsgi.sharedarea_read and its relatives, the same for all workers. "
        "Keys are uWSGI's: pages or size, and file and offset for a file's bytes.",
    )

    stop: str | None = option(
        None, metavar="PIDFILE", group="Information", help="Stop the instance of this pidfile, and end."
    )
    reload: str | None = option(
        None, metavar="PIDFILE", group="Information", help="Reload the instance of this pidfile, and end."
    )
    connect_and_read: tuple[Address, ...] = option(
        (),
        group="Information",
        help="Print what a socket sends to those that connect, such as the one of --stats, and end.",
    )
    version: bool = option(False, short="V", group="Information", help="Print the version and end.")
    help: bool = option(False, short="h", aliases=("usage",), group="Information", help="Print this text and end.")

    given: tuple[Setting, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(self, **values: Any) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, values.pop(each.name, each.default))
        if values:
            raise TypeError(f"there is no option {', '.join(values)}")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Every address that speaks HTTP, whichever option named it."""
        return self.http + self.http_socket

    @property
    def daemons(self) -> tuple[DaemonSpec, ...]:
        """The programs to attach."""
        ending = tuple(spec._replace(ends_with_us=True) for spec in self.smart_attach_daemon2)
        return (*self.attach_daemon, *self.smart_attach_daemon, *ending, *self.attach_daemon2)

    @property
    def crons(self) -> tuple[CronSpec, ...]:
        """The commands that have times."""
        return (*self.cron, *self.cron2, *self.unique_cron)

    @property
    def caches(self) -> tuple[CacheShape, ...]:
        """The caches; the first one is meant where none is named."""
        caches = self.cache2
        if self.cache:
            caches = (CacheShape("default", self.cache, self.cache_blocksize, self.cache), *caches)
        return tuple(each._replace(expires=False) for each in caches) if self.cache_no_expire else caches

    @property
    def added_headers(self) -> tuple[Header, ...]:
        """What ``add_header`` adds, but for what is the server's to say."""
        return tuple(header for header in self.add_header if header.name.lower() != "connection")

    @property
    def closes_connections(self) -> bool:
        """Whether each connection ends behind its first response."""
        return any(header.name.lower() == "connection" and header.value == "close" for header in self.add_header)

    @property
    def max_message_size(self) -> int:
        """Largest WebSocket message, in bytes."""
        return self.websockets_max_size * 1024

    @property
    def has_master(self) -> bool:
        """Whether a master looks after the workers: asked for, or needed by something that was."""
        if self.master or self.processes > 1 or self.companions:
            return True
        return any(row.needs_master and getattr(self, row.attribute) != row.default for row in ROWS)

    @property
    def stops_on_term(self) -> bool:
        """Whether SIGTERM stops the instance; of two settings that say something about it, the later one wins."""
        stops = True
        for setting in self.given:
            if setting.name in ("die-on-term", "reload-on-term"):
                stops = BY_NAME[setting.name].value(setting) is (setting.name == "die-on-term")
        return stops

    @property
    def monkey_patch(self) -> bool:
        """Whether the standard library is to be made cooperative."""
        is_wanted = self.gevent_monkey_patch if self.settings_of("gevent-monkey-patch") else self.gevent > 0
        return is_wanted and not self.no_monkey_patch

    @property
    def companions(self) -> tuple[CompanionSpec, ...]:
        """The applications that run in processes of their own, in other languages; each once."""
        perl = [self.psgi] if self.psgi is not None else []
        perl += [mount.target for mount in self.mount if is_perl(mount.target)]
        found = [CompanionSpec("perl", file) for file in dict.fromkeys(perl)]
        if self.go_app is not None:
            found.append(CompanionSpec("go", self.go_app))
        return tuple(found)

    @property
    def has_python_default(self) -> bool:
        """Whether an application in Python is named that is not mounted."""
        return any(each is not None for each in (self.module, self.wsgi_file, self.application, self.paste))

    @property
    def has_python(self) -> bool:
        """Whether an application in Python is named, or none at all."""
        mounted = any(not is_perl(mount.target) for mount in self.mount)
        return mounted or self.has_python_default or not self.companions

    @property
    def is_serial(self) -> bool:
        """Whether a worker runs one request at a time, as uWSGI does by default; companions run beside it."""
        return not self.gevent and not self.threads and self.has_python

    @property
    def stuck_report(self) -> float:
        """Seconds until an event loop that does not run is reported; 0 where requests may block it on purpose."""
        is_given = bool(self.settings_of("gevent-stuck-report"))
        return 0.0 if self.is_serial and not is_given else self.gevent_stuck_report

    @property
    def history_room(self) -> int:
        """Bytes of memory for messages that are kept; by default enough for four of the largest."""
        room = self.channel_history_memory * 1024
        return room if self.settings_of("channel-history-memory") else max(room, self.least_history_room)

    @property
    def least_history_room(self) -> int:
        """Bytes without which some message could not be kept; see ``channels.message_log``."""
        return 4 * self.max_message_size

    @property
    def first_workers(self) -> int:
        """How many workers run at first, not counting ``cheap``."""
        if not self.cheaper:
            return self.processes
        return min(max(self.cheaper_initial, self.cheaper), self.processes)

    @property
    def has_static_files(self) -> bool:
        """Whether some requests are answered with files."""
        return bool(self.static_map or self.static_map2 or self.check_static)

    @property
    def places(self) -> int:
        """Connections that a worker serves at once."""
        return self.threads or self.gevent or DEFAULT_PLACES

    def settings_of(self, name: str) -> list[Setting]:
        """Return the settings that give an option, under any of its names, in order."""
        return settings_of(self.given, name)

    def error(self, name: str, problem: str) -> OptionError:
        """Return an error about an option whose value is found wrong later, such as a port in use.

        Args:
            name: The option's long name.
            problem: What is wrong, with the value.
        """
        settings = self.settings_of(name)
        last = settings[-1] if settings else Setting(name, None, "default")
        return last.error(problem)

    def checked(self, name: str, read: Callable[[_Value], _Meaning], value: _Value) -> _Meaning:
        """Return what ``read`` makes of an option's value; its ValueError becomes the option's error."""
        try:
            return read(value)
        except ValueError as exc:
            raise self.error(name, str(exc)) from None


def settings_of(settings: Sequence[Setting], name: str) -> list[Setting]:
    """Return the settings that give an option, under any of its names, in order."""
    names = BY_NAME[name].names
    return [setting for setting in settings if setting.name in names]


def _word(name: str, what: str, *aliases: str, short: str = "", metavar: str = "") -> Row:
    """Return a row for words of the configuration language."""
    return Row(
        name=name,
        help=what,
        group="Configuration language",
        kind="language",
        type="str" if metavar else "bool",
        aliases=aliases,
        short=short,
        metavar=metavar,
    )


LANGUAGE = (
    _word("set", "Give an option, or a variable for %(NAME).", short="S", metavar="NAME=VALUE"),
    _word("set-placeholder", "Give a variable for %(NAME).", "set-ph", metavar="NAME=VALUE"),
    _word(
        "if-env",
        "What follows, up to an endif or else, counts only if the environment has this variable, or this value of it, "
        "which %(_) stands for then; and so for those below.",
        "if-not-env",
        "ifenv",
        metavar="NAME[=VALUE]",
    ),
    _word("if-opt", "If an option or variable is given.", "if-not-opt", metavar="NAME[=VALUE]"),
    _word("if-exists", "If there is such a path.", "if-not-exists", "ifexists", metavar="PATH"),
    _word("if-file", "If it is a file.", "if-not-file", metavar="PATH"),
    _word("if-dir", "If it is a directory.", "if-not-dir", "ifdir", "if-directory", metavar="PATH"),
    _word("if-hostname", "If this machine is called so.", "if-not-hostname", metavar="NAME"),
    _word("if-hostname-match", "If its name has this in it.", "if-not-hostname-match", metavar="REGEX"),
    _word(
        "if-plugin", "If a plugin is loaded; python, http and gevent are.", "if-not-plugin", "ifplugin", metavar="NAME"
    ),
    _word("if-reload", "If the configuration is read again, for a reload.", "if-not-reload"),
    _word("else", "What follows counts if the block's condition does not hold."),
    _word("end", "The block ends.", "endif", "end-if", "endfor", "end-for"),
    _word("for", "Repeat each line that follows, up to an endfor, with %(_) for each of these words.", metavar="WORDS"),
    _word("for-glob", "The same for each path.", metavar="PATTERN"),
    _word("for-times", "The same for 1 to N.", metavar="N"),
    _word("for-readline", "The same for each line of a file.", metavar="FILE"),
)
ROWS = rows_of(Options) + LANGUAGE + IGNORED
BY_NAME = {name: row for row in ROWS + REFUSED for name in row.names}
BY_SHORT = {row.short: row for row in ROWS + REFUSED if row.short}


def build(settings: Sequence[Setting], variables: Container[str] = (), findings: Findings | None = None) -> Options:
    """Return the options in effect; later settings win, those of a repeatable option add up.

    Args:
        settings: In order, without placeholders.
        variables: Names that are no options, and that the settings' placeholders have asked for.
        findings: What was found before; None for nothing.

    Raises:
        OptionError: A name is unknown on the command line, or anywhere with ``strict``, an option is refused, a value
            is missing or cannot be used, or two options exclude each other. All that is wrong is told together.
    """
    findings = Findings() if findings is None else findings
    values: dict[str, Any] = {}
    unknown: list[Setting] = []
    shared = [each for each in settings if each.name in BY_NAME["shared-socket"].names]
    for setting in settings:
        row = BY_NAME.get(setting.name)
        if row is None:
            if setting.name not in variables:
                unknown.append(setting)
            continue
        try:
            _judge(row, _resolved(row, setting, shared), values, findings)
        except OptionError as exc:
            findings.errors.append(exc)
    for setting in unknown:
        if values.get("strict") or setting.source == COMMAND_LINE:
            findings.errors.append(unknown_option(setting))
        else:
            findings.note("unknown", setting, f"{unknown_option(setting).problem}: passed over, as uWSGI does")
    _leave_threads(settings, values, findings)
    _remark_on_loggers(settings, values, findings)
    options = Options(given=tuple(settings), **values)
    if options.threads:
        for name in ("gevent", "gevent-monkey-patch"):
            if any(setting.name in BY_NAME[name].names for setting in settings):
                problem = f"an application runs in threads or in greenlets, so not with --{name}"
                findings.errors.append(options.error("threads", problem))
    _check_cheaper(options, findings)
    findings.check()
    return replace(options, notes=tuple(map(str, findings.notes)))


def _check_cheaper(options: Options, findings: Findings) -> None:
    """Say what of the bounds between which workers come and go cannot be."""
    least, most = options.cheaper, options.processes
    for setting in options.given:
        if not least and setting.name.startswith("cheaper-"):
            findings.note("reading", setting, "without effect as long as there is no --cheaper, as in uWSGI")
    soft, hard = options.cheaper_rss_limit_soft, options.cheaper_rss_limit_hard
    if least and least >= most:
        findings.errors.append(options.error("cheaper", f"{least} is not lower than --processes, {most}"))
    elif least and options.cheaper_initial and options.cheaper_initial != options.first_workers:
        problem = f"{options.cheaper_initial} is not between --cheaper, {least}, and --processes, {most}"
        setting = options.settings_of("cheaper-initial")[-1]
        if setting.source == COMMAND_LINE:
            findings.errors.append(setting.error(problem))
        else:
            findings.note("reading", setting, f"{problem}: {options.first_workers} counts, as in uWSGI")
    if least and options.reuse_port:
        findings.note("reading", options.settings_of("reuse-port")[-1], "with --cheaper all workers share each socket")
    if hard and not 0 < soft < hard:
        problem = f"{hard} is not higher than --cheaper-rss-limit-soft, which is {soft or 'not given'}"
        findings.errors.append(options.error("cheaper-rss-limit-hard", problem))


def _leave_threads(settings: Sequence[Setting], values: dict[str, Any], findings: Findings) -> None:
    """Take out native threads that uWSGI has not: one alone, and those beside greenlets."""
    asked = [setting for setting in settings if setting.name == "threads"]
    if not asked or not values.get("threads"):
        return
    if values["threads"] == 1:
        values["threads"] = 0  # one is uWSGI's word for none
    elif any(setting.name == "gevent" for setting in settings) and asked[-1].source != COMMAND_LINE:
        values["threads"] = 0
        findings.note("reading", asked[-1], "there are greenlets and no threads beside 'gevent', as in uWSGI")


def _resolved(row: Row, setting: Setting, shared: Sequence[Setting]) -> Setting:
    """Return a setting with the address that it means by the number of a shared socket (``=0``).

    Raises:
        OptionError: there is no shared socket of that number.
    """
    if row.type not in ("Address", "SecureAddress", "Redirect"):
        return setting
    found = re.match(r"(addr=)?=([0-9]+)(?=,|$)", setting.value or "")
    if found is None:
        return setting
    if (number := int(found[2])) >= len(shared):
        raise setting.error(
            f"{setting.value!r}: no shared-socket has the number {number}, the first of {len(shared)} has 0"
        )
    text = f"{found[1] or ''}{shared[number].value}{(setting.value or '')[found.end() :]}"
    return replace(setting, value=text)


def _remark_on_loggers(settings: Sequence[Setting], values: dict[str, Any], findings: Findings) -> None:
    """Say which routes and encoders name a logger that is not there: nothing takes them."""
    names = {each.name for kind in ("logger", "req_logger") for each in values.get(kind, ())}
    for setting in settings:
        row = BY_NAME.get(setting.name)
        if row is not None and row.type in ("LogRoute", "LogEncoder"):
            try:
                name = row.value(setting).logger
            except OptionError:
                continue  # it has been told
            if name and name not in names:
                findings.note("reading", setting, f"there is no logger {name!r}, so this counts for nothing")


def _judge(row: Row, setting: Setting, values: dict[str, Any], findings: Findings) -> None:
    """Add a setting's value to the others."""
    if row.kind == "refused":
        if not (row.is_flag and setting.value and not row.value(setting)):  # switched off, it asks for nothing
            findings.errors.append(setting.error(f"not done here. {row.help}"))
        return
    pattern, advice = MISTAKEN.get(row.name, ("$^", ""))
    if setting.source == COMMAND_LINE and setting.value and re.search(pattern, setting.value):
        findings.errors.append(setting.error(f"{setting.value!r}: {advice}"))
        return
    try:
        if row.kind == "no effect" and not (setting.value or row.is_flag) and setting.source == COMMAND_LINE:
            raise setting.error("needs a value")
        if row.kind == "no effect":
            findings.note("no effect", setting, f"without effect here. {row.help}")
        if not row.attribute:
            return
        value = row.value(setting, lambda text: findings.note("reading", setting, text))
    except OptionError as exc:
        findings.errors.append(exc)
        return
    values[row.attribute] = (*values.get(row.attribute, ()), value) if row.repeats else value


def opt_dict(options: Options) -> dict[str, bytes | bool | list[bytes]]:
    """Return what ``uwsgi.opt`` holds: names as the user wrote them, with the bytes of their values.

    A name given without a value is True; one given several values has them in a list. (uWSGI keeps only
    the last under Python 3, where its search for the first fails.)
    """
    opt: dict[str, bytes | bool | list[bytes]] = {}
    for name in dict.fromkeys(setting.name for setting in options.given):
        texts = [each.value for each in options.given if each.name == name and each.value is not None]
        values = [os.fsencode(text) for text in texts]
        opt[name] = values if len(values) > 1 else values[0] if values else True
    return opt


def unknown_option(setting: Setting) -> OptionError:
    """Return the error about a setting that has no row; it suggests a name that is close, or ours for another's."""
    if setting.name in FOREIGN:
        return setting.error(f"unknown option; {FOREIGN[setting.name]}")
    import difflib

    close = difflib.get_close_matches(setting.name, BY_NAME, n=1, cutoff=0.8)
    return setting.error("unknown option" + (f", did you mean {setting.spell(close[0])}?" if close else ""))
