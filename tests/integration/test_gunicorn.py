"""Our worker class under a real gunicorn: its arbiter, its settings and hooks, its signals."""

from __future__ import annotations

import os
import re
import shlex
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.carriers import free_port
from support.eventually import eventually
from support.gunicorn import WORKER, gunicorn_program
from support.http2_client import Http2Client
from support.http_client import HttpClient, Response, fetch
from support.server import APPLICATIONS, ROOT, Server, finish
from support.tls import Authority
from support.uwsgi_client import packet_of
from support.websocket_client import RawClient, handshake
from support.workers import echo, hammering, is_alive, is_closed, wait_for_workers, whose

APPLICATION = APPLICATIONS / "gunicorned.py"
Start = Callable[..., Server]


@pytest.fixture
def start(serve: Any, tmp_path: Path) -> Start:
    """Start gunicorn by ``start(*options, workers=, config=)``, and wait until so many workers serve."""

    def run(
        *options: str, workers: int = 1, bind: str = "127.0.0.1:0", config: str = "", application: Path = APPLICATION
    ) -> Server:
        path = tmp_path / "gunicorn.conf.py"
        path.write_text(config)
        program = gunicorn_program("-w", str(workers), "-c", str(path), bind=bind)
        server: Server = serve(application, *options, program=program)
        wait_for_workers(server, workers)
        return server

    return run


LINE = '%(h)s "%(r)s" %(s)s %(b)s %({x-one}i)s %({x-worker}o)s %({wsgi.url_scheme}e)s %(m)s %(U)s %(q)s %(a)s'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Any:
    return tmp_path_factory.mktemp("gunicorn")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Server]:
    """Two workers, for tests that leave them as they are."""
    options = ["-w", "2", "--bind", f"unix:{folder}/gunicorn.sock", "--permit-obsolete-folding", "--threads", "4"]
    options += ["--access-logfile", f"{folder}/access.log", "--access-logformat", LINE]
    options += ["--proxy-protocol", "--limit-request-line", "200", "--limit-request-fields", "5"]
    env = {"UWSGI_WEBSOCKETS_MAX_SIZE": "64", "UWSGI_HTTP": ":1234", "UWSGI_CACHE2": "name=one,items=10"}
    with Server(APPLICATION, program=gunicorn_program(*options), env=env) as server:
        wait_for_workers(server, 2)
        yield server
        finish(server, allow_traceback=True)


def evaluate(server: Server, expression: str) -> Any:
    with HttpClient(server.addresses[-1]) as client:
        return eval(client.request("POST", "/eval", body=expression.encode()).text)


def get(server: Server, target: str = "/", **headers: str) -> Response:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return fetch(server.addresses[-1], target, fields)


def open_chat(server: Server, path: str = "/chat") -> RawClient:
    return RawClient.open(server.port, path)


