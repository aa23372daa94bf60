"""The commands in README's sections for those who come from elsewhere, run as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.http_client import fetch
from support.server import ROOT, UWSGI_WS, Program, Server

Serve = Callable[..., Server]

FILES = {
    "app.py": """
import flask

app = application = flask.Flask(__name__)


@app.route("/")
def page():
    return "a page"
""",
    "mysite/__init__.py": "",
    "mysite/wsgi.py": """
import django.conf
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("a page"))]
if not django.conf.settings.configured:
    django.conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
application = get_wsgi_application()
""",
    "uwsgi.ini": "[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = app.py\nmaster = true\nprocesses = 2\nthunder-lock = true\n",
}


def commands() -> list[str]:
    """Those of the sections, but for gunicorn's, which have a test of their own."""
    readme = (ROOT / "README.md").read_text()
    sections = re.findall(r"^### (?:Coming from uWSGI|With Flask).*?(?=^##)", readme, re.DOTALL | re.MULTILINE)
    assert len(sections) == 2
    return re.findall(r"^    (python -m uwsgi_ws .+)$", "".join(sections), re.MULTILINE)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("command", commands())
def test_a_command_does_what_it_says(serve: Serve, site: Path, command: str) -> None:
    words = [sys.executable, *shlex.split(command)[1:]]
    if "check" in words:
        env = {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=site, env=env, capture_output=True, text=True, timeout=30, check=True)
        assert "The server can be started with it." in done.stdout
        return
    words = ["127.0.0.1:0" if word == ":8080" else word for word in words]
    server = serve(None, program=Program(tuple(words), UWSGI_WS.ready), cwd=site)
    assert fetch(("127.0.0.1", server.port)).text == "a page"


def test_there_are_some() -> None:
    assert len(commands()) >= 5
