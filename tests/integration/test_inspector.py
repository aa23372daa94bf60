"""``--inspector``: what its page shows and does, who may open it, and that it is in nobody's way."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.chromium import chromium_page
from support.eventually import eventually
from support.server import APPLICATIONS, Server, free_port
from support.websocket_client import RawClient, close_frame, handshake, text
from support.workers import wait_for_workers
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from playwright.sync_api import Page

APPLICATION = APPLICATIONS / "inspected.py"
LIVE = "[data-link=live]"


class Inspected:
    """A server with an inspector, as a page of it sees it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = re.findall(r"inspector: (http://\S+)", server.log)[0]
        self.host, self.token = re.findall(r"//([^/]+)/#token=(\S+)", self.url)[0]
        self.port = int(self.host.rpartition(":")[2])

    @contextmanager
    def page(self, token: str = "") -> Iterator[Asking]:
        with connect(f"ws://{self.host}/live", origin=f"http://{self.host}", compression=None) as link:  # type: ignore[arg-type]
            link.send(json.dumps({"token": token or self.token}))
            yield Asking(link)


class Asking:
    """A page's WebSocket."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link
        self._n = 0

    def begin(self, **request: Any) -> int:
        self._n += 1
        self.link.send(json.dumps({"n": self._n, **request}))
        return self._n

    def next(self, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the next message that is wanted."""
        while True:
            message: dict[str, Any] = json.loads(self.link.recv(timeout=10))
            if wanted(message):
                return message

    def ask(self, **request: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the pieces of an answer, and the last."""
        n = self.begin(**request)
        pieces = []
        while not (piece := self.next(lambda message: message.get("n") == n)).get("is_last"):
            pieces.append(piece)
        return pieces, piece

    def connections(self) -> list[dict[str, Any]]:
        return [each for piece in self.ask(do="list")[0] for each in piece["connections"]]

    def events(self, n: int, number: int) -> list[dict[str, Any]]:
        """Return so many of the events that a watch tells."""
        found: list[dict[str, Any]] = []
        while len(found) < number:
            found += self.next(lambda message: message.get("n") == n)["events"]
        return found


@pytest.fixture
def inspected(serve_many: Any) -> Callable[..., Inspected]:
    def start(*options: str, **settings: Any) -> Inspected:
        model = () if "--threads" in options else ("--gevent", "100")
        address = f"127.0.0.1:{free_port()}"
        return Inspected(serve_many(APPLICATION, *model, "--inspector", address, *options, **settings))

    return start


def opened(server: Server, path: str) -> RawClient:
    peer = RawClient.open(server.port, path)
    peer.send_text("x")
    peer.expect_text("x")
    return peer


# The page


def test_the_page_shows_closes_and_transcribes(inspected: Callable[..., Inspected]) -> None:
    here = inspected()
    peers = [opened(here.server, f"/chat/{number}") for number in range(3)]
    with chromium_page() as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.goto(here.url)
        page.wait_for_selector(LIVE)
        assert page.url == f"http://{here.host}/", "the token is in the address no longer"
        assert not [url for url in requested if here.token in url.partition("#")[0]]
        rows = page.locator("#connections tbody tr")
        eventually(lambda: rows.count() == 3, 10)
        assert page.locator("#workers tbody tr").count() == 2
        assert page.locator("#workers tbody .chip").all_inner_texts() == ["serving", "serving"]
        eventually(lambda: page.inner_text("#now-open") == "3", 10)

        page.fill("#filter", "/chat/1")
        eventually(lambda: rows.count() == 1, 10)
        page.get_by_role("button", name=re.compile("Watch .* .chat.1")).click()
        eventually(lambda: tap_is_there(page, peers[1]), 10)
        peers[1].send_text("<b>Grüße</b>")
        peers[1].expect_text("<b>Grüße</b>")
        events = page.locator("#events li")
        page.locator("#events .body", has_text="<b>Grüße</b>").nth(1).wait_for()
        assert "TEXT" in events.last.inner_text()
        assert "14 B" in events.last.inner_text()
        page.click("#pause")
        before = events.count()
        peers[1].send_text("unseen")
        peers[1].expect_text("unseen")
        page.locator("#pause", has_text="Go on (").wait_for()
        assert events.count() == before
        page.click("#pause")
        page.locator("#events .body", has_text="unseen").nth(1).wait_for()

        page.get_by_role("button", name=re.compile("Close .* .chat.1")).click()
        page.select_option("#closing-code", "")
        page.fill("#closing-number", "4001")
        page.fill("#closing-reason", "out")
        page.get_by_role("button", name="Close it").click()
        peers[1].expect_close(4001, "out")
        peers[1].send(close_frame(4001))
        page.locator("#events", has_text="closed 4001").wait_for()
        page.press("body", "Escape")
        page.locator("#events li").first.wait_for(state="detached")

        page.click("#tab-channels")
        page.locator("#channels tbody tr", has_text="room").wait_for()
        page.reload()
        page.wait_for_selector(LIVE)  # the tab remembers the token
    for peer in peers:
        peer.close()


def tap_is_there(page: Page, peer: RawClient) -> bool:
    """Send something; say whether the page has seen any of it yet."""
    peer.send_text("is it there?")
    peer.expect_text("is it there?")
    return page.locator("#events li").count() > 0


def test_the_page_fits_every_window_in_light_and_dark(inspected: Callable[..., Inspected]) -> None:
    here = inspected(processes=1)
    peer = opened(here.server, "/" + "w" * 300)
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    with chromium_page() as page:
        page.goto(here.url)
        page.locator("#connections tbody tr").wait_for()
        for width in (320, 390, 760, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.emulate_media(color_scheme="light")
        assert min(page.evaluate(background)) > 200
        page.emulate_media(color_scheme="dark")
        assert max(page.evaluate(background)) < 55
    peer.close()


def test_a_page_without_the_token_asks_for_it_and_comes_back_by_itself(serve: Any, tmp_path: Path) -> None:
    token, port = tmp_path / "token", free_port()
    token.write_text("0123456789abcdef")
    options = ("--gevent", "10", "--inspector", str(port), "--inspector-token", str(token))
    server: Server = serve(APPLICATION, *options)
    with chromium_page() as page:
        page.goto(f"http://127.0.0.1:{port}/#token=wrong")
        page.wait_for_selector("[data-link=locked]")
        page.fill("#token", token.read_text())
        page.keyboard.press("Enter")
        page.wait_for_selector(LIVE)
        server.stop()
        page.wait_for_selector("[data-link=down]")
        assert "trying again in" in page.inner_text("#link-more")
        serve(APPLICATION, *options)
        page.wait_for_selector(LIVE, timeout=20_000)


# Who may


def answered(here: Inspected, **headers: str | None) -> tuple[int, str]:
    """Return the status, and the body's first line, of an opening handshake."""
    given = {"Host": here.host, "Origin": f"http://{here.host}"}
    for name, value in headers.items():
        if value is None:
            del given[name]
        else:
            given[name] = value.replace("HOST", here.host).replace("PORT", str(here.port))
    with socket.create_connection(("127.0.0.1", here.port), 10) as sock:
        sock.sendall(handshake("/live", given.items()))
        sock.settimeout(10)
        head, _, body = sock.recv(65_536).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


@pytest.fixture(scope="module")
def standing() -> Iterator[Inspected]:
    with Server(APPLICATION, "--gevent", "10", "--inspector", f"127.0.0.1:{free_port()}") as server:
        yield Inspected(server)


@pytest.mark.parametrize(
    "origin",
    [
        *("https://example.org", "null", None, "http://127.0.0.1", "http://127.0.0.1:1", "https://HOST"),
        *("http://HOST.example.org", "http://xHOST", "http://HOST/", "HOST", "http://localhost:PORT", ""),
    ],
)
def test_a_foreign_origin_is_refused(standing: Inspected, origin: str | None) -> None:
    status, body = answered(standing, Origin=origin)
    assert (status, "only the page of this address" in body) == (403, True)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:PORT", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:PORT", "[x]"],
)
@pytest.mark.parametrize("path", ["/", "/live"])
def test_a_host_that_others_name_is_refused(standing: Inspected, host: str, path: str) -> None:
    host = host.replace("PORT", str(standing.port))
    if path == "/live":
        assert answered(standing, Host=host, Origin=f"http://{host}")[0] in (400, 421)
        return
    client = HTTPConnection("127.0.0.1", standing.port, timeout=10)
    client.request("GET", "/", headers={"Host": host})
    assert client.getresponse().status in (400, 421)
    client.close()