class Lobby(ExitStack):
    """Those who hear what any worker says, one in each worker."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self.members: dict[int, RawClient] = {}

    def fill(self, workers: int) -> None:
        """Have a member in each of so many workers."""

        def found() -> bool:
            client = open_chat(self._server, "/lobby")
            if (worker := whose(client)) in self.members:
                client.close()
            else:
                self.members[worker] = self.enter_context(client)
            return len(self.members) == workers

        eventually(found, 10)
        eventually(lambda: get(self._server, "/count").text == str(workers))

    def hears(self, word: str) -> None:
        """What one worker says all of them hear."""
        get(self._server, f"/say?{word}")
        for member in self.members.values():
            member.expect_text(word)


# The application's view


def test_the_modules_are_those_of_uwsgi_ws(shared: Server) -> None:
    assert evaluate(shared, "uwsgi.numproc, uwsgi.masterpid(), PATCHED") == (2, shared.pid, True)
    assert evaluate(shared, "sorted(worker['id'] for worker in uwsgi.workers())") == [1, 2]
    assert evaluate(shared, "uwsgi.worker_id()") in (1, 2)
    assert evaluate(shared, "environ['RAW_URI'], environ['wsgi.multiprocess']") == ("/eval", True)
    assert evaluate(shared, "__import__('subprocess').run(['true']).returncode") == 0
    assert evaluate(shared, "environ['SERVER_SOFTWARE']").startswith("gunicorn/")
    with Lobby(shared) as lobby:
        lobby.fill(2)
        lobby.hears("hello")


def test_an_application_that_raises_ends_its_request_only_and_stands_in_gunicorns_log(shared: Server) -> None:
    assert get(shared, "/raise").status == 500
    shared.wait_for_log("RuntimeError: the application's own")
    assert re.search(r"\[\d+\] \[ERROR\] .*GET /raise\nTraceback", shared.log)
    assert get(shared).status == 200


def test_a_child_that_the_application_forks_is_no_second_worker(shared: Server) -> None:
    with HttpClient(shared.addresses[0]) as client:
        worker = client.request("GET", "/").text
        assert client.request("GET", "/fork").text == worker
        assert client.request("GET", "/").text == worker


def test_options_come_from_the_environment_and_those_that_are_gunicorns_say_so(shared: Server) -> None:
    assert "uwsgi_ws: UWSGI_HTTP has no effect: that is gunicorn's to do" in shared.log
    with open_chat(shared) as client:
        client.send_text("x" * 65_537)
        client.expect_close(1009, "message too big")
    assert evaluate(shared, "uwsgi.cache_update('key', b'value') and uwsgi.cache_get('key')") == b"value"
    assert {evaluate(shared, "uwsgi.worker_id(), uwsgi.cache_get('key')")[1] for _ in range(10)} == {b"value"}


def test_a_setting_that_cannot_be_kept_says_so(shared: Server) -> None:
    assert len(re.findall(r"\[WARNING\] uwsgi_ws: (?:permit_obsolete_folding|threads) cannot be kept", shared.log)) == 2


@pytest.mark.parametrize(
    ("options", "env", "problem"),
    [
        ((), {"UWSGI_WEBSOCKETS_PING_FREQ": "often"}, "often"),
        (("--certfile", "/dev/null", "--keyfile", "/dev/null"), {}, "no certificate and its key"),
    ],
)
def test_what_cannot_be_is_said_and_gunicorn_ends(options: tuple[str, ...], env: dict[str, str], problem: str) -> None:
    program = gunicorn_program()
    command = [*program.command, *program.application(APPLICATION), *options]
    run = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert run.returncode != 0
    assert problem in run.stderr
    assert "Traceback" not in run.stderr


# Where it listens, and what it believes there


def test_unix_sockets_and_several_addresses(shared: Server, folder: Path) -> None:
    assert fetch(f"{folder}/gunicorn.sock").status == get(shared).status == 200


def test_a_proxys_header_and_the_limits_of_a_head(shared: Server) -> None:
    with HttpClient(shared.addresses[0]) as client:
        client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n")
        assert client.request("POST", "/eval", body=b"environ['REMOTE_ADDR']").text == "'192.0.2.1'"
    assert get(shared, "/" + "x" * 300).status == 414
    assert get(shared, "/", **{f"X-{number}": "y" for number in range(6)}).status == 431


def test_a_trusted_proxy_is_believed_about_the_scheme(shared: Server) -> None:
    scheme = b"environ['wsgi.url_scheme']"
    with HttpClient(shared.addresses[0]) as client:
        for name, value, said in [
            ("X-Forwarded-Proto", "https", "https"),
            ("X-Forwarded-Proto", "http", "http"),
            ("X-Forwarded-Protocol", "ssl", "https"),
        ]:
            assert client.request("POST", "/eval", [(name, value)], scheme).text == repr(said)
        both = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")]
        assert client.request("POST", "/eval", both, scheme).status == 400


def test_nobody_else_is_believed_and_keepalive_0_ends_each_connection(start: Start) -> None:
    server = start("--forwarded-allow-ips", "10.0.0.1", "--keep-alive", "0", "--env", "SCRIPT_NAME=/site")
    with HttpClient(server.addresses[0]) as client:
        body = b"environ['wsgi.url_scheme'], environ['HTTP_X_FORWARDED_PROTO'], environ['SCRIPT_NAME']"
        answer = client.request("POST", "/site/eval", [("X-Forwarded-Proto", "https")], body)
        assert eval(answer.text) == ("http", "https", "/site")
        assert answer.says_close
    assert get(server, "/elsewhere").status == 500


def test_front_servers_that_speak_uwsgi(start: Start) -> None:
    server = start("--protocol", "uwsgi", "--env", "UWSGI_CACHE2=name=one,items=10")
    with RawClient(server.port) as client:
        client.shake_hands(packet_of(handshake("/chat")))
        echo(client, "hello")
    assert "UWSGI_CACHE2 has no effect in raw_env" in server.log


def test_tls_with_http2_and_client_certificates(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue().split(",")
    options = ("--certfile", cert, "--keyfile", key, "--ca-certs", str(authority.path), "--cert-reqs", "2")
    server = start(*options, "--ciphers", "ECDHE+AESGCM")
    context = authority.client_context(authority.issue("client", stem="client"))
    with HttpClient(server.addresses[0], tls=context) as client:
        assert client.request("POST", "/eval", body=b"environ['wsgi.url_scheme']").text == "'https'"
    with Http2Client(server.addresses[0], tls=context) as connection:
        websocket = connection.websocket("/chat")
        websocket.send_text("over HTTP/2")
        websocket.expect_text("over HTTP/2")

    def ask() -> None:
        with HttpClient(server.addresses[0], tls=authority.client_context()) as client:
            client.request("GET", "/")

    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        ask()


def test_the_hook_for_tls_has_the_last_word(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue().split(",")
    config = """
