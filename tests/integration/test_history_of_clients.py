"""What WebSockets get that come back, in all modes, while the instance reloads and a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.engines import running
from support.eventually import eventually
from support.server import APPLICATIONS, ROOT, Server, ServerFailed, finish
from support.websocket_client import RawClient

import uwsgi_ws

pytestmark = pytest.mark.matrix

APPLICATION = APPLICATIONS / "history.py"
CARRIERS = [
    ("pipes", "--gevent 20 --processes 2 --master"),
    ("pipes", "--threads 8 --processes 2 --master"),
    ("pipes", "--gevent 20"),
    ("redis", "--threads 8"),
    ("redis", "--gevent 20 --processes 2 --master"),
]


@pytest.fixture(scope="module", params=CARRIERS, ids=" ".join)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    name, modes = request.param
    with running(name) as engine:
        address = engine.url or str(tmp_path_factory.mktemp("socket") / "channels.sock")
        options = engine.options or ["--channel-socket", address]
        with Server(APPLICATION, *modes.split(), "--channel-history", "room-*=50,60", *options) as server:
            yield server, address
            finish(server, allow_traceback=False)


def get(server: Server, path: str) -> Any:
    with urllib.request.urlopen(server.url(path)) as response:
        return json.load(response)


def told(client: RawClient) -> Any:
    return json.loads(client.read_frame().payload)


def test_a_client_comes_back_to_what_it_has_missed_and_goes_on(server: tuple[Server, str]) -> None:
    served, address = server
    with RawClient.open(served.port, "/json?latest") as client:
        recovered, position, _ = told(client)
        assert recovered is True
        get(served, "/publish/3?a")
        messages = [told(client) for _ in range(3)]
        assert [message["text"] for message in messages] == ["a0", "a1", "a2"]
        client.finish()
    get(served, "/publish/3?b")
    after = ["b0", "b1", "b2"]
    eventually(lambda: get(served, f"/subscribe?{messages[2]['position']}") == [True, after])
    for since, expected in ((position, ["a0", "a1", "a2"]), (messages[0]["position"], ["a1", "a2"])):
        with (
            RawClient.open(served.port, f"/json?{since}") as client,
            RawClient.open(served.port, "/plain") as plain,
            ExitStack() as others,
        ):
            *nothing, worker = told(plain)
            assert nothing == [None, None]
            # Who joins at a position is told of it when the worker has subscribed, with Redis too: one on this worker.
            while told(others.enter_context(RawClient.open(served.port, "/plain?latest")))[2] != worker:
                pass
            got = [told(client) for _ in [*expected, *after]]
            assert [message["text"] for message in got] == [*expected, *after]
            recovered, now, _ = told(client)
            assert (recovered, now) == (True, got[-1]["position"])
            client.send_text("from me to others")
            plain.expect_text("from me to others")
            uwsgi_ws.publish_to(address, "room-1", "from outside", history=50)
            assert told(client)["text"] == "from outside"
            plain.expect_text("from outside")
            client.finish()
            plain.finish()
        after += ["from me to others", "from outside"]
    recovered, found = get(served, f"/subscribe?{messages[2]['position']}")
    assert (recovered, found[:3], found[-1]) == (True, ["b0", "b1", "b2"], "from outside")
    assert get(served, "/subscribe?whatever") == [False, []]


def test_other_programs_keep_what_they_publish(server: tuple[Server, str]) -> None:
    served, address = server
    for number in range(2):
        uwsgi_ws.publish_to(address, "by hand", f"message {number}", history=2)
    arguments = ("publish", "--to", address, "--history", "2", "by hand", "message 2")
    assert subprocess.run([sys.executable, "-m", "uwsgi_ws", *arguments], cwd=ROOT).returncode == 0
    with pytest.raises(ValueError, match="a history has 0 to 1000000 messages, not -1"):
        uwsgi_ws.publish_to(address, "by hand", "message 3", history=-1)
    assert get(served, "/subscribe/by hand?oldest".replace(" ", "%20")) == [True, ["message 1", "message 2"]]


def test_history_outlives_a_killed_worker_and_a_reload() -> None:
    options = ("--gevent", "20", "--processes", "2", "--master", "--channel-history", "room-*=50")
    with Server(APPLICATION, *options) as server:
        with RawClient.open(server.port, "/json?latest") as client:
            _, position, pid = told(client)
            get(server, "/publish/2?a")
            assert [told(client)["text"] for _ in range(2)] == ["a0", "a1"]
            os.kill(pid, signal.SIGKILL)
            client.read_all()
        get(server, "/publish/2?b")
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for_log("reloaded: new workers serve", 20)
        get(server, "/publish/1?c")
        with RawClient.open(server.port, f"/json?{position}") as client:
            assert [told(client)["text"] for _ in range(5)] == ["a0", "a1", "b0", "b1", "c0"]
            assert told(client)[0] is True
            client.finish()


def test_messages_that_could_not_be_kept_are_refused_at_the_start() -> None:
    with (
        pytest.raises(ServerFailed, match="--channel-history-memory: messages may be so large that it needs 4096 KiB"),
        Server(APPLICATION, "--channel-history-memory", "1024"),
    ):
        pass


def test_a_higher_limit_of_messages_makes_the_default_memory_larger() -> None:
    with Server(APPLICATION, "--websockets-max-size", "20000") as server:
        assert get(server, "/publish/1?a")
