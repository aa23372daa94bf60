"""What a start loads: what requests will need, before workers are forked, and nothing that no option asks for."""

from __future__ import annotations

import re
from typing import Any

import pytest

# Lets the test read what is loaded: when the application is, and when a worker begins to serve.
APPLICATION = """
import os
import sys
import uwsgi

def say(*words):
    os.write(2, (" ".join(words) + "\\n").encode())  # at once, as workers write beside one another

loaded = set(sys.modules)
say("LOADED", *sorted(loaded))

def tell():
    say("IN THE WORKER", *sorted(set(sys.modules) - loaded))

uwsgi.post_fork_hook = tell

def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]
"""

#: Each takes a millisecond or more of a start. ``ssl`` and ``subprocess`` are loaded to be patched.
HEAVY = {
    *("argparse", "asyncio", "configparser", "csv", "difflib", "email", "hmac", "html", "http.client", "http.server"),
    *("importlib.metadata", "importlib.resources", "logging.config", "logging.handlers", "multiprocessing", "secrets"),
    *("socketserver", "tempfile", "unittest", "urllib.request", "xml", "zipfile"),
    *("cffi", "h2", "hpack", "opentelemetry", "pkg_resources", "redis", "yaml", "defusedxml"),
    *("uwsgi_ws.check", "uwsgi_ws.client", "uwsgi_ws.companions", "uwsgi_ws.fronts.http2", "uwsgi_ws.process.harakiri"),
    *(
        "uwsgi_ws.process.master",
        "uwsgi_ws.process.mastered",
        "uwsgi_ws.request.error_pages",
        "uwsgi_ws.request.static",
    ),
    *("uwsgi_ws.routing.router", "uwsgi_ws.testing", "uwsgi_ws.threads", "uwsgi_ws.wsgi.serial"),
}
#: By the options that ask for them.
ASKED_FOR = {
    ("--threads", "4"): "uwsgi_ws.threads.connection",
    ("--harakiri", "5"): "uwsgi_ws.process.harakiri",
    ("--static-map", "/a=/tmp"): "uwsgi_ws.request.static",
    ("--route", "^/a break:404"): "uwsgi_ws.routing.router",
}


def test_what_no_option_asks_for_is_not_loaded(serve: Any) -> None:
    server = serve(APPLICATION, "--gevent", "10")
    server.wait_for_log("IN THE WORKER")
    (loaded,) = re.findall("^LOADED (.*)$", server.log, re.MULTILINE)
    assert "uwsgi_ws.websocket.connection" in loaded.split()
    assert sorted(HEAVY & set(loaded.split())) == []


@pytest.mark.parametrize("options", [(), *ASKED_FOR], ids=str)
def test_a_worker_shares_all_that_is_loaded_with_those_forked_beside_it(
    serve_many: Any, options: tuple[str, ...]
) -> None:
    server = serve_many(APPLICATION, *options)
    server.wait_for_log("IN THE WORKER")
    assert (
        ASKED_FOR.get(options, "uwsgi_ws.channels.pipes")
        in re.findall("^LOADED .*$", server.log, re.MULTILINE)[0].split()
    )
    assert set(re.findall("^IN THE WORKER *(.*)$", server.log, re.MULTILINE)) == {""}
