"""The Perl side of a companion, driven over its sockets: PSGI, uWSGI's names, our own, what an application may do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.companion_driver import Companion, encode, read_block, started
from support.eventually import eventually
from support.peers import missing, require_program
from support.server import APPLICATIONS

TESTS = Path(__file__).resolve().parents[2]
PERL = TESTS.parent / "uwsgi_ws" / "companions" / "perl"
FOLDER = APPLICATIONS / "perl"

Start = Callable[..., AbstractContextManager[Companion]]


def require_perl_module(name: str) -> None:
    if subprocess.run([require_program("perl"), f"-M{name}", "-e", "1"], capture_output=True).returncode:
        missing(f"no Perl module {name}")


@pytest.fixture(params=["blocking", "coroutines"])
def start(request: pytest.FixtureRequest) -> Start:
    """Return what starts a process that serves one of the applications."""
    return _starter(request.param == "coroutines")


@pytest.fixture
def start_coroutines() -> Start:
    return _starter(True)


def _starter(has_coroutines: bool) -> Start:
    perl = require_program("perl")
    settings = {}
    if has_coroutines:
        require_perl_module("Coro::AnyEvent")
        settings = {"UWSGI_WS_PERL_CORO": "1", "UWSGI_WS_CONCURRENCY": "100"}

    def start(file: str | Path, *arguments: str, ready: bool = True, **env: str) -> AbstractContextManager[Companion]:
        command = [perl, f"-I{PERL}", str(PERL / "companion.pl"), str(FOLDER / file), *arguments]
        return started(command, ready=ready, **(settings | env))

    return start


@pytest.fixture(params=["blocking", "coroutines"], scope="module")
def answers(request: pytest.FixtureRequest) -> Iterator[Companion]:
    with _starter(request.param == "coroutines")("answers.psgi", "one", "two") as companion:
        yield companion


@pytest.fixture(params=["blocking", "coroutines"], scope="module")
def names(request: pytest.FixtureRequest) -> Iterator[Companion]:
    with _starter(request.param == "coroutines")("names.psgi") as companion:
        yield companion


@pytest.fixture(params=["blocking", "coroutines"], scope="module")
def typed(request: pytest.FixtureRequest) -> Iterator[Companion]:
    with _starter(request.param == "coroutines")("typed.psgi") as companion:
        yield companion


def body_of(companion: Companion, path: str) -> str:
    with companion.request(path) as request:
        return request.response()[2].decode()


# Ordinary requests


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", "200", b"hello world"),
        ("/phrase", "404 Never Heard Of", b""),
        ("/arguments", "200", b"answers.psgi,one,two,uwsgi,none"),
        ("/file", "200", (FOLDER / "answers.psgi").read_bytes()),
        ("/memory", "200", b"m" * 200_000),
        ("/object", "200", b"abc"),
        ("/characters", "200", "€\n".encode() + b"\xe9"),
        ("/delayed", "201", b"delayed"),
        ("/streamed", "200", b"1 2 3 "),
        ("/unclosed", "200", b"unclosed"),
    ],
)
def test_response(answers: Companion, path: str, status: str, body: bytes) -> None:
    with answers.request(path) as request:
        found = request.response()
    assert (found[0], found[2], found[3]) == (status, body, "")


def test_headers_come_in_order_and_may_repeat(answers: Companion) -> None:
    with answers.request("/") as request:
        pairs = read_block(request.expect("S"))
    assert pairs == [(":status", "200"), ("Content-Type", "text/plain"), ("X-One", "1"), ("X-One", "2")]


@pytest.mark.parametrize("path", ["/", "/file", "/streamed"])
def test_a_response_to_head_has_no_body(answers: Companion, path: str) -> None:
    with answers.request(path, method="HEAD") as request:
        assert request.response()[2:] == (b"", "")


def test_environment(answers: Companion) -> None:
    with answers.request("/env", HTTPS="on", HTTP_X_NAME="v", HTTP_CONTENT_LENGTH="1") as request:
        found = dict(line.split("=", 1) for line in request.response()[2].decode().splitlines())
    assert (
        found.items()
        >= {
            "HTTP_X_NAME": "v",
            "psgi.url_scheme": "https",
            "psgi.streaming": "1",
            "psgi.run_once": "",
            "psgix.cleanup": "1",
            "psgix.harakiri": "1",
        }.items()
    )
    assert "HTTP_CONTENT_LENGTH" not in found


@pytest.mark.parametrize(
    ("path", "sent", "body"),
    [
        ("/echo", [b"0123", b"456789", b"ab", b""], b"0123456789ab 552"),
        ("/read-all", [b"0123", b"456789", b"ab"], b"12:0123456789ab"),
        ("/offset", [b"de", b"fg"], b"abc00dfg"),
        ("/echo", [b""], b" "),
    ],
)
def test_request_body_is_pulled(answers: Companion, path: str, sent: list[bytes], body: bytes) -> None:
    sent = list(sent)
    with answers.request(path, method="POST", CONTENT_LENGTH="12") as request:
        while (record := request.next()) is not None and record.type == "R":
            (size,) = struct.unpack("!I", record.payload)
            piece = sent.pop(0)
            assert size > 0
            if len(piece) > size:
                sent.insert(0, piece[size:])
            request.send(("B", piece[:size]))
        assert record is not None
        assert record.type == "S"
        assert request.expect("B") == body
        assert request.expect("E") == b""


def test_a_request_body_that_is_cut_short_is_an_error(answers: Companion) -> None:
    with answers.request("/echo", method="POST") as request:
        request.expect("R")
        request.send(("F", b"too large"))
        assert b"error during read(5) on psgi.input: too large" in request.expect("E")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/none", "invalid PSGI response: undef"),
        ("/text", "invalid PSGI response: 'text'"),
        ("/short", "invalid PSGI response: an array of 1 values, not of status, headers and body"),
        ("/odd", "invalid PSGI headers: ARRAY reference, not an array of names and values"),
        ("/name", "invalid PSGI headers: the name 'X One'"),
        ("/value", r"invalid PSGI headers: the value of X-One: 'a\x0d\x0ab'"),
        ("/status", "invalid PSGI status code: 'fine'"),
        ("/body", "invalid PSGI response body: 'text'"),
        ("/never", "the application returned before it had called what it was given for its delayed response"),
        ("/die", "oops at "),
        ("/die-object", "Mute, which cannot be shown"),
        ("/die-list", "HASH(0x"),
        ("/next", "a `last` or `next` led out of the application"),
        ("/last", "a `last` or `next` led out of the application"),
    ],
)
def test_an_error_ends_the_request_alone(answers: Companion, path: str, text: str) -> None:
    with answers.request(path) as request:
        (end,) = request.rest()
    assert end.type == "E"
    assert end.payload.decode().startswith(f"[uwsgi-perl error] {text}")
    assert body_of(answers, "/") == "hello world"


def test_an_error_names_file_and_line(answers: Companion) -> None:
    with answers.request("/die") as request:
        text = request.expect("E").decode()
    file = FOLDER / "answers.psgi"
    line = next(n for n, source in enumerate(file.read_text().splitlines(), 1) if "die 'oops'" in source)
    assert text == f"[uwsgi-perl error] oops at {file} line {line}."


def test_an_applications_handler_of_die_hears_of_its_own_alone(answers: Companion) -> None:
    with answers.request("/die-handler", method="POST") as request:
        request.expect("R")
        request.send(("B", b""))
        assert request.expect("E") == b"[uwsgi-perl error] oops"
    assert answers.log.count("handled: oops\n") == 1
    assert answers.log.count("handled: ") == 1


def test_a_response_that_breaks_off_says_so(answers: Companion) -> None:
    with answers.request("/broken-stream") as request:
        status, _, body, error = request.response()
    assert (status, body) == ("200", b"some")
    assert error.startswith("[uwsgi-perl error] amid at ")


def test_the_log_has_what_is_printed_anywhere(answers: Companion) -> None:
    body_of(answers, "/errors")
    assert "one\ntwo\n[uwsgi-perl warn] three\nfour\nfive\nsix\nseveneight\n" in answers.log


def test_cleanup_handlers_run_after_the_response(answers: Companion) -> None:
    assert body_of(answers, "/cleanup") == "ok"
    eventually(lambda: "[uwsgi-perl error] psgix.cleanup: bad cleanup\ncleaned /cleanup\n" in answers.log)


def test_the_body_is_closed(answers: Companion) -> None:
    before = answers.log.count("closed\n")
    body_of(answers, "/object")
    eventually(lambda: answers.log.count("closed\n") == before + 1)


def test_what_is_not_offered_says_so(answers: Companion) -> None:
    text = body_of(answers, "/absent")
    assert text.startswith(f"uwsgi::cache_get is not offered to Perl applications here at {FOLDER / 'answers.psgi'}")
    assert text.endswith("\n0")


@pytest.mark.parametrize("paths", [("/fork",), ("/fork-exit",), ("/fork-stay", "/pid")])
def test_fork(answers: Companion, paths: tuple[str, ...]) -> None:
    """A child that returns, exits or stays takes nothing of its parent's with it."""
    bodies = [body_of(answers, path) for path in paths]
    if paths == ("/fork",):
        assert bodies == ["parent"]
    elif paths == ("/fork-exit",):
        assert bodies == ["child exited with 3"]
    else:
        os.kill(int(bodies[0]), signal.SIGKILL)
        assert bodies[1] == str(answers.process.pid)
    assert "at exit" not in answers.log


