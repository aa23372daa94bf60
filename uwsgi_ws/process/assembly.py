"""Makes the parts of a worker from the options: equipment and applications, which workers may share, and server.

What only some options need is imported where it is made; ``preloading`` has seen to it before, if they are given.
"""

from __future__ import annotations

import mimetypes
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gevent import monkey

from uwsgi_ws.addresses import Trusted, User
from uwsgi_ws.api import uwsgi as api
from uwsgi_ws.api.decorators import offer_decorators
from uwsgi_ws.api.geventwebsocket import offer_geventwebsocket
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.api.memories import shared_functions
from uwsgi_ws.api.websocket_environ import add_for_websocket
from uwsgi_ws.certificates import SecureAddress
from uwsgi_ws.channels.alone import Alone
from uwsgi_ws.channels.backend import Backend
from uwsgi_ws.channels.bus import Bus
from uwsgi_ws.channels.local_history import LocalHistory
from uwsgi_ws.channels.message_log import LogMemory
from uwsgi_ws.channels.positions import keeper
from uwsgi_ws.errors import BootError, ChannelError
from uwsgi_ws.fronts.peer import StreamSettings
from uwsgi_ws.hub import own
from uwsgi_ws.log import name_requests, say
from uwsgi_ws.net.contexts import Certificates
from uwsgi_ws.net.pem import Contents
from uwsgi_ws.options import CompanionSpec, Options, Setting, is_perl, opt_dict
from uwsgi_ws.process import hooks
from uwsgi_ws.process.boot import print_traceback_of_application
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.protocol.http import http1
from uwsgi_ws.protocol.http.forwarded import Proxies
from uwsgi_ws.protocol.websocket.deflate import Compressors, DeflateSettings
from uwsgi_ws.protocol.websocket.keepalive import KeepalivePolicy
from uwsgi_ws.request.acceptor import Acceptor
from uwsgi_ws.request.access_log import AccessLog, Selection
from uwsgi_ws.request.admission import Admission, ConnectionLimiter, ConnectionLimits
from uwsgi_ws.request.answers import use_error_page
from uwsgi_ws.request.health import HealthPath
from uwsgi_ws.request.identity import REQUEST_ID, name_request
from uwsgi_ws.request.mounts import PERL, Runner, run_mounted
from uwsgi_ws.request.steps import HttpsRedirect, Step, proxies_step
from uwsgi_ws.routing.settings import RouteSettings
from uwsgi_ws.server.accepting import FrontSettings
from uwsgi_ws.server.concurrency import Concurrency
from uwsgi_ws.server.loop import EventLoop
from uwsgi_ws.server.server import Answering, Server
from uwsgi_ws.shared.websockets import OpenWebSockets
from uwsgi_ws.stats import Stats
from uwsgi_ws.websocket.live import ConnectionSettings
from uwsgi_ws.wsgi import loader
from uwsgi_ws.wsgi.applications import Applications
from uwsgi_ws.wsgi.current import current_request
from uwsgi_ws.wsgi.environ import EnvironBase

if TYPE_CHECKING:
    from uwsgi_ws.channels.inboxes import Inboxes
    from uwsgi_ws.channels.redis.engine import Engine
    from uwsgi_ws.companions.runner import Pool
    from uwsgi_ws.request.static import Compressed, Expiries, StaticFiles
    from uwsgi_ws.routing.router import Router

#: The sockets of the processes that run applications in other languages.
Pools = Mapping[CompanionSpec, str]

__all__ = [
    "Equipment",
    "install_api",
    "load_applications",
    "make_bus",
    "make_equipment",
    "make_server",
]


@dataclass(frozen=True, slots=True)
class Equipment:
    """What is made of the options once, before workers are forked, so that what is wrong there is told once.

    Args:
        certificates: Of the addresses where TLS is spoken.
        router: None without routes.
        proxies: None unless some are named.
        engine: What channels go through; None for pipes.
        steps: Another program's, whose child a worker is; they come first.
        access_log: Such a program's, in place of the options'.
        head_limits: Limits of a request's head that no option says, by their name in ``http1.Limits``.
        shows_errors: Whether a browser of this machine gets tracebacks.
    """

    certificates: Mapping[SecureAddress, Certificates]
    router: Router | None
    proxies: Proxies | None
    engine: Engine | None = None
    steps: tuple[Step, ...] = ()
    access_log: AccessLog | None = None
    head_limits: Mapping[str, Any] = field(default_factory=dict)
    shows_errors: bool = False


