"""Processes that the application forks: they have no part in serving, whatever carries the clients."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.carriers import CARRIERS, Carrier
from support.eventually import eventually
from support.http_client import fetch
from support.server import APPLICATIONS, Server, finish
from support.websocket_client import RawClient, frame
from support.workers import is_alive, is_refused

pytestmark = pytest.mark.matrix

APPLICATION = APPLICATIONS / "forks.py"
#: Each gives a child that goes on, by itself or as another program.
LASTING = (
    "os.fork",
    "pty.fork",
    "multiprocessing fork",
    "multiprocessing daemon",
    "multiprocessing forkserver",
    "multiprocessing spawn",
    "subprocess",
    "subprocess preexec_fn",
    "subprocess close_fds=False",
    "os.posix_spawn",
    "exec",
    "greenlet",
    "callback",
)
#: Each gives one that comes back into the server's code, or talks to clients, and is to end there.
PASSING = ("returns", "returns_later", "raises", "exits", "yields", "greenlet_returns", "callback_returns", "talks")
DIRECT = ("http1", "tls", "http2", "uwsgi")
KINDS = {
    "alone": ("--gevent", "50"),
    "master": ("--gevent", "50", "--processes", "2"),
    "threads": ("--threads", "20"),
    "threads-master": ("--threads", "20", "--processes", "2"),
}


class Instance:
    """A server, the way to it, and the processes that its application forked."""

    def __init__(self, carrier: Carrier, has_greenlets: bool) -> None:
        self.carrier = carrier
        self.has_greenlets = has_greenlets
        self.children: list[int] = []
        self.daemons: list[int] = []  # which their parent's end ends, too
        self.made_by: dict[int, str] = {}

    def fork(self, way: str) -> int:
        """Have a request fork; return the child."""
        response, body, _ = self.carrier.fetch("POST", "/fork", way.encode())
        assert response.status == 200
        self.children.append(int(body))
        self.made_by[int(body)] = way
        # The kernel hangs a terminal up when nobody has its other end: the parent, or a child that it forked later.
        if way in ("multiprocessing daemon", "pty.fork"):
            self.daemons.append(int(body))
        return self.children[-1]

    def who(self) -> int:
        return int(self.carrier.fetch("GET", "/")[1])

    def ways(self, of: tuple[str, ...]) -> list[str]:
        return [way for way in of if self.has_greenlets or not way.startswith(("greenlet", "callback"))]

    def kill(self) -> None:
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def instances() -> Iterator[Any]:
    for carry in CARRIERS:
        for kind in KINDS if carry.__name__ == "http1" else ("alone", "threads"):
            if carry.__name__ in DIRECT:
                yield pytest.param((carry, kind), id=f"{carry.__name__}-{kind}")


@pytest.fixture(params=instances())
def instance(request: Any, tmp_path: Path) -> Iterator[Instance]:
    carry, kind = request.param
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> Server:
            server = Server(APPLICATION, *KINDS[kind], *options)
            stack.callback(finish, server, allow_traceback=True)
            return server

        instance = Instance(stack.enter_context(carry(start, tmp_path)), "threads" not in kind)
        stack.callback(instance.kill)
        yield instance


def exchange(chat: RawClient, size: int = 2_000) -> None:
    """Have a message echoed that comes in two pieces, between which whoever else reads the socket would take one."""
    message = os.urandom(size)
    wire = frame(2, message)
    chat.send(wire[:700])
    chat.send(wire[700:])
    chat.expect_binary(message)


def test_a_child_serves_nobody_while_it_lives(instance: Instance) -> None:
    server = instance.carrier.server
    with instance.carrier.open("/chat") as chat:
        for way in instance.ways(LASTING):
            child = instance.fork(way)
            for _ in range(5):
                exchange(chat)
                assert instance.who() != child
            assert is_alive(child), way
        assert "a client has left" not in server.log
        os.kill(server.pid, signal.SIGINT)
        chat.expect_close(1001, "server stops")
        chat.send(frame(8, b"\x03\xe9"))
        chat.expect_eof()
        eventually(lambda: not is_alive(server.pid), 20)
    assert is_refused(server)
    dead = [child for child in instance.children if child not in instance.daemons and not is_alive(child)]
    assert dead == [], [instance.made_by[child] for child in dead]


@pytest.mark.parametrize("way", ["os.fork", "pty.fork", "multiprocessing fork", "subprocess", "exec"])
def test_a_child_ends_by_the_usual_signals(serve: Any, way: str) -> None:
    server = serve(APPLICATION, "--processes", "2")
    instance = Instance(Carrier(server, server.addresses[0]), True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGINT):
        child = instance.fork(way)
        os.kill(child, number)
        eventually(lambda child=child: not is_alive(child))  # type: ignore[misc]  # no default can be inferred


def test_a_child_that_comes_back_ends_and_answers_nobody(instance: Instance) -> None:
    with instance.carrier.open("/chat") as chat:
        for way in instance.ways(PASSING):
            child = instance.fork(way)
            exchange(chat)
            eventually(lambda child=child: not is_alive(child))  # type: ignore[misc]  # as above
            exchange(chat)
            assert instance.who() != child
        assert "a client has left" not in instance.carrier.server.log
        for way in instance.ways(("returns", "exits", "talks")):
            chat.send_text(f"fork by {way}")
            child = int(chat.read_frame().payload)
            exchange(chat)
            eventually(lambda child=child: not is_alive(child))  # type: ignore[misc]  # as above
        exchange(chat)
    log = instance.carrier.server.log
    assert log.count("ZeroDivisionError") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_sees_the_end_though_a_child_lives(serve: Any, kind: str) -> None:
    server = serve(APPLICATION, *KINDS[kind])
    instance = Instance(Carrier(server, server.addresses[0]), True)
    with instance.carrier.open("/chat") as chat:
        for way in ("os.fork", "multiprocessing fork", "subprocess close_fds=False"):
            instance.fork(way)
        chat.send(frame(8, b"\x03\xe8"))
        chat.expect_close(1000)
        chat.expect_eof()
    instance.kill()


@pytest.mark.parametrize("options", [[], ["--master"], ["--master", "--lazy-apps"]], ids=["alone", "master", "lazy"])
def test_a_process_forked_at_import_is_no_server(serve: Any, options: list[str]) -> None:
    """It may go on, or come back into the server's code, which ends it."""
    source = (
        "import os, time\n"
        "pid = os.fork()\n"
        "while not pid:\n"
        "    time.sleep(0.01)\n"
        "returned = os.fork()\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'%d %d %d' % (pid, returned, os.getpid())]\n"
    )
    server = serve(source, *options)
    lasting, returned, _ = map(int, fetch(server.addresses[0]).text.split())
    try:
        eventually(lambda: not is_alive(returned))
        for _ in range(10):
            assert int(fetch(server.addresses[0]).text.split()[2]) not in (lasting, returned)
        os.kill(server.pid, signal.SIGINT)
        eventually(lambda: not is_alive(server.pid), 20)
        assert is_refused(server)
        assert is_alive(lasting)
    finally:
        os.kill(lasting, signal.SIGKILL)


