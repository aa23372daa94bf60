"""uWSGI's options that are not ours: what needs nothing here, and what is refused, with what to do instead.

With the rows of ``table`` these are all options of uWSGI 2.0, those of its plugins included; a name that is in none is
unknown to uWSGI, too. Each group is a reason with the names that it holds for, so that a name is decided here and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator

from uwsgi_ws.options.row import Row

__all__ = ["FOREIGN", "IGNORED", "MISTAKEN", "REFUSED"]

_GROUP = "Accepted from uWSGI command lines, without effect here"


def _ignored(name: str, why: str, *aliases: str, short: str = "", metavar: str = "") -> Row:
    """Return a row for options that uWSGI's users carry along and that need nothing here."""
    return Row(
        name=name,
        help=why,
        group=_GROUP,
        kind="no effect",
        keeps="%$@",
        type="str" if metavar else "bool",
        aliases=aliases,
        short=short,
        metavar=metavar,
    )


def _refused(advice: str, valued: str = "", flags: str = "", **shorts: str) -> Iterator[Row]:
    """Yield the rows of options that would change what is served, and that are not done here.

    Args:
        advice: What to do instead; a sentence.
        valued: Names of those that take a value.
        flags: Names of those that take none.
        shorts: Short flags, by name with underscores.
    """
    for names, metavar in (valued, "VALUE"), (flags, ""):
        for name in names.split():
            yield Row(
                name=name,
                help=advice,
                group="Refused",
                kind="refused",
                keeps="%$@",
                type="str" if metavar else "bool",
                short=shorts.get(name.replace("-", "_"), ""),
                metavar=metavar,
            )