import ssl
def ssl_context(conf, usual):
    context = usual()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
"""
    server = start("--certfile", cert, "--keyfile", key, config=config)
    with HttpClient(server.addresses[0], tls=authority.client_context()) as client:
        assert client.sock.version() == "TLSv1.2"  # type: ignore[attr-defined]
        assert client.request("GET", "/").status == 200


def test_reuse_port_gives_each_worker_a_socket(start: Start) -> None:
    port = free_port()
    start("--reuse-port", workers=2, bind=f"127.0.0.1:{port}")
    assert len({fetch(("127.0.0.1", port)).text for _ in range(40)}) == 2


# The workers' lives


def test_channels_connect_workers_that_come_later_and_that_replace_killed_ones(start: Start) -> None:
    server = start()
    first = int(get(server).text)
    os.kill(server.pid, signal.SIGTTIN)
    wait_for_workers(server, 2)
    with Lobby(server) as lobby:
        lobby.fill(2)
        lobby.hears("one")
        second = next(worker for worker in lobby.members if worker != first)
        os.kill(second, signal.SIGKILL)
        lobby.members.pop(second).expect_end()
        wait_for_workers(server, 3)
        assert eventually(lambda: get(server, "/count").text == "1")
        lobby.hears("two")
        lobby.fill(2)
        lobby.hears("three")
        os.kill(server.pid, signal.SIGTTOU)  # the oldest goes
        is_closed(lobby.members.pop(first), 1012, "server restarts")
        lobby.hears("four")


def test_nobody_counts_the_members_of_a_killed_worker_that_has_no_successor(start: Start) -> None:
    server = start(workers=2)
    with Lobby(server) as lobby:
        lobby.fill(2)
        oldest = int(server.wait_for_log(r"Booting worker with pid: (\d+)")[1])
        os.kill(oldest, signal.SIGSTOP)  # it cannot leave in order
        os.kill(server.pid, signal.SIGTTOU)
        server.wait_for_log("Handling signal: ttou")
        os.kill(oldest, signal.SIGKILL)
        lobby.members.pop(oldest).expect_end()
        assert eventually(lambda: get(server, "/count").text == "1")
        lobby.hears("alone")


def test_a_reload_closes_with_1012_and_loses_no_request(start: Start) -> None:
    server = start(workers=2)
    with open_chat(server) as client, hammering(server) as problems:
        before = whose(client)
        os.kill(server.pid, signal.SIGHUP)
        is_closed(client, 1012, "server restarts")
        wait_for_workers(server, 4)
        eventually(lambda: not is_alive(before))
    assert problems == []
    # Whatever is done in the first worker only is done once again.
    assert eventually(lambda: evaluate(server, "sorted(worker['id'] for worker in uwsgi.workers())") == [1, 2])


def test_a_stop_closes_with_1001_and_lets_requests_finish_within_the_graceful_timeout(start: Start) -> None:
    server = start("--graceful-timeout", "3")
    with (
        open_chat(server) as client,
        HttpClient(server.addresses[0]) as quick,
        HttpClient(server.addresses[0]) as endless,
    ):
        quick.send_request("GET", "/slow?2.2")  # longer than two heartbeats
        endless.send_request("GET", "/slow?30")
        eventually(lambda: evaluate(server, "sum(worker['requests'] for worker in uwsgi.workers())") >= 4)
        os.kill(server.pid, signal.SIGTERM)
        is_closed(client, 1001, "server stops")
        assert quick.read_response().status == 200
        assert server.wait(6) == 0
    assert "was sent SIGKILL" not in server.log


def test_a_stop_reaches_a_worker_that_is_not_up_yet(start: Start) -> None:
    server = start()
    os.kill(server.pid, signal.SIGTTIN)
    server.wait_for_log("(?s)Booting worker.*Booting worker")
    assert server.stop(signal.SIGQUIT, 5) == 0


def test_a_new_gunicorn_takes_over_and_the_old_ones_peers_come_back(start: Start, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    server = start("--pid", str(pidfile))
    with open_chat(server) as client:
        whose(client)
        os.kill(server.pid, signal.SIGUSR2)
        wait_for_workers(server, 2)
        successor = int(eventually(lambda: Path(f"{pidfile}.2").read_text().strip()))
        try:
            os.kill(server.pid, signal.SIGTERM)
            is_closed(client, 1012, "server restarts")
            with open_chat(server) as another:
                echo(another, "the new one")
        finally:
            os.kill(successor, signal.SIGTERM)
            eventually(lambda: not is_alive(successor), 10)


def test_a_worker_that_has_done_enough_is_replaced_and_no_request_is_lost(start: Start) -> None:
    server = start("--max-requests", "10", "--max-requests-jitter", "5", workers=2)
    with open_chat(server) as client, hammering(server) as problems:
        is_closed(client, 1012, "server restarts")
        wait_for_workers(server, 4)
    assert problems == []
    assert "Autorestarting worker after current request." in server.log


def test_a_worker_whose_event_loop_does_not_run_is_killed_and_an_idle_one_is_not(start: Start) -> None:
    config = """