def test_programs_inherit_no_connection(answers: Companion) -> None:
    assert int(body_of(answers, "/program")) == 4  # standard input, output, error, and its own of the folder


def test_programs_ignore_no_signal(answers: Companion) -> None:
    ignored = int(body_of(answers, "/ignored").split()[1], 16)
    assert not ignored & sum(1 << number - 1 for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE))


def test_an_alarm_interrupts_a_wait(start: Start) -> None:
    with start("answers.psgi") as companion:
        assert body_of(companion, "/alarm") in ("late\n", "done")


def test_closed_standard_handles(start: Start) -> None:
    """A connection never becomes what programs take for standard output, and the log goes on."""
    with start("answers.psgi") as companion:
        assert body_of(companion, "/close-all") == "closed"
        assert "socket" not in body_of(companion, "/descriptors")
        body_of(companion, "/cleanup")
        eventually(lambda: "cleaned /cleanup" in companion.log)


def test_exit_ends_the_process_alone(start: Start) -> None:
    with start("answers.psgi") as companion:
        with companion.request("/exit") as request:
            records = request.rest()
        assert companion.wait() == 7
        assert records[-1].payload == b"[uwsgi-perl error] the application called exit(7)"
        assert "at exit" in companion.log


def test_harakiri_ends_the_process_after_the_response(start: Start) -> None:
    with start("answers.psgi") as companion:
        assert body_of(companion, "/harakiri") == str(companion.process.pid)
        assert companion.wait() == 0


