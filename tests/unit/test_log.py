"""The access line and ``--log-format``, from requests that no socket has seen."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from uwsgi_ws.log import say
from uwsgi_ws.request.access_log import AccessLog
from uwsgi_ws.stats import Stats

Capture = pytest.CaptureFixture[str]


def request(environ: dict[str, Any] | None = None, **attributes: Any) -> Any:
    """What the log reads of a request."""
    variables = {
        "REMOTE_ADDR": "192.0.2.7",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/path?query",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    values: dict[str, Any] = {
        "environ": variables if environ is None else variables | environ,
        "request_id": 3,
        "variable_count": 5,
        "head_size": 60,
        "started_at": 784_111_777.0,
        "began_at": time.monotonic(),
        "status": 200,
        "body_bytes": 12,
        "header_count": 2,
        "header_bytes": 80,
        "core": 9,
        "websocket": None,
        "logvars": None,
    }
    return SimpleNamespace(**{**values, **attributes})


def line(capture: Capture, log_format: str | None, request: Any) -> str:
    stats = Stats()
    stats.requests = 8
    AccessLog(log_format, 4, stats).write(request)
    written = capture.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert written.err.endswith("\n")
    return written.err[:-1]


def test_the_default_is_uwsgis_line(capsys: Capture) -> None:
    text = line(capsys, None, request({"REMOTE_USER": "me"}))
    assert re.fullmatch(
        r"\[pid: [0-9]+\|app: 0\|req: 3/8\] 192\.0\.2\.7 \(me\) \{5 vars in 60 bytes\} \[... Nov  6 ..:49:37 1994\] "
        r"GET /path\?query => generated 12 bytes in [0-9]+ msecs \(HTTP/1\.1 200\) 2 headers in 80 bytes "
        r"\(1 switches on core 9\)",
        text,
    )


def test_a_websockets_line_tells_what_it_carried(capsys: Capture) -> None:
    numbers = {"messages_received": 1, "bytes_received": 2, "messages_sent": 3, "bytes_sent": 4, "close_code": 1001}
    websocket = SimpleNamespace(**numbers, has_unmasked=False, detached=None)
    text = line(capsys, None, request(status=101, websocket=websocket))
    assert "generated 4 bytes" in text
    assert text.endswith(" websocket: received 1 messages in 2 bytes, sent 3 in 4, closed 1001")
    log_format = "%(websocket.received) %(websocket.bytes_received) %(websocket.sent) %(websocket.bytes_sent)"
    assert line(capsys, f"{log_format} %(websocket.close_code)", request(websocket=websocket)) == "1 2 3 4 1001"


def test_a_line_tells_what_a_client_was_forgiven(capsys: Capture) -> None:
    numbers = dict.fromkeys(("messages_received", "bytes_received", "messages_sent", "bytes_sent", "close_code"), 1)
    websocket = SimpleNamespace(**numbers, has_unmasked=True, detached=None)
    logvars = {"websocket.lenient": "handshake"}
    assert line(capsys, None, request(websocket=websocket)).endswith("closed 1, lenient masking")
    odd = request(websocket=websocket, logvars=logvars)
    assert line(capsys, None, odd).endswith("closed 1, lenient handshake,masking")
    assert line(capsys, "%(websocket.lenient)", odd) == "handshake,masking"
    assert line(capsys, "%(websocket.lenient)", request()) == "-"


@pytest.mark.parametrize("log_format", [None, "%(uri) %(user) %(var.HTTP_X) %(mine) %(method) %(addr) %(proto)"])
@pytest.mark.parametrize("control", ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\x9b", '"', "\\"])
def test_what_others_said_stays_on_its_line(capsys: Capture, log_format: str | None, control: str) -> None:
    evil = f"a{control}b"
    names = ("REQUEST_URI", "REMOTE_USER", "REMOTE_ADDR", "HTTP_X", "REQUEST_METHOD", "SERVER_PROTOCOL")
    text = line(capsys, log_format, request(dict.fromkeys(names, evil), logvars={"mine": evil}))
    assert evil not in text
    assert f"a\\x{ord(control):02x}b" in text


def test_an_environ_that_the_application_has_emptied_or_filled_is_no_error(capsys: Capture) -> None:
    empty = request()
    empty.environ = {}
    assert " =>" in line(capsys, None, empty)
    odd = request(dict.fromkeys(("REQUEST_URI", "REMOTE_ADDR", "REQUEST_METHOD"), 5))
    assert line(capsys, "%(uri) %(addr) %(method) %(var.NEVER)|", odd) == "- - - |"


@pytest.mark.parametrize(
    ("log_format", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("100% of %", "100% of %"),
        ("%%(status)", "%200"),
        ("%(status)%(status)", "200200"),
        ("%(wid) %(core) %(vars) %(pktsize) %(headers) %(hsize) %(rsize) %(size)", "4 9 5 60 2 80 12 92"),
        ("%(time)", "784111777"),
        ("%(websocket.sent)", "-"),
        ("%(mine) %(other)", "my own -"),
        ("%(var.REQUEST_URI)", "/path?query"),
        ("%(unfinished", "%(unfinished"),
    ],
)
def test_a_format_is_text_with_values(capsys: Capture, log_format: str, expected: str) -> None:
    assert line(capsys, log_format, request(logvars={"mine": "my own"})) == expected


def test_a_clock_that_is_set_changes_no_duration(capsys: Capture) -> None:
    future = request(started_at=9_999_999_999.0, began_at=time.monotonic() - 2.5)
    msecs, secs, micros = map(float, line(capsys, "%(msecs) %(secs) %(micros)", future).split())
    assert 2500 <= msecs <= micros / 1000 < 60_000
    assert 2.5 <= secs < 60


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        flush = write

    monkeypatch.setattr(sys, "stderr", Full())
    say("lost")
    AccessLog(None, 1, Stats()).write(request())


def test_a_log_file_that_cannot_be_opened_names_the_option() -> None:
    # In a process of its own: the log takes over a process's output for good.
    code = "from uwsgi_ws.log import configure; configure('/missing/log')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--logto: cannot open '/missing/log': No such file or directory" in done.stderr
    assert done.returncode
