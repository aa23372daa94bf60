"""The option table: what its rows promise, how text becomes options, and what derives from the rows."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from ipaddress import ip_network
from itertools import groupby
from typing import Any

import pytest
from support.tracing import not_traced

from uwsgi_ws.addresses import Address
from uwsgi_ws.certificates import CertificateFiles, NamedCertificate, Redirect, SecureAddress
from uwsgi_ws.crontab import CronTime
from uwsgi_ws.errors import OptionError
from uwsgi_ws.loggers import LogEncoder, Logger, LogRoute, SocketLogger, SyslogLogger
from uwsgi_ws.options import (
    BY_NAME,
    IGNORED,
    REFUSED,
    ROWS,
    TYPES,
    Mount,
    Options,
    Row,
    Setting,
    Variable,
    build,
    command_line,
    help_text,
    opt_dict,
    option,
    parse,
    rows_of,
)
from uwsgi_ws.options.values import (
    ChannelHistory,
    CronSpec,
    DaemonSpec,
    Expiry,
    Header,
    Hook,
    KeyedCron,
    KeyedDaemon,
    MetricsAddress,
    SignalFile,
    SignalTimer,
    SmartDaemon,
    TouchCommand,
    TouchHook,
    UniqueCron,
)
from uwsgi_ws.shared.areas import AreaSpec
from uwsgi_ws.shared.cache import CacheShape
from uwsgi_ws.shared.metrics import MetricSpec

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
SAMPLES = {  # a good value for each type
    "bool": ("true", True),
    "int": ("2000", 2000),
    "FileMode": ("660", 0o660),
    "float": ("2.5", 2.5),
    "str": ("text", "text"),
    "Address": ("localhost:80", Address("tcp", host="localhost", port=80)),
    "LocalAddress": ("9192", Address("tcp", host="127.0.0.1", port=9192)),
    "Dialect": ("http", "http"),
    "HeaderMap": ("keep", "keep"),
    "CheaperAlgorithm": ("spare2", "spare2"),
    "Trusted": ("10.1.0.0/16", ip_network("10.1.0.0/16")),
    "ChannelHistory": ("room-*=100,60", ChannelHistory("room-*", 100, 60)),
    "Mount": ("/chat=chat.py", Mount("/chat", "chat.py")),
    "Variable": ("NAME=VALUE", Variable("NAME", "VALUE")),
    "SecureAddress": (
        ":443,a.pem,a.key",
        SecureAddress(Address("tcp", host="0.0.0.0", port=443), CertificateFiles("a.pem", "a.key")),
    ),
    "Redirect": (":80,8443", Redirect(Address("tcp", host="0.0.0.0", port=80), "8443")),
    "NamedCertificate": ("a.example a.pem,a.key", NamedCertificate("a.example", CertificateFiles("a.pem", "a.key"))),
    "Origin": ("https://example.org", "https://example.org"),
    "Leniency": ("masking, handshake", frozenset(("handshake", "masking"))),
    "Header": ("X-Served: here", Header("X-Served", "here")),
    "HeaderName": ("Server", "Server"),
    "Expiry": ("[.]css$ 3600", Expiry("[.]css$", 3600)),
    "Umask": ("022", 0o022),
    "Hook": ("exec:true", Hook("exec", "true")),
    "TouchHook": ("/x exec:true", TouchHook("/x", Hook("exec", "true"))),
    "TouchCommand": ("/x sleep 1", TouchCommand("/x", Hook("exec", "sleep 1"))),
    "DaemonSpec": ("sleep 1", DaemonSpec("sleep 1")),
    "SmartDaemon": ("/x.pid 5 sleep 1", SmartDaemon("sleep 1", "/x.pid", 5.0)),
    "CacheShape": ("name=a,items=5,lru=1", CacheShape("a", 5, blocks=5, purge_lru=True)),
    "MetricSpec": ("name=a,initial_value=5", MetricSpec("a", 5)),
    "MetricsAddress": ("127.0.0.1:9100/numbers", MetricsAddress(Address("tcp", "127.0.0.1", 9100), "/numbers")),
    "AreaSpec": ("size=5000", AreaSpec(2)),
    "FilePattern": (r"\.css$", r"\.css$"),
    "Logger": ("app file:/a", Logger("file", "app", "/a")),
    "SyslogLogger": ("site", SyslogLogger("syslog", "", "/dev/log", text="site")),
    "SocketLogger": ("127.0.0.1:99", SocketLogger("socket", "", "127.0.0.1", 99)),
    "LogEncoder": ("json:app ${msg}", LogEncoder("json", "app", "${msg}")),
    "LogRoute": ("app a b", LogRoute("app", "a b")),
    "LogPattern": ("a.*b", "a.*b"),
    "CronSpec": ("-5 0 1 2 7 sleep 1", CronSpec(CronTime(-5, 0, 1, 2, 7), "sleep 1")),
    "UniqueCron": ("0 0 -1 -1 -1 sleep 1", UniqueCron(CronTime(0, 0), "sleep 1", unique=True)),
    "KeyedCron": ("hour=2,unique=1,harakiri=5 sleep 1", KeyedCron(CronTime(hour=2), "sleep 1", True, 5)),
    "SignalTimer": ("7 60", SignalTimer(7, 60)),
    "SignalFile": ("/x 7", SignalFile("/x", 7)),
    "KeyedDaemon": ("cmd=sleep 1,freq=3,stopsignal=2", KeyedDaemon("sleep 1", "", 3.0, 2)),
}


def problem_of(*argv: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestTheTable:
    @every_row
    def test_every_row_explains_itself_in_sentences(self, row: Row):
        assert re.fullmatch(r"[A-Z].*\.", row.help)
        assert row.group

    def test_no_two_rows_share_a_name_or_a_short_flag(self):
        names = Counter(name for row in ROWS for name in row.names)
        shorts = Counter(row.short for row in ROWS if row.short)
        assert [name for name, count in (names + shorts).items() if count > 1] == []

    @every_row
    def test_every_name_can_be_written_on_a_command_line(self, row: Row):
        assert all(re.fullmatch("[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) for name in row.names)
        assert re.fullmatch("[A-Za-z]?", row.short)

    @every_row
    def test_a_value_has_a_metavar_and_a_flag_has_none(self, row: Row):
        assert bool(row.metavar) != row.is_flag

    @every_row
    def test_a_default_is_what_its_type_and_bounds_allow(self, row: Row):
        if row.default in (None, ()) or not isinstance(row.default, int | float | str):
            assert row.default in (None, ())
        else:
            text = str(row.default).removesuffix(".0")
            value = row.value(Setting(row.name, text))
            assert (value, type(value)) == (row.default, type(row.default))

    def test_a_group_is_one_run_of_rows_and_the_ignored_ones_are_last(self):
        groups = [group for group, _ in groupby(row.group for row in ROWS)]
        assert len(groups) == len(set(groups))
        assert {row.group for row in IGNORED} == {groups[-1]}
        assert ROWS[-len(IGNORED) :] == IGNORED

    def test_every_field_but_the_settings_and_the_notes_is_a_row(self):
        names = [field.name for field in dataclasses.fields(Options)]
        assert names == [row.attribute for row in ROWS if row.attribute] + ["given", "notes"]

    def test_there_is_a_sample_for_every_type(self):
        assert SAMPLES.keys() == TYPES.keys()

    @pytest.mark.parametrize("singular", [n for row in ROWS for n in row.names if n.startswith("websockets-")])
    def test_websockets_options_have_uwsgis_singular_alias(self, singular: str):
        alias = singular.replace("websockets-", "websocket-")
        assert any({singular, alias} <= set(row.names) for row in ROWS)

    def test_a_row_takes_its_name_and_type_from_the_field_unless_told_otherwise(self):
        class Table:
            plain_name: int = option(1, help="H.", group="G")
            async_: tuple[str, ...] = option((), name="async", metavar="X", help="H.", group="G")
            no_row: int = 5

        first, second = rows_of(dataclasses.dataclass(Table))
        assert (first.name, first.attribute, first.type, first.metavar) == (
            "plain-name",
            "plain_name",
            "int",
            "N",
        )
        assert (second.name, second.attribute, second.type, second.metavar) == ("async", "async_", "str", "X")
        assert (first.repeats, second.repeats) == (False, True)

    def test_options_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Options().gevent = 5  # type: ignore[misc]

    def test_an_option_that_does_not_exist_is_refused(self):
        with pytest.raises(TypeError, match=r"there is no option nothing, nor$"):
            Options(gevent=5, nothing=1, nor=2)

    @not_traced
    def test_importing_the_table_imports_no_gevent_and_reads_no_environment(self):
        script = """if True:
            import os, sys
            class Forbidden(dict):
                def __getitem__(self, key): raise AssertionError(key)
                get = __contains__ = __iter__ = __getitem__
            import dataclasses, difflib, textwrap, ipaddress
            import uwsgi_ws  # the package itself asks which build it shall be; nothing else may ask anything
            os.environ = os.environb = Forbidden()
            from uwsgi_ws import options
            options.parse(["--http", ":80", "--env", "A=B"])
            print([name for name in sys.modules if name.startswith("gevent")])
        """
        # What measures coverage would import gevent there.
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        assert subprocess.check_output([sys.executable, "-c", script], env=env, text=True) == "[]\n"


def values_of(options: Options) -> list[object]:
    """Return the fields' values: options are equal to themselves only."""
    return [getattr(options, each.name) for each in dataclasses.fields(options)]