def test_reload_asks_the_parent(start: Start) -> None:
    came = []
    before = signal.signal(signal.SIGHUP, lambda *_: came.append(1))
    try:
        with start("answers.psgi") as companion, companion.request("/ping") as request:
            request.rest()
            eventually(lambda: bool(came))
    finally:
        signal.signal(signal.SIGHUP, before)


# Life


def test_hooks_run_at_both_ends(start: Start) -> None:
    with start("answers.psgi", UWSGI_WS_WORKER="3") as companion:
        companion.process.terminate()
        assert companion.wait() == 0
        assert companion.log == "number 3\nat exit\n"


def test_sigterm_lets_requests_end(start: Start) -> None:
    with start("names.psgi") as companion, companion.websocket("/echo") as request:
        request.send(("T", b"before"))
        assert request.expect("T") == b"before"
        companion.process.terminate()
        request.send(("T", b"after"))
        assert request.expect("T") == b"after"
        request.send(("C", b"\x03\xe8"))
        assert [record.type for record in request.rest()] == ["E"]
        assert companion.wait() == 0


def test_a_master_that_is_gone_ends_the_process(start: Start) -> None:
    with start("names.psgi") as companion:
        companion.control.close()
        assert companion.wait() == 0


def test_signals_of_a_terminal_are_ignored(start: Start) -> None:
    with start("answers.psgi") as companion:
        companion.process.send_signal(signal.SIGINT)
        companion.process.send_signal(signal.SIGHUP)
        assert body_of(companion, "/") == "hello world"


