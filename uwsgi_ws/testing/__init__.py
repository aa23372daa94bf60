"""Tests of applications: a server for a test, a client that waits for nothing for ever, and calls without either.

Under pytest the fixture ``websocket_server`` starts servers by ``serve``; ``docs/testing.md`` begins with it. Importing
this package makes ``import uwsgi`` work, and ``import uwsgidecorators``, where no real ones are: before the application
is imported, for instance in ``conftest.py``. gevent is imported when an application needs it.
"""

from __future__ import annotations

from uwsgi_ws.client.connection import ClientConnection, HandshakeRefused, connect
from uwsgi_ws.testing.calls import Answer, call, environ
from uwsgi_ws.testing.server import Server, ServerFailed
from uwsgi_ws.testing.serving import Servers, serve
from uwsgi_ws.testing.uwsgi_module import offer_uwsgi

__all__ = [
    "Answer",
    "ClientConnection",
    "HandshakeRefused",
    "Server",
    "ServerFailed",
    "Servers",
    "call",
    "connect",
    "environ",
    "serve",
]

offer_uwsgi()
