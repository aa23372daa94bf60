"""What is done at the steps of an instance's life."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
from support.child import in_child

from uwsgi_ws.errors import BootError
from uwsgi_ws.options import Hook, Options, parse
from uwsgi_ws.process import hooks


def done(action: str, argument: str) -> str:
    return hooks.run_action(Hook(action, argument), "asap")


def test_files_are_written_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for action, argument in [
        ("write", "first"),
        ("writen", "second line"),
        ("append", "third"),
        ("appendn", " word"),
    ]:
        assert done(action, f"{path} {argument}") == ""
    assert path.read_text() == "second line\nthird word\n"
    assert done("create", str(path)) == ""
    assert path.read_text() == ""
    assert done("chmod", f"{path} 640") == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert done("unlink", str(path)) == ""
    assert done("mkdir", str(tmp_path / "folder")) == ""
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_the_process_goes_where_it_is_told_and_has_what_it_is_given(tmp_path: Path) -> None:
    def work() -> str:
        assert done("cd", str(tmp_path)) == ""
        assert done("putenv", "HOOK_TEST=a=b") == ""
        return f"{os.getcwd()} {os.environ['HOOK_TEST']}"

    assert in_child(work) == f"{tmp_path} a=b"


@pytest.mark.parametrize(
    ("action", "argument", "problem"),
    [
        ("exec", "exit 3", "exit status 3"),
        ("exec", "true", ""),
        ("safeexec", "exit 3", ""),
        ("print", "a word", ""),
        ("unlink", "/nobody/is/there", "No such file or directory"),
        ("chmod", "/tmp many", "invalid literal for int() with base 8: 'many'"),
        ("unix_signal", "10 reap_them_all", ""),  # the master's
    ],
)
def test_what_goes_wrong_is_said(action: str, argument: str, problem: str) -> None:
    assert done(action, argument) == problem


def test_hooks_come_before_commands_and_a_failure_keeps_the_instance_from_starting(tmp_path: Path) -> None:
    options = parse(
        [
            *("--http", ":0"),
            *("--exec-pre-app", f"echo third >>{tmp_path}/file"),
            *("--hook-pre-app", f"appendn:{tmp_path}/file first"),
            *("--hook-pre-app", f"exec:echo second >>{tmp_path}/file"),
            *("--hook-asap", "exec:exit 4"),
        ]
    )
    hooks.run(options, "pre-app")
    assert (tmp_path / "file").read_text().split() == ["first", "second", "third"]
    hooks.run(options, "post-app")
    with pytest.raises(BootError, match=r"exec:exit 4 \(asap\): exit status 4"):
        hooks.run(options, "asap")
    hooks.run(options, "asap", is_fatal=False)


def test_a_command_that_is_not_waited_for_has_a_group_and_signals_of_its_own(tmp_path: Path) -> None:
    def work() -> str:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = hooks.spawn("kill -TERM $$; sleep 60")
        assert os.getpgid(pid) == pid
        _, status = os.waitpid(pid, 0)
        return str(os.waitstatus_to_exitcode(status))

    assert in_child(work) == str(-signal.SIGTERM)


def test_no_step_has_hooks_by_default() -> None:
    for step in ("asap", "pre-jail", "post-jail", "in-jail", "as-root", "as-user", "pre-app", "post-app", "accepting"):
        hooks.run(Options(), step)
