"""Several workers under a master: who lives, who is replaced, and what clients notice of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.many_clients import ManyClients
from support.server import ServerFailed
from support.tracing import not_traced
from support.websocket_client import RawClient
from support.workers import (
    ANYWHERE,
    APPLICATION,
    BEGIN_WAIT,
    address,
    all_workers,
    children,
    crew,
    echo,
    evaluate,
    hammering,
    is_alive,
    is_closed,
    is_refused,
    open_chat,
    wait_for_workers,
    who,
    whose,
)

#: Keeps the whole event loop from running, in the words of /eval.
SLEEP = "__import__('gevent').monkey.get_original('time', 'sleep')"
BLOCK = f"{SLEEP}(60)"

# What there is


def test_the_workers_share_the_clients_and_know_their_places(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--gevent", "5", "--master", processes=3)
    pids = all_workers(server, 3)
    assert server.pid not in pids
    tuples = {evaluate(server, "(uwsgi.worker_id(), os.getpid())") for _ in range(50)}
    assert {worker_id for worker_id, _ in tuples} <= {1, 2, 3}
    assert evaluate(server, "uwsgi.masterpid(), uwsgi.numproc") == (server.pid, 3)
    # The process in between, by way of which a worker is forked, may be there still.
    eventually(lambda: evaluate(server, "os.getppid()") == server.pid)
    workers = evaluate(server, "uwsgi.workers()")
    assert [worker["id"] for worker in workers] == [1, 2, 3]
    assert {worker["pid"] for worker in workers} == pids
    assert [worker["respawn_count"] for worker in workers] == [1, 1, 1]
    asked = evaluate(server, "uwsgi.total_requests()")
    # The others tell once a second.
    eventually(lambda: evaluate(server, "uwsgi.total_requests()") >= asked + 3, 5)
    assert evaluate(server, "uwsgi.is_a_reload") is False
    assert evaluate(server, "environ['wsgi.multiprocess'], uwsgi.cores") == (True, 5)


def test_the_application_is_loaded_once_before_the_workers_are_forked(serve_many: Any) -> None:
    server = serve_many(APPLICATION, processes=3)
    assert re.findall("loaded by worker [0-9]+", server.log) == ["loaded by worker 0"]


def test_lazy_apps_are_loaded_by_each_worker(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--lazy-apps", processes=2)
    assert set(re.findall("loaded by worker [0-9]+", server.log)) == {"loaded by worker 1", "loaded by worker 2"}


@not_traced
def test_the_master_loads_neither_gevent_nor_the_application(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    assert "gevent" not in Path(f"/proc/{server.pid}/maps").read_text()
    assert "gevent" in Path(f"/proc/{who(server)}/maps").read_text()


def test_a_worker_that_serves_before_its_birth_is_told_of_counts_too(serve_many: Any) -> None:
    late = "os.register_at_fork(after_in_parent=lambda: time.sleep(0.5))\n"  # in whoever forks a worker
    server = serve_many(APPLICATION.read_text() + "import time\n" + late)
    before = all_workers(server, 2)
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("reloaded: new workers serve", 20)
    eventually(lambda: not any(is_alive(pid) for pid in before))


def test_hooks_run_in_each_worker(serve_many: Any) -> None:
    source = APPLICATION.read_text() + (
        "def say(text): sys.stderr.write('%s in worker %d\\n' % (text, uwsgi.worker_id()))\n"
        "import atexit\n"
        "atexit.register(say, 'python atexit')\n"
        "uwsgi.post_fork_hook = lambda: say('post_fork')\n"
        "uwsgi.atexit = lambda: say('uwsgi atexit')\n"
    )
    server = serve_many(source)
    assert server.stop() == 0
    for text in ("post_fork", "uwsgi atexit", "python atexit"):
        assert sorted(re.findall(rf"{text} in worker ([0-9]+)", server.log)) == ["1", "2"]


def test_a_lock_is_one_for_all_workers(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    first = evaluate(server, "uwsgi.lock(), os.getpid()")[1]
    holder = {first}

    def other() -> bool:
        pid, locked = evaluate(server, "os.getpid(), uwsgi.is_locked()")
        assert locked is True
        return pid not in holder

    eventually(other)
    # Its death gives the lock back.
    os.kill(first, signal.SIGKILL)
    eventually(lambda: evaluate(server, "uwsgi.is_locked()") is False)


# Deaths


def test_a_killed_worker_is_replaced_and_the_others_notice_nothing(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    pids = all_workers(server, 2)
    chats: dict[int, list[RawClient]] = {pid: [] for pid in pids}
    victim, other = sorted(pids)

    def both_serve() -> bool:
        # Whichever worker wakes first accepts: nothing says that they take turns.
        chat = open_chat(server)
        chats[whose(chat)].append(chat)
        return all(chats.values())

    eventually(both_serve)
    os.kill(victim, signal.SIGKILL)
    server.wait_for_log(rf"DAMN ! worker [12] \(pid: {victim}\) died, killed by signal 9")
    for chat in chats[victim]:
        with chat:
            chat.expect_eof()
    for chat in chats[other]:
        with chat:
            echo(chat, "hello")
    wait_for_workers(server, 3)
    new = all_workers(server, 2)
    assert len(new & pids) == 1
    assert sorted(worker["respawn_count"] for worker in evaluate(server, "uwsgi.workers()")) == [1, 2]


def test_workers_can_be_replaced_even_after_the_fork_server_died(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    pids = all_workers(server, 2)
    (fork_server,) = set(children(server.pid)) - pids
    os.kill(fork_server, signal.SIGKILL)
    server.wait_for_log("the fork server died, killed by signal 9")
    os.kill(min(pids), signal.SIGKILL)
    wait_for_workers(server, 3)
    assert len(all_workers(server, 2) & pids) == 1


@pytest.mark.long
def test_workers_can_be_replaced_although_the_fork_server_stands_still(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    pids = all_workers(server, 2)
    (fork_server,) = set(children(server.pid)) - pids
    os.kill(fork_server, signal.SIGSTOP)
    os.kill(min(pids), signal.SIGKILL)
    server.wait_for_log("worker [12] is not forked, so the fork server is killed", 20)
    wait_for_workers(server, 3)
    assert len(all_workers(server, 2) & pids) == 1


def test_a_worker_that_is_killed_before_it_serves_is_replaced(serve: Any, tmp_path: Path) -> None:
    app, pids = tmp_path / "app.py", tmp_path / "pids"
    source = (
        "import os, pathlib, time\n"
        f"pids, seen = pathlib.Path({str(pids)!r}), {{}}\n"
        "with pids.open('a') as file: file.write(f'{os.getpid()}\\n')\n"
        "while len(pids.read_text().split()) < 2: time.sleep(0.01)\n"  # the first waits until it is killed
    )
    app.write_text(source + APPLICATION.read_text())

    def kill_the_first() -> None:
        first = int(eventually(lambda: pids.exists() and pids.read_text().split(), 20)[0])
        os.kill(first, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    server = serve(app, "--master", "--lazy-apps")
    killer.join()
    # While it starts, while it is reloaded: it makes no difference.
    pids.unlink()
    os.kill(server.pid, signal.SIGHUP)
    kill_the_first()
    server.wait_for_log("reloaded: new workers serve", 20)
    assert len(re.findall(r"DAMN ! worker 1 \(pid: [0-9]+\) died, killed by signal 9", server.log)) == 2
    assert "could not start" not in server.log


def test_a_fork_server_that_cannot_load_any_more_is_tried_again_later_and_later(
    serve_many: Any, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text(APPLICATION.read_text())
    server = serve_many(app, allow_traceback=True)
    pids = all_workers(server, 2)
    (fork_server,) = set(children(server.pid)) - pids
    app.write_text("import no_such_library")
    os.kill(fork_server, signal.SIGKILL)
    server.wait_for_log("(?s)(the fork server died, exit status 1.*){3}", 20)
    begun = time.monotonic()
    server.wait_for_log("(?s)(the fork server died, exit status 1.*){4}", 20)
    assert time.monotonic() - begun > 1
    assert all_workers(server, 2) == pids  # they need none
    app.write_text(APPLICATION.read_text())
    os.kill(min(pids), signal.SIGKILL)
    wait_for_workers(server, 3)


def test_a_worker_told_to_stop_by_somebody_else_is_replaced(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    victim = who(server)
    os.kill(victim, signal.SIGTERM)
    wait_for_workers(server, 3)
    assert victim not in all_workers(server, 2)


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["once", "lazy"])
@pytest.mark.parametrize(
    ("source", "more", "status", "words"),
    [
        ("import no_such_library", [], 1, "ModuleNotFoundError"),
        ("import sys; sys.exit(7)", [], 7, "goodbye"),
        (None, ["--need-app"], 22, "--need-app"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", [], 137, ""),
        ("import uwsgi; uwsgi.post_fork_hook = lambda: 1 / 0; application = print", [], 1, "post_fork_hook failed"),
    ],
    ids=["import error", "sys.exit", "no application", "killed", "post_fork_hook"],
)
def test_a_boot_that_fails_ends_the_instance_with_its_status(
    serve: Any, options: list[str], source: str | None, more: list[str], status: int, words: str
) -> None:
    with pytest.raises(ServerFailed) as failed:
        serve(source, "--processes", "2", *options, *more)
    assert f"exit status {status};" in str(failed.value)
    assert re.search(words, str(failed.value))
    assert "spawned uwsgi_ws worker" not in str(failed.value)


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["once", "lazy"])
def test_what_is_wrong_in_a_route_is_told_once(serve: Any, options: list[str]) -> None:
    with pytest.raises(ServerFailed) as failed:
        serve(APPLICATION, "--processes", "4", "--route", "^/old nowhere:else", *options)
    assert str(failed.value).count("uwsgi_ws: --route: ") == 1
    assert "exit status 1;" in str(failed.value)


def test_a_port_in_use_ends_it_too(serve: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServerFailed, match="Address already in use"):
        serve(APPLICATION, "--master", "--http", f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize("is_followed", [False, True], ids=["they go on", "--no-orphans"])
def test_workers_whose_master_is_killed(serve_many: Any, is_followed: bool) -> None:
    server = serve_many(APPLICATION, *["--no-orphans"] * is_followed)
    pids = all_workers(server, 2)
    with open_chat(server) as chat:
        os.kill(server.pid, signal.SIGKILL)
        if is_followed:
            is_closed(chat, 1001, "server stops")
        else:
            echo(chat, "still here")
            assert fetch(address(server)).status == 200
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
    eventually(lambda: not any(is_alive(pid) for pid in pids))


# Stopping


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGINT, ()),
        (signal.SIGQUIT, ()),
        (signal.SIGTERM, ()),
        (signal.SIGTERM, ("--die-on-term",)),
        (signal.SIGTERM, ("--reload-on-term", "--die-on-term")),
    ],
)
def test_a_stop_closes_websockets_with_1001_and_lets_applications_finish(
    serve_many: Any, number: int, options: tuple[str, ...]
) -> None:
    server = serve_many(APPLICATION, *options)
    busy = HttpClient(address(server))
    busy.send(BEGIN_WAIT)
    chats = [open_chat(server) for _ in range(8)]
    for chat in chats:
        echo(chat, "hello")
    os.kill(server.pid, number)
    for chat in chats:
        is_closed(chat, 1001, "server stops")
    eventually(lambda: is_refused(server))  # the other worker may not have heard yet
    busy.send(b"en")
    assert busy.read_response().status == 200
    busy.close()
    assert server.wait() == 0
    assert server.log.count("the application's finally has run") == 8
    assert server.log.endswith("goodbye to uwsgi_ws.\n")


def test_the_terminals_interrupt_reaches_everybody_and_ends_all_in_order(serve_many: Any) -> None:
    """Ctrl-C goes to every process of the group; the workers leave it to the master."""
    server = serve_many(APPLICATION)
    everybody = crew(server, 4)
    with open_chat(server) as chat:
        for pid in everybody[1:]:
            os.kill(pid, signal.SIGINT)
        echo(chat, "still here")
        os.kill(server.pid, signal.SIGINT)
        is_closed(chat, 1001, "server stops")
    assert server.wait() == 0
    eventually(lambda: not any(is_alive(pid) for pid in everybody))


def test_a_second_signal_hurries_a_stop(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    with HttpClient(address(server)) as busy:
        busy.send(BEGIN_WAIT)
        eventually(lambda: fetch(address(server)).status == 200)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGINT)
        server.wait_for_log("stopping all workers")
        os.kill(server.pid, signal.SIGINT)
        assert server.wait() == 0
        assert time.monotonic() - began < 8  # left alone it grants its requests 10 s


@pytest.mark.parametrize("function", ["stop", "reload"])
def test_an_application_may_stop_or_reload_the_instance(serve_many: Any, function: str) -> None:
    server = serve_many(APPLICATION)
    assert evaluate(server, f"uwsgi.{function}()") is True
    if function == "stop":
        assert server.wait() == 0
    else:
        wait_for_workers(server, 4)


# Reloading


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=["SIGHUP", "SIGTERM"])
@pytest.mark.parametrize("options", [["--reload-on-term"], ["--lazy-apps", "--reload-on-term"]], ids=["once", "lazy"])
def test_a_reload_serves_new_code_and_refuses_nobody(
    serve_many: Any, tmp_path: Path, number: int, options: list[str]
) -> None:
    app = tmp_path / "app.py"
    app.write_text(APPLICATION.read_text())
    server = serve_many(None, "--wsgi-file", "app.py", *options, cwd=tmp_path, env=ANYWHERE)
    before = all_workers(server, 2)
    port = address(server)[1]
    busy = HttpClient(address(server))
    busy.send(BEGIN_WAIT)
    chats = [open_chat(server) for _ in range(8)]
    for chat in chats:
        echo(chat, "hello")
    app.write_text(APPLICATION.read_text().replace("VERSION = 1", "VERSION = 2"))
    with hammering(server) as problems:
        os.kill(server.pid, number)
        server.wait_for_log("reloaded: new workers serve", 20)
        for chat in chats:
            is_closed(chat, 1012, "server restarts")
        eventually(lambda: not all_workers(server, 2) & before)  # one without a chat may not have heard yet
        assert fetch(address(server)).text.endswith(" 2")
    assert problems == []
    busy.send(b"en")
    response = busy.read_response()
    assert (response.status, int(response.text.split()[0]) in before) == (200, True)  # the old one has finished it
    busy.close()
    assert address(server)[1] == port
    assert evaluate(server, "uwsgi.is_a_reload") is True
    eventually(lambda: not any(is_alive(pid) for pid in before))
    eventually(lambda: len(children(server.pid)) == 3)  # the fork server before has nobody left to fork
    eventually(lambda: server.log.count("the application's finally has run") == 8)


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["once", "lazy"])
def test_a_reload_of_broken_code_changes_nothing_and_says_why(
    serve_many: Any, tmp_path: Path, options: list[str]
) -> None:
    app = tmp_path / "app.py"
    app.write_text(APPLICATION.read_text())
    server = serve_many(None, "--wsgi-file", "app.py", *options, cwd=tmp_path, env=ANYWHERE, allow_traceback=True)
    before = all_workers(server, 2)
    with open_chat(server) as chat, hammering(server) as problems:
        app.write_text("import no_such_library")
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for_log(r"reload failed \(exit status 1\)", 20)
        assert "ModuleNotFoundError: No module named 'no_such_library'" in server.log
        echo(chat, "still here")
    assert problems == []
    if not options:
        # The old code is still there to replace who dies.
        os.kill(max(before), signal.SIGKILL)
        wait_for_workers(server, 3)
    assert fetch(address(server)).text.endswith(" 1")
    app.write_text(APPLICATION.read_text().replace("VERSION = 1", "VERSION = 2"))
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("reloaded: new workers serve", 20)
    eventually(lambda: fetch(address(server)).text.endswith(" 2"))


def test_reloads_that_come_together_end_with_the_newest_code(serve_many: Any, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(APPLICATION.read_text())
    server = serve_many(None, "--wsgi-file", "app.py", cwd=tmp_path, env=ANYWHERE)
    for version in range(2, 6):
        app.write_text(APPLICATION.read_text().replace("VERSION = 1", f"VERSION = {version}"))
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for_log(r"^\*\*\* reloading")  # signals that come before the first has begun would be one reload
    eventually(lambda: server.log.count("reloaded: new workers serve") >= 2, 20)
    eventually(lambda: fetch(address(server)).text.endswith(" 5"), 20)
    eventually(lambda: len(children(server.pid)) == 3)


def test_a_stop_overrules_a_reload_in_progress(serve_many: Any) -> None:
    server = serve_many(APPLICATION)
    with HttpClient(address(server)) as busy, open_chat(server) as chat:
        busy.send(BEGIN_WAIT)
        os.kill(server.pid, signal.SIGHUP)
        is_closed(chat, 1012, "server restarts")
        os.kill(server.pid, signal.SIGINT)
        busy.send(b"en")
        assert busy.read_response().status == 200
    assert server.wait() == 0


def test_a_stop_in_the_middle_of_loading_does_not_wait_for_it(serve_many: Any, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(APPLICATION.read_text())
    server = serve_many(None, "--wsgi-file", "app.py", cwd=tmp_path, env=ANYWHERE)
    app.write_text("print('loading', file=__import__('sys').stderr); import time; time.sleep(60)")
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("^loading", 20)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


def test_a_request_that_does_not_end_holds_a_reload_up_for_the_mercy_only(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--worker-reload-mercy", "0.5")
    before = all_workers(server, 2)
    with HttpClient(address(server)) as busy:
        busy.send(BEGIN_WAIT)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: not any(is_alive(pid) for pid in before), 20)


def test_a_worker_that_cannot_leave_is_killed(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--worker-reload-mercy", "0.1")
    before = all_workers(server, 2)
    with HttpClient(address(server)) as stuck:
        stuck.send_request("POST", "/eval", body=f"sys.stderr.write('stuck\\n'), {BLOCK}".encode())
        server.wait_for_log("^stuck$")
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for_log("does not leave, it is killed", 20)
        eventually(lambda: not any(is_alive(pid) for pid in before))


def test_hundreds_of_clients_are_sent_away_and_come_back(serve_many: Any) -> None:
    """None sees 1006, none is refused, and they do not all come at once."""
    server = serve_many(APPLICATION, "--websockets-drain-rate", "200", "-L")
    before = all_workers(server, 2)
    with ManyClients(address(server)[1], 300, "/chat") as clients:
        eventually(lambda: clients.open == 300 and clients.echoes > 20, 20)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for_log("reloaded: new workers serve", 20)
        reloaded = time.monotonic()
        eventually(lambda: not any(is_alive(pid) for pid in before), 20)
        ended = time.monotonic()
        clients.look_around()
        eventually(lambda: clients.open == 300, 20)
        assert clients.codes == {1012: 300}
        assert clients.refused == 0
        assert ended - began > 1.0  # 300 at 200 a second
        assert ended - reloaded < 10


def test_what_drains_too_slowly_for_the_mercy_drains_faster(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--websockets-drain-rate", "1", "--worker-reload-mercy", "2", "-L")
    before = all_workers(server, 2)
    with ManyClients(address(server)[1], 100, "/chat") as clients:
        eventually(lambda: clients.open == 100, 20)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: not any(is_alive(pid) for pid in before), 20)
        clients.look_around()
        eventually(lambda: clients.open == 100, 20)
        assert clients.codes == {1012: 100}


def test_a_client_is_sent_away_once_by_a_reload_however_many_workers_leave(serve_many: Any, tmp_path: Path) -> None:
    """Those who come back at once wait for a new worker, even where an old one would be the first to take them."""
    app = tmp_path / "app.py"
    app.write_text(APPLICATION.read_text())
    options = ["--wsgi-file", "app.py", "--websockets-drain-rate", "100000", "-L"]
    server = serve_many(None, *options, processes=4, cwd=tmp_path, env=ANYWHERE)
    before = all_workers(server, 4)
    with ManyClients(address(server)[1], 80, "/chat", talkers=0) as clients:
        eventually(lambda: clients.open == 80, 20)
        # One of the old hears late of everything, and the new ones wait for a while before they accept for the first
        # time.
        late = "[0 for _ in iter(int, 1) if gevent.sleep(0.001) or block(0.2)]"
        evaluate(server, f"globals().update(block={SLEEP}), gevent.spawn(eval, {late!r}, globals()) and None")
        hook = f"import gevent\nuwsgi.post_fork_hook = lambda: gevent.spawn({SLEEP}, 1)\n"
        app.write_text(APPLICATION.read_text() + hook)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: not any(is_alive(pid) for pid in before), 20)
        clients.look_around()
        eventually(lambda: clients.open == 80, 20)
        assert set(clients.closed.values()) == {1}
        assert clients.codes == {1012: 80}


def test_a_worker_that_is_stuck_does_not_hold_the_others_up_for_long_when_they_leave(serve_many: Any) -> None:
    """They let go of who asks for nothing, then wait for it a second, then send their clients away."""
    server = serve_many(APPLICATION, "--reload-mercy", "0.1", "-L")

    def client_of(is_wanted: Callable[[int], bool]) -> HttpClient | None:
        client = HttpClient(address(server))
        if is_wanted(int(client.request("GET", "/").text.split()[0])):
            return client
        client.close()
        return None

    with open_chat(server) as chat:
        other = whose(chat)
        with eventually(lambda: client_of(other.__eq__)) as idle, eventually(lambda: client_of(other.__ne__)) as stuck:
            stuck.send_request("POST", "/eval", body=f"sys.stderr.write('stuck\\n'), {BLOCK}".encode())
            server.wait_for_log("^stuck$")
            os.kill(server.pid, signal.SIGHUP)
            server.wait_for_log("reloaded: new workers serve", 20)
            idle.assert_ended()
            began = time.monotonic()
            is_closed(chat, 1012, "server restarts")
            assert 0.5 < time.monotonic() - began < 5


def test_a_worker_that_accepts_nobody_any_more_waits_for_its_orders(serve_many: Any) -> None:
    server = serve_many(APPLICATION, "--master", processes=1)
    assert evaluate(server, "uwsgi.accepting(0)") is None
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("reloaded: new workers serve", 20)
    assert server.stop() == 0
