"""A worker whose parent is another program: it needs no master of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from support import arbiter
from support.http_client import HttpClient


class Arbiter:
    """The other program, up to where its worker serves."""

    def __init__(self, stdout: IO[str]) -> None:
        self._stdout = stdout
        self.port = int(self.until("bound"))
        self.worker = int(self.until("forked"))

    def until(self, word: str) -> str:
        """Return what is said after the next line that begins with a word."""
        for line in self._stdout:
            first, _, rest = line.strip().partition(" ")
            if first == word:
                return rest
        raise AssertionError(f"it has ended without {word!r}")


@contextmanager
def running(*arguments: str) -> Iterator[Arbiter]:
    program = [sys.executable, str(Path(arbiter.__file__)), *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = Arbiter(process.stdout)
        try:
            yield found
        finally:
            process.kill()  # its worker ends with it


@pytest.mark.parametrize(("number", "order"), [(signal.SIGTERM, "reload"), (signal.SIGQUIT, "stop")])
def test_it_serves_the_socket_and_the_application_that_it_is_given_until_its_parent_ends_it(
    number: int, order: str
) -> None:
    with running() as parent:
        parent.until("ready")
        for _ in range(2):
            with HttpClient(("127.0.0.1", parent.port)) as client:
                assert client.request().body == b"hello"
        os.kill(parent.worker, number)
        assert parent.until("left") == order
        assert parent.until("ended") == "3"


def test_its_parent_hears_about_once_a_second_that_it_lives() -> None:
    with running() as parent:
        for _ in range(3):
            parent.until("beat")
        os.kill(parent.worker, signal.SIGQUIT)
        assert parent.until("ended") == "3"


def test_it_can_be_told_to_leave_by_a_call_too() -> None:
    with running("stop") as parent:
        parent.until("ready")
        with HttpClient(("127.0.0.1", parent.port)) as client:
            assert client.request().body == b"hello"
        assert parent.until("left") == "stop"
        assert parent.until("ended") == "3"
