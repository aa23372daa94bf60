"""Becoming another user, as far as a process may."""

from __future__ import annotations

import os

import pytest
from support.child import in_child

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import Options
from uwsgi_ws.process.privileges import drop, drop_at_once

NOBODY = 65_534


def become(options: Options) -> None:
    drop_at_once(options)
    drop(options)


def ids() -> str:
    return f"{os.getresuid()} {os.getresgid()} {sorted(os.getgroups())}"


def test_without_an_option_nothing_changes() -> None:
    before = ids()
    drop(Options())
    assert ids() == before


def test_a_process_may_stay_who_it_is() -> None:
    def work() -> str:
        drop(Options(uid=str(os.getuid()), gid=str(os.getgid())))
        return f"{os.getuid()} {os.getgid()}"

    assert in_child(work) == f"{os.getuid()} {os.getgid()}"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Options(uid="no-such-user"), "uid.*there is no user 'no-such-user'"),
        (Options(gid="no-such-group"), "gid.*there is no group 'no-such-group'"),
        (Options(add_gid=("no-such-group",)), "add-gid.*there is no group 'no-such-group'"),
        (Options(immediate_uid="no-such-user"), "immediate-uid.*there is no user 'no-such-user'"),
        (Options(immediate_gid="no-such-group"), "immediate-gid.*there is no group 'no-such-group'"),
    ],
)
def test_one_that_there_is_not_is_an_error_before_anything_changes(options: Options, problem: str) -> None:
    before = ids()
    with pytest.raises(OptionError, match=problem):
        become(options)
    assert ids() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_root_becomes_a_user_at_once_and_is_in_further_groups_later() -> None:
    def at_once() -> str:
        drop_at_once(Options(immediate_uid=str(NOBODY), immediate_gid=str(NOBODY), uid="0"))
        return ids()

    def later() -> str:
        options = Options(uid=str(NOBODY), gid=str(NOBODY), add_gid=("7", "8"))
        drop(options)
        drop(options)  # as the next program does, which is no root
        return ids()

    nobody = f"{(NOBODY,) * 3}"
    assert in_child(at_once).startswith(f"{nobody} {nobody}")
    assert in_child(later) == f"{nobody} {nobody} {[7, 8, NOBODY]}"


def refused(options: Options, problem: str) -> str:
    """Say who the process is after it was refused; nobody tries."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    with pytest.raises(OptionError, match=problem):
        drop(options)
    return ids()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Options(uid="0"), "uid.*cannot become user '0': Operation not permitted"),
        (Options(gid="0"), "gid.*cannot become group '0': Operation not permitted"),
    ],
)
def test_an_unprivileged_process_cannot_become_root(options: Options, problem: str) -> None:
    said = in_child(lambda: refused(options, problem))
    assert said.startswith("(")
    assert "(0," not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_root_becomes_a_user_for_good_with_that_users_groups_alone() -> None:
    def work() -> str:
        os.setgroups([4, 5])
        drop(Options(uid=str(NOBODY), gid=str(NOBODY)))
        with pytest.raises(PermissionError):
            os.setuid(0)
        return ids()

    assert in_child(work) == f"{(NOBODY,) * 3} {(NOBODY,) * 3} {[NOBODY]}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_user_without_a_name_has_no_further_groups() -> None:
    def work() -> str:
        os.setgroups([4, 5])
        drop(Options(uid="54321", gid="54322"))
        return ids()

    assert in_child(work) == f"{(54321,) * 3} {(54322,) * 3} []"