def make_equipment(options: Options, sockets: Sockets, keys: Contents) -> Equipment:
    """Return what workers need besides applications.

    Args:
        options: Checked already.
        sockets: Where they serve; the options may have changed since.
        keys: What the files of certificates held at the start.

    Raises:
        OptionError: a certificate cannot be loaded, or a route not be understood.
    """
    for setting in options.given:
        if setting.name in ("static-map", "static-map2", "check-static"):
            _warn_of_nothing(options, setting)
    routes = RouteSettings.of(options.given)
    router = None
    if routes:
        from uwsgi_ws.routing.backend import Timeouts
        from uwsgi_ws.routing.router import Router

        router = Router(routes, Timeouts(options.http_connect_timeout, options.route_timeout))
    proxies = None
    if options.forwarded_allow_from:
        proxies = options.checked("forwarded-allow-from", _proxies, options.forwarded_allow_from)
    return Equipment(
        _load_certificates(options, sockets, keys),
        router,
        proxies,
        _find_engine(options),
        shows_errors=options.debug and _serves_this_machine(sockets),
    )


def _serves_this_machine(sockets: Sockets) -> bool:
    """Say whether nobody else can reach an address, and complain if somebody can."""
    for endpoint in sockets.endpoints:
        if not endpoint.address.is_of_this_machine:
            say(
                f"*** WARNING: --debug is not followed: {endpoint.option} {endpoint.address} can be reached from other "
                "machines, and tracebacks are shown to this one alone; listen at 127.0.0.1 ***"
            )
            return False
    say("*** --debug: browsers of this machine are shown tracebacks; not for production, nor behind a proxy ***")
    return True


def _find_engine(options: Options) -> Engine | None:
    """Return what channels go through, and see whether they do."""
    if options.channels == "pipes":
        if options.history_room < options.least_history_room:
            needed = options.least_history_room // 1024
            raise options.error("channel-history-memory", f"messages may be so large that it needs {needed} KiB")
        return None
    if find_spec("redis") is None or find_spec("hiredis") is None:
        raise options.error("channels", "Redis needs the packages redis and hiredis: pip install 'uwsgi_ws[redis]'")
    from uwsgi_ws.channels.redis.engine import Engine

    try:
        engine = Engine(options.channels)
    except ChannelError as exc:
        raise options.error("channels", str(exc)) from None  # what is below may show the password
    try:
        engine.check(history=bool(options.channel_history))
    except ChannelError as exc:
        if not options.channels_optional:
            raise options.error("channels", str(exc)) from exc
        say(f"*** channels: {exc}; serving without them until they can be reached (--channels-optional) ***")
    return engine


def _proxies(rules: tuple[Trusted, ...]) -> Proxies:
    """Return the proxies that are believed about their clients."""
    networks = []
    for rule in rules:
        if isinstance(rule, User):
            raise ValueError(f"'uid:{rule.name}' is no address: those of unix sockets are believed anyway")
        networks.append(rule)
    return Proxies(networks)


def _warn_of_nothing(options: Options, setting: Setting) -> None:
    """Say that there is nothing where static files shall be; it may come yet, so it is no error."""
    text = setting.value or ""
    path = text.partition("=")[2] if "=" in text else text
    if not os.path.exists(os.path.join(options.chdir2 or "", path)):
        what = f"{setting.spell(setting.name)} {text} ({setting.source})"
        say(f"*** {what}: there is no {path!r} ***")


def install_api(options: Options, sockets: Sockets, instance: Instance, *, is_a_reload: bool) -> None:
    """Make ``import uwsgi`` and what goes with it work; before any application is imported."""
    offer_decorators()
    offer_geventwebsocket()
    api.install(
        instance,
        opt_dict(options),
        [sock.fileno() for sock in sockets],
        processes=options.processes,
        cores=options.places,
        greenlets=options.gevent > 0,
        buffer_size=options.buffer_size,
        is_a_reload=is_a_reload,
        functions=shared_functions(options, instance),
    )


