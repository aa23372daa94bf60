"""Every command and snippet of README and docs/ is followed as it stands there, page by page."""

from __future__ import annotations

import os
import re
import shlex
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest
from support.eventually import eventually
from support.http_client import HttpClient, fetch
from support.pages import PAGES, Block, blocks, page_text
from support.peers import require_program
from support.server import EXAMPLES, ROOT, UWSGI_WS, Program, Server
from support.tls import Authority
from support.websocket_client import handshake

pytestmark = pytest.mark.matrix

Serve = Callable[..., Server]

#: What a reader has of their own where a page does not show it.
SITE = {
    "app.py": """
import flask
import uwsgi_ws

app = application = flask.Flask(__name__)
app.add_url_rule("/", "page", lambda: "a page")
app.add_url_rule("/echo", "echo", lambda: uwsgi_ws.accept(flask.request.environ) and "", websocket=True)
""",
    "mysite/__init__.py": "",
    "mysite/wsgi.py": """
import django.conf
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from mysite.views import echo

urlpatterns = [path("", lambda request: HttpResponse("a page")), path("echo", echo)]
if not django.conf.settings.configured:
    django.conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
application = get_wsgi_application()
""",
    "mysite/views.py": """
import uwsgi
from django.http import HttpResponse


def echo(request):
    uwsgi.websocket_handshake()
    return HttpResponse()
""",
    "uwsgi.ini": "[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = app.py\nmaster = true\nprocesses = 2\nthunder-lock = true\n",
}

#: Commands that are not run, or not by these tests: how they begin, and why.
LEFT_OUT = {
    "make run": "test_first_steps and the clean clone of .ci/run",
    "pip install": "asks the network; the extras' names are compared",
    "python -m venv": "the environment of the tests is one",
    ".venv/bin/": "the same",
    "gunicorn": "test_gunicorn, which needs the package's entry points",
    "redis-cli": "test_channels_on_redis publishes so",
    "python -m uwsgi_ws publish": "test_publish",
    "python -m uwsgi_ws connect": "test_connect",
    "echo '{": "the same",
    "sudo": "root's folders are not a test's; nginx is given its file otherwise",
    "python benchmarks/": "takes minutes",
    "docker ": "needs its daemon; test_deploying runs what the image runs",
    "kubectl ": "needs a cluster; test_deploying checks the file",
    "go ": "test_go, which follows both pages, and their --go-app",
    "mkdir echo": "the same",
    "python -m uwsgi_ws go-module": "the same",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in SITE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    cert, key = Authority(tmp_path).issue().split(",")
    os.symlink(cert, tmp_path / "cert.pem")
    os.symlink(key, tmp_path / "key.pem")
    os.symlink(EXAMPLES, tmp_path / "examples")
    return tmp_path


class Reader:
    """Does what a page says, in a folder of their own; one server runs at a time."""

    def __init__(self, serve: Serve, site: Path) -> None:
        self._serve = serve
        self._site = site
        self._server: Server | None = None
        self._nginx: subprocess.Popen[bytes] | None = None
        self._applications: list[str] = []

    def follow(self, number: int, block: Block) -> None:
        if block.language == "sh":
            for line in block.text.replace("\\\n", "").splitlines():
                self._run(line.partition(" #")[0].strip())
            return
        name = block.name or f"block{number}.{block.language}"
        (self._site / name).parent.mkdir(exist_ok=True)
        (self._site / name).write_text(block.text)
        match block.language:
            case "python":
                compile(block.text, name, "exec")
                if "\ndef application(" in block.text:
                    self._applications.append(name)
            case "ini":
                self._run(f"python -m uwsgi_ws check {name}")
            case "nginx":
                self._start_nginx(block.text)

    def finish(self) -> None:
        """Ask nginx, where the page has one, and open a WebSocket to each application that the page shows."""
        if self._nginx is not None:
            context = ssl.create_default_context(cafile=self._site / "cert.pem")
            url = f"https://localhost:{self._nginx_port}/"
            eventually(lambda: b"<title>Chat</title>" in urllib.request.urlopen(url, context=context).read())
        self.close()
        for name in self._applications:
            server = self._serve(None, "--wsgi-file", name, cwd=self._site)
            assert opens_somewhere(server), name
            server.stop()

    def close(self) -> None:
        if self._nginx is not None:
            self._nginx.terminate()
            self._nginx.wait()
            self._nginx = None
        if self._server is not None:
            assert self._server.stop() == 0
            self._server = None

    def _start_nginx(self, server: str) -> None:
        """Serve a file of /etc/nginx/conf.d from a folder of the test's."""
        own = server.replace("/etc/nginx/cert.pem", "cert.pem").replace("/etc/nginx/key.pem", "key.pem")
        own = own.replace("listen ", "listen 127.0.0.1:")
        text = f"daemon off; pid nginx.pid; error_log stderr; events {{}} http {{ access_log off; {own} }}"
        (self._site / "nginx.conf").write_text(text)
        self._nginx_port = int(re.findall(r"listen 127\.0\.0\.1:(\d+)", own)[0])
        program = require_program("nginx", "/usr/sbin/nginx")
        command = [program, "-e", "stderr", "-p", str(self._site), "-c", str(self._site / "nginx.conf")]
        self._nginx = subprocess.Popen(command)

    def _run(self, command: str) -> None:
        if not command or any(command.startswith(beginning) for beginning in LEFT_OUT) or "--go-app" in command:
            return
        words = [sys.executable if word == "python" else word for word in shlex.split(command)]
        if words[1:3] == ["-m", "uwsgi_ws"] and "check" not in words:
            if self._server is not None:
                assert self._server.stop() == 0
            program = Program(tuple(words), UWSGI_WS.ready)
            self._server = self._serve(None, program=program, cwd=self._site, concurrency=())
            if "--http" in words:
                assert fetch(("127.0.0.1", self._server.port)).status < 500
                assert opens_somewhere(self._server), command
            return
        # The plugin, where the package is not installed.
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_PLUGINS": "uwsgi_ws.pytest_plugin"}
        done = subprocess.run(words, cwd=self._site, env=env, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def opens_somewhere(server: Server) -> bool:
    """Say whether a WebSocket can be opened at one of the paths that pages use."""
    for path in ("/", "/ws", "/chat", "/echo"):
        with HttpClient(("127.0.0.1", server.port)) as client:
            client.send(handshake(path))
            if client.read_head().status == 101:
                return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_works(serve: Serve, site: Path, page: Path) -> None:
    reader = Reader(serve, site)
    try:
        for number, block in enumerate(blocks(page_text(page))):
            reader.follow(number, block)
        reader.finish()
    finally:
        reader.close()


def test_every_extra_that_a_page_names_exists() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = {extra for page in PAGES for extra in re.findall(r"uwsgi_ws\[(\w+)\]", page.read_text())}
    assert named
    assert named <= set(config["options.extras_require"])