IGNORED = (
    # HTTP and WebSocket
    _ignored("channel", "A channel exists from its first use, under any name.", metavar="NAME"),
    _ignored("http-websockets", "Every address speaks WebSocket."),
    _ignored("http-raw-body", "Nothing stands between a client's bytes and the worker."),
    _ignored("http-keepalive", "It is always on; --http-timeout bounds the idle time."),
    _ignored("http-auto-chunked", "It is always on: a response of unknown length is sent in chunks."),
    _ignored("http-chunked-input", "A request body sent in chunks is read like any other."),
    _ignored("http-manage-expect", "A client that expects 100 Continue gets it when the application reads the body."),
    _ignored(
        "http-processes",
        "There is no router process.",
        "http-workers",
        "http-events",
        "http-gracetime",
        "http-uid",
        "http-gid",
        "http-quiet",
        metavar="N",
    ),
    _ignored("http-cheap", "There is no router process."),
    _ignored("http-buffer-size", "There is no router with a buffer; see --buffer-size.", metavar="BYTES"),
    _ignored("http-headers-timeout", "A head must be there within --socket-timeout.", metavar="SECONDS"),
    _ignored("http-harakiri", "There is no router process; see --harakiri.", metavar="SECONDS"),
    _ignored(
        "chunked-input-timeout",
        "A body is read within --socket-timeout and --limit-post, however it is sent.",
        "chunked-input-limit",
        metavar="N",
    ),
    _ignored("http-modifier1", "A request's path says which application answers it.", "http-modifier2", metavar="N"),
    _ignored(
        "http-socket-modifier1",
        "A request's path says which application answers it.",
        "http-socket-modifier2",
        "https-socket-modifier1",
        "https-socket-modifier2",
        metavar="N",
    ),
    _ignored("post-buffering-bufsize", "A body that is kept is read in pieces of the client's.", metavar="BYTES"),
    _ignored("shutdown-sockets", "A connection that ends is shut down in any case."),
    _ignored("binsh", "Commands are run by /bin/sh.", metavar="FILE"),
    _ignored("max-vars", "The number of headers is bounded by --buffer-size.", short="v", metavar="N"),
    _ignored("response-headers-limit", "Response headers have no limit.", metavar="N"),
    _ignored("tcp-nodelay", "It is always on."),
    _ignored("so-keepalive", "A peer that has gone is found by --websockets-ping-freq and the timeouts."),
    _ignored(
        "so-send-timeout",
        "How long a client may take a response is bounded by --socket-timeout.",
        "socket-send-timeout",
        "so-write-timeout",
        "socket-write-timeout",
    ),
    _ignored("no-defer-accept", "A connection is accepted at once, whether or not it has sent something."),
    _ignored("socket-sndbuf", "The kernel finds the size of a socket's buffers.", "socket-rcvbuf", metavar="BYTES"),
    _ignored(
        "tcp-fast-open",
        "Connections begin with the usual handshake, which every client knows.",
        "tcp-fastopen",
        metavar="N",
    ),
    _ignored("tcp-fast-open-client", "Connections begin with the usual handshake.", "tcp-fastopen-client"),
    _ignored("close-on-exec", "Programs the application starts never inherit sockets.", "close-on-exec2"),
    _ignored("https-session-context", "OpenSSL has one of its own for every address.", metavar="NAME"),
    _ignored("ssl-verbose", "A failed TLS handshake is always logged, a line each."),
    _ignored("ssl-session-use-cache", "OpenSSL keeps sessions itself.", "ssl-sessions-use-cache"),
    _ignored("ssl-session-timeout", "OpenSSL keeps sessions itself.", "ssl-sessions-timeout", metavar="SECONDS"),
    _ignored("ssl-verify-depth", "OpenSSL's own depth counts."),
    _ignored("thunder-lock", "Accepting a connection takes no lock."),
    _ignored("ignore-sigpipe", "Python ignores SIGPIPE."),
    _ignored("ignore-write-errors", "A client that goes away is not logged as an error."),
    _ignored("disable-write-exception", "A client that goes away ends its own response and nothing else."),
    _ignored("write-errors-exception-only", "A client that goes away is an OSError for the application."),
    _ignored("write-errors-tolerance", "The first failed write ends the response.", metavar="N"),
    _ignored("body-read-warning", "A body is read as the application asks for it.", metavar="MEGABYTES"),
    _ignored("disable-sendfile", "The kernel sends files where it can; their bytes are the same."),
    _ignored("honour-range", "Ranges of static files are always honoured."),
    _ignored(
        "static-cache-paths",
        "Files are looked up by the kernel, which has a cache of its own.",
        "static-cache-paths-name",
        metavar="N",
    ),
    # Python and processes
    _ignored("enable-threads", "Python's threads always run.", short="T"),
    _ignored("single-interpreter", "There is one Python interpreter.", short="i"),
    _ignored("py-call-osafterfork", "Python always knows of its own forks.", "py-call-uwsgi-fork-hooks"),
    _ignored("skip-atexit", "A worker runs its atexit functions and ends.", "skip-atexit-teardown"),
    _ignored(
        "plugins",
        "Everything is built in.",
        "plugin",
        "need-plugin",
        "need-plugins",
        metavar="NAME",
    ),
    _ignored("plugins-dir", "There are no plugins to look for.", "plugin-dir", metavar="DIR"),
    _ignored("autoload", "There are no plugins to look for."),
    _ignored(
        "offload-threads", "Greenlets transfer files without keeping others waiting.", "offload-thread", metavar="N"
    ),
    _ignored("gevent-wait-for-hub", "A worker that stops waits for its requests in any case."),
    _ignored("no-threads-wait", "A worker that leaves waits for its requests, and for no other threads."),
    _ignored("loop", "There is one event loop, gevent's.", metavar="NAME"),
    _ignored("async", "How many connections a worker serves at once is said by --gevent.", metavar="N"),
    _ignored("ugreen", "Each connection has a greenlet of gevent's.", "greenlet", "stackless"),
    _ignored("asyncio", "Each connection has a greenlet of gevent's.", "tornado", metavar="N"),
    _ignored("vacuum", "Sockets and pidfiles are removed at the end in any case."),
    _ignored("harakiri-verbose", "Where a worker hangs is shown by --gevent-stuck-report."),
    _ignored("harakiri-no-arh", "There is nothing behind a request.", "no-harakiri-arh", "no-harakiri-after-req-hook"),
    _ignored(
        "harakiri-graceful-timeout",
        "A request is ended by an exception, and a worker only where that does not help.",
        "harakiri-graceful-signal",
        metavar="N",
    ),
    _ignored("reaper", "Processes that are left behind are reaped in any case.", short="r"),
    _ignored("check-interval", "Workers tell the master at once.", metavar="SECONDS"),
    _ignored("forkbomb-delay", "A worker that dies early is replaced later each time.", metavar="SECONDS"),
    _ignored("backtrace-depth", "A traceback is shown whole.", metavar="N"),
    _ignored("max-apps", "There is no limit on --mount.", metavar="N"),
    _ignored("no-fd-passing", "Descriptors are handed over in no other way than by fork."),
    _ignored("locks", "Every lock that uwsgi.lock is asked for is there.", "lock-engine", "ftok", metavar="N"),
    _ignored("cache-expire-freq", "An item is gone at the moment it expires.", metavar="SECONDS"),
    _ignored("cache-report-freed-items", "An item is gone at the moment it expires."),
    _ignored("cache-use-last-modified", "Nobody is told when a cache was changed last."),
    _ignored(
        "signal-bufsize",
        "Up to 1,000 signals of a number wait for their workers.",
        "signals-bufsize",
        metavar="BYTES",
    ),
    _ignored("rpc-max", "There may be any number of functions to call.", metavar="N"),
    _ignored("persistent-ipcsem", "Locks are no semaphores of System V."),
    _ignored("mem-collector-freq", "Memory is looked at once a second.", metavar="SECONDS"),
    _ignored(
        "memory-report",
        "The memory of a worker is told by --stats, and by %(rssM) and %(vszM) in --log-format.",
        short="m",
    ),
    _ignored("pcre-jit", "Patterns are Python's."),
    _ignored("skip-zero", "Descriptor 0 is left alone in any case."),
    _ignored("honour-stdin", "Standard input is left as it is."),
    _ignored("never-swap", "The kernel decides; a service manager can forbid it."),
    _ignored("ksm", "The kernel's page merging is set up for the whole machine."),
    _ignored("prio", "A service manager sets priorities: systemd's Nice.", metavar="N"),
    _ignored("cpu-affinity", "The kernel spreads workers; a service manager can bind them.", metavar="N"),
    _ignored("clock", "The clock is the system's.", metavar="NAME"),
    _ignored("binary-path", "A reload starts the Python that was started.", metavar="FILE"),
    _ignored(
        "py-programname",
        "The Python that was started is sys.executable.",
        "py-program-name",
        "py-executable",
        "py-sys-executable",
        metavar="FILE",
    ),
    _ignored("reload-os-env", "What the process has is in os.environ."),
    _ignored("wsgi-env-behaviour", "Each request has an environ of its own.", "wsgi-env-behavior", metavar="NAME"),
    _ignored("wsgi-disable-file-wrapper", "An application that does not use wsgi.file_wrapper does not see it."),
    _ignored("wsgi-strict", "PEP 3333 is kept in any case."),
    _ignored("start_response-nodelay", "A head is sent when there is something to send."),
    _ignored("py-tracebacker", "Where a worker hangs is shown by --gevent-stuck-report.", metavar="PATH"),
    _ignored("catch-exceptions", "An exception is logged; a client never sees it."),
    _ignored("symcall-use-next", "No symbols of C libraries are called."),
    _ignored("no-site", "Python is started already; give it -S."),
    _ignored("use-abort", "What kills a worker leaves its core where the system says."),
    _ignored("optimize", "Start Python with -O.", short="O", metavar="N"),
    # The log
    _ignored("log-master", "All processes write whole lines to one log."),
    _ignored("threaded-logger", "Writing to the log delays no client.", "log-master-stream", "log-master-req-stream"),
    _ignored("log-master-bufsize", "Lines of the log have no limit.", metavar="BYTES"),
    _ignored("log-reopen", "The log is opened again at a reload in any case."),
    _ignored("log-sendfile", "Each request has its line, whatever sends the file.", "log-ioerror", metavar="VALUE"),
    _ignored("log-micros", "It is told by %(micros) in --log-format."),
    _ignored(
        "alarm",
        "Nothing is alarmed from here: let what collects the log or the statistics do it.",
        "alarm-fd",
        "alarm-segfault",
        "segfault-alarm",
        "alarm-backlog",
        "backlog-alarm",
        "lq-alarm",
        "alarm-lq",
        "alarm-listen-queue",
        "listen-queue-alarm",
        "log-alarm",
        "alarm-log",
        "not-log-alarm",
        "not-alarm-log",
        "metric-alarm",
        "alarm-metric",
        "metric-threshold",
        "alarm-freq",
        "alarm-msg-size",
        metavar="VALUE",
    ),
    _ignored("alarm-cheap", "Nothing is alarmed from here."),
    # Statistics, metrics and messages to others
    _ignored("stats-minified", "The statistics are always as short as can be.", "stats-min"),
    _ignored("stats-no-cores", "The statistics hold no cores.", "stats-no-metrics"),
    _ignored("metrics-no-cores", "There are no metrics of cores."),
    _ignored("metrics-dir-restore", "Metrics are in memory.", "metric-dir-restore"),
    _ignored("metrics-dir", "Metrics are in memory: read them by uwsgi.metric_get.", "metric-dir", metavar="DIR"),
    _ignored(
        "stats-push",
        "Statistics are sent nowhere from here: collect them from --stats.",
        "stats-pusher-default-freq",
        "stats-pushers-default-freq",
        "carbon",
        "carbon-timeout",
        "carbon-freq",
        "carbon-id",
        "carbon-max-retry",
        "carbon-retry-delay",
        "carbon-root",
        "carbon-idle-avg",
        "carbon-hostname-dots",
        "rrdtool",
        "rrdtool-freq",
        "rrdtool-lib",
        "snmp-community",
        metavar="VALUE",
    ),
    _ignored(
        "snmp",
        "Statistics are sent nowhere from here: collect them from --stats.",
        "carbon-no-workers",
        "carbon-name-resolve",
        "carbon-resolve-names",
        "carbon-use-metrics",
    ),
    _ignored("weight", "Servers do not announce themselves here.", metavar="N"),
    _ignored("auto-weight", "Servers do not announce themselves here."),
    _ignored(
        "notify-socket",
        "The service manager is told by systemd's own NOTIFY_SOCKET.",
        "subscription-notify-socket",
        metavar="ADDRESS",
    ),
    # Emperors, forks and containers
    _ignored("no-initgroups", "The groups of --uid's user are taken on."),
    _ignored(
        "master-as-root", "The master becomes the user of --uid, as workers do.", "drop-after-init", "drop-after-apps"
    ),
    _ignored("daemons-honour-stdin", "Programs to attach have no standard input."),
    _ignored(
        "spooler-frequency",
        "There is no spooler.",
        "spooler-freq",
        "spooler-chdir",
        "spooler-processes",
        "spooler-max-tasks",
        "spooler-harakiri",
        "spooler-import",
        "spooler-pyimport",
        "spooler-py-import",
        "spooler-python-import",
        "touch-spoolers-reload",
        metavar="VALUE",
    ),
    _ignored("spooler-ordered", "There is no spooler.", "spooler-quiet"),
    _ignored(
        "mule-harakiri",
        "There are no mules.",
        "mule-reload-mercy",
        "mule-msg-size",
        "hook-as-mule",
        "touch-mules-reload",
        metavar="VALUE",
    ),
    _ignored("vassal-sos", "No emperor waits for it.", "vassal-sos-backlog", metavar="VALUE"),
    _ignored("heartbeat", "No emperor waits for it.", metavar="SECONDS"),
    _ignored("propagate-touch", "This server has no instances below it."),
    _ignored("no-server", "A server serves."),
    _ignored("command-mode", "A server serves."),
)

