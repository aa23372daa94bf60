"""``uwsgi.sharedarea_*``: as under uWSGI, and the same memory for all workers; frames from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.http_client import HttpClient
from support.server import UWSGI_WS, Server, ServerFailed
from support.shared_memory import APPLICATION, ask, both_answer
from support.websocket_client import RawClient
from support.workers import wait_for_workers

AREAS = ("--sharedarea", "1", "--sharedarea", "pages=2", "--sharedarea", "size=0x64")
MODES = [("--gevent", "10"), ("--threads", "4"), ()]
CALLS = r"""
read(0, 0, 5) | write(0, 0, "hello") | write(0, 5, b"\xff\0w") | read(0, 0, 10) | read(0, 0) | read(0, 4090)
read(1, 8000) | read(2, 4000) | read(0, 4096, 1) | read(0, 4095, 2) | read(0, 4095) | read(0, 4096) | read(7, 0, 1)
read(7, 0) | read("0", 0, 1) | read(0, 1.5, 1) | read(2**40, 0, 1) | read(0, 2**70, 1) | write(0, 4095, "ab")
write(0, 4096, "") | write(0, 0, "") | write(0, 4094, "ab") | write(7, 0, "a") | write(0, 0, 5)
write(0, 0, bytearray(b"x")) | write(0, 0, memoryview(b"x")) | write8(0, 100, 200) | read8(0, 100)
write8(0, 100, 255) | read8(0, 100) | write8(0, 100, 256) | write8(0, 100, -1) | write8(0, 4096, 1) | read8(0, 4096)
readbyte(0, 100) | writebyte(0, 100, 7) | write8(0, 100, "a") | write8(0, 100, 1.5) | write16(0, 200, 40000)
read16(0, 200) | write16(0, 4095, 1) | read16(0, 4095) | write32(0, 300, 3000000000) | read32(0, 300)
write32(0, 300, -5) | read32(0, 300) | write32(0, 300, 2**40+3) | read32(0, 300) | write32(0, 4093, 1)
read32(0, 4093) | write32(0, 300, 2**80) | write64(0, 400, 2**63-1) | read64(0, 400) | write64(0, 400, -5)
read64(0, 400) | write64(0, 400, 2**63) | write64(0, 4089, 1) | read64(0, 4089) | readlong(0, 400)
writelong(0, 400, 9) | inc32(0, 300) | inc32(0, 300, 5) | read32(0, 300) | dec32(0, 300) | dec32(0, 300, 5)
read32(0, 300) | inc64(0, 400) | inc64(0, 400, 5) | read64(0, 400) | dec64(0, 400) | dec64(0, 400, 5)
read64(0, 400) | inc32(0, 4093) | dec32(0, 4093) | inc64(0, 4093) | dec64(0, 4093) | inclong(0, 400)
inc32(0, 300, 2**31-1) | inc32(0, 300, 2**31) | inc64(0, 400, 2**63) | write32(0, 300, 2**31-1) | inc32(0, 300)
read32(0, 300) | inc32(7, 0) | inc64(0, 4096) | rlock(0) | unlock(0) | wlock(0) | unlock(0) | rlock(7) | wlock(7)
unlock(7) | rlock("a") | memoryview(7) | object(7) | object("x")
"""
LINES = [f"uwsgi.sharedarea_{line.strip()}" for line in CALLS.replace("|", "\n").splitlines() if line.strip()]


def test_they_are_as_in_uwsgi() -> None:
    views = [f"{what}(uwsgi.sharedarea_memoryview(1))" for what in ("len", "bytes", "type")]
    both_answer([*LINES, *views[:2], "uwsgi.sharedarea_memoryview(0).format", views[2] + ".__name__"], *AREAS)


def test_without_an_area_there_are_no_functions() -> None:
    names = "sharedarea_read", "sharedarea_wlock", "websocket_send_from_sharedarea"
    assert both_answer([f"hasattr(uwsgi, {name!r})" for name in names]) == [False] * 3


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_workers_have_the_same_memory(serve: Any, mode: tuple[str, ...]) -> None:
    server = serve(APPLICATION, "--processes", "2", *AREAS, concurrency=mode)
    wait_for_workers(server, 2)
    seen: set[int] = set()
    asked = 0
    while len(seen) < 2:
        pid = ask(server, "os.getpid()", "uwsgi.sharedarea_inc64(0, 8)", "uwsgi.sharedarea_object(1)[:1].hex()")[0]
        seen.add(pid)
        asked += 1
        assert ask(server, "uwsgi.sharedarea_read64(0, 8)", "uwsgi.sharedarea_memoryview(0)[8]") == [asked, asked]
        assert asked < 200, "one worker answers everything"


def test_bytes_may_be_those_of_a_file(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "area"
    path.write_bytes(b"a" * 4096 + b"bcd")
    server = serve(APPLICATION, "--sharedarea", f"file={path},size=3,offset=4096")
    assert ask(server, "uwsgi.sharedarea_read(0, 0)", "uwsgi.sharedarea_write(0, 1, 'X')") == [b"bcd", None]
    assert path.read_bytes()[4090:] == b"aaaaaabXd"


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_a_worker_that_has_the_lock_keeps_others_out(serve: Any, mode: tuple[str, ...]) -> None:
    server = serve(APPLICATION, "--processes", "2", *AREAS, concurrency=mode)
    wait_for_workers(server, 2)
    hold = "uwsgi.sharedarea_wlock(0)\nuwsgi.sharedarea_write(0, 0, 'mine')\nuwsgi.sharedarea_write(1, 0, 'held')\n"
    with HttpClient(server.addresses[-1]) as client:
        look = "uwsgi.sharedarea_read(0, 0, 4)"
        client.send_request("POST", "/", body=f"{hold}time.sleep(0.5)\n{look}\nuwsgi.sharedarea_unlock(0)".encode())
        eventually(lambda: ask(server, "uwsgi.sharedarea_read(1, 0, 4)") == [b"held"])
        write = "uwsgi.sharedarea_write(0, 0, 'ours')"
        if mode:
            # Where the same worker may answer, too, it must ask for the lock.
            assert ask(server, "uwsgi.sharedarea_rlock(0)", write, "uwsgi.sharedarea_unlock(0)") == [None] * 3
        else:
            assert ask(server, write) == [None]
        assert eval(client.read_response().text) == [None, None, None, None, b"mine", None]
        assert ask(server, look) == [b"ours"]


@pytest.mark.parametrize("mode", MODES[:2], ids=" ".join)
def test_it_can_be_waited_for(serve: Any, mode: tuple[str, ...]) -> None:
    server = serve(APPLICATION, *AREAS, concurrency=mode)
    assert ask(server, "uwsgi.sharedarea_wait(0, 10, 1)", "uwsgi.sharedarea_wait(7)") == [
        None,
        "ValueError: error calling uwsgi_sharedarea_wait()",
    ]
    for change in ("uwsgi.sharedarea_write(0, 0, 'x')", "uwsgi.sharedarea_inc32(0, 8)", "uwsgi.sharedarea_update(0)"):
        with HttpClient(server.addresses[-1]) as client:
            client.send_request("POST", "/", body=b"uwsgi.sharedarea_write(1, 0, 'w')\nuwsgi.sharedarea_wait(0, 10, 9)")
            eventually(lambda: ask(server, "uwsgi.sharedarea_read(1, 0, 1)") == [b"w"])

            def is_woken(client: HttpClient = client, change: str = change) -> bool:
                ask(server, change)
                return not client.is_silent(0.05)

            eventually(is_woken)
            assert client.read_response().text == "[None, True]"
            ask(server, "uwsgi.sharedarea_write(1, 0, '-')")


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_frames_come_from_an_area(serve: Any, mode: tuple[str, ...]) -> None:
    server: Server = serve(APPLICATION, *AREAS, concurrency=mode)
    assert ask(server, "uwsgi.sharedarea_write(0, 10, 'hello')") == [None]
    with RawClient.open(server.port, "/chat") as client:
        client.send_text("uwsgi.websocket_send_from_sharedarea(0, 10, 5)")
        client.expect_text("hello")
        client.expect_text("[None]")
        client.send_text("uwsgi.websocket_send_binary_from_sharedarea(0, 4094)")
        client.expect_binary(b"\0\0")
        client.expect_text("[None]")
        client.send_text("uwsgi.websocket_send_binary_from_sharedarea(0, 4094, 3)")
        client.expect_text("['OSError: unable to send websocket binary message from sharedarea']")
        client.send_text("uwsgi.websocket_send_from_sharedarea(7, 0)")
        client.expect_text("['OSError: unable to send websocket message from sharedarea']")
    off = ask(server, "uwsgi.websocket_send_from_sharedarea(0, 0)")
    assert off == ["WebSocketError: unable to send websocket message from sharedarea"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("none", "number of pages 'none' is no whole number"),
        ("file=/x", "tells neither pages nor size"),
        ("size=1,ptr=0", "'ptr=0' is not done here"),
        ("size=1,file=/nowhere/at/all", "No such file"),
        ("size=10,file=/dev/null,offset=1", "--sharedarea"),
    ],
)
def test_what_cannot_be_is_refused(serve: Any, value: str, problem: str) -> None:
    with pytest.raises(ServerFailed) as caught:
        serve(APPLICATION, "--sharedarea", value, program=UWSGI_WS)
    assert problem in str(caught.value)
    assert "Traceback" not in str(caught.value)