#: What an option makes no sense without.
NEEDED = {"cheaper": ("--processes=512",), "cheaper-rss-limit-hard": ("--cheaper-rss-limit-soft=1",)}


class TestTheCommandLine:
    @every_row
    def test_every_name_is_accepted_and_sets_the_rows_field(self, row: Row):
        text, value = SAMPLES[row.type]
        if isinstance(value, int) and value > row.at_most:
            text, value = str(row.at_most), row.at_most
        for name in row.names:
            options = build(command_line([*NEEDED.get(name, ()), f"--{name}={text}"]))
            assert options.given[-1] == Setting(name, text)
            if row.attribute:
                assert getattr(options, row.attribute) == ((value,) if row.repeats else value)
            else:
                assert values_of(dataclasses.replace(options, given=(), notes=())) == values_of(Options())
                assert len(options.notes) == (row.kind == "no effect")

    @every_row
    def test_a_value_may_be_the_next_argument_and_a_flag_takes_none(self, row: Row):
        text, _ = SAMPLES[row.type]
        rest = [] if row.is_flag else [text]
        expected = Setting(row.name, None if row.is_flag else text, "command line")
        assert command_line([f"--{row.name}", *rest]) == [expected]
        if row.short:
            assert command_line([f"-{row.short}", *rest]) == [expected]
            assert command_line(["".join([f"-{row.short}", *rest])]) == [expected]

    def test_without_arguments_the_defaults_are_uwsgis_and_ours(self):
        options = parse([])
        assert values_of(options) == values_of(Options())
        assert (options.gevent, options.listen, options.callable) == (0, 4096, "application")
        assert (options.websockets_ping_freq, options.websockets_pong_tolerance) == (30.0, 3.0)
        assert (options.socket_timeout, options.http_timeout, options.buffer_size) == (30.0, 60.0, 32_768)

    def test_only_the_first_equals_sign_divides_name_and_value(self):
        assert command_line(["--mount=/a=b.py"]) == [Setting("mount", "/a=b.py")]

    def test_short_flags_may_stand_together_the_last_one_with_a_value(self):
        assert command_line(["-TLl5"]) == [
            Setting("enable-threads", None),
            Setting("disable-logging", None),
            Setting("listen", "5"),
        ]

    def test_a_value_may_begin_with_a_dash_when_it_is_no_option(self):
        assert parse(["--pyargv", "--settings prod -v"]).pyargv == "--settings prod -v"
        assert parse(["--pyargv=--help"]).pyargv == "--help"

    @pytest.mark.parametrize("argv", [["--http"], ["--http", "--gevent", "5"], ["--http", "--listen=5"], ["--http="]])
    def test_a_missing_value_is_an_error(self, argv: list[str]):
        assert problem_of(*argv) == "--http: needs a value (command line)"

    def test_a_missing_value_of_a_short_flag_is_an_error(self):
        assert problem_of("-l") == "-l: needs a value (command line)"

    @pytest.mark.parametrize(
        ("argument", "hint"),
        [
            ("--gevnt", ", did you mean --gevent?"),
            ("--wsgi_file=app.py", ", did you mean --wsgi-file?"),
            ("--websocket-maxsize=1", ", did you mean --websocket-max-size?"),
            ("--frobnicate", ""),
            ("--", ""),
            ("--=1", ""),
        ],
    )
    def test_an_unknown_option_is_an_error_that_suggests_what_is_close(self, argument: str, hint: str):
        name = argument.partition("=")[0]
        assert problem_of(argument) == f"{name}: unknown option{hint} (command line)"

    @pytest.mark.parametrize(("argument", "flag"), [("-X", "-X"), ("-LX", "-X"), ("-é", "-é")])
    def test_an_unknown_short_flag_is_an_error(self, argument: str, flag: str):
        assert problem_of(argument) == f"{flag}: unknown option (command line)"