def load_applications(options: Options, pools: Pools = MappingProxyType({})) -> Applications:
    """Import the applications that the options name.

    Args:
        options: Checked already.
        pools: The processes of those in other languages.

    Raises:
        BootError: there is none, and ``--need-app``; or its own code raises while it is imported.
        OptionError: an option names one that is not there.
        SystemExit: an application ends this process while it is imported.
    """
    hooks.run(options, "pre-app")
    applications = Applications(manage_script_name=options.manage_script_name, has_default=not options.no_default_app)
    loader.add_paths(options.pythonpath)
    if options.virtualenv is not None:
        loader.use_virtualenv(options.virtualenv)
    if options.chdir is not None:
        say(f"current working directory: {os.getcwd()}")
    sys.argv = ["uwsgi", *(options.pyargv or "").split()]
    if options.mimefile:
        mimetypes.init([*mimetypes.knownfiles, *options.mimefile])
    for name in options.shared_import:
        try:
            loader.import_before(name)
        except BootError as exc:
            raise options.error("shared-import", str(exc)) from exc
    for path, file in options.mount:
        if is_perl(file):
            applications.add(path, _pool("mount", options, pools, "perl", file))
    targets = [("mount", mount.path, mount.target, loader.load) for mount in options.mount if not is_perl(mount.target)]
    # All are meant for "": the one that uWSGI takes, without loading the others.
    if options.module is not None:
        targets.append(("module", "", options.module, loader.load_module))
    elif options.wsgi_file is not None:
        targets.append(("wsgi-file", "", options.wsgi_file, loader.load_file))
    elif options.application is not None:
        targets.append(("application", "", options.application, loader.load))
    elif options.paste is not None:
        targets.append(("paste", "", options.paste, partial(loader.load_paste, has_logging=options.paste_logger)))
    for number, (option, mount, target, load) in enumerate(targets):
        begun = time.monotonic()
        try:
            application = load(target, options.callable)
        except BootError as exc:
            raise options.error(option, str(exc)) from exc
        except Exception as exc:
            print_traceback_of_application(exc)
            raise BootError("the application could not be loaded", 1) from exc
        finally:
            if own.is_copy:
                own.end_copy(sys.exc_info()[1])
        if options.post_buffering:
            from uwsgi_ws.wsgi.kept import keeping_bodies

            application = keeping_bodies(application, options.post_buffering)
        applications.add(mount, application)
        took = time.monotonic() - begun
        say(f"WSGI app {number} (mountpoint='{mount}') {target} ready in {took:.3f} seconds (pid: {os.getpid()})")
    if options.psgi is not None:
        applications.perl = _pool("psgi", options, pools, "perl", options.psgi)
    if not options.has_python_default:
        # All are meant for "", as above.
        if options.psgi is not None:
            applications.add("", applications.perl)
        elif options.go_app is not None:
            applications.add("", _pool("go-app", options, pools, "go", options.go_app))
    if not len(applications):
        if options.need_app:
            raise BootError("no application: give --wsgi-file FILE or --module MODULE (--need-app)", 22)
        say("*** no app loaded. every request is answered with 500 ***")
    if options.threads and monkey.is_module_patched("threading"):
        say(f"*** --threads {options.threads}: the application patches threading, so its threads are greenlets ***")
    if options.chdir2 is not None:
        os.chdir(options.chdir2)
    hooks.run(options, "post-app")
    return applications


def _pool(option: str, options: Options, pools: Pools, language: str, file: str) -> Pool:
    """Return the processes that run an application.

    Raises:
        BootError: The master has none: the options have changed since it read them.
    """
    path = pools.get(CompanionSpec(language, file))
    if path is None:
        raise options.error(option, f"no process runs {file!r}")
    from uwsgi_ws.companions.runner import Pool

    return Pool(file, path, PERL if language == "perl" else 0)