@pytest.mark.parametrize("host", ["HOST", "localhost:PORT", "127.0.0.1", "[::1]:8000"])
def test_this_machine_s_own_names_are_good(standing: Inspected, host: str) -> None:
    assert answered(standing, Host=host, Origin=f"http://{host}")[0] == 101


def test_nothing_is_told_and_nothing_done_without_the_token(standing: Inspected) -> None:
    for first in ('{"token":"wrong"}', '{"n":1,"do":"list"}', '{"token":"\\ud800"}', "{", "[]", "[" * 16_000):
        with connect(f"ws://{standing.host}/live", origin=f"http://{standing.host}") as link:  # type: ignore[arg-type]
            link.send(first)
            with pytest.raises(ConnectionClosed) as caught:
                link.recv(timeout=10)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == (1008 if first[0] == "[" or first == "{" else 4001)


def test_a_page_looks_and_closes_and_does_nothing_else(standing: Inspected) -> None:
    with standing.page() as page:
        for request in ({"do": "reload"}, {"do": "drain"}, {"do": "publish", "channel": "room", "message": "x"}, {}):
            assert "is none of list, channels, close, watch" in page.ask(**request)[1]["error"]
        assert page.ask(do="close")[1]["error"] == "no 'connection'"
        assert page.ask(do="close", connection="1-1")[1]["error"] == "there is no connection '1-1'"
        assert page.ask(do="watch", connection="1-1")[1]["error"] == "there is no connection '1-1'"
        page.link.send('{"do": "list"}')
        with pytest.raises(ConnectionClosed, match="a request has a number"):
            page.next(lambda message: False)