class TestBareArguments:
    @pytest.mark.parametrize(
        "argument",
        ["app.ini", "/srv/my app.ini", "app.ini:chat", "a.b.ini:", "-", "a.yaml", "a.yml:x", "a.json", "a.xml:x"],
    )
    def test_a_file_of_configuration_comes_last(self, argument: str):
        assert command_line([argument, "-L"]) == [Setting("disable-logging", None), Setting("config", argument)]

    @pytest.mark.parametrize("path", ["app.py", "/srv/my app/app.py", "./site.wsgi", "../a.b.py", "my-app.py"])
    def test_a_python_file_is_the_wsgi_file(self, path: str):
        options = parse([path])
        assert (options.wsgi_file, options.module, options.callable) == (path, None, "application")

    @pytest.mark.parametrize(("argument", "name"), [("app.py:app", "app"), ("a/b.wsgi:make()", "make()")])
    def test_a_python_file_may_name_its_callable(self, argument: str, name: str):
        options = parse([argument])
        assert (options.wsgi_file, options.callable) == (argument.partition(":")[0], name)
        assert options.module is None

    @pytest.mark.parametrize("module", ["app", "pkg.mod", "pkg.sub.mod_2"])
    def test_a_module_with_a_callable_is_the_module(self, module: str):
        options = parse([f"{module}:app"])
        assert (options.wsgi_file, options.module, options.callable) == (None, module, "app")

    @pytest.mark.parametrize("target", ["site.wsgi", "mysite.wsgi", "pkg.mod", "pkg.sub.mod_2"])
    def test_what_may_be_a_file_or_a_module_is_seen_where_it_is_loaded(self, target: str):
        options = parse([target])
        assert (options.application, options.wsgi_file, options.module) == (target, None, None)
        options = parse(["mysite.wsgi:app"])
        assert (options.application, options.callable) == ("mysite.wsgi", "app")

    def test_the_last_of_two_callables_wins(self):
        assert parse(["app.py:first", "--callable", "second"]).callable == "second"

    @pytest.mark.parametrize(
        "argument",
        ["", "app", "my-app.txt", "ini", "a b:c", ".:app", ":app", "a..b:c"],
    )
    def test_anything_else_is_an_error_that_shows_what_may_stand_there(self, argument: str):
        problem = problem_of(argument)
        assert problem.startswith(f"{argument!r}: ")
        assert "neither an option nor an application (app.py, app.py:callable or" in problem

    @pytest.mark.parametrize("argument", ["app.py:", "localhost:8080", "pkg.mod:a b", "app.py:a:b"])
    def test_what_cannot_be_a_callable_is_an_error(self, argument: str):
        name = argument.partition(":")[2]
        assert problem_of(argument) == (f"{argument!r}: {name!r} cannot be the name of a callable (command line)")


