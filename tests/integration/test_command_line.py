"""``python -m uwsgi_ws``: what it takes, where it listens, what it logs, and how it tells a user's mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, chunked, fetch
from support.server import ROOT, Program, Server
from support.tracing import not_traced
from support.websocket_client import RawClient

COMMAND = (sys.executable, "-m", "uwsgi_ws")
NO_ADDRESS = Program(COMMAND, r"spawned uwsgi_ws worker")
# The package is found from any folder, also where it is not installed.
FROM_ANYWHERE = {"PYTHONPATH": str(ROOT)}

HELLO = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""

# Tells where it is.
ABOUT = """
import json, os, sys

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    about = {
        "name": __name__, "file": __file__, "cwd": os.getcwd(), "path": sys.path, "argv": sys.argv,
        "environ": dict(os.environ), "script_name": environ["SCRIPT_NAME"], "path_info": environ["PATH_INFO"],
    }
    return [json.dumps(about).encode()]

other = application
"""


def run(*argv: str, cwd: Path = ROOT, env: Mapping[str, str] = FROM_ANYWHERE) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *argv], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=20, check=False
    )


def about(server: Server, path: str = "/") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fetch(("127.0.0.1", server.port), path).body)
    return found


def complaint(*argv: str, status: int, cwd: Path = ROOT) -> str:
    """Run a command that must fail; return its one line about why."""
    ended = run(*argv, cwd=cwd)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.splitlines()
    assert [line for line in lines if line.startswith("uwsgi_ws: ")] == [lines[-1]]
    return lines[-1]


# Information


def test_help_is_printed_and_nothing_is_started() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert ended.stdout.startswith("Usage: uwsgi-ws ")
    for name in ("--http", "--wsgi-file", "--gevent", "--websockets-max-size", "--log-format"):
        assert name in ended.stdout


def test_version_names_the_protocol_core() -> None:
    ended = run("--version")
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert re.fullmatch(r"uwsgi_ws [0-9]+\.[0-9]+\S* \(.+\)\n", ended.stdout)


@not_traced
def test_importing_the_package_patches_nothing() -> None:
    code = "import sys, uwsgi_ws, uwsgi_ws.options; sys.exit('gevent' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# Mistakes


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--nonsense"], ["--nonsense", "unknown option"]),
        (["--gevnt", "5"], ["--gevnt", "did you mean --gevent?"]),
        (["-q"], ["-q", "unknown option"]),
        (["--gevent", "many"], ["--gevent", "'many'", "not a whole number"]),
        (["--processes", "0"], ["--processes", "'0'", "out of bounds"]),
        (["--socket-timeout"], ["--socket-timeout", "needs a value"]),
        (["--http", "nonsense"], ["--http", "'nonsense'", "host:port"]),
        (["--http", "127.0.0.1:99999"], ["--http", "127.0.0.1:99999", "port"]),
        (["--protocol", "fastcgi"], ["--protocol", "'fastcgi'", "only uwsgi and http"]),
        (["--uwsgi-allow-from", "example.org"], ["--uwsgi-allow-from", "'example.org'", "no IP address"]),
        (["--env", "NOVALUE"], ["--env", "'NOVALUE'", "NAME=VALUE"]),
        (["--mount", "app.py"], ["--mount", "'app.py'", "/path=target"]),
        (["read-me.txt"], ["'read-me.txt'", "neither an option nor an application"]),
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_wrong_is_told_in_one_line(argv: list[str], words: list[str]) -> None:
    ended = run("--http", "127.0.0.1:0", *argv)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert [word for word in words if word not in ended.stderr] == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--wsgi-file", "missing.py"], ["--wsgi-file", "missing.py"]),
        (["--module", "missing.module"], ["--module", "'missing'"]),
        (["good:missing"], ["--module", "good", "'missing'", "--callable"]),
        (["good.py", "--callable", "missing"], ["--wsgi-file", "good.py", "'missing'"]),
        (["good.py:number"], ["--wsgi-file", "'number'", "int", "not a callable"]),
        (["--mount", "/a=missing.py"], ["--mount", "missing.py"]),
        (["good.py", "--chdir", "missing"], ["--chdir", "'missing'", "No such file or directory"]),
        (["good.py", "--pidfile", "missing/pid"], ["--pidfile", "'missing/pid'", "No such file or directory"]),
        (["good.py", "--logto", "missing/log"], ["--logto", "'missing/log'", "No such file or directory"]),
        (["good.py", "--virtualenv", "missing"], ["--virtualenv", "missing"]),
        (["good.py", "--uwsgi-allow-from", "uid:no-such"], ["--uwsgi-allow-from", "there is no user 'no-such'"]),
        (["good.py", "--http", "./missing/a.sock"], ["--http", "./missing/a.sock", "No such file or directory"]),
        (["good.py", "--http", "./good.py"], ["--http", "./good.py", "Address already in use"]),
        (["good.py", "--http", "192.0.2.1:80"], ["--http", "192.0.2.1:80", "Cannot assign requested address"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_told_in_one_line(tmp_path: Path, argv: list[str], words: list[str]) -> None:
    (tmp_path / "good.py").write_text(HELLO + "\nnumber = 5\n")
    line = complaint("--http", "127.0.0.1:0", *argv, status=1, cwd=tmp_path)
    assert [word for word in words if word not in line] == []
    assert (tmp_path / "good.py").exists()


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = complaint("--http", f"127.0.0.1:{port}", status=1)
    assert line == (f"uwsgi_ws: --http: cannot listen on 127.0.0.1:{port}: Address already in use (command line)")


def test_without_an_address_there_is_nothing_to_do() -> None:
    assert "--http" in complaint(status=1)


def test_need_app_ends_with_22_as_in_uwsgi() -> None:
    assert "--need-app" in complaint("--http", "127.0.0.1:0", "--need-app", status=22)


def test_without_an_application_every_request_gets_500(serve: Any) -> None:
    server = serve(None)
    server.wait_for_log("no app loaded")
    response = fetch(("127.0.0.1", server.port))
    assert (response.status, response.text) == (500, "Internal Server Error")


BROKEN = ("def broken():\n    raise RuntimeError('my own fault')\nbroken()\n", "RuntimeError: my own fault")


@pytest.mark.parametrize(
    ("source", "cause", "argv"),
    [
        (*BROKEN, ["app.py"]),
        (*BROKEN, ["--module", "app"]),
        (*BROKEN, ["--mount", "/a=app.py", "--need-app"]),
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'", ["--module", "app"]),
        ("def application(:\n", "SyntaxError: ", ["app.py"]),
    ],
)
def test_an_application_that_fails_to_load_shows_its_whole_traceback(
    tmp_path: Path, source: str, cause: str, argv: list[str]
) -> None:
    (tmp_path / "app.py").write_text(source)
    ended = run("--http", "127.0.0.1:0", *argv, cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback (most recent call last):" in ended.stderr
    assert cause in ended.stderr
    assert re.search(r'File ".*app\.py", line 1|File ".*app\.py", line 2', ended.stderr)
    assert ended.stderr.splitlines()[-1] == "uwsgi_ws: the application could not be loaded"


# Applications


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["app.py:other"], "uwsgi_file_app"),
        (["pkg.mod:other"], "pkg.mod"),
        (["--wsgi-file", "app.py", "--callable", "other"], "uwsgi_file_app"),
        (["-w", "app:other"], "app"),
    ],
    ids=" ".join,
)
def test_an_application_is_found_in_each_notation(serve: Any, tmp_path: Path, argv: list[str], name: str) -> None:
    (tmp_path / "pkg").mkdir()
    for path in ("app.py", "pkg/__init__.py", "pkg/mod.py"):
        (tmp_path / path).write_text(ABOUT)
    server = serve(None, *argv, cwd=tmp_path, env=FROM_ANYWHERE)
    found = about(server)
    assert found["name"] == name
    assert found["argv"] == ["uwsgi"]
    assert found["path"][0] == "."
    assert Path(tmp_path, found["file"]).is_file()  # Flask finds its templates by it
    server.wait_for_log(r"WSGI app 0 \(mountpoint=''\) \S+ ready in [0-9.]+ seconds")


def test_everything_around_an_application_is_set_before_it_is_loaded(serve: Any, tmp_path: Path) -> None:
    packages = tmp_path / f"venv/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for folder in (packages, tmp_path / "site", tmp_path / "lib1", tmp_path / "lib2"):
        folder.mkdir(parents=True)
    (packages / "from_venv.py").touch()
    (tmp_path / "lib1/from_lib.py").touch()
    (tmp_path / "site/app.py").write_text(
        "import os, from_venv, from_lib\nassert os.environ['COLOUR'] == 'blue=green'\n" + ABOUT
    )
    options = ["--chdir", "site", "--wsgi-file", "app.py", "--pythonpath", "../lib*", "--pyargv", "--verbose file"]
    options += ["--virtualenv", "../venv", "--env", "COLOUR=blue=green", "--env", "EMPTY=", "--pidfile", "../pid"]
    server = serve(None, *options, cwd=tmp_path, env=FROM_ANYWHERE)
    found = about(server)
    assert found["cwd"] == str(tmp_path / "site")
    assert found["argv"] == ["uwsgi", "--verbose", "file"]
    assert (found["environ"]["COLOUR"], found["environ"]["EMPTY"]) == ("blue=green", "")
    assert {"../lib1", "../lib2"} <= set(found["path"])
    assert (tmp_path / "pid").read_text() == f"{server.pid}\n"
    assert server.stop() == 0
    assert not (tmp_path / "pid").exists()


def test_mounted_applications_answer_under_their_paths(serve: Any, tmp_path: Path) -> None:
    for name in ("main", "chat", "room"):
        (tmp_path / f"{name}.py").write_text(ABOUT)
    options = ["--mount", "/chat=chat.py", "--mount", "/chat/room=room.py:other", "main.py", "--manage-script-name"]
    server = serve(None, *options, cwd=tmp_path, env=FROM_ANYWHERE)
    for path, name, script_name, path_info in [
        ("/", "main", "", "/"),
        ("/chatter", "main", "", "/chatter"),
        ("/chat", "chat", "/chat", ""),
        ("/chat/", "chat", "/chat", "/"),
        ("/chat/roomy", "chat", "/chat", "/roomy"),
        ("/chat/room/5?q", "room", "/chat/room", "/5"),
    ]:
        found = about(server, path)
        assert (found["name"], found["script_name"], found["path_info"]) == (
            f"uwsgi_file_{name}",
            script_name,
            path_info,
        )


def test_without_manage_script_name_the_default_application_answers_everything(serve: Any, tmp_path: Path) -> None:
    for name in ("main", "chat"):
        (tmp_path / f"{name}.py").write_text(ABOUT)
    server = serve(None, "--mount", "/chat=chat.py", "main.py", cwd=tmp_path, env=FROM_ANYWHERE)
    found = about(server, "/chat/x")
    assert (found["name"], found["script_name"], found["path_info"]) == ("uwsgi_file_main", "", "/chat/x")


@pytest.mark.parametrize(("options", "is_patched"), [([], True), (["--no-monkey-patch"], False)])
def test_the_standard_library_is_patched_before_the_application_is_loaded(
    serve: Any, options: list[str], is_patched: bool
) -> None:
    source = "import time, socket\nfrom gevent.monkey import is_module_patched\nwas = is_module_patched('socket')\n"
    source += HELLO.replace("b'hello'", "b''").replace('b"hello"', "str(was).encode()")
    server = serve(source, *options)
    assert fetch(("127.0.0.1", server.port)).text == str(is_patched)


# Addresses


def test_a_unix_socket_is_served_and_removed(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # its file stays, and nobody listens
    server = serve(HELLO, "--http", str(path), program=NO_ADDRESS)
    assert fetch(str(path)).text == "hello"
    server.wait_for_log(r"\] +\(\) \{.*GET / =>")
    # The next one must not take it over.
    assert "Address already in use" in complaint("--http", str(path), status=1)
    assert fetch(str(path)).text == "hello"
    assert server.stop() == 0
    assert not path.exists()


def test_an_abstract_socket_is_served(serve: Any) -> None:
    name = f"uwsgi_ws-test-{os.getpid()}"
    serve(HELLO, "--http", f"@{name}", program=NO_ADDRESS)
    assert fetch(f"\0{name}").text == "hello"


def test_ipv6_is_served(serve: Any) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as exc:
        pytest.skip(f"no IPv6 here: {exc}")
    server = serve(HELLO, "--http", "[::1]:0", program=NO_ADDRESS)
    match = server.wait_for_log(r"http bound on \[::1\]:([0-9]+) ")
    assert fetch(("::1", int(match[1]))).text == "hello"
    server.wait_for_log(r"\] ::1 \(\) \{")


def test_several_addresses_are_served_at_once(serve: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    server = serve(HELLO, "--http-socket", "127.0.0.1:0", "--http", path)
    assert len(server.addresses) == 2
    for address in (*server.addresses, path):
        assert fetch(address).text == "hello"


# The log


def test_the_start_tells_what_users_of_uwsgi_look_for(serve: Any) -> None:
    server = serve(HELLO, "--gevent", "7")
    for pattern in (
        r"^\*\*\* Starting uwsgi_ws [0-9.]+ on \[.+\] \*\*\*$",
        r"^protocol core: .+$",
        r"^http bound on 127\.0\.0\.1:[1-9][0-9]* fd [0-9]+$",
        r"^WSGI app 0 .* ready in [0-9.]+ seconds",
        rf"^spawned uwsgi_ws worker 1 .*\(pid: {server.pid}, cores: 7\)$",
    ):
        server.wait_for_log(pattern)


# uWSGI's core/logging.c, uwsgi_log_request
ACCESS_LINE = (
    r"^\[pid: {pid}\|app: 0\|req: {number}/{number}\] 127\.0\.0\.1 \(\) \{{[0-9]+ vars in {head} bytes\}} "
    r"\[\w{{3}} \w{{3}} [ 0-9]{{2}} \d\d:\d\d:\d\d \d{{4}}\] {request} => generated {size} bytes in [0-9]+ msecs "
    r"\({protocol} {status}\) [0-9]+ headers in [0-9]+ bytes \([0-9]+ switches on core [0-9]+\)"
)


def test_a_request_writes_uwsgis_line(serve: Any) -> None:
    server = serve(HELLO)
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.send(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n")
        client.read_response()
        client.request("HEAD", "/head", version="HTTP/1.0")
    fields = {"pid": server.pid, "status": 200}
    server.wait_for_log(
        ACCESS_LINE.format(number=1, head=32, request=r"GET /a\?b=c", size=5, protocol="HTTP/1.1", **fields) + "$"
    )
    server.wait_for_log(
        ACCESS_LINE.format(number=2, head="[0-9]+", request="HEAD /head", size=0, protocol="HTTP/1.0", **fields) + "$"
    )


ECHO = """
import uwsgi

