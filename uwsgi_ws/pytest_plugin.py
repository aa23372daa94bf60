"""What pytest loads at its start wherever this package is installed: fixtures that do nothing until a test asks.

It imports neither gevent nor the rest of the package by then, and offers no ``uwsgi``: a suite whose code asks whether
it runs under uWSGI gets the answer that it always got.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from uwsgi_ws.testing import Servers

__all__: list[str] = []

_HINT = (
    "`import uwsgi` works here once uwsgi_ws.testing has been imported: write `import uwsgi_ws.testing` into "
    "conftest.py, or before the application's import."
)


def _servers() -> Iterator[Servers]:
    from uwsgi_ws.testing import Servers

    with Servers() as servers:
        yield servers


def _fixture(scope: Any, name: str, doc: str) -> Any:
    def servers() -> Iterator[Servers]:
        yield from _servers()

    servers.__doc__ = doc
    return pytest.fixture(scope=scope, name=name)(servers)


websocket_server = _fixture(
    "function",
    "websocket_server",
    "Start servers: websocket_server(application or 'app.py', processes=2, ...). They end with the test.",
)
class_websocket_server = _fixture("class", "class_websocket_server", "As websocket_server, for all tests of a class.")
module_websocket_server = _fixture(
    "module", "module_websocket_server", "As websocket_server, for all tests of a module."
)
package_websocket_server = _fixture(
    "package", "package_websocket_server", "As websocket_server, for all tests of a package."
)
session_websocket_server = _fixture(
    "session", "session_websocket_server", "As websocket_server, for all tests of this process."
)


def _running() -> list[Any]:
    servers = sys.modules.get("uwsgi_ws.testing.server")
    return list(servers.RUNNING) if servers is not None else []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Show of the logs only what belongs to this test."""
    for server in _running():
        server.begin_part()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """Put the logs of the servers that run into the report of a test that fails."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in _running():
            if part := server.part:
                report.sections.append((f"log of {server.name}", part))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, None]:
    """Say what to do where an application cannot import ``uwsgi``."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "No module named 'uwsgi'" in str(report.longrepr):
        report.sections.append(("uwsgi_ws", _HINT))
