"""What the texts of ``--logger`` and its relatives mean."""

from __future__ import annotations

import syslog

import pytest

from uwsgi_ws.loggers import (
    LogEncoder,
    Logger,
    LogRoute,
    parse_encoder,
    parse_logger,
    parse_pattern,
    parse_route,
    parse_socket_logger,
    parse_syslog_logger,
    without_unknown_variables,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stdio", Logger("stdio")),
        ("app stdio", Logger("stdio", "app")),
        ("file:/a b.log", Logger("file", "", "/a b.log")),
        ("app file:/a.log", Logger("file", "app", "/a.log")),
        ("file:/a=b.log", Logger("file", "", "/a=b.log")),
        ("file:logfile=/a,maxsize=900", Logger("file", "", "/a", max_size=900)),
        ("file:maxsize=0,backupname=/b,logfile=/a", Logger("file", "", "/a", backup="/b")),
        ("fifo:/a", Logger("fifo", "", "/a")),
        ("fd:2", Logger("fd", "", "2")),
        ("syslog", Logger("syslog", "", "/dev/log", text="uwsgi")),
        ("syslog:site", Logger("syslog", "", "/dev/log", text="site")),
        ("a syslog:site,Local3", Logger("syslog", "a", "/dev/log", text="site", facility=syslog.LOG_LOCAL3)),
        ("rsyslog:logs.example.org", Logger("rsyslog", "", "logs.example.org", 514)),
        ("rsyslog:10.0.0.1:5140,site", Logger("rsyslog", "", "10.0.0.1", 5140, "site")),
        ("rsyslog:[::1]:5140", Logger("rsyslog", "", "::1", 5140)),
        ("rsyslog:::1", Logger("rsyslog", "", "::1", 514)),
        ("rsyslog:[::1]", Logger("rsyslog", "", "::1", 514)),
        ("rsyslog:/dev/log,me", Logger("rsyslog", "", "/dev/log", text="me")),
        ("socket:10.0.0.1:99", Logger("socket", "", "10.0.0.1", 99)),
        ("socket::99,pre ", Logger("socket", "", "0.0.0.0", 99, "pre ")),
        ("socket:log.sock", Logger("socket", "", "log.sock")),
    ],
)
def test_a_logger_is_read_as_uwsgi_reads_it(text: str, expected: Logger) -> None:
    assert parse_logger(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no logger ''"),
        ("redislog:x", "no logger 'redislog', there are file, fifo, fd, stdio, syslog, rsyslog, socket"),
        ("a-b stdio", "no logger 'a-b stdio'"),
        ("file:", "does not say where"),
        ("fd", "does not say where: fd:N"),
        ("fd:x", "no descriptor's number"),
        ("file:maxsize=5", "no logfile=PATH"),
        ("file:logfile=/a,size=5", "'size=5' is none of logfile, maxsize, backupname"),
        ("file:logfile=/a,maxsize=5k", "'maxsize=5k' is no number of bytes"),
        ("syslog:a,local9", "no facility 'local9'"),
        ("socket:host:port", "'host:port'"),
        ("socket:a.sock:5:6", "a.sock:5:6"),
    ],
)
def test_what_is_no_logger_is_told_with_what_there_is(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as info:
        parse_logger(text)
    assert problem in str(info.value)


def test_the_short_options_name_a_kind_already() -> None:
    assert parse_syslog_logger("site,user") == Logger("syslog", "", "/dev/log", text="site", facility=syslog.LOG_USER)
    assert parse_socket_logger("/a.sock,pre") == Logger("socket", "", "/a.sock", text="pre")


def test_an_encoder_may_be_for_one_logger_and_have_a_text() -> None:
    assert parse_encoder("nl") == LogEncoder("nl")
    assert parse_encoder("json:app [${msg}] ${unix}") == LogEncoder("json", "app", "[${msg}] ${unix}")
    with pytest.raises(ValueError, match=r"no encoder 'msgpack', there are prefix, .*compress"):
        parse_encoder("msgpack str:a")
    with pytest.raises(ValueError, match="has no text"):
        parse_encoder("json:app")
    with pytest.raises(ValueError, match=r"'\$\{time\}' is no variable, there are \$\{msg\}, .*\$\{strftime:FORMAT\}"):
        parse_encoder("format ${time}")


def test_unknown_variables_are_nothing_where_uwsgi_is_followed() -> None:
    text, remark = without_unknown_variables("json a${time}b${msg}${x}")
    assert text == "json ab${msg}"
    assert remark == "'${time}', '${x}' is nothing, as in uWSGI"
    assert without_unknown_variables("json ${msg}${strftime:%H}") == ("json ${msg}${strftime:%H}", "")


def test_routes_and_patterns_hold_expressions_that_can_be_used() -> None:
    assert parse_route("default ^((?!\\{).)* $") == LogRoute("default", "^((?!\\{).)* $")
    assert parse_pattern("\udcff") == "\udcff"  # a byte beyond UTF-8, of a command line
    for bad in ("default", "default ", ""):
        with pytest.raises(ValueError, match="not of the form LOGGER REGEX"):
            parse_route(bad)
    with pytest.raises(ValueError, match=r"'\(a': missing \)"):
        parse_pattern("(a")