def test_the_page_is_html_of_one_file_that_runs_nothing_else(standing: Inspected) -> None:
    with urllib.request.urlopen(f"http://{standing.host}/") as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert f"connect-src 'self' ws://{standing.host}" in policy
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        html = response.read().decode()
    assert standing.token not in html
    assert not re.search(r"(src|href)=[\"'](?!data:)|@import|url\(", html)
    for path, status in {"/other": 404, "/live": 400}.items():
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{standing.host}{path}")
        with caught.value as error:
            assert error.status == status


# In nobody's way


@pytest.mark.parametrize("model", [("--gevent", "100"), ("--threads", "4"), ()], ids=["gevent", "threads", "serial"])
def test_messages_are_told_to_all_who_watch_whatever_runs_the_application(serve: Any, model: tuple[str, ...]) -> None:
    here = Inspected(serve(APPLICATION, "--inspector", f"127.0.0.1:{free_port()}", *model))
    peer = opened(here.server, "/echo")
    with here.page() as one, here.page() as other:
        [connection] = one.connections()
        assert (connection["path"], connection["messages_received"]) == ("/echo", 1)
        watches = [(page, page.begin(do="watch", connection=connection["id"])) for page in (one, other)]
        for page, n in watches:
            page.next(lambda message, n=n: message.get("n") == n)  # it begins by a sign of life
        peer.send_text("hello")
        peer.expect_text("hello")
        for page, n in watches:
            received, sent = page.events(n, 2)
            assert (received["sign"], received["kind"], received["size"], received["text"]) == ("<", "TEXT", 5, "hello")
            assert (sent["sign"], sent["text"]) == (">", "hello")
        one.link.send(json.dumps({"n": watches[0][1], "do": "cancel"}))
        peer.send_text("again")
        peer.expect_text("again")
        assert [event["text"] for event in other.events(watches[1][1], 2)] == ["again", "again"]
        assert other.ask(do="close", connection=connection["id"], code=4000, reason="out")[1]["closed"] == 1
        peer.expect_close(4000, "out")
        peer.send(close_frame(4000))
        peer.expect_eof()
        assert [event["kind"] for event in other.events(watches[1][1], 3)] == [
            "CLOSE 4000",
            "CLOSE 4000",
            "closed 4000",
        ]
        assert other.next(lambda message: message.get("n") == watches[1][1])["is_last"]
    peer.close()


