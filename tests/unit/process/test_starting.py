"""What the system refuses to a process that starts is said in a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uwsgi_ws.errors import BootError
from uwsgi_ws.process.boot import starting


def test_an_error_of_the_system_says_what_and_where(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(BootError) as caught, starting():
        os.listdir(missing)
    assert str(caught.value).startswith(f"cannot start: No such file or directory: {missing!r} ({__name__}, ")
    assert caught.value.exit_status == 1


def test_so_does_a_thread_that_is_not_to_be_had() -> None:
    with pytest.raises(BootError, match=r"cannot start: can't start new thread \("), starting():
        raise RuntimeError("can't start new thread")


def test_other_errors_are_the_server_s_own() -> None:
    with pytest.raises(RuntimeError, match="of ours"), starting():
        raise RuntimeError("of ours")
