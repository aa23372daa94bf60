"""Options that sites bring along from uWSGI: what each does."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.server import APPLICATIONS, ROOT, Server, free_port

ABOUT = APPLICATIONS / "about.py"


def address(server: Server) -> tuple[str, int]:
    return "127.0.0.1", server.port


def evaluate(server: Server, expression: str) -> Any:
    with HttpClient(address(server)) as client:
        answer = client.request("POST", "/exec", [("Host", "x")], expression.encode())
    return eval(json.loads(answer.body))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/hello.py").write_text("")
    (tmp_path / "static").mkdir()
    (tmp_path / "static/hello.txt").write_text("a file")
    return tmp_path


def test_a_body_that_is_kept_can_be_read_again(serve: Any) -> None:
    for more in ((), ("--threads", "4")):
        server = serve(ABOUT, "--post-buffering", "16", *more)
        for body in (b"abcdef", b"x" * 200_000):
            with HttpClient(address(server)) as client:
                answer = client.request("POST", "/twice", [("Host", "x")], body)
            assert json.loads(answer.body) == [body[:3].decode(), 3, body.decode(), len(body)]


def test_of_the_requests_without_lines_those_that_went_wrong_may_have_one(serve: Any) -> None:
    server = serve(ABOUT, "--disable-logging", "--log-4xx", "--log-5xx", allow_traceback=True)
    for path in ("/fine", "/none", "/error"):
        fetch(address(server), path)
    server.wait_for_log(r"GET /none => .*404\)")
    server.wait_for_log(r"GET /error => .*500\)")
    assert "GET /fine" not in server.log


def test_lines_may_begin_with_the_time_and_a_text(serve: Any) -> None:
    options = ("--log-date=%Y-%m-%d %H:%M", "--log-prefix", "shop", "--logformat-strftime")
    server = serve(ABOUT, *options, "--log-format", "%(ftime) %(uri) %(rssM)")
    server.wait_for_log(r"^\d{4}-\d\d-\d\d \d\d:\d\d - shop - spawned uwsgi_ws worker")
    fetch(address(server), "/a")
    server.wait_for_log(r"^\d{4}-\d\d-\d\d \d\d:\d\d /a \d+$")


def test_headers_are_added_and_taken_out_of_every_response(serve: Any, site: Path) -> None:
    options = ("--add-header", "X-A: 1", "--add-header", "X-B: a, b", "--rem-header", "X-Mine")
    server = serve(ABOUT, *options, "--static-map", f"/static={site}/static")
    for path in ("/", "/static/hello.txt"):
        answer = fetch(address(server), path)
        assert (answer.get("X-A"), answer.get("X-B"), answer.get("X-Mine")) == ("1", "a, b", None)


def test_a_connection_ends_behind_its_response_where_that_is_asked_for(serve: Any) -> None:
    server = serve(ABOUT, "--add-header", "Connection: close")
    with HttpClient(address(server)) as client:
        answer = client.request("GET", "/", [("Host", "x")])
        assert (answer.status, answer.get("Connection")) == (200, "close")
        assert client.sock.recv(1) == b""


def test_static_files_expire_by_the_first_rule_that_fits_and_some_are_left_alone(serve: Any, site: Path) -> None:
    (site / "static/a.py").write_text("source")
    (site / "static/a.css").write_text("css")
    os.utime(site / "static/a.css", (1_000_000_000, 1_000_000_000))
    (site / "elsewhere").mkdir()
    (site / "elsewhere/b.txt").write_text("linked")
    (site / "static/b.txt").symlink_to(site / "elsewhere/b.txt")
    options = [
        "--static-map",
        f"/static={site}/static",
        "--static-skip-ext",
        ".py",
        "--static-safe",
        f"{site}/elsewhere",
    ]
    options += ["--static-expires-type-mtime", "text/css=60", "--static-expires-uri", "b[.]txt 60"]
    server = serve(ABOUT, *options, "--static-map2", f"/lib={site}")
    assert fetch(address(server), "/static/a.css").get("Expires") == "Sun, 09 Sep 2001 01:47:40 GMT"
    assert fetch(address(server), "/static/hello.txt").get("Expires") is None
    assert fetch(address(server), "/static/b.txt").text == "linked"
    assert fetch(address(server), "/static/b.txt").get("Expires")
    assert json.loads(fetch(address(server), "/static/a.py").body)["path"] == "/static/a.py"
    assert fetch(address(server), "/lib/hello.py").status == 200


@pytest.mark.parametrize("form", ["tcp", "unix", "http"])
def test_statistics_are_told_to_whoever_connects(serve: Any, tmp_path: Path, form: str) -> None:
    where: Any = ("127.0.0.1", free_port()) if form != "unix" else str(tmp_path / "stats.sock")
    named = where if form == "unix" else f"127.0.0.1:{where[1]}"
    server = serve(ABOUT, "--stats", named, "--processes", "2", *(["--stats-http"] if form == "http" else []))
    fetch(("127.0.0.1", server.port), "/")

    def ask() -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX if form == "unix" else socket.AF_INET) as sock:
            sock.settimeout(10)
            sock.connect(where)
            if form == "http":
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(65_536), b""))
        head, _, body = answer.rpartition(b"\r\n\r\n")
        assert bool(head) is (form == "http")
        found: dict[str, Any] = json.loads(body)
        return found

    eventually(lambda: sum(worker["requests"] for worker in ask()["workers"]) == 1)
    found = ask()
    assert found["pid"] == server.pid
    assert [worker["id"] for worker in found["workers"]] == [1, 2]
    for name in (
        "pid",
        "exceptions",
        "status",
        "avg_rt",
        "rss",
        "vsz",
        "tx",
        "running_time",
        "last_spawn",
        "harakiri_count",
    ):
        assert name in found["workers"][0]


def test_who_asks_for_statistics_and_takes_nothing_holds_nobody_up(serve: Any) -> None:
    port = free_port()
    server = serve(ABOUT, "--stats", f"127.0.0.1:{port}", "--stats-http")
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(10)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b'"workers":' in b"".join(iter(lambda: sock.recv(65_536), b""))
    for sock in silent:
        sock.settimeout(15)
        assert sock.recv(1) == b""  # the server's patience has an end
        sock.close()
    assert fetch(address(server), "/").status == 200


@pytest.mark.parametrize("master", [(), ("--master",)], ids=["alone", "master"])
def test_each_step_of_life_has_its_hooks_in_uwsgis_order(serve: Any, tmp_path: Path, master: tuple[str, ...]) -> None:
    steps = ["asap", "pre-jail", "post-jail", "in-jail", "as-root", "as-user", "pre-app", "post-app"]
    options = [word for step in steps for word in (f"--hook-{step}", f"appendn:{tmp_path}/log {step}")]
    options += [
        "--exec-pre-app",
        f"echo exec-pre-app >>{tmp_path}/log",
        "--hook-post-fork",
        f"appendn:{tmp_path}/log fork",
    ]
    options += [
        "--hook-accepting",
        f"exec:echo accepting >>{tmp_path}/log",
        "--hook-as-user-atexit",
        f"appendn:{tmp_path}/log end",
    ]
    server = serve(ABOUT, *options, *master)
    expected = [*steps[:7], "exec-pre-app", "post-app", "fork", "accepting"]
    eventually(lambda: (tmp_path / "log").read_text().split() == expected)
    server.stop()
    assert (tmp_path / "log").read_text().split() == [*expected, "end"]


def test_a_hook_that_fails_keeps_the_server_from_starting(tmp_path: Path) -> None:
    for option in (
        "--hook-asap=exec:exit 3",
        "--exec-as-user=exit 3",
        "--exec-pre-app=exit 3",
        "--hook-as-root=cd:/none",
    ):
        (tmp_path / "app.py").write_text(ABOUT.read_text())
        command = [sys.executable, "-m", "uwsgi_ws", "--http", "127.0.0.1:0", option, "app.py"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30, check=False
        )
        assert ended.returncode == 1
        assert re.search(r"^uwsgi_ws: (exec|cd):.*: (exit status 3|No such file or directory)$", ended.stderr, re.M)


def test_a_signal_may_get_another_meaning(serve: Any) -> None:
    server = serve(ABOUT, "--master", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all")
    assert server.stop(signal.SIGTERM) == 0
    assert "stopping all workers" in server.log


def test_a_daemon_lives_as_long_as_the_instance_and_is_started_again(serve: Any, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    server = serve(ABOUT, "--attach-daemon", f"echo $$ >{pid}.new && mv {pid}.new {pid} && exec sleep 600")

    def found() -> int:
        return int(pid.read_text()) if pid.exists() else 0

    eventually(found, 10)
    first = found()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: found() != first, 10)
    second = found()
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_daemon_with_a_pidfile_is_not_started_twice(serve: Any, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as running:
        try:
            (tmp_path / "pid").write_text(str(running.pid))
            options = ["--smart-attach-daemon", f"{tmp_path}/pid 1 touch {tmp_path}/started"]
            options += ["--smart-attach-daemon2", f"{tmp_path}/none 1 touch {tmp_path}/other"]
            serve(ABOUT, *options).wait_for_log("spawning 'touch .*/other'")
            eventually(lambda: (tmp_path / "other").exists())
            assert not (tmp_path / "started").exists()
        finally:
            running.kill()


def test_files_that_are_touched_give_orders(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    options = [
        "--touch-exec",
        f"{tmp_path}/a touch {tmp_path}/done",
        "--hook-touch",
        f"{tmp_path}/b writen:{tmp_path}/hook x",
    ]
    options += ["--touch-workers-reload", f"{tmp_path}/c", "--fs-reload", f"{tmp_path}/tree"]
    server = serve(ABOUT, *options)
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    eventually(lambda: (tmp_path / "done").exists() and (tmp_path / "hook").exists(), 10)
    (tmp_path / "c").touch()
    eventually(lambda: server.log.count("spawned uwsgi_ws worker 1") == 2, 20)
    assert "*** reloading ***" not in server.log
    (tmp_path / "tree/new.py").touch()
    server.wait_for_log(r"tree/new.py has changed \*\*\*\n\*\*\* reloading", 10)
    eventually(lambda: server.log.count("spawned uwsgi_ws worker 1") == 3, 20)


def test_the_environment_the_umask_and_limits_are_set_before_the_application(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env/FROM_A_DIRECTORY").write_text("one\ntwo\n")
    (tmp_path / "before.py").write_text("import os\nos.environ['IMPORTED'] = 'yes'\n")
    options = ["--envdir", f"{tmp_path}/env", "--unenv", "TAKEN_AWAY", "--umask", "027", "--max-fd", "512"]
    options += ["--import", f"{tmp_path}/before.py", "--force-cwd", str(tmp_path)]
    server = serve(ABOUT, *options, env={"TAKEN_AWAY": "x", "PYTHONPATH": str(ROOT)})
    names = ["FROM_A_DIRECTORY", "TAKEN_AWAY", "IMPORTED"]
    assert evaluate(server, f"[os.environ.get(name) for name in {names}]") == ["one", None, "yes"]
    assert evaluate(server, "os.umask(0o27)") == 0o27
    assert evaluate(server, "__import__('resource').getrlimit(7)") == (512, 512)
    assert evaluate(server, "os.getcwd()") == str(tmp_path.resolve())


def test_a_worker_whose_application_raised_is_replaced(serve: Any) -> None:
    options = ("--reload-on-exception", "--min-worker-lifetime", "0")
    server = serve(ABOUT, *options, allow_traceback=True)
    fetch(address(server), "/error")
    server.wait_for_log(r"asks to be replaced: the application has raised an exception", 10)


def test_a_worker_past_an_evil_limit_is_killed(serve: Any) -> None:
    server = serve(ABOUT, "--evil-reload-on-rss", "10")
    server.wait_for_log(r"holds \d+ MiB of memory, \d+ MiB of address space, it is killed", 10)


def test_more_workers_than_uwsgis_users_have_processors(serve: Any) -> None:
    server = serve(ABOUT, "--processes", "70")
    eventually(lambda: server.log.count("spawned uwsgi_ws worker") == 70, 50)
    assert evaluate(server, "uwsgi.numproc") == 70


def test_what_has_no_effect_is_told_at_the_start(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[uwsgi]\nthunder-lock = true\nvaccum = true\nmax-requests = 50x\n")
    server = serve(ABOUT, "--ini", str(tmp_path / "a.ini"))
    for line in (
        r"thunder-lock: without effect here. Accepting a connection takes no lock. \(.*/a.ini:2\)",
        r"vaccum: unknown option, did you mean vacuum\?: passed over, as uWSGI does \(.*/a.ini:3\)",
        r"max-requests: '50x' is 50, as in uWSGI: the rest means nothing \(.*/a.ini:4\)",
    ):
        assert len(re.findall(rf"^\*\*\* {line} \*\*\*$", server.log, re.MULTILINE)) == 1, server.log


def test_a_configuration_is_checked_by_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[uwsgi]\nhttp = :80\nemperor = /x\n")
    for argv, status in (["check", "a.ini"], 1), (["check", "--json", "a.ini"], 1), (["check", "--http", ":80"], 0):
        command = [sys.executable, "-m", "uwsgi_ws", *argv]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30, check=False
        )
        assert (ended.returncode, ended.stderr) == (status, "")
        assert "emperor" in ended.stdout or status == 0


def test_the_configuration_in_effect_is_shown_and_the_server_goes_on(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise SystemExit(7)")
    (tmp_path / "a.ini").write_text(
        "[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = %dapp.py\nshow-config = true\nprint = hello\n"
    )
    command = [sys.executable, "-m", "uwsgi_ws", "a.ini"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 7
    lines = ended.stdout.splitlines()
    assert lines[0] == "hello"
    assert lines[2:] == ["[uwsgi]", "; from a.ini", "http = 127.0.0.1:0", f"wsgi-file = {tmp_path.resolve()}/app.py"]


def command(*argv: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    whole = [sys.executable, "-m", "uwsgi_ws", *argv]
    return subprocess.run(whole, env=environ, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("master", [(), ("--master",)], ids=["alone", "master"])
def test_an_instance_is_reloaded_and_stopped_by_its_pidfile(
    serve: Any, tmp_path: Path, master: tuple[str, ...]
) -> None:
    pidfile = str(tmp_path / "pid")
    server = serve(ABOUT, "--pidfile", pidfile, *master)
    assert command("--reload", pidfile).returncode == 0
    eventually(lambda: server.log.count("spawned uwsgi_ws worker") == 2, 20)
    assert command("--stop", pidfile).returncode == 0
    assert server.wait() == 0
    ended = command("--stop", pidfile)
    assert (ended.returncode, "No such file" in ended.stderr) == (1, True)
    for text in ("-1", "0", "x", ""):
        Path(pidfile).write_text(text)
        assert command("--stop", pidfile).returncode == 1


def test_statistics_are_read_without_another_program(serve: Any, tmp_path: Path) -> None:
    stats = str(tmp_path / "stats")
    server = serve(ABOUT, "--stats", stats, "--master")
    read = command("--connect-and-read", stats)
    assert (read.returncode, json.loads(read.stdout)["pid"]) == (0, server.pid)
    server.stop()
    failed = command("--connect-and-read", stats)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"uwsgi_ws: cannot read from {stats}: No such file or directory\n"


@pytest.mark.parametrize("master", [(), ("--master",)], ids=["alone", "master"])
def test_a_reload_may_be_an_end(serve: Any, master: tuple[str, ...]) -> None:
    server = serve(ABOUT, "--exit-on-reload", *master)
    assert server.stop(signal.SIGHUP) == 0
    assert server.log.count("spawned uwsgi_ws worker") == 1


def test_native_threads_may_have_another_stack(serve: Any) -> None:
    server = serve(ABOUT, "--threads", "4", "--thread-stacksize", "512")
    assert evaluate(server, "__import__('threading').stack_size()") == 524_288


@pytest.mark.parametrize("master", [False, True], ids=["alone", "master"])
@pytest.mark.parametrize("form", ["pipe", "file"])
def test_a_configuration_from_standard_input_survives_a_reload(tmp_path: Path, form: str, master: bool) -> None:
    (tmp_path / "app.py").write_text(ABOUT.read_text())
    port = free_port()
    (tmp_path / "a.ini").write_text(f"[uwsgi]\nhttp = 127.0.0.1:{port}\nwsgi-file = app.py\nmaster = {master}\n")
    source = "<a.ini" if form == "file" else ""
    shell = (
        f"{'' if form == 'file' else 'cat a.ini | '}exec {sys.executable} -m uwsgi_ws --ini - --pidfile pid {source}"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    with log.open("w") as stderr:
        started = subprocess.Popen(["sh", "-c", shell], cwd=tmp_path, env=environ, stderr=stderr)
    try:
        eventually(lambda: log.read_text().count("spawned uwsgi_ws worker") == 1, 20)
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGHUP)
        eventually(lambda: log.read_text().count("spawned uwsgi_ws worker") == 2, 20)
        assert fetch(("127.0.0.1", port), "/").status == 200
        os.kill(pid, signal.SIGINT)
        started.wait(20)
    finally:
        started.kill()
        started.wait(20)