_PROCESS_EACH = "There is no emperor: start each instance itself, by a systemd template unit or a container each."
_ONE_LANGUAGE = "This server runs Python, Perl and Go; serve other languages by a server of theirs."
_NO_ROUTER = "There is no such router here: workers take clients themselves, and nginx or haproxy divide them."
_OWN_CACHE = (
    "A cache is in memory, this instance's own, and filled by the application: to keep or share its items, use Redis or"
    " memcached."
)
_NO_QUEUE = "There is no queue here: use Redis, or a message broker."
_NO_SPOOLER = "There is no spooler here: use a task queue such as Celery, RQ or Huey, started on its own."
_NO_MULE = "There are no mules here: start the program as a service of its own, or by --attach-daemon."
_NO_LEGION = "There is no legion here: use the service manager's or the cluster's own."
_NO_CURL = "Nothing is fetched by a cron here: give --cron2 with curl as its command."
_NO_SUBSCRIPTION = "Servers do not announce themselves here: name the workers' addresses to the proxy."
_CONTAINED = "A service manager or a container does this: see systemd.exec(5)."
_NO_SIGNALS = "A running instance takes no signals from outside: touch a file that --touch-signal names."
_NO_C = "There are no hooks into C code here: do it in Python, where the application is loaded."
_NO_DIALECT = "That protocol is not spoken here: give --http-socket or --uwsgi-socket."
_STANDS = "That is a command for a running instance: send it a signal, or an order by --master-fifo."
_NO_LISTS = "There is nothing to list: see --help."
_NO_LOGGER = "The log goes to files, sockets, syslog and standard error, by --logger and --logto."