def make_server(
    options: Options,
    equipment: Equipment,
    applications: Applications,
    worker_id: int,
    stats: Stats,
    open_websockets: OpenWebSockets | None,
    seat: int,
) -> Server:
    """Return a worker's server; in the worker's own process, as it belongs to the hub there.

    Args:
        options: Checked already.
        equipment: Made of them, before the fork.
        applications: Loaded already.
        worker_id: 1 to N.
        stats: What it counts in.
        open_websockets: What limits on WebSockets count by, shared with other workers; None when there are none.
        seat: This worker's there.
    """
    lenient: frozenset[str] = frozenset().union(*options.websockets_lenient)
    static = _static_files(options)
    selection = Selection(
        client_errors=options.log_4xx,
        server_errors=options.log_5xx,
        slow=options.log_slow,
        big=options.log_big,
        empty=options.log_zero,
    )
    limits = ConnectionLimits(
        options.websockets_max,
        options.websockets_per_address,
        options.websockets_per_second,
        closes=options.websockets_try_again_later,
    )
    access_log = equipment.access_log
    if access_log is None and (not options.disable_logging or selection):
        access_log = AccessLog(
            options.log_format,
            worker_id,
            stats,
            selection if options.disable_logging else None,
            dates_as_lines=options.logformat_strftime,
            forwarded_for=options.log_x_forwarded_for,
            has_records=options.log_json,
        )
    loop = EventLoop.here()
    router = equipment.router
    if router is not None:
        router.start(loop.poller, loop.timers)
    # A native thread that waits in a patched library waits in a loop of its own, or stops ours.
    has_threads = options.has_python and not options.gevent and not monkey.is_module_patched("threading")
    websocket = ConnectionSettings(
        max_message_size=options.max_message_size,
        keepalive=KeepalivePolicy(options.websockets_ping_freq, options.websockets_pong_tolerance),
        send_timeout=options.socket_timeout,
        max_outbox=options.websockets_max_outbox * 1024,
        messages_per_second=options.websockets_messages_per_second,
        bytes_per_second=options.websockets_bytes_per_second,
        takes_unmasked="masking" in lenient,
        is_traced=options.websockets_trace,
        compressors=_make_compressors(options),
    )
    stats.measures.know(applications.mount_points)
    concurrency = Concurrency(
        loop,
        options.places,
        websocket,
        stats,
        threads=has_threads,
        serial=options.is_serial,
    )
    environ = EnvironBase(
        api.VERSION,
        options.places,
        multithread=options.threads > 0 and has_threads,
        multiprocess=options.processes > 1,
        add_for_websocket=add_for_websocket,
    )
    acceptor = Acceptor(websocket, loop.poller, loop.timers, stats)

    def elsewhere(pool: Pool) -> Runner:
        from uwsgi_ws.companions.runner import CompanionRunner

        return CompanionRunner(
            pool,
            options.socket_timeout,
            loop.poller,
            loop.timers,
            acceptor,
            stats,
            max_message_size=options.max_message_size,
        )

    perl = applications.perl if applications.perl is not applications.default else None
    limiter = ConnectionLimiter(limits, open_websockets or OpenWebSockets.alone(), seat) if limits else None
    if limiter is not None:
        concurrency.acceptor.admit = limiter.admit
    # Those that the options ask for.
    steps: list[Step] = [*equipment.steps, Admission(options.websockets_origin, lenient, stats).answer]
    steps += [step.answer for step in (limiter, router, static) if step is not None]
    if options.otel:
        from uwsgi_ws.request.tracing import Tracing  # its packages are an extra

        steps.insert(0, Tracing().answer)
    if options.request_id or options.log_json:
        steps.insert(0, name_request)
        name_requests(_name_of_request)
    use_error_page(None)
    if equipment.shows_errors:
        from uwsgi_ws.request.error_pages import ErrorPages

        error_pages = ErrorPages()
        steps.insert(0, error_pages.answer)
        use_error_page(error_pages.page)
    health = None
    if options.health_path is not None:
        health = HealthPath(options.health_path)
        steps.insert(0, health.answer)
    proxies = equipment.proxies
    server = Server(
        loop,
        options.places,
        concurrency=concurrency,
        answering=Answering(
            steps if proxies is None else [proxies_step(proxies), *steps],
            run_mounted(
                applications.runners(environ, concurrency.call, elsewhere),
                stats,
                None if perl is None else elsewhere(perl),
            ),
            redirect_steps=lambda port: [HttpsRedirect(port, proxies).answer, *steps],
            tunnels={} if router is None else router.tunnels,
            access_log=access_log,
        ),
        fronts=FrontSettings(
            StreamSettings(
                limits=replace(
                    http1.Limits(
                        head_size=options.buffer_size,
                        target_size=options.buffer_size,
                        body_size=options.limit_post or None,
                        underscores=options.header_map,
                    ),
                    **equipment.head_limits,
                ),
                head_timeout=options.socket_timeout,
                idle_timeout=options.http_timeout,
                io_timeout=options.socket_timeout,
                marks_perl=perl is not None,
            ),
            certificates=equipment.certificates,
            export_client_certificates=options.https_export_cert,
            # A client that stays is bound to this worker, and waits when it is busy while others are free.
            keeps_alive=not options.closes_connections and (not options.is_serial or options.processes == 1),
        ),
        max_memory=options.max_memory << 20,
        stats=stats,
    )
    if health is not None:
        health.takes_clients = lambda: server.takes_clients
    return server


def _name_of_request() -> str | None:
    """Return what the request is called that this greenlet or thread answers."""
    if (name := REQUEST_ID.get()) is not None:
        return name
    try:
        name = current_request().environ.get("HTTP_X_REQUEST_ID")
    except SystemError:
        return None
    return name