def worker_abort(worker):
    worker.log.info("worker_abort %s", worker.pid)
def worker_exit(arbiter, worker):
    worker.log.info("worker_exit %s", worker.pid)
"""
    server = start("--timeout", "2", workers=2, config=config)
    with Lobby(server) as lobby:
        lobby.fill(2)
        with HttpClient(server.addresses[0]) as client:
            client.send_request("GET", "/block?30")
            victim = int(server.wait_for_log(r"worker_abort (\d+)", 8)[1])
            server.wait_for_log(f"worker_exit {victim}")
        wait_for_workers(server, 3)
        lobby.members.pop(victim).expect_end()
        lobby.hears("alive")


def test_a_changed_file_reloads(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "changing.py"
    path.write_text(APPLICATION.read_text())
    server = start("--reload", application=path)
    with open_chat(server) as client:
        path.write_text(APPLICATION.read_text().replace('"%d" % os.getpid()', '"new"'))
        is_closed(client, 1012, "server restarts")
    assert eventually(lambda: get(server).text == "new")


def test_with_preload_the_arbiter_imports_the_application(start: Start) -> None:
    server = start("--preload", workers=2)
    assert "preload_app: the application is imported before the standard library is made cooperative" in server.log
    assert evaluate(server, "PATCHED") is False
    with Lobby(server) as lobby:
        lobby.fill(2)
        lobby.hears("preloaded")


# gunicorn's log and hooks

HOOKS = """
from gevent import monkey
monkey.patch_all()