@pytest.mark.parametrize("plack", ["1", ""])
@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("die 'no database';", "FILE line 1: no database"),
        ("use strict;\nmy $x = ;\n", 'FILE line 2: syntax error, near "= ;"'),
        ("\nuse No::Such::Module;", "FILE line 2: Can't locate No/Such/Module.pm in @INC (you may need to install the "
         "No::Such::Module module)"),
        ("die \"no place\\n\";", "FILE: no place"),
        ("42;", "FILE: its last value is no application, a code reference, but '42'"),
        (None, "FILE: no such file"),
    ],
)  # fmt: skip
def test_an_application_that_does_not_load(tmp_path: Path, plack: str, source: str | None, line: str) -> None:
    file = tmp_path / "app.psgi"
    if source is not None:
        file.write_text(source)
    with _starter(False)(file, ready=False, UWSGI_WS_PERL_NO_PLACK=plack) as companion:
        assert companion.wait() == 1
        assert companion.log == f"uwsgi_ws companion: {line.replace('FILE', str(file))}\n"


def test_another_version_of_the_protocol() -> None:
    with _starter(False)("names.psgi", ready=False, UWSGI_WS_COMPANION="2") as companion:
        assert companion.wait() == 1
        assert companion.log.count("\n") == 1
        assert "this companion speaks version 1 of the protocol, the server '2'" in companion.log


def test_without_plack_and_with_a_library_and_files_of_its_own(tmp_path: Path) -> None:
    library = tmp_path / "local" / "lib" / "perl5"
    library.mkdir(parents=True)
    (library / "Own.pm").write_text("package Own; sub name { 'own' } 1;")
    (tmp_path / "before.pl").write_text("print qq(before\\n);")
    (tmp_path / "after.pl").write_text("print qq(after\\n); die qq(bad\\n) if !defined &Own::name;")
    file = tmp_path / "app.psgi"
    file.write_text(
        "use Own; print qq(loading\\n); sub { [200, [], [Own::name(), $INC{'Plack/Util.pm'} ? ' with' : ' without']] };"
    )
    with _starter(False)(
        file, UWSGI_WS_PERL_NO_PLACK="1", UWSGI_WS_PERL_LOCAL_LIB=str(tmp_path / "local"),
        UWSGI_WS_PERL_EXEC=str(tmp_path / "before.pl"), UWSGI_WS_PERL_EXEC_POST_FORK=str(tmp_path / "after.pl"),
    ) as companion:  # fmt: skip
        assert body_of(companion, "/") == "own without"
        assert companion.log == "before\nloading\nafter\n"


def test_auto_reload(start: Start, tmp_path: Path) -> None:
    (tmp_path / "Part.pm").write_text("package Part; 1;")
    file = tmp_path / "app.psgi"
    file.write_text(f"use lib '{tmp_path}'; use Part; sub {{ [200, [], []] }};")
    came = []
    before = signal.signal(signal.SIGHUP, lambda *_: came.append(1))
    try:
        with start(file, UWSGI_WS_PERL_AUTO_RELOAD="1"):
            later = 0

            def is_noticed() -> bool:
                nonlocal later
                later += 10
                at = (tmp_path / "Part.pm").stat().st_mtime + later
                os.utime(tmp_path / "Part.pm", (at, at))
                return bool(came)

            eventually(is_noticed)
    finally:
        signal.signal(signal.SIGHUP, before)