def _static_files(options: Options) -> StaticFiles | None:
    """Return what answers with files; None where no option asks for any."""
    if not options.has_static_files:
        return None
    from uwsgi_ws.request.static import StaticFiles

    return StaticFiles(
        options.static_map,
        options.check_static,
        options.static_index,
        whole_maps=options.static_map2,
        safe=options.static_safe,
        skipped=options.static_skip_ext,
        expiries=_expiries(options),
        compressed=_compressed(options),
    )


def _compressed(options: Options) -> Compressed | None:
    """Return which static files may be sent compressed; None for no file."""
    if not (options.static_gzip_all or options.static_gzip or options.static_gzip_dir or options.static_gzip_ext):
        return None
    from uwsgi_ws.request.static import Compressed

    return Compressed(
        everything=options.static_gzip_all,
        prefixes=options.static_gzip_dir,
        suffixes=options.static_gzip_ext,
        patterns=options.static_gzip,
    )


def _expiries(options: Options) -> Expiries:
    """Return what tells how long files may be kept."""
    from uwsgi_ws.request.static import Expiries, Rule

    rules = []
    for what in ("", "_uri", "_path_info", "_type"):
        for since in ("", "_mtime"):
            found = getattr(options, f"static_expires{what}{since}")
            rules += [Rule(what, re.compile(each.pattern), each.seconds, bool(since)) for each in found]
    return Expiries(rules)


def _make_compressors(options: Options) -> Compressors | None:
    """Return what compresses a worker's messages; None unless WebSockets may be compressed."""
    if not options.websockets_deflate:
        return None
    has_takeover = options.websockets_deflate_takeover
    settings = DeflateSettings(
        # A connection keeps two windows then, and a compressor is made from one for each message.
        options.websockets_deflate_window or (12 if has_takeover else 15),
        options.websockets_deflate_memory or (5 if has_takeover else 8),
        options.websockets_deflate_level,
        options.websockets_deflate_min_size,
        has_takeover,
    )
    return Compressors(settings, None if options.gevent else monkey.get_original("_thread", "allocate_lock")())


def make_bus(
    options: Options,
    engine: Engine | None,
    server: Server,
    inboxes: Inboxes | None,
    seat: int,
    message_log: LogMemory | None,
) -> Bus:
    """Return a worker's channels; in the worker's own process, as ``make_server``.

    Args:
        options: Checked already.
        engine: Made of them, before the fork.
        server: Whose hub the channels run in, and whose counters they count in.
        inboxes: Shared with other workers; None when there are none.
        seat: Whose inbox is this worker's.
        message_log: What is kept, shared with the workers before and beside this one; None has it made here.
    """
    backend: Backend
    if engine is not None:
        from uwsgi_ws.channels.redis.backend import RedisBackend

        backend = RedisBackend(
            engine,
            inboxes,
            seat,
            server.hub,
            server.stats,
            queue_size=options.channel_queue * 1024,
            max_message_size=options.max_message_size,
        )
    else:
        memory = message_log or LogMemory(options.history_room)
        history = LocalHistory(memory, server.hub, is_used=bool(options.channel_history))
        backend = Alone(history)
        if inboxes is not None:
            from uwsgi_ws.channels.pipes import PipeBackend

            backend = PipeBackend(
                inboxes,
                seat,
                server.hub,
                server.poller.cork,
                server.stats,
                queue_size=options.channel_queue * 1024,
                max_message_size=options.max_message_size,
                history=history,
            )
    keep_for = keeper(options.channel_history) if options.channel_history else None
    return Bus(backend, server.hub, server.stats, max_message_size=options.max_message_size, keep_for=keep_for)


def _load_certificates(options: Options, sockets: Sockets, keys: Contents) -> dict[SecureAddress, Certificates]:
    has_http2 = find_spec("h2") is not None
    if options.http2_socket and not has_http2:
        raise options.error("http2-socket", "HTTP/2 needs the package h2: pip install 'uwsgi_ws[http2]'")
    if options.sni_dir is not None and not os.path.isdir(options.sni_dir):
        raise options.error("sni-dir", f"{options.sni_dir!r} is no folder")
    protocols = ("h2", "http/1.1") if has_http2 and not options.no_http2 else ("http/1.1",)
    files = {each.address: each.files for each in options.https + options.https_socket}
    loaded = {}
    for endpoint in sockets.endpoints:
        if endpoint.secure is not None:
            try:
                # A reload goes on with its addresses, and their files where the options name none for them any more.
                own = files.get(endpoint.address, endpoint.secure.files)
                loaded[endpoint.secure] = Certificates(own, options.sni, options.sni_dir, protocols, keys)
            except (OSError, ValueError) as exc:
                raise options.error(endpoint.option, str(exc)) from exc
    return loaded