def test_channels_are_counted_and_watched_over_all_workers(inspected: Callable[..., Inspected]) -> None:
    here = inspected(processes=3)
    peers = [opened(here.server, "/") for _ in range(6)]
    with here.page() as page:
        page.ask(do="channels")  # from here on messages are counted
        n = page.begin(do="watch", channel="room")
        page.next(lambda message: message.get("n") == n)
        for peer in peers:
            peer.send_text("publish")
        for peer in peers:
            for _ in peers:
                peer.expect_text("to all")
        events = page.events(n, len(peers))
        assert {(each["sign"], each["text"]) for each in events} == {("*", "to all")}
        pieces, _ = page.ask(do="channels")
        found = [each for piece in pieces for each in piece["channels"]]
        assert sum(each["websockets"] for each in found) == len(peers)
        assert sum(each["subscriptions"] for each in found) == 1, "it is the watch's own"
        assert max(each["messages"] for each in found) == len(peers)
        page.link.send(json.dumps({"n": n, "do": "cancel"}))
        eventually(lambda: sum(e["subscriptions"] for p in page.ask(do="channels")[0] for e in p["channels"]) == 0, 10)
    for peer in peers:
        peer.close()


def test_a_worker_that_stands_still_is_shown_so_and_the_rest_goes_on(inspected: Callable[..., Inspected]) -> None:
    here = inspected("--gevent-stuck-report", "0")
    with here.page() as page:
        serving = page.next(lambda message: [each["pid"] > 0 for each in message.get("workers", ())] == [True, True])
        worker = serving["workers"][0]["pid"]
        os.kill(worker, signal.SIGSTOP)
        try:
            pulse = page.next(lambda message: any(each["stuck"] for each in message.get("workers", ())))
            [stuck] = [each for each in pulse["workers"] if each["stuck"]]
            assert stuck["pid"] == worker
            assert stuck["lag"] == pytest.approx(stuck["stuck"], abs=0.1)
            assert page.ask(do="list")[1]["error"] == "1 workers have not answered"
        finally:
            os.kill(worker, signal.SIGCONT)
        page.next(lambda message: "workers" in message and not any(each["stuck"] for each in message["workers"]))
        assert "error" not in page.ask(do="list")[1]


def test_a_page_that_takes_nothing_slows_nobody(inspected: Callable[..., Inspected]) -> None:
    here = inspected(processes=1)
    peer = opened(here.server, "/")
    with here.page() as page, socket.create_connection(("127.0.0.1", here.port)) as deaf:
        [connection] = page.connections()
        deaf.sendall(handshake("/live", {"Host": here.host, "Origin": f"http://{here.host}"}.items()))
        deaf.sendall(text(json.dumps({"token": here.token})))
        deaf.sendall(text(json.dumps({"n": 1, "do": "watch", "connection": connection["id"]})))
        n = page.begin(do="watch", connection=connection["id"])
        page.next(lambda message: message.get("n") == n)
        for _ in range(20):
            for _ in range(100):
                peer.send_text("y" * 400)
            for _ in range(100):
                peer.expect_text("y" * 400)
            piece = page.next(lambda message: message.get("n") == n)
            assert len(piece["events"]) <= 50
        assert page.connections()
    peer.close()


def test_a_reload_keeps_the_page_and_shows_the_new_workers(inspected: Callable[..., Inspected]) -> None:
    here = inspected()
    with here.page() as page:
        before = page.next(lambda message: len(message.get("workers", ())) == 2)
        os.kill(here.server.pid, signal.SIGHUP)
        gone = {each["pid"] for each in before["workers"]}
        after = page.next(
            lambda message: (
                "workers" in message
                and {each["life"] for each in message["workers"]} == {"serving"}
                and not gone & {each["pid"] for each in message["workers"]}
            )
        )
        assert after["pulse"]["reloads"]["done"] == 1
        assert page.connections() == []


def test_a_port_alone_is_this_machine_s_and_a_file_has_the_token(serve: Any, tmp_path: Any) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    port = free_port()
    server: Server = serve(APPLICATION, "--gevent", "10", "--inspector", f":{port}", "--inspector-token", str(token))
    wait_for_workers(server, 1)
    assert f"inspector: http://127.0.0.1:{port}/#token=...\n" in server.log
    assert "0123456789abcdef" not in server.log
    with Inspected(server).page("0123456789abcdef") as page:
        assert page.connections() == []