# WebSockets by uWSGI's names


def test_a_handshake_takes_from_the_request_what_is_not_given(names: Companion) -> None:
    with names.request("/echo", HTTP_ORIGIN="https://a.example", HTTP_SEC_WEBSOCKET_PROTOCOL=" one,two") as request:
        assert request.handshake() == [(":origin", "https://a.example"), (":protocol", "one")]


def test_echo(names: Companion) -> None:
    with names.websocket("/echo") as request:
        for kind, payload in (("T", b"text"), ("D", b"\xff\x00"), ("T", "€".encode()), ("T", b"x" * 1_000_000)):
            request.send((kind, payload))
            assert request.expect("T") == payload
        request.send(("T", b""))
        assert request.expect("T") == b"undef"
        request.send(("C", struct.pack("!H", 1001)))
        assert [tuple(record) for record in request.rest()] == [("E", b"")]


def test_many_messages_at_once(names: Companion) -> None:
    with names.websocket("/echo") as request:
        request.send(*[("T", b"%d" % number) for number in range(500)])
        assert [request.expect("T") for _ in range(500)] == [b"%d" % number for number in range(500)]


def test_messages_cut_anywhere(names: Companion) -> None:
    with names.websocket("/echo") as request:
        for byte in encode("T", b"cut"):
            request.sock.sendall(bytes((byte,)))
        assert request.expect("T") == b"cut"


def test_a_worker_that_is_gone_ends_the_application_quietly(names: Companion) -> None:
    with names.websocket("/echo"):
        pass
    with names.websocket("/echo") as request:
        request.send(("T", b"next"))
        assert request.expect("T") == b"next"
    assert "unable to" not in names.log


def test_arguments_and_what_is_returned(names: Companion) -> None:
    with names.request("/arguments", HTTP_SEC_WEBSOCKET_KEY="key") as request:
        assert request.handshake() == [(":key", "key"), (":origin", "*"), (":protocol", "chat")]
        assert request.expect("T") == "€".encode()
        assert request.expect("D") == b"\xff"
        assert request.expect("T") == b"4,undef,undef,undef,undef"
        assert request.expect("T").startswith(b"Usage: uwsgi::websocket_send takes 1 arguments at ")
        assert request.expect("T").startswith(b"unable to complete websocket handshake at ")
        assert request.expect("E") == b""


def test_a_handshake_that_is_refused(names: Companion) -> None:
    with names.request("/unwilling") as request:
        request.expect("H")
        request.send(("H", b"no key"))
        status, _, body, error = request.response()
    assert (status, error) == ("403", "")
    assert body.startswith(b"unable to complete websocket handshake at ")


def test_the_descriptor_is_readable_while_messages_wait(names: Companion) -> None:
    with names.websocket("/descriptor") as request:
        request.send(*[("T", word) for word in (b"1", b"2", b"3")])
        assert request.expect("T") == b"first 1"
        assert request.expect("T") == b"ready 2"
        assert request.expect("T") == b"ready 3"
        request.send(("T", b"4"), ("T", b"last"))
        assert request.expect("T") == b"ready 4"
        assert request.expect("T") == b"ready last"
        assert request.expect("T") == b"quiet"
        request.send(("C", struct.pack("!H", 1000)))
        assert request.expect("E") == b""


def test_a_count_amid_messages_keeps_the_descriptor_readable(names: Companion) -> None:
    with names.websocket("/count-between") as request:
        request.send(("T", b"early"), ("T", b"second"))
        tag = request.expect("N")
        assert tag[4:] == b"room"
        request.send(("N", tag[:4] + b"\0\0\0\7"))
        assert request.expect("T") == b"count 7"
        assert [request.expect("T") for _ in range(3)] == [b"early", b"second", b"ready"]