def application(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())
"""


def test_a_websocket_writes_one_line_when_it_ends(serve: Any) -> None:
    server = serve(ECHO)
    with RawClient.open(server.port, "/chat") as websocket:
        for message in ("hello", "you"):
            websocket.send_text(message)
            websocket.expect_text(message)
        assert "/chat" not in server.log
        websocket.finish(4321)
    line = ACCESS_LINE.format(
        pid=server.pid, number=1, head="[0-9]+", request="GET /chat", size="[0-9]+", protocol="HTTP/1.1", status=101
    )
    match = server.wait_for_log(line + r" websocket: received (.+)$")
    assert re.fullmatch(r"2 messages in ([0-9]+) bytes, sent 2 in ([0-9]+), closed 4321", match[1])
    assert server.log.count("=> generated") == 1


def test_log_format_has_uwsgis_names_and_the_applications(serve: Any) -> None:
    source = HELLO.replace(
        "    start",
        "    import uwsgi; uwsgi.set_logvar('mine', 'a\\nb'); assert uwsgi.get_logvar('mine') == b'a\\nb'\n    start",
    )
    log_format = (
        "%(addr)|%(user)|%(method) %(uri) %(proto)|%(status)|%(rsize)|%(host)|%(uagent)|%(referer)|%(pid)|%(wid)|"
        "%(var.HTTP_X_THING)|%(mine)|%(never)|%(websocket.sent)|100%|%(msecs)|%(secs)|%(micros)|%(size)|%(hsize)|"
        "%(headers)|%(vars)|%(pktsize)|%(core)|%(switches)|%(ctime)|%(ltime)|%(time)|%(epoch)"
    )
    server = serve(source, "--log-format", log_format)
    headers = [("User-Agent", 'me "\x85\\'), ("Referer", "http://x/"), ("X-Thing", "é\x9b31m")]
    fetch(("127.0.0.1", server.port), "/p?q", headers)
    match = server.wait_for_log(r"^127\.0\.0\.1\|.*$")
    fields = match[0].split("|")
    assert fields[:15] == [
        "127.0.0.1",
        "",
        "GET /p?q HTTP/1.1",
        "200",
        "5",
        "test.example",
        r"me \x22\x85\x5c",
        "http://x/",
        str(server.pid),
        "1",
        r"é\x9b31m",  # C1 controls are a terminal's business too
        r"a\x0ab",
        "-",
        "-",
        "100%",
    ]
    numbers = [field for field in fields[15:] if re.fullmatch(r"[0-9.]+", field)]
    assert len(numbers) == len(fields[15:]) - 2  # all but the two written dates


def test_disable_logging_keeps_the_access_lines_only(serve: Any) -> None:
    server = serve(HELLO.replace("return", "print('seen'); environ['wsgi.errors'].write('mine\\n'); return"), "-L")
    assert fetch(("127.0.0.1", server.port)).text == "hello"
    server.wait_for_log("^mine$")
    fetch(("127.0.0.1", server.port))
    assert "=> generated" not in server.log


def test_logto_gets_everything(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HELLO.replace("return", "print('printed', flush=True); return"))
    log = tmp_path / "log"
    log.write_text("before\n")
    process = subprocess.Popen(
        [*COMMAND, "--http", "a.sock", "--logto", "log", "app.py"],
        cwd=tmp_path,
        env={**os.environ, **FROM_ANYWHERE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        eventually(lambda: "spawned uwsgi_ws worker" in log.read_text(), 20)
        assert fetch(str(tmp_path / "a.sock")).text == "hello"
        eventually(lambda: "GET / =>" in log.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output == b""
    assert log.read_text().startswith("before\n")  # it appends
    assert "printed\n" in log.read_text()


def test_a_log_that_cannot_be_written_costs_no_client_anything(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HELLO)
    process = subprocess.Popen(
        [*COMMAND, "--http", "a.sock", "--logto", "/dev/full", "app.py"],
        cwd=tmp_path,
        env={**os.environ, **FROM_ANYWHERE},
    )
    try:
        path = tmp_path / "a.sock"
        eventually(path.exists, 20)

        def served() -> bool:
            try:
                with HttpClient(str(path)) as client:
                    return all(client.request("GET", "/").text == "hello" for _ in range(3))
            except ConnectionRefusedError:
                return False  # bound, and not listening yet

        assert eventually(served, 20)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def test_what_an_application_logs_of_a_body_is_its_own_business(serve: Any) -> None:
    """wsgi.errors takes text as it is; the server's lines about the same request stay its own."""
    server = serve("def application(environ, start_response):\n    raise ValueError(environ['wsgi.input'].read())\n",
                   allow_traceback=True)  # fmt: skip
    with HttpClient(("127.0.0.1", server.port)) as client:
        client.request("POST", "/", [("Transfer-Encoding", "chunked")], chunked(b"a\r\n[pid: 1|app"))
    server.wait_for_log(r"ValueError: b'a\\r\\n\[pid: 1\|app'")