def test_channels_of_other_workers_go_on(serve_many: Any) -> None:
    """A child has the pipes' numbers, but neither reads nor writes what belongs to the workers."""
    server = serve_many(APPLICATION, "--websockets-max-size", "1024")
    instance = Instance(Carrier(server, server.addresses[0]), True)
    with contextlib.ExitStack() as stack:
        chats = [stack.enter_context(instance.carrier.open("/chat")) for _ in range(8)]
        stack.callback(instance.kill)
        for way in ("os.fork", "multiprocessing fork", "greenlet"):
            instance.fork(way)
        for chat in chats:
            exchange(chat)
        instance.fork("talks")
        for chat in chats:
            exchange(chat)


def test_a_lock_is_given_back_though_a_child_of_its_holder_lives(serve_many: Any) -> None:
    source = (
        "import os, time, uwsgi\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/take':\n"
        "        uwsgi.lock()\n"
        "        pid = os.fork()\n"
        "        while not pid:\n"
        "            time.sleep(0.01)\n"
        "        answer = b'%d %d' % (os.getpid(), pid)\n"
        "    else:\n"
        "        answer = b'held' if uwsgi.is_locked() else b'free'\n"
        "    start_response('200 OK', [])\n"
        "    return [answer]\n"
    )
    server = serve_many(source)
    holder, child = map(int, fetch(server.addresses[0], "/take").text.split())
    try:
        os.kill(holder, signal.SIGKILL)
        eventually(lambda: fetch(server.addresses[0]).text == "free")
        assert is_alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("options", [[], ["--processes", "2"], ["--threads", "5"]], ids=["alone", "master", "threads"])
def test_a_program_that_is_started_inherits_no_descriptor(serve: Any, options: list[str], tmp_path: Path) -> None:
    source = (
        "import os, subprocess, uwsgi, uwsgi_ws\n"
        f"command = ['sh', '-c', 'ls -l /proc/self/fd > {tmp_path}/listing']\n"
        "def application(environ, start_response):\n"
        "    uwsgi.lock()\n"
        "    if environ['PATH_INFO'] == '/spawn':\n"
        "        os.waitpid(os.posix_spawnp('sh', command, os.environ), 0)\n"
        "    else:\n"
        "        subprocess.run(command, close_fds=False)\n"
        "    uwsgi.unlock()\n"
        "    start_response('200 OK', [])\n"
        f"    return [open('{tmp_path}/listing', 'rb').read()]\n"
    )
    server = serve(source, *options)
    for path in ("/spawn", "/run"):
        listing = fetch(server.addresses[0], path).text
        assert "listing" in listing
        for kind in ("socket:", "anon_inode", "memfd"):
            assert kind not in listing


@pytest.mark.parametrize("options", [[], ["--processes", "2"], ["--processes", "2", "--lazy-apps"]], ids=" ".join)
def test_the_first_child_may_end_before_anybody_watches_it(serve: Any, options: list[str]) -> None:
    """gevent watches a child once it has been started; here, not before it has ended."""
    source = (
        "import os, subprocess, gevent.os\n"
        "watch = gevent.os._watch_child\n"
        "def watch_late(pid, *args, **kwargs):\n"
        "    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n"
        "    watch(pid, *args, **kwargs)\n"
        "gevent.os._watch_child = watch_late\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    if environ['PATH_INFO'] == '/spawn':\n"
        "        return [b'%d' % os.waitpid(os.posix_spawnp('true', ['true'], os.environ), 0)[1]]\n"
        "    return [b'%d' % subprocess.run(['true']).returncode]\n"
    )
    for path in ("/spawn", "/run"):
        server = serve(source, *options)
        assert fetch(server.addresses[0], path).text == "0"