def test_the_end_amid_a_count_keeps_the_descriptor_readable_and_the_request_goes_on(names: Companion) -> None:
    with names.websocket("/count-after-end") as request:
        request.send(("C", struct.pack("!H", 1000)))
        request.send(("N", request.expect("N")[:4] + b"\0\0\0\7"))
        request.send(("N", request.expect("N")[:4] + b"\0\0\0\6"))
        assert request.expect("E") == b""
    eventually(lambda: "count 7 ready over 6 \n" in names.log)


def test_recv_nb_tells_nothing_from_the_end(names: Companion) -> None:
    with names.websocket("/nothing") as request:
        assert request.expect("T") == b"nothing"
        request.send(("C", struct.pack("!H", 1000)))
        assert request.expect("E") == b""
    assert names.log.count("unable to receive websocket message at ") >= 2


def test_waiting_for_descriptors(names: Companion) -> None:
    with names.websocket("/waits") as request:
        request.send(("T", b"come"))
        assert request.expect("T") == b"ready"
        assert request.expect("T") == b"-1"
        assert request.expect("T") == b"-1"
        assert request.expect("E") == b""


def test_channels(names: Companion) -> None:
    with names.websocket("/channels") as request:
        assert request.expect("J") == b"room"
        assert request.expect("L") == b"room"
        assert request.expect("I") == b"news"
        assert request.expect("U") == b"\0\4newsT\0" + "café".encode()
        assert request.expect("U") == b"\0\4newsD\0\xe9"
        request.send(("M", b"\0\4newsT" + "café".encode()), ("M", b"\0\4newsD\xe9"))
        assert request.expect("T") == "café".encode()
        request.expect("T")
        assert request.expect("O") == b"news"
        assert request.expect("T").startswith(b"unable to receive channel message at ")


def test_an_error_after_the_handshake(names: Companion) -> None:
    with names.websocket("/died") as request:
        request.send(("T", b"x"))
        assert request.expect("E") == b"[uwsgi-perl error] after all"


@pytest.mark.parametrize("path", ["/alarm", "/interrupted"])
def test_alarms_amid_recv(path: str) -> None:
    """A handler that dies ends the call and not the connection; another one is not noticed."""
    with _starter(False)("names.psgi") as companion, companion.websocket(path) as request:
        if path == "/alarm":
            assert request.expect("T") == b"late\n"
        else:
            eventually(lambda: "alarm" in companion.log)
        request.send(("T", b"next"))
        assert request.expect("T") == b"next"


def test_a_slow_worker_holds_the_application_up(names: Companion) -> None:
    with names.websocket("/flood") as request:
        for _ in range(1_000):
            assert len(request.expect("T")) == 10_000
        request.send(("T", b"end"))
        assert request.expect("T") == b"end"


def test_a_message_that_the_worker_would_not_take(names: Companion) -> None:
    with names.websocket("/too-long") as request:
        assert request.expect("T").startswith(b"unable to send websocket message at ")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"?" + b"\0\0\0\1x", "a record of unknown type '?': 'x'"),
        (b"T\xff\xff\xff\xff", "a record of type 'T' and 4294967295 bytes: at most 1073741824 may come"),
        (b"C\0\0\0\1x", "an end without a code: 'x'"),
        (b"N\0\0\0\1x", "the answer to a count: 'x'"),
    ],
)
def test_nonsense_from_the_worker_is_logged_and_cut_off(names: Companion, sent: bytes, told: str) -> None:
    with names.websocket("/echo") as request:
        request.sock.sendall(sent)
        assert request.rest() == []
    eventually(lambda: told in names.log)


# WebSockets by our own names


