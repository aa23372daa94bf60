"""Tests as users write them for their applications; ``test_testing`` runs them by pytest, patched and not.

Its ``conftest.py`` imports ``uwsgi_ws.testing``.
"""

import threading
import time
from pathlib import Path

import pytest
import uwsgi

import uwsgi_ws
import uwsgi_ws.testing
from uwsgi_ws.testing import call, environ, serve

sold = []


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/refuse":
        start_response("403 Forbidden", [("X-Why", "closed")])
        return [b"not today"]
    if path == "/page":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['REMOTE_USER']} {environ['wsgi.input'].read().decode()}".encode()]
    if path == "/broken":
        raise KeyError("the application's own")
    ws = uwsgi_ws.accept(environ, subprotocols=["shop.v2"])
    if path == "/room":
        ws.join("room")
        ws.send("joined")
    for text in ws:
        if text == "wait":
            time.sleep(0.2)
        elif text == "end":
            ws.close(4000, "sold out")
            return []
        sold.append(text)
        ws.send(text)
    return []


def test_a_conversation(websocket_server):
    with websocket_server(application).connect("/ws", subprotocols=["shop.v1", "shop.v2"]) as ws:
        assert ws.subprotocol == "shop.v2"
        ws.send("a book")
        assert ws.recv() == "a book"
        ws.send(b"\0")
        assert ws.recv() == b"\0"
        ws.send_json({"a": 1})
        assert ws.recv_json() == {"a": 1}
        assert 0 < ws.ping("x") < 5
    assert ws.close_code == 1000
    assert "a book" in sold  # in this very process


def test_how_it_ends(websocket_server):
    ws = websocket_server(application).connect("/ws")
    ws.send("a")
    ws.send("end")
    assert ws.recv() == "a"
    with pytest.raises(uwsgi_ws.ConnectionClosed):
        ws.recv()
    assert (ws.close_code, ws.close_reason) == (4000, "sold out")
    with pytest.raises(uwsgi_ws.ConnectionClosed, match="4000 sold out"):
        ws.send("more")


def test_a_refusal(websocket_server):
    with pytest.raises(uwsgi_ws.testing.HandshakeRefused, match="403 Forbidden: not today") as refused:
        websocket_server(application).connect("/refuse")
    assert refused.value.status == 403
    assert refused.value.headers["x-why"] == "closed"
    assert refused.value.body == b"not today"


def test_nothing_is_waited_for_for_ever(websocket_server):
    ws = websocket_server(application).connect("/ws", timeout=0.1)
    with pytest.raises(TimeoutError, match=r"/ws: waited 0\.1 s for message 1; 0 messages came before"):
        ws.recv()


def test_clients_wait_beside_one_another(websocket_server):
    server = websocket_server(application)
    slow, fast = server.connect("/ws"), server.connect("/ws")
    slow.send("wait")
    fast.send("a")
    assert fast.recv() == "a"
    assert slow.recv() == "wait"


def test_channels_reach_clients_from_the_test(websocket_server):
    server = websocket_server(application)
    clients = [server.connect("/room") for _ in range(3)]
    assert [ws.recv() for ws in clients] == ["joined"] * 3
    uwsgi_ws.publish("room", "news")
    assert [ws.recv() for ws in clients] == ["news"] * 3


def test_options_by_name(websocket_server):
    ws = websocket_server(application, websockets_max_size=1).connect("/ws")
    ws.send("x" * 2000)
    with pytest.raises(uwsgi_ws.ConnectionClosed):
        ws.recv()
    assert ws.close_code == 1009


def test_one_application_object_at_a_time(websocket_server):
    websocket_server(application)
    with pytest.raises(uwsgi_ws.InvalidState, match="serves application already"):
        websocket_server(application)


@pytest.mark.parametrize("options", [{"processes": 2}, {"logto": "x"}, {"uid": "nobody"}])
def test_what_needs_a_process(websocket_server, options):
    with pytest.raises(ValueError, match=f"--{min(options)}: not for an application object"):
        websocket_server(application, **options)


def test_workers(websocket_server):
    server = websocket_server(__file__, processes=2)
    with server.connect("/ws") as ws:
        ws.send("a")
        assert ws.recv() == "a"
    assert "spawned uwsgi_ws worker 2" in server.log


def test_a_configuration_of_production(websocket_server, tmp_path):
    ini = tmp_path / "shop.ini"
    ini.write_text(f"[uwsgi]\nhttp = :80\nuid = nobody\npidfile = /nowhere/x\ngevent = 10\nwsgi-file = {__file__}\n")
    with websocket_server(ini).connect("/ws") as ws:
        ws.send("a")
        assert ws.recv() == "a"


def test_a_server_that_cannot_start(websocket_server):
    with pytest.raises(uwsgi_ws.Error, match=r"no file nowhere\.py"):
        websocket_server("nowhere.py")


class TestModule:
    def test_one_server(self, module_websocket_server, request):
        request.module.server = module_websocket_server(__file__)

    def test_for_all_tests(self, request):
        with request.module.server.connect("/ws") as ws:
            ws.send("a")
            assert ws.recv() == "a"


def test_calls():
    answer = call(application, environ("/page", method="POST", body="hi", REMOTE_USER="ada"))
    assert (answer.status, answer.text) == (200, "ada hi")
    answer = call(application, environ("/ws", subprotocols=["shop.v2"]), messages=["a", b"b"])
    assert (answer.status, answer.messages, answer.close_code) == (101, ["a", b"b"], 1000)
    assert answer.subprotocol == "shop.v2"
    assert call(application, environ("/ws"), messages=["end", "a"]).close_code == 4000
    assert call(application, environ("/refuse"), messages=[]).body == b"not today"
    with pytest.raises(KeyError, match="own"):
        call(application, environ("/broken"))


def test_uwsgi_says_what_it_needs():
    with pytest.raises(SystemError, match="only from the main callable"):
        uwsgi.websocket_recv()
    with pytest.raises(uwsgi_ws.InvalidState):
        uwsgi_ws.publish("room", "news")


def test_nothing_stays():
    def held():
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(3):
        with serve(application) as server:
            server.connect("/ws").ping()
    before, threads = held(), threading.active_count()
    for _ in range(5):
        with serve(application) as server:
            server.connect("/ws").ping()
    assert held() <= before + 1
    assert threading.active_count() <= threads + 1
