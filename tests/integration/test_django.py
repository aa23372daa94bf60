"""Django, as its projects name it to a server: ``mysite.wsgi:application``, and started as its documentation says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.http_client import fetch
from support.server import ROOT

pytest.importorskip("django")

# What `django-admin startproject mysite` makes, without what a test has no use for.
SETTINGS = """
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
"""
URLS = """
from django.http import JsonResponse
from django.urls import path

def hello(request):
    return JsonResponse({"method": request.method, "path": request.path, "body": request.body.decode()})

urlpatterns = [path("hello/", hello)]
"""
WSGI = """
import os
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_wsgi_application()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mysite").mkdir()
    for name, text in {"__init__": "", "settings": SETTINGS, "urls": URLS, "wsgi": WSGI}.items():
        (tmp_path / f"mysite/{name}.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        ["--module", "mysite.wsgi:application", "--chdir", "{project}"],
        ["--module=mysite.wsgi", "--pythonpath", "{project}"],
        ["-w", "mysite.wsgi", "--chdir", "{project}"],
        ["mysite.wsgi:application", "--chdir", "{project}"],
        ["mysite.wsgi", "--chdir", "{project}"],
        ["--wsgi-file", "mysite/wsgi.py", "--chdir", "{project}"],
        ["--chdir", "{project}", "--manage-script-name", "--mount", "/=mysite.wsgi:application"],
        ["--chdir", "{project}", "--module", "mysite.wsgi", "--wsgi-file", "mysite/wsgi.py"],
        ["--ini", "{project}/site.ini"],
    ],
    ids=" ".join,
)
def test_a_project_of_django_starts(serve: Any, project: Path, options: list[str]) -> None:
    (project / "site.ini").write_text(f"[uwsgi]\nchdir = {project}\nmodule = mysite.wsgi:application\n")
    options = [option.replace("{project}", str(project)) for option in options]
    server = serve(None, *options, cwd=project.parent, env={"PYTHONPATH": str(ROOT)})
    answer = fetch(("127.0.0.1", server.port), "/hello/")
    assert (answer.status, json.loads(answer.body)) == (200, {"method": "GET", "path": "/hello/", "body": ""})