REFUSED = (
    *_refused(
        "The uwsgi protocol is not spoken over TLS here: give --https, or --uwsgi-socket behind a proxy.",
        "suwsgi-socket ssl-socket",
    ),
    *_refused(
        _NO_DIALECT,
        "fastcgi-socket fastcgi-nph-socket fastcgi-modifier1 fastcgi-modifier2 scgi-socket scgi-nph-socket"
        " scgi-modifier1 scgi-modifier2 raw-socket raw-modifier1 raw-modifier2 puwsgi-socket udp zeromq"
        " zeromq-socket zmq zmq-socket mongrel2",
    ),
    *_refused("Every worker serves every address; start another instance for another.", "map-socket"),
    *_refused("Give the path of a unix socket as @NAME instead.", flags="abstract-socket", abstract_socket="a"),
    *_refused(
        _PROCESS_EACH,
        "emperor emperor-proxy-socket emperor-wrapper emperor-wrapper-override emperor-wrapper-fallback"
        " emperor-procname emperor-freq emperor-required-heartbeat emperor-curse-tolerance emperor-pidfile"
        " emperor-stats emperor-stats-server emperor-broodlord emperor-throttle emperor-max-throttle"
        " emperor-on-demand-extension emperor-on-demand-ext emperor-on-demand-directory emperor-on-demand-dir"
        " emperor-on-demand-exec emperor-extra-extension emperor-extra-ext emperor-use-clone emperor-cap"
        " vassals-inherit vassals-include vassals-inherit-before vassals-include-before vassals-start-hook"
        " vassals-stop-hook vassals-set vassal-set vassal-cap vassals-cap"
        " hook-emperor-start hook-emperor-stop hook-emperor-reload hook-emperor-lost hook-as-vassal"
        " hook-as-emperor exec-as-vassal exec-as-emperor mount-as-vassal mount-as-emperor umount-as-vassal"
        " umount-as-emperor call-as-vassal call-as-vassal1 call-as-vassal3 call-as-emperor call-as-emperor1"
        " call-as-emperor2 call-as-emperor4 zerg zerg-server zergpool zerg-pool",
        "emperor-nofollow emperor-tyrant emperor-tyrant-nofollow early-emperor emperor-magic-exec"
        " emperor-no-blacklist emperor-graceful-shutdown imperial-monitor-list imperial-monitors-list"
        " zerg-fallback",
    ),
    *_refused(_NO_SPOOLER, "spooler spooler-external", spooler="Q"),
    *_refused(_NO_MULE, "mules farm worker-exec worker-exec2", "mule"),
    *_refused(
        _OWN_CACHE,
        "cache-store cache-store-sync cache-udp-server cache-udp-node cache-sync add-cache-item load-file-in-cache"
        " load-file-in-cache-gzip",
        "check-cache",
    ),
    *_refused(_NO_QUEUE, "queue queue-blocksize queue-store queue-store-sync"),
    *_refused(
        "Give --sharedarea size=BYTES: uwsgi.sharedarea_object gives it, shared by all workers.",
        "py-sharedarea",
    ),
    *_refused(_NO_SIGNALS, "signal"),
    *_refused(_NO_CURL, "cron-curl curl-cron"),
    *_refused(
        _NO_LEGION,
        "legion-cron cron-legion unique-legion-cron unique-cron-legion cron-curl-legion curl-cron-legion"
        " legion-cron-curl legion-curl-cron"
        " legion legion-mcast legion-node legion-freq legion-tolerance legion-death-on-lord-error"
        " legion-skew-tolerance legion-lord legion-unlord legion-setup legion-death legion-join"
        " legion-node-joined legion-node-left legion-quorum legion-scroll legion-scroll-max-size"
        " legion-scroll-list-max-size legion-attach-daemon legion-smart-attach-daemon"
        " legion-smart-attach-daemon2 multicast multicast-ttl multicast-loop",
    ),
    *_refused(
        _NO_SUBSCRIPTION,
        "subscriptions-sign-check subscriptions-sign-check-tolerance subscriptions-sign-skip-uid"
        " subscriptions-credentials-check subscription-algo subscribe-to st subscribe subscribe2"
        " subscribe-freq subscription-tolerance subscribe-with-modifier1 http-subscription-server"
        " http-subscription-fallback-key http-resubscribe",
        "subscriptions-use-credentials subscription-dotsplit unsubscribe-on-graceful-reload start-unsubscribed",
    ),
    *_refused(
        _NO_ROUTER,
        "http-var http-to http-zerg http-fallback http-use-pattern http-use-base http-use-code-string"
        " http-stud-prefix http-server-name-as-http-host httprouter fastrouter fastrouter-processes"
        " fastrouter-workers fastrouter-zerg fastrouter-use-pattern fastrouter-use-base fastrouter-fallback"
        " fastrouter-use-code-string fastrouter-to fastrouter-gracetime fastrouter-events fastrouter-quiet"
        " fastrouter-subscription-server fastrouter-subscription-slot fastrouter-timeout"
        " fastrouter-post-buffering fastrouter-post-buffering-dir fastrouter-stats fastrouter-stats-server"
        " fastrouter-ss fastrouter-harakiri fastrouter-uid fastrouter-gid fastrouter-resubscribe"
        " fastrouter-resubscribe-bind fastrouter-buffer-size fastrouter-subscription-fallback-key rawrouter"
        " rawrouter-processes rawrouter-workers rawrouter-zerg rawrouter-use-pattern rawrouter-use-base"
        " rawrouter-fallback rawrouter-use-code-string rawrouter-to rawrouter-gracetime rawrouter-events"
        " rawrouter-max-retries rawrouter-quiet rawrouter-subscription-server rawrouter-subscription-slot"
        " rawrouter-timeout rawrouter-stats rawrouter-stats-server rawrouter-ss rawrouter-harakiri"
        " rawrouter-buffer-size sslrouter sslrouter2 sslrouter-session-context sslrouter-processes"
        " sslrouter-workers sslrouter-zerg sslrouter-use-pattern sslrouter-use-base sslrouter-fallback"
        " sslrouter-use-code-string sslrouter-to sslrouter-gracetime sslrouter-events sslrouter-max-retries"
        " sslrouter-quiet sslrouter-subscription-server sslrouter-timeout sslrouter-stats"
        " sslrouter-stats-server sslrouter-ss sslrouter-harakiri sslrouter-buffer-size forkpty-router"
        " forkpty-router-cmd forkpty-router-command forkpty-urouter forkptyrouter forkptyrouter-cmd"
        " forkptyrouter-cols forkptyrouter-command forkptyrouter-events forkptyrouter-fallback"
        " forkptyrouter-harakiri forkptyrouter-processes forkptyrouter-rows forkptyrouter-ss"
        " forkptyrouter-stats forkptyrouter-stats-server forkptyrouter-timeout forkptyrouter-workers"
        " forkptyrouter-zerg forkptyurouter tuntap-device tuntap-device-rule tuntap-router"
        " tuntap-router-firewall-in tuntap-router-firewall-out tuntap-router-route tuntap-router-stats"
        " hook-as-gateway http-stats http-stats-server http-ss",
        "http-use-cache http-use-socket http-manage-source http-manage-rtsp fastrouter-use-cache"
        " fastrouter-use-socket fastrouter-cheap fastrouter-fallback-on-no-key rawrouter-use-cache"
        " rawrouter-use-socket rawrouter-cheap rawrouter-xclient sslrouter-use-cache sslrouter-use-socket"
        " sslrouter-cheap sslrouter-sni forkptyrouter-cheap tuntap-use-credentials force-gateway",
    ),
    *_refused(
        _CONTAINED,
        "chroot pivot-root pivot_root unshare unshare2 setns-socket"
        " setns-socket-skip setns-skip setns mount-asap mount-pre-jail mount-post-jail mount-in-jail"
        " mount-as-root umount-asap umount-pre-jail umount-post-jail umount-in-jail umount-as-root"
        " wait-for-interface wait-for-interface-timeout wait-interface wait-interface-timeout wait-for-iface"
        " wait-for-iface-timeout wait-iface wait-iface-timeout wait-for-fs wait-for-file wait-for-dir"
        " wait-for-mountpoint wait-for-fs-timeout wait-for-socket wait-for-socket-timeout cgroup cgroup-opt"
        " cgroup-dir-mode namespace namespace-keep-mount ns namespace-net ns-net cap jail jail-attach jail-ip4"
        " jail-ip6 jail2 jid-file jidfile libjail check-mountpoint mountpoint-check check-mount mount-check"
        " flock flock-wait flock2 flock-wait2 privileged-binary-patch unprivileged-binary-patch"
        " privileged-binary-patch-arg unprivileged-binary-patch-arg",
        "jailed setns-preopen refork re-fork refork-as-root re-fork-as-root refork-post-jail"
        " re-fork-post-jail freebind",
    ),
    *_refused(
        _NO_C,
        "call-asap call-pre-jail call-post-jail call-in-jail call-as-root call-as-user call-as-user-atexit"
        " call-pre-app call-post-app after-request-hook after-request-call symcall symcall-post-fork"
        " symcall-register-rpc dlopen remap-modifier allowed-modifiers build-plugin binary-append-data"
        " print-sym print-symbol profiler upload-progress cgi-helper",
        "cflags dot-h config-py",
    ),
    *_refused(
        "Ask the server's addresses, or --stats, by a monitoring tool.",
        "ping ping-timeout",
        "nagios zabbix-template",
    ),
    *_refused(_STANDS, "pause suspend resume extract get", ""),
    *_refused(
        _NO_LISTS,
        "",
        "alarm-list alarms-list logger-list loggers-list cheaper-algo-list cheaper-algos-list cheaper-list"
        " router-list routers-list clock-list clocks-list loop-list loops-list plugins-list plugin-list dump-options"
        " python-version",
    ),
    *_refused(_NO_LOGGER, "log-zeromq", "notfound-log"),
    *_refused(
        "Static files are served whole, by their type: use --static-map, or a proxy.",
        "file-serve-mode fileserve-mode error-page-403 error-page-404 error-page-500",
        "check-static-docroot",
    ),
    *_refused(
        "Certificates by a server's name are given by --sni and --sni-dir, TLS 1.2 and 1.3 only.",
        "sni-regexp sni-dir-ciphers ssl-tmp-dir",
        "ssl-enable3 ssl-option ssl-enable-sslv3 ssl-enable-tlsv1",
    ),
    *_refused("Serve each host by an instance of its own, or divide them in the application.", "", "vhost vhost-host"),
    *_refused(
        "Load it where the application is loaded: applications are WSGI's, by --module, --wsgi-file or --mount.",
        "pecan pump wsgi-lite web3 pymodule-alias post-pymodule-alias eval"
        " python-raw python-worker-override worker-mount test",
        "ignore-script-name wsgi-accept-buffer wsgi-accept-buffers",
        test="J",
    ),
    *_refused(
        "Start Python for that: python, python -i, or the framework's own shell.",
        "python py pyrun",
        "pyshell pyshell-oneshot",
    ),
    *_refused(
        "Write the options themselves; templates and lists of what is allowed are not known here.",
        "declare-option declare-option2 resolve blacklist whitelist inject-before inject-after mode"
        " fallback-config iprint file-write",
        "end-blacklist end-whitelist exit cgi-mode",
        cgi_mode="c",
    ),
    *_refused(
        "An exception is logged and answered by 500; report it by a library of the framework's, such as Sentry's.",
        "reload-on-exception-type reload-on-exception-value reload-on-exception-repr exception-handler",
        "",
    ),
    *_refused(
        "A worker is replaced by --reload-on-rss, --max-requests and --max-worker-lifetime.",
        "reload-on-fd brutal-reload-on-fd harakiri-queue-threshold safe-fd fd-safe ugreen-stacksize",
        "",
    ),
    *_refused("Attach the program by --attach-daemon.", "attach-control-daemon"),
    *_refused(
        _ONE_LANGUAGE,
        "cgi cgi-allowed-ext cgi-buffer-size cgi-index cgi-loadlib cgi-map-helper cgi-safe cgi-timeout"
        " cgi-unset clojure-load dumbloop-code dumbloop-function dumbloop-modifier1 gccgo-args"
        " gccgo-load gemset geoip-city geoip-country glusterfs-mount glusterfs-timeout go-args go-load"
        " jvm-class jvm-classpath jvm-main-class jvm-opt jwsgi ldap lua lua-load mono-app"
        " mono-assembly mono-config mono-exec mono-index mono-gc-freq mono-key mono-version pam pam-user"
        " php-allowed-docroot php-allowed-ext php-allowed-script php-app php-app-qs"
        " php-app-bypass php-config php-config-append php-constant php-docroot php-exec-after php-exec-before"
        " php-exec-begin php-exec-end php-fallback php-fallback-qs php-fallback2 php-index php-ini"
        " php-ini-append php-sapi-name php-server-software php-set php-var pty-connect pty-exec"
        " pty-socket pty-uconnect pypy-eval pypy-eval-post-fork pypy-exec pypy-exec-post-fork pypy-home"
        " pypy-ini-paste pypy-lib pypy-paste pypy-pp pypy-python-path pypy-pythonpath pypy-setup pypy-wsgi"
        " pypy-wsgi-file rack rados-mount rados-timeout rails rb-gc-freq rb-lib rb-require rbrequire require"
        " ring-app ring-load ruby-gc-freq ruby-lib ruby-require rubyrequire rvm rvm-path shared-rb-require"
        " shared-rbrequire shared-require shared-ruby-require shared-rubyrequire sqlite sqlite3"
        " webdav-add-collection-prop webdav-add-collection-prop-comp webdav-add-collection-prop-href"
        " webdav-add-object-prop webdav-add-object-prop-comp webdav-add-object-prop-href webdav-add-option"
        " webdav-add-prop webdav-add-prop-comp webdav-add-prop-href webdav-add-rtype-collection-prop"
        " webdav-add-rtype-object-prop webdav-add-rtype-prop webdav-class-directory webdav-css webdav-div"
        " webdav-javascript webdav-js webdav-lock-cache webdav-mount webdav-principal-base webdav-skip-prop"
        " xslt-content-type xslt-docroot xslt-ext xslt-stylesheet xslt-var",
        "cgi-async-max-attempts cgi-close-stdin-on-eof cgi-do-not-kill-on-error cgi-from-docroot cgi-optimize"
        " cgi-optimized cgi-path-info fiber geoip-use-disk ldap-schema ldap-schema-ldif lua-gc-freq luashell"
        " lua-shell perl-version php-dump-config plshell plshell-oneshot"
        " pty-input pty-log pty-no-isig rb-thread rb-threads rbshell rbshell-oneshot"
        " rbthread rbthreads",
    ),
)

