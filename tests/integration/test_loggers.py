"""``--logger`` and its relatives with real receivers: what they get, what they miss, and that no client waits."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import Server
from support.workers import ANYWHERE, APPLICATION, address, echo, evaluate, open_chat

ALONE_OR_NOT = pytest.mark.parametrize("options", [(), ("-p", "2")], ids=["alone", "-p"])
THREADS_TOO = pytest.mark.parametrize("options", [(), ("-p", "2"), ("--threads", "4")], ids=["alone", "-p", "threads"])

#: Prints N lines of 100 bytes.
PRINTING = "[print('%08d' % i + '.' * 91) for i in range({})] and 1"
NUMBERED = re.compile(r"([0-9]{8})\.{91}$", re.MULTILINE)
DROPPED = re.compile(r"\*\*\* ([0-9]+) lines? w[a-z]+ dropped")


class Receiver:
    """A datagram socket."""

    def __init__(self, family: int, where: Any) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(where)
        self.socket.setblocking(False)
        self.packets: list[str] = []

    def read_on(self) -> None:
        """Read from now on, whatever the test does."""

        def read() -> None:
            with suppress(OSError):  # closed
                while packet := self.socket.recv(70_000):
                    self.packets.append(packet.decode())

        self.socket.settimeout(30)
        threading.Thread(target=read, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)
        self.socket.close()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def read(self) -> list[str]:
        """Return all that has come so far."""
        with suppress(BlockingIOError):
            while True:
                self.packets.append(self.socket.recv(70_000).decode())
        return self.packets

    def has(self, pattern: str) -> bool:
        return any(re.search(pattern, packet) for packet in self.read())


@pytest.fixture
def receive() -> Any:
    """Make receivers that are closed with the test."""
    made: list[Receiver] = []

    def make(where: Any = ("127.0.0.1", 0)) -> Receiver:
        made.append(Receiver(socket.AF_INET if isinstance(where, tuple) else socket.AF_UNIX, where))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


def fifo_reader(path: Path) -> Callable[[], str]:
    """Return what reads all that has come so far."""
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    text = ""

    def read() -> str:
        nonlocal text
        with suppress(BlockingIOError):
            while data := os.read(reader, 65_536):
                text += data.decode()
        return text

    return read


@ALONE_OR_NOT
def test_every_logger_gets_every_line(
    serve: Any, receive: Callable[..., Receiver], tmp_path: Path, options: tuple[str, ...]
) -> None:
    syslog, unix, plain = receive(), receive(str(tmp_path / "log")), receive()
    server: Server = serve(
        APPLICATION, *options, "--logger", "stdio",
        "--logger", f"rsyslog:127.0.0.1:{syslog.port},site",
        "--logger", f"rsyslog:{tmp_path}/log",
        "--log-socket", f"127.0.0.1:{plain.port},site: ",
        "--logger", f"file:{tmp_path}/a.log",
        "--logger", f"fifo:{tmp_path}/fifo",
    )  # fmt: skip
    read_fifo = fifo_reader(tmp_path / "fifo")
    assert evaluate(server, "print('hello\\nworld') or 5") == 5
    moment = "[A-Z][a-z]{2} [ 123][0-9] [0-9:]{8}"
    for line in ("hello", "world", r"\[pid: .* POST /eval => .*"):
        eventually(lambda line=line: syslog.has(f"^<29>{moment} site: {line}$"))
        eventually(lambda line=line: unix.has(f"^<29>{moment} {socket.gethostname()} uwsgi: {line}$"))
        eventually(lambda line=line: plain.has(f"^site: {line}\n$"))
        server.wait_for_log(f"^{line}$")
        eventually(lambda line=line: re.search(f"^{line}$", (tmp_path / "a.log").read_text(), re.MULTILINE))
        eventually(lambda line=line: re.search(f"^{line}$", read_fifo(), re.MULTILINE))


@ALONE_OR_NOT
def test_a_file_of_a_real_site_divides_its_log(serve: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    ini = r"""[uwsgi]
logger = default stdio
logger = applog file:DIR/app.log
log-route = applog {
log-route = default ^((?!\{).)*$
log-encoder = json:default {"time":${unix}, "from":"uwsgi", "text":"${msg}"}
log-encoder = format:applog ${msg}
log-encoder = nl
logger-req = file:DIR/req.log
log-format = "peer":"%(addr)", "verb":"%(method)"
log-req-encoder = format {"time":${unix}, "from":"uwsgi-req", ${msg}}
log-req-encoder = nl
"""
    (tmp_path / "site.ini").write_text(ini.replace("DIR", str(tmp_path)))
    server: Server = serve(APPLICATION, *options, "--ini", str(tmp_path / "site.ini"))
    evaluate(server, """print('{"mine": 1}') or print('a "word"')""")
    server.wait_for_log(r'"text":"a \\"word\\""')
    assert eventually(lambda: (tmp_path / "app.log").read_text()) == '{"mine": 1}\n'
    (line,) = eventually(lambda: (tmp_path / "req.log").read_text()).splitlines()
    assert json.loads(line).items() >= {"from": "uwsgi-req", "peer": "127.0.0.1", "verb": "POST"}.items()
    for line in server.log.splitlines():
        assert json.loads(line)["from"] == "uwsgi"
    assert "POST" not in server.log


def test_lines_may_be_kept_out(serve: Any, tmp_path: Path) -> None:
    server: Server = serve(APPLICATION, "--log-drain", "GET /health", "--log-filter", "uwsgi_ws|bound|GET|mine")
    for path in ("/health", "/a"):
        fetch(address(server), path)
    evaluate(server, "print('mine') or print('yours')")
    server.wait_for_log("GET /a")
    server.wait_for_log("^mine$")
    assert "health" not in server.log
    assert "yours" not in server.log


@THREADS_TOO
def test_a_logger_that_takes_nothing_delays_nobody_and_tells_what_it_lost(
    serve: Any, receive: Callable[..., Receiver], tmp_path: Path, options: tuple[str, ...]
) -> None:
    unix = receive(str(tmp_path / "log"))
    server: Server = serve(
        APPLICATION, *options, "--logger", f"rsyslog:{tmp_path}/log,x", "--logger", f"fifo:{tmp_path}/fifo",
        "--logger", "keep stdio", "--log-route", "keep spawned|bound",
    )  # fmt: skip
    read_fifo = fifo_reader(tmp_path / "fifo")
    peer = open_chat(server)
    for number in range(2):
        evaluate(server, PRINTING.format(12_000))
        echo(peer, f"{number}")
    # Said where the log would go without loggers, once for each that loses, and process.
    server.wait_for_log(r"^\*\*\* logger rsyslog:.*/log: it takes no more; its lines are lost until")
    server.wait_for_log(r"^\*\*\* logger fifo:.*/fifo: it takes no more; its lines are lost")
    for number in range(50):
        echo(peer, f"{number}")
    peer.close()
    unix.read_on()

    def everything() -> tuple[str, str] | None:
        texts = "\n".join(unix.packets), read_fifo()
        return texts if all(shown_and_lost(text) >= 24_000 for text in texts) else None

    packets, _ = eventually(everything, 20)
    assert re.search(r"^<29>.{15} x: \*\*\* [0-9]+ lines were dropped", packets, re.MULTILINE)
    evaluate(server, "print('the end')")
    eventually(lambda: any(packet.endswith(" x: the end") for packet in unix.packets))
    for text in ("\n".join(unix.packets), read_fifo()):
        assert 24_000 <= shown_and_lost(text) <= 24_050  # access lines, and what is said at the start


def shown_and_lost(text: str) -> int:
    return len(NUMBERED.findall(text)) + sum(map(int, DROPPED.findall(text)))


def test_a_receiver_that_comes_back_gets_what_follows(
    serve: Any, receive: Callable[..., Receiver], tmp_path: Path
) -> None:
    before = receive(str(tmp_path / "log"))
    server: Server = serve(APPLICATION, "--logger", f"socket:{tmp_path}/log", "--logger", "stdio")
    eventually(lambda: before.has("spawned"))
    before.socket.close()
    (tmp_path / "log").unlink()
    for _ in range(3):
        evaluate(server, "print('lost')")
    server.wait_for_log(r"^\*\*\* logger socket:.*/log: No such file or directory; its lines are lost")
    eventually(lambda: server.log.count("POST /eval") == 3)
    after = receive(str(tmp_path / "log"))
    evaluate(server, "print('found')")
    eventually(lambda: after.has("^found\n$"))
    assert "*** 6 lines were dropped" in after.read()[0]  # with their access lines
    assert server.log.count("its lines are lost") == 1


@ALONE_OR_NOT
@pytest.mark.parametrize("where", ["--logto=a.log --log-maxsize=100000", "--logger=file:logfile=a.log,maxsize=100000"])
def test_files_that_have_grown_are_moved_away_and_no_line_is_lost(
    tmp_path: Path, options: tuple[str, ...], where: str
) -> None:
    log = tmp_path / "a.log"
    command = [sys.executable, "-m", "uwsgi_ws", "--http", "a.sock", "--wsgi-file", str(APPLICATION)]
    env = {**os.environ, **ANYWHERE, "PYTHONUNBUFFERED": ""}  # with it prints come in pieces
    process = subprocess.Popen([*command, *options, *where.split()], cwd=tmp_path, env=env)

    def run(expression: str) -> None:
        with HttpClient(str(tmp_path / "a.sock")) as client:
            assert client.request("POST", "/eval", body=expression.encode()).status == 200

    def files() -> list[Path]:
        return sorted(tmp_path.glob("a.log*"))

    try:
        eventually(lambda: log.exists() and "spawned uwsgi_ws worker" in log.read_text(), 20)
        for count in (2, 3):
            run(PRINTING.format(3_000))
            eventually(lambda count=count: len(files()) == count, 10)

            def goes_on() -> bool:
                run("print('anew')")
                return log.exists() and "anew" in log.read_text()

            eventually(goes_on)
        everything = "".join(file.read_text() for file in files())
        assert len(NUMBERED.findall(everything)) == 6_000
        assert log.stat().st_size < 100_000
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@ALONE_OR_NOT
def test_one_name_for_what_is_moved_away(serve: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    log, old = tmp_path / "a.log", tmp_path / "old.log"
    server: Server = serve(
        APPLICATION, *options, "--logger", "stdio",
        "--logger", f"file:logfile={log},maxsize=1000,backupname={old}",
    )  # fmt: skip
    evaluate(server, "print('line 0') or print('.' * 2000)")
    eventually(lambda: old.exists() and "line 0" in old.read_text())

    def is_replaced() -> bool:
        # A worker that has not opened the new file yet still writes into the one that was moved away.
        evaluate(server, "print('line 1') or print('.' * 2000)")
        text = old.read_text()
        return "line 1" in text and "line 0" not in text

    eventually(is_replaced)


def test_a_moved_file_is_opened_again_by_all(serve_many: Any, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    touched = tmp_path / "touched"
    touched.touch()
    server: Server = serve_many(
        APPLICATION, "--logger", "stdio", "--logger", f"file:{log}", "--req-logger", f"file:{tmp_path}/req.log",
        "--touch-logreopen", str(touched),
    )  # fmt: skip
    log.rename(tmp_path / "a.old")
    (tmp_path / "req.log").rename(tmp_path / "req.old")
    os.utime(touched, (1, 1))
    server.wait_for_log("the log has been opened again")

    def all_write() -> bool:
        evaluate(server, "print('from %d' % uwsgi.worker_id())")
        return {"from 1\n", "from 2\n"} <= set(log.read_text().splitlines(keepends=True))

    eventually(all_write, 10)
    assert "POST /eval" in (tmp_path / "req.log").read_text()


@pytest.mark.parametrize("options", [(), ("--master",)], ids=["alone", "master"])
def test_a_reload_goes_on_with_the_loggers(
    serve: Any, receive: Callable[..., Receiver], tmp_path: Path, options: tuple[str, ...]
) -> None:
    plain = receive()
    server: Server = serve(
        APPLICATION, *options, "--logger", "stdio", "--logger", f"socket:127.0.0.1:{plain.port}",
        "--logger", f"file:{tmp_path}/a.log", "--log-truncate", "--logfile-chmod", "604",
    )  # fmt: skip
    evaluate(server, "print('before')")
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: server.log.count("spawned uwsgi_ws worker") == 2, 20)
    evaluate(server, "print('after')")
    eventually(lambda: plain.has("^after\n$"))
    text = (tmp_path / "a.log").read_text()
    assert text.index("before\n") < text.index("after\n")
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o604


def test_a_process_that_the_application_forks_writes_there_too(serve: Any, tmp_path: Path) -> None:
    server: Server = serve(APPLICATION, "--logger", "stdio", "--logger", f"file:{tmp_path}/a.log")
    evaluate(server, "(pid := os.fork()) or (print('from the child'), sys.stdout.flush(), os._exit(0))")
    eventually(lambda: "from the child\n" in (tmp_path / "a.log").read_text())
    server.wait_for_log("^from the child$")