def test_typed_messages(typed: Companion) -> None:
    with typed.request("/echo", HTTP_SEC_WEBSOCKET_PROTOCOL="v1, v2") as request:
        assert request.handshake() == [(":protocol", "v2"), ("X-Extra", "yes")]
        assert request.expect("T") == b"subprotocol v2"
        request.send(("T", "a€".encode()), ("D", b"\xff\0"), ("T", b""), ("T", b"0"))
        assert request.expect("T") == "€a".encode()
        assert request.expect("D") == b"\0\xff"
        assert request.expect("T") == b""
        assert request.expect("T") == b"0"
        request.send(("C", struct.pack("!H", 1000) + b"bye"))
        assert request.expect("E") == b""
    eventually(lambda: "ended 1000 bye\n" in typed.log)


def test_typed_timeouts(typed: Companion) -> None:
    with typed.websocket("/timeout") as request:
        assert [request.expect("T"), request.expect("T")] == [b"nothing", b"nothing"]
        request.send(("T", b"come"))
        assert request.expect("T") == b"come"


def test_typed_end(typed: Companion) -> None:
    with typed.websocket("/closed") as request:
        request.send(("C", struct.pack("!H", 4001) + b"why"))
        assert request.expect("E") == b""
    eventually(lambda: "closed 4001 why clean over" in typed.log)
    assert "send: the WebSocket has ended: 4001 (why) at " in typed.log


def test_typed_close(typed: Companion) -> None:
    with typed.websocket("/close") as request:
        assert request.expect("C") == struct.pack("!H", 4000) + b"enough"
        request.send(("T", b"meanwhile"), ("C", struct.pack("!H", 4000)))
        assert request.expect("E") == b""
    eventually(lambda: "left meanwhile\nthe WebSocket has ended: 4000 at " in typed.log)


def test_typed_errors_name_the_caller(typed: Companion) -> None:
    with typed.websocket("/bad-calls") as request:
        texts = [request.expect("T").decode() for _ in range(5)]
    assert all("typed.psgi line " in text for text in texts), texts
    assert texts[0].startswith("a binary message has characters above 255")
    assert texts[1].startswith("1005 is no code to close with")


def test_typed_channels(typed: Companion) -> None:
    with typed.websocket("/channels") as request:
        assert request.expect("J") == b"room"
        assert request.expect("U") == b"\0\4roomT\1" + "é".encode()
        assert request.expect("U") == b"\0\4roomD\0\xff"
        request.send(("N", request.expect("N")[:4] + b"\0\0\0\2"))
        assert request.expect("T") == b"count 2"
        assert request.expect("L") == b"room"
        assert [request.expect("I"), request.expect("I")] == [b"a", b"b"]
        request.send(("M", b"\0\1bTtext"), ("M", b"\0\1aDdata"))
        assert [request.expect("T"), request.expect("T")] == [b"b text text", b"a binary data"]
        assert [request.expect("O"), request.expect("O")] == [b"a", b"b"]
        assert request.expect("T").startswith(b"this subscription has ended at ")


def test_typed_ping(typed: Companion) -> None:
    with typed.websocket("/ping") as request:
        request.send(("P", request.expect("P") + struct.pack("!d", 0.25)))
        assert request.expect("T") == b"0.250"
        request.expect("P")
        assert request.expect("T") == b"no pong"


# Coroutines


def test_many_connections_at_once(start_coroutines: Start) -> None:
    with start_coroutines("names.psgi", UWSGI_WS_CONCURRENCY="0") as companion:
        requests = [companion.websocket("/echo") for _ in range(300)]
        for number, request in enumerate(requests):
            request.send(("T", b"%d" % number))
        assert [request.expect("T") for request in requests] == [b"%d" % number for number in range(300)]
        for request in requests:
            request.close()


def test_no_more_requests_than_allowed(start_coroutines: Start) -> None:
    with start_coroutines("names.psgi", UWSGI_WS_CONCURRENCY="1") as companion:
        with companion.websocket("/echo"):
            other = socket.socket(socket.AF_UNIX)
            other.connect(str(companion.log_path.with_name("requests")))
            other.settimeout(0.1)
            with pytest.raises(TimeoutError):
                other.recv(1)
        other.settimeout(10)
        assert other.recv(1) == b"V"
        other.close()