def say(name, worker):
    worker.log.info("%s %s", name, worker.pid)
def post_fork(arbiter, worker): say("post_fork", worker)
def post_worker_init(worker): say("post_worker_init", worker)
def pre_request(worker, req): worker.log.info("pre_request %s %s", req.method, req.path)
def post_request(worker, req, environ, resp):
    worker.log.info("post_request %s %s %s", environ["QUERY_STRING"], resp.status, dict(resp.headers).get("X-Worker"))
def worker_int(worker): say("worker_int", worker)
def worker_exit(arbiter, worker): say("worker_exit", worker)
def child_exit(arbiter, worker): say("child_exit", worker)
"""


def test_hooks_and_a_preloaded_application_under_a_configuration_that_patches(start: Start) -> None:
    server = start("--preload", config=HOOKS)
    assert "preload_app:" not in server.log
    assert evaluate(server, "PATCHED") is True
    victim = int(get(server).text)
    os.kill(victim, signal.SIGKILL)
    wait_for_workers(server, 2)
    worker = int(get(server, "/path?query").text)
    server.stop(signal.SIGINT)
    expected = [
        ("post_fork", str(worker)),
        ("post_worker_init", str(worker)),
        ("pre_request", "GET /path"),
        ("post_request", "query 200 OK 1"),
        ("worker_int", str(worker)),
        ("worker_exit", str(worker)),
        ("child_exit", str(worker)),
    ]
    said = re.findall(r"\[INFO\] (\w+) (.*)", server.log.partition(f"child_exit {victim}")[2])
    assert [name for name in said if name[0] in {name for name, _ in expected}] == expected


def test_access_lines(shared: Server, folder: Path) -> None:
    """The last test of its server: what is logged is in another file then."""
    log = folder / "access.log"
    body = get(shared, "/path?q", X_One="1", User_Agent="me").text
    with open_chat(shared) as client:
        echo(client, "12345")
        client.finish()
    pattern = rf'127\.0\.0\.1 "GET /path\?q HTTP/1\.1" 200 {len(body)} 1 [12] http GET /path q me'
    eventually(lambda: re.search(pattern, log.read_text()))
    eventually(lambda: '127.0.0.1 "GET /chat HTTP/1.1" 101 ' in log.read_text().splitlines()[-1])
    log.rename(folder / "old.log")
    os.kill(shared.pid, signal.SIGUSR1)
    eventually(lambda: log.exists() and get(shared) and log.read_text())


# How it is named


def documented_commands() -> list[str]:
    return re.findall(r"^(gunicorn -.*)$", (ROOT / "docs" / "coming-from-gunicorn.md").read_text(), re.MULTILINE)


def test_the_page_names_it_in_two_ways() -> None:
    classes = [shlex.split(command)[2] for command in documented_commands()]
    assert classes == [WORKER, "egg:uwsgi_ws#uwsgi_ws"]


@pytest.mark.parametrize("command", documented_commands())
def test_the_commands_of_the_page_serve(command: str, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.read_text())
    # As the package is when it is installed.
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    installed = tmp_path / "uwsgi_ws-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: uwsgi_ws\nVersion: 0\n")
    entry_points = config["options.entry_points"]["gunicorn.workers"]
    (installed / "entry_points.txt").write_text(f"[gunicorn.workers]{entry_points}\n")
    usual = gunicorn_program()
    program = replace(usual, command=(usual.command[0], *shlex.split(command)[1:]))
    options = ("-b", "127.0.0.1:0", "--no-control-socket")
    server = serve(None, *options, program=program, cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"})
    with open_chat(server) as client:
        echo(client, "hello")
