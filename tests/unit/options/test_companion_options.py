"""Applications in other languages: which options name them, and what follows from that."""

from __future__ import annotations

import pytest

from uwsgi_ws.check import check
from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import CompanionSpec, parse

PERL = CompanionSpec("perl", "app.psgi")


@pytest.mark.parametrize("argv", [["app.psgi"], ["--psgi", "app.psgi"], ["--mount", "/x=app.psgi"]])
def test_a_perl_application_is_named_in_three_ways_and_needs_a_master(argv: list[str]) -> None:
    options = parse(argv)
    assert options.companions == (PERL,)
    assert options.has_master
    assert not options.has_python
    assert not options.is_serial


def test_a_bare_file_of_perls_other_name() -> None:
    assert parse(["site/run.pl"]).psgi == "site/run.pl"


def test_one_application_at_several_mount_points_has_one_pool() -> None:
    options = parse(["--psgi", "app.psgi", "--mount", "/a=app.psgi", "--mount", "/b=b.pl", "--mount", "/c=app.py"])
    assert options.companions == (PERL, CompanionSpec("perl", "b.pl"))
    assert options.has_python


def test_python_beside_it_runs_as_it_does_alone() -> None:
    options = parse(["--psgi", "app.psgi", "--wsgi-file", "app.py"])
    assert options.has_python
    assert options.is_serial
    assert options.has_master


def test_without_one_nothing_is_different() -> None:
    options = parse(["app.py"])
    assert options.companions == ()
    assert options.has_python
    assert not options.has_master


def test_a_go_program() -> None:
    options = parse(["--go-app", "./chat", "--goroutines", "100"])
    assert options.companions == (CompanionSpec("go", "./chat"),)
    assert options.goroutines == 100
    assert options.has_master


def test_what_uwsgi_has_beside_them_is_taken() -> None:
    argv = ["--psgi", "a.psgi", "--coroae", "9", "--perl-arg", "a b", "--perl-args", "c d", "--perl-no-plack"]
    argv += ["--perl-local-lib", "lib", "--perl-exec", "x.pl", "--perl-auto-reload", "2", "--psgi-enable-psgix-io"]
    options = parse([*argv, "--perl-no-die-catch", "--perl-exec-post-fork", "y.pl", "--perl-workers", "3"])
    assert (options.coroae, options.perl_arg, options.perl_args) == (9, ("a b",), ("c d",))
    report = check(argv, {})
    assert report.must_change == []
    assert {entry["option"] for entry in report.works} >= {"--psgi", "--coroae", "--perl-local-lib", "--perl-exec"}


def test_a_number_that_is_none() -> None:
    with pytest.raises(OptionError, match="--coroae: 'many' is not a whole number"):
        parse(["--coroae", "many"])