def test_callbacks_act_for_their_request(start_coroutines: Start) -> None:
    with start_coroutines("coroutines.psgi") as companion:
        pair = [companion.websocket("/callback") for _ in range(2)]
        for number, request in enumerate(pair):
            request.send(("T", b"a%d" % number), ("T", b"b%d" % number))
        for number, request in enumerate(pair):
            found = sorted(request.expect("T").decode() for _ in range(6))
            letters = [f"a{number}", f"b{number}"]
            assert found == sorted([*letters, *(f"{how} {x}" for how in ("timer", "postponed") for x in letters)])
            request.send(("C", struct.pack("!H", 1000)))
            assert request.expect("E") == b""
            request.close()
        assert companion.log.count("unable to receive websocket message at ") == 2


def test_coroutines_act_for_their_request(start_coroutines: Start) -> None:
    with start_coroutines("coroutines.psgi") as companion, companion.websocket("/coroutine") as request:
        tag = request.expect("N")[:4]
        request.send(("N", tag + b"\0\0\0\3"))
        assert request.expect("T") == b"count 3"
        request.send(("T", b"x"))
        assert request.expect("T") == b"reader x"
        assert request.expect("E") == b""


def test_a_coroutine_that_dies_ends_nothing_else(start_coroutines: Start) -> None:
    with start_coroutines("coroutines.psgi", UWSGI_WS_CONCURRENCY="1") as companion:
        assert body_of(companion, "/dying-coroutine") == "1 2"
        assert "[uwsgi-perl error] in a coroutine\n" in companion.log
        assert body_of(companion, "/outside") == "in a callback"


def test_a_callback_never_waits(start_coroutines: Start) -> None:
    with start_coroutines("coroutines.psgi") as companion, companion.websocket("/big-in-callback") as request:
        with companion.request("/outside") as other:
            assert other.response()[2] == b"in a callback"
        assert [len(request.expect("T")) for _ in range(3)] == [1_000_000] * 3
        assert request.expect("T") == b"end"


def test_a_response_may_come_from_a_callback(start_coroutines: Start) -> None:
    with start_coroutines("coroutines.psgi") as companion:
        assert body_of(companion, "/later") == "later"
        with companion.request("/forgotten") as request:
            assert b"the application returned before" in request.expect("E")


def test_a_loop_other_than_ev(start_coroutines: Start) -> None:
    with start_coroutines("typed.psgi", PERL_ANYEVENT_MODEL="Perl") as companion:
        with companion.websocket("/timeout") as request:
            assert [request.expect("T"), request.expect("T")] == [b"nothing", b"nothing"]
            request.send(("T", b"come"))
            assert request.expect("T") == b"come"
        companion.process.terminate()
        assert companion.wait() == 0


def test_a_watcher_outlives_its_request(start_coroutines: Start) -> None:
    with start_coroutines("coroutines.psgi") as companion:
        with companion.websocket("/ended-watcher") as request:
            assert request.expect("E") == b""
        eventually(lambda: "left: " in companion.log)


# Records


def test_vectors() -> None:
    """The records that all sides agree on, read and written in Perl; core Perl suffices."""
    vectors = sorted((TESTS / "vectors" / "companion").glob("*/*.json"))
    command = [
        require_program("perl"),
        f"-I{PERL}",
        str(TESTS / "support" / "companion_vectors.pl"),
        *map(str, vectors),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


# Style


@pytest.mark.long
def test_perlcritic() -> None:
    """Gentle, as its lowest severity is called: what is likely to be a mistake."""
    program = shutil.which("perlcritic")
    if program is None:
        missing("no perlcritic on PATH")
    done = subprocess.run([program, "--gentle", "--quiet", str(PERL)], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0