class TestValues:
    @pytest.mark.parametrize("text", ["false", "off", "no", "0", "FALSE", "Off", "NO"])
    def test_four_words_switch_a_flag_off(self, text: str):
        assert parse(["--need-app", f"--need-app={text}"]).need_app is False

    @pytest.mark.parametrize("text", ["true", "on", "yes", "1", "", "anything"])
    def test_any_other_word_switches_a_flag_on(self, text: str):
        assert parse([f"--need-app={text}"]).need_app is True

    @pytest.mark.parametrize("text", ["x", "1.5", "1e3", "0x10", "1_000", "10k", " 5", "--5", "٣", "-"])
    def test_a_count_is_a_whole_number(self, text: str):
        assert problem_of(f"--gevent={text}") == f"--gevent: {text!r} is not a whole number (command line)"

    @pytest.mark.parametrize("text", ["x", "nan", "inf", "1e3", ".5", "1,5", "30s", "1_0", " 5"])
    def test_a_duration_is_a_plain_number_of_seconds(self, text: str):
        expected = f"--http-timeout: {text!r} is not a number of seconds (command line)"
        assert problem_of(f"--http-timeout={text}") == expected

    @pytest.mark.parametrize(("text", "value"), [("5", 5.0), ("0.25", 0.25), ("+7.", 7.0)])
    def test_a_duration_may_have_a_fraction(self, text: str, value: float):
        seconds = parse(["--websockets-ping-freq", text]).websockets_ping_freq
        assert (seconds, type(seconds)) == (value, float)

    @pytest.mark.parametrize("row", [r for r in ROWS if r.type in ("int", "float")], ids=lambda r: r.name)
    def test_a_number_may_reach_its_bounds_and_no_further(self, row: Row):
        for bound in (row.at_least, row.at_most):
            assert row.value(Setting(row.name, str(bound))) == bound
        for beyond in (row.at_least - 1, row.at_most + 1):
            with pytest.raises(OptionError, match="is out of bounds"):
                row.value(Setting(row.name, f"{beyond:.17g}"))

    def test_an_error_of_bounds_names_value_bounds_and_unit(self):
        assert problem_of("-b", "99999") == (
            "--buffer-size: '99999' is out of bounds, 1024 to 65535 bytes (command line)"
        )
        assert problem_of("--processes", "0") == ("--processes: '0' is out of bounds, 1 to 512 (command line)")
        assert problem_of("-z", "0") == ("--socket-timeout: '0' is out of bounds, 0.1 to 2147483647 s (command line)")

    def test_a_number_of_absurd_length_is_an_option_error_too(self):
        assert "not a whole number" in problem_of("--gevent", "9" * 5000)
        for text in ("room", "=5", "a=", "a=x", "a=-1", "a=5,", "a=5,x", "a=5,1.5"):
            assert "is not PATTERN=MESSAGES[,SECONDS]" in problem_of("--channel-history", text)
        assert "keeps more than 1000000 messages" in problem_of("--channel-history", "a=1000001")
        assert "keeps them for 0 seconds, 1 to" in problem_of("--channel-history", "a=1,0")
        assert "out of bounds" in problem_of("--gevent", "9" * 99)
        assert "out of bounds" in problem_of("--http-timeout", "9" * 99)

    def test_an_address_is_read_and_a_bad_one_says_why(self):
        assert parse(["--http", ":80"]).http == (Address("tcp", host="0.0.0.0", port=80),)
        assert problem_of("--http", "8080").startswith("--http: '8080' is no address, ")

    @pytest.mark.parametrize("text", ["chat=chat.py", "/chat", "/chat=", "=chat.py"])
    def test_a_mount_is_a_path_and_a_target(self, text: str):
        assert problem_of("--mount", text) == (f"--mount: {text!r} is not of the form /path=target (command line)")

    def test_a_mounts_target_may_hold_equals_signs(self):
        assert parse(["--channel-history", "a=b=7"]).channel_history == (ChannelHistory("a=b", 7, 86_400),)
        assert parse(["--static-map", "/a=/srv/b=c"]).static_map == (Mount("/a", "/srv/b=c"),)

    def test_a_variable_may_be_empty_and_hold_equals_signs_but_needs_a_name(self):
        assert parse(["--env", "A=", "--env", "B=c=d"]).env == (Variable("A", ""), Variable("B", "c=d"))
        for text in ("A", "=b"):
            assert "not of the form NAME=VALUE" in problem_of("--env", text)

    @pytest.mark.parametrize(
        ("text", "origin"),
        [
            ("same", "same"),
            ("Same", "same"),
            ("HTTPS://Example.org:8443", "https://example.org:8443"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("chrome-extension://abc", "chrome-extension://abc"),
        ],
    )
    def test_an_origin_is_kept_in_lower_case(self, text: str, origin: str):
        assert parse(["--websockets-origin", text]).websockets_origin == (origin,)

    @pytest.mark.parametrize(
        "text",
        ["example.org", "https://", "https://example.org/", "https://a b", "https://u@a", "*", "1a://b"],
    )
    def test_what_a_browser_never_sends_is_no_origin(self, text: str):
        assert "neither 'same' nor of the form https://" in problem_of("--websockets-origin", text)


class TestBuilding:
    def test_the_last_setting_wins(self):
        assert parse(["--gevent", "5", "--gevent", "7"]).gevent == 7

    def test_an_alias_and_its_option_are_one(self):
        assert parse(["--home", "a", "--virtualenv", "b", "--venv", "c"]).virtualenv == "c"
        assert parse(["--pp", "a", "--python-path", "b", "--pythonpath", "c"]).pythonpath == ("a", "b", "c")

    def test_a_repeatable_option_collects_its_values_in_order(self):
        options = parse(["--http", ":2", "--http", ":1"])
        assert [str(address) for address in options.http] == [":2", ":1"]

    def test_settings_of_another_source_are_judged_alike_and_named_as_that_source_writes_them(self):
        options = build([Setting("need-app", None, "app.ini:2"), Setting("gevent", "7", "UWSGI_GEVENT")])
        assert (options.need_app, options.gevent) == (True, 7)
        emperor = "There is no emperor: start each instance itself, by a systemd template unit or a container each."
        for setting, message in [
            (Setting("gevent", "x", "app.ini:3"), "gevent: 'x' is not a whole number (app.ini:3)"),
            (Setting("gevent", None, "app.ini:3"), "gevent: needs a value (app.ini:3)"),
            (Setting("emperor", "/x", "app.ini:3"), f"emperor: not done here. {emperor} (app.ini:3)"),
        ]:
            with pytest.raises(OptionError) as caught:
                build([setting])
            assert str(caught.value) == message
            assert (caught.value.option, caught.value.source) == (setting.name, "app.ini:3")

    def test_one_thread_beside_greenlets_is_none(self):
        assert (parse(["--gevent", "5", "--threads", "1"]).threads, parse(["--threads", "1"]).threads) == (0, 0)
        assert "not with --gevent" in problem_of("--gevent", "5", "--threads", "2")

    @pytest.mark.parametrize(
        ("argv", "first"),
        [
            ("--processes 4", 4),
            ("--processes 4 --cheaper 0", 4),
            ("--processes 4 --cheaper-initial 2", 4),
            ("--processes 4 --cheaper 2", 2),
            ("--processes 4 --cheaper 2 --cheaper-initial 3", 3),
            ("--processes 4 --cheaper 3 --cheaper-initial 4", 4),
        ],
    )
    def test_how_many_workers_are_started(self, argv: str, first: int):
        options = parse(argv.split())
        assert (options.first_workers, options.has_master) == (first, True)

    @pytest.mark.parametrize(
        ("argv", "problem"),
        [
            ("--cheaper 1", "--cheaper: 1 is not lower than --processes, 1"),
            ("--processes 4 --cheaper 4", "--cheaper: 4 is not lower than --processes, 4"),
            (
                "--processes 4 --cheaper 2 --cheaper-initial 1",
                "--cheaper-initial: 1 is not between --cheaper, 2, and --processes, 4",
            ),
            ("--processes 4 --cheaper 2 --cheaper-initial 5", "--cheaper-initial: 5 is not between"),
            ("--cheaper-algo idle", "--cheaper-algo: 'idle' is none of spare, spare2, backlog, busyness, manual"),
            ("--cheaper-rss-limit-hard 9", "9 is not higher than --cheaper-rss-limit-soft, which is not given"),
            ("--cheaper-rss-limit-soft 9 --cheaper-rss-limit-hard 9", "9 is not higher than --cheaper-rss-limit-soft"),
        ],
    )
    def test_bounds_of_workers_that_cannot_be(self, argv: str, problem: str):
        assert problem in problem_of(*argv.split())

    def test_memory_of_all_workers_may_be_more_than_a_c_int(self):
        assert parse(["--cheaper-rss-limit-soft", "68719476736"]).cheaper_rss_limit_soft == 64 << 30

    def test_an_ignored_option_still_needs_its_value(self):
        assert problem_of("--plugins") == "--plugins: needs a value (command line)"

    def test_http_and_http_socket_are_the_same_front(self):
        options = parse(["--http-socket", ":2", "--http", ":1", "--http11-socket", ":3"])
        assert [str(address) for address in options.addresses] == [":1", ":2", ":3"]

    def test_the_message_limit_is_given_in_kib_and_read_in_bytes(self):
        assert Options().max_message_size == 1_048_576
        assert parse(["--websocket-max-size", "2"]).max_message_size == 2_048

    @pytest.mark.parametrize(
        ("argv", "patched"),
        [
            ([], False),
            (["--gevent", "9"], True),
            (["--threads", "9"], False),
            (["--gevent-monkey-patch"], True),
            (["--gevent-early-monkey-patch"], True),
            (["--no-monkey-patch"], False),
            (["--gevent-monkey-patch=false"], False),
            (["--gevent-monkey-patch", "--no-monkey-patch"], False),
            (["--gevent", "9", "--gevent-monkey-patch=false"], False),
            (["--gevent", "9", "--no-monkey-patch"], False),
            (["--gevent", "9", "--no-monkey-patch=off"], True),
        ],
    )
    def test_the_standard_library_is_patched_unless_that_is_switched_off(self, argv: list[str], patched: bool):
        assert parse(argv).monkey_patch is patched

    def test_a_later_error_names_the_setting_that_is_to_blame(self):
        options = parse(["--http", ":1", "--file", "a.py", "--http", ":2"])
        assert str(options.error("http", "':2' is in use")) == "--http: ':2' is in use (command line)"
        assert str(options.error("wsgi-file", "no file 'a.py'")) == "--file: no file 'a.py' (command line)"
        assert str(options.error("listen", "100 is too much")) == "listen: 100 is too much (default)"

    def test_a_later_error_names_the_last_of_several_settings(self):
        options = build([Setting("chdir", "a", "x.ini:1"), Setting("chdir", "b")])
        assert str(options.error("chdir", "no directory 'b'")) == "--chdir: no directory 'b' (command line)"


class TestSharedSockets:
    """An address may be named by its number among those of ``--shared-socket``."""

    def test_a_number_stands_for_an_address(self) -> None:
        served = "--http =1 --https =0,c.pem,k.pem --https2 addr==0,cert=c,key=k --http-to-https =2,443"
        shared = "--shared-socket :443 --undeferred-shared-socket /run/a.sock --shared-socket localhost:80"
        options = parse(f"{served} {shared}".split())
        assert [str(address) for address in options.http] == ["/run/a.sock"]
        assert [str(each.address) for each in options.https] == [":443", ":443"]
        assert options.https[0].files.key == "k.pem"
        assert [(str(each.address), each.port) for each in options.http_to_https] == [("localhost:80", "443")]
        assert options.settings_of("http")[0].value == "=1", "what is shown is what was written"

    def test_a_number_that_is_not_there_names_where_it_was(self) -> None:
        with pytest.raises(
            OptionError, match=r"^--http: '=1': no shared-socket has the number 1, the first of 1 has 0"
        ):
            parse(["--shared-socket", ":80", "--http", "=1"])

    def test_other_values_may_begin_so(self) -> None:
        assert parse(["--procname", "=0"]).procname == "=0"


class TestUwsgisOptDict:
    @pytest.mark.parametrize(
        ("argv", "opt"),
        [
            ([], {}),
            (["--gevent", "5", "-l", "7"], {"gevent": b"5", "listen": b"7"}),
            (["--venv=x"], {"venv": b"x"}),
            (["--need-app"], {"need-app": True}),
            (["--need-app", "--need-app"], {"need-app": True}),
            (["--need-app", "--need-app=no"], {"need-app": b"no"}),
            (["--pp", "a", "--need-app", "--pp", "b"], {"pp": [b"a", b"b"], "need-app": True}),
            (["--http-websockets", "--plugin", "python3"], {"http-websockets": True, "plugin": b"python3"}),
            (["app.py:app"], {"wsgi-file": b"app.py", "callable": b"app"}),
            (["--chdir", "\udcff"], {"chdir": b"\xff"}),
        ],
    )
    def test_it_holds_what_was_given_as_uwsgi_has_it(self, argv: list[str], opt: dict[str, Any]):
        assert opt_dict(parse(argv)) == opt


class TestTexts:
    def test_help_is_at_most_100_columns_wide(self):
        assert max(len(line) for line in help_text().splitlines()) <= 100

    @every_row
    def test_help_shows_every_name_and_sentence_of_every_row(self, row: Row):
        words = " ".join(help_text().split())
        short = f"-{row.short}, " if row.short else ""
        assert f" {short}--{row.name} {row.metavar}".rstrip() in words
        assert all(f"--{alias}" in words for alias in row.aliases)
        assert " ".join(row.help.split()) in words

    def test_help_has_every_group_once_in_the_order_of_the_rows(self):
        headings = re.findall(r"^(\S.*):$", help_text(), re.MULTILINE)
        assert headings == [group for group, _ in groupby(row.group for row in ROWS)]

    def test_help_shows_bounds_defaults_and_units(self):
        words = " ".join(help_text().split())
        for text in (
            "1024 to 65535 bytes. Default: 32768 bytes.",
            "0 to 10000. Default: 0.",
            "At least 1 KiB. Default: 1024 KiB. Also --websocket-max-size.",
            "At least 0.1 s. Default: 30 s.",
            "Default: application.",
            "sys.path. May be repeated. Also --python-path, --pp.",
        ):
            assert text in words

    def test_help_has_no_empty_remark_and_no_blanks_at_a_lines_end(self):
        assert "Also ." not in help_text()
        assert not re.search(" $", help_text(), re.MULTILINE)

    def test_a_long_option_has_a_line_of_its_own_and_a_short_one_shares_it(self):
        lines = help_text().splitlines()
        assert "  --chdir DIR                 Change to this directory before loading." in lines
        below = lines[lines.index("  -w, --module MODULE[:CALLABLE]") + 1]
        assert below.startswith(" " * 30 + "Load the application")


class TestUwsgisOptions:
    def test_every_option_of_uwsgi_has_a_row(self):
        uwsgi = shutil.which("uwsgi")
        if uwsgi is None:
            pytest.skip("uWSGI is not on PATH")
        text = subprocess.run([uwsgi, "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
        names = set(re.findall(r"^ +(?:-.\|)?--(\S+)", text, re.MULTILINE))
        assert len(names) > 800
        assert sorted(names - BY_NAME.keys()) == []

    @pytest.mark.parametrize(
        ("argv", "advice"),
        [
            (["--emperor", "/x"], "systemd template"),
            (["--spooler", "/x"], "task queue"),
            (["--mule"], "service of its own"),
            (["--legion-cron", "x 0 0 * * * x"], "service manager"),
            (["--legion", "x"], "service manager"),
            (["--php-docroot", "/x"], "Python, Perl and Go"),
            (["-Q", "/x"], "task queue"),
        ],
    )
    def test_what_is_refused_says_what_to_do_instead(self, argv: list[str], advice: str):
        assert "not done here" in problem_of(*argv)
        assert advice in problem_of(*argv)

    def test_a_refused_flag_that_is_switched_off_asks_for_nothing(self):
        assert parse(["--vhost=false"]).given
        assert "not done here" in problem_of("--vhost=true")

    @pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
    def test_every_refusal_is_advice_in_a_sentence(self, row: Row):
        assert re.fullmatch(r"[A-Z].*\.", row.help)

    @pytest.mark.parametrize(
        ("option", "text", "problem"),
        [
            ("add-header", "Nothing", "NAME: VALUE"),
            ("add-header", "X-Y: a\nb", "NAME: VALUE"),
            ("rem-header", "a b", "no header's name"),
            ("static-expires", "/x", "PATTERN SECONDS"),
            ("static-expires", "( 5", "missing ), unterminated subpattern"),
            ("umask", "9", "octal digits"),
            ("hook-asap", "alarm:x", "is not of the form ACTION:ARGUMENT"),
            ("hook-asap", "unix_signal:15 abort", "gracefully_kill_them_all"),
            ("touch-exec", "/x", "FILE COMMAND"),
            ("smart-attach-daemon", "/x", "PIDFILE [SECONDS] COMMAND"),
            ("attach-daemon2", "cmd=x,legion=y", "is none of"),
            ("attach-daemon2", "freq=5", "has no command"),
            ("attach-daemon2", "cmd=x,freq=y", "is no number"),
        ],
    )
    def test_a_value_that_is_none_says_what_one_is(self, option: str, text: str, problem: str):
        assert problem in problem_of(f"--{option}", text)