#: Values that other servers' users give to a flag of the same letter, and what they mean by it.
MISTAKEN = {
    "buffer-size": (":", "an address is given by --http"),
    "reload": (":|^-", "what names no pidfile; to reload when code changes, give --py-autoreload 1"),
    "module": ("^[0-9]+$", "a number of workers is given by --processes"),
    "config": (r"\.py$", "a file in Python is none of configuration: write the options into an ini file"),
}

#: Options of other servers that people bring along, by name or letter, with what says the same here.
FOREIGN = {
    "access-logfile": "access lines are in the log, --logto",
    "access-logformat": "give --log-format, in uWSGI's notation",
    "app-dir": "give --pythonpath",
    "backlog": "give --listen",
    "bind": "give --http ADDRESS, such as --http :8000",
    "ca-certs": "name them behind the key: --https ADDRESS,CERT,KEY,CIPHERS,CLIENT_CA",
    "certfile": "give --https ADDRESS,CERT,KEY",
    "daemon": "give --daemonize FILE",
    "env-file": "give --env NAME=VALUE",
    "error-logfile": "give --logto FILE",
    "factory": "put parentheses behind the callable: --module app:create()",
    "forwarded-allow-ips": "give --proxy-allow-from or --uwsgi-allow-from",
    "graceful-timeout": "give --reload-mercy and --worker-reload-mercy",
    "group": "give --gid",
    "host": "give --http HOST:PORT",
    "interface": "applications are WSGI's",
    "keep-alive": "give --http-timeout",
    "keyfile": "give --https ADDRESS,CERT,KEY",
    "limit-concurrency": "give --gevent N",
    "limit-max-requests": "give --max-requests",
    "limit-request-line": "give --buffer-size",
    "limit-request-field-size": "give --buffer-size",
    "log-config": "the application configures its own logging",
    "log-file": "give --logto FILE",
    "log-level": "the log has one level; --disable-logging leaves out the requests",
    "max-requests-jitter": "give --max-requests-delta",
    "pid": "give --pidfile",
    "port": "give --http HOST:PORT",
    "preload": "it is always so; --lazy-apps is the other way",
    "preload-app": "it is always so; --lazy-apps is the other way",
    "proxy-headers": "say in the application whose headers are to be believed",
    "proxy-protocol": "give --enable-proxy-protocol",
    "root-path": "give --mount and --manage-script-name",
    "ssl-certfile": "give --https ADDRESS,CERT,KEY",
    "ssl-keyfile": "give --https ADDRESS,CERT,KEY",
    "timeout": "give --harakiri",
    "timeout-graceful-shutdown": "give --reload-mercy",
    "timeout-keep-alive": "give --http-timeout",
    "uds": "give --http PATH",
    "user": "give --uid",
    "wsgi-app": "give --module",
    "worker-class": "workers are gevent's: give --gevent N, or --threads N",
    "worker-connections": "give --gevent N",
    "ws": "every address speaks WebSocket",
    "ws-max-size": "give --websockets-max-size, in KiB",
    "ws-ping-interval": "give --websockets-ping-freq",
    "ws-ping-timeout": "give --websockets-pong-tolerance",
    "k": "workers are gevent's: give --gevent N, or --threads N",
    "D": "give --daemonize FILE",
    "g": "give --gid",
    "u": "give --uid",
    "n": "give --auto-procname or --procname",
    "e": "give --env NAME=VALUE",
}
