"""Configuration files: what a section's lines become, and what is refused by file, line and word."""

from __future__ import annotations

from pathlib import Path

import pytest

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import Options, Setting, opt_dict, parse
from uwsgi_ws.options.ini import parse_ini
from uwsgi_ws.options.setting import Findings


def settings_of(text: str, section: str = "uwsgi") -> list[tuple[str, str | None, str]]:
    findings = Findings()
    found = parse_ini(text, "a.ini", section, findings)
    assert findings == Findings()
    assert found is not None
    return [(each.name, each.value, each.source) for each in found]


def problem_of(*argv: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_documents_own_file_is_read_verbatim() -> None:
    text = "[uwsgi]\nroute = ^/websocket uwsgi:127.0.0.1:3032\n"
    assert settings_of(text) == [("route", "^/websocket uwsgi:127.0.0.1:3032", "a.ini:2")]


def test_a_value_is_all_behind_the_first_equals_sign_without_the_blanks_around_it() -> None:
    text = '[uwsgi]\r\n  env =  A = "b" ; c # d \t\r\n\tneed-app\nchdir=\n'
    assert settings_of(text) == [
        ("env", 'A = "b" ; c # d', "a.ini:2"),
        ("need-app", None, "a.ini:3"),
        ("chdir", "", "a.ini:4"),
    ]


def test_comment_lines_and_blank_lines_say_nothing() -> None:
    assert settings_of("; a = 1\n\n[uwsgi]\n  # b = 2\n;[other]\nc = 3") == [("c", "3", "a.ini:6")]


def test_a_repeated_name_is_as_many_settings() -> None:
    assert [value for _, value, _ in settings_of("[uwsgi]\nhttp = :1\nhttp = :2\nhttp = :1")] == [":1", ":2", ":1"]


def test_a_section_is_found_by_name_wherever_its_parts_stand() -> None:
    text = "[other]\na = 1\n[ uwsgi ]\nb = 2\n[other]\nc = 3\n[uwsgi]\nd = 4"
    assert [name for name, _, _ in settings_of(text)] == ["b", "d"]
    assert [name for name, _, _ in settings_of(text, "other")] == ["a", "c"]
    assert parse_ini(text, "a.ini", "none", Findings()) is None
    assert settings_of("[uwsgi]") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[uwsgi]\n\n= 5", "= 5: lacks the name before its equals sign (a.ini:3)"),
        ("[uwsgi", "[uwsgi: not of the form [section] (a.ini:1)"),
        ("[]", "[]: not of the form [section] (a.ini:1)"),
        ("[", "[: not of the form [section] (a.ini:1)"),
        ("[other]\n=", "=: lacks the name before its equals sign (a.ini:2)"),
    ],
)
def test_a_malformed_line_is_an_error_that_names_file_line_and_word(text: str, problem: str) -> None:
    findings = Findings()
    parse_ini(text, "a.ini", "uwsgi", findings)
    assert [str(error) for error in findings.errors] == [problem]


def test_what_stands_before_the_first_section_is_told_and_does_not_count() -> None:
    findings = Findings()
    assert parse_ini("a = 1\n[uwsgi]\nb = 2", "a.ini", "uwsgi", findings) == [Setting("b", "2", "a.ini:3")]
    problem = "a: stands before the first [section], and does not count (a.ini:1)"
    assert [str(note) for note in findings.notes] == [problem]


class TestFiles:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_its_settings_count_where_the_file_is_named(self) -> None:
        Path("a.ini").write_text("[uwsgi]\ngevent = 5\npp = b\n")
        options = parse(["--gevent", "3", "--pp", "a", "--ini", "a.ini", "--pp", "c"])
        assert (options.gevent, options.pythonpath) == (5, ("a", "b", "c"))
        assert parse(["--ini", "a.ini", "--gevent", "7"]).gevent == 7

    def test_a_file_that_stands_alone_counts_behind_the_whole_command_line(self) -> None:
        Path("a.ini").write_text("[uwsgi]\ngevent = 5\n")
        options = parse(["a.ini", "--gevent", "7"])
        assert options.gevent == 5
        assert opt_dict(options)["config"] == b"a.ini"

    def test_another_section_of_the_file_may_be_named_alone(self) -> None:
        Path("a.ini").write_text("[uwsgi]\ngevent = 5\nini = :logs\n[logs]\ndisable-logging\n[more]\nlisten = 7\n")
        options = parse(["--ini", "a.ini", "--ini", ":more"])
        assert (options.gevent, options.disable_logging, options.listen) == (5, True, 7)
        assert parse(["a.ini:more"]).gevent == Options().gevent

    def test_a_file_with_a_byte_order_mark_and_bytes_that_are_no_utf8_is_read(self) -> None:
        Path("a.ini").write_bytes(b"\xef\xbb\xbf[uwsgi]\nchdir = /\xff\xc3\xa9\n")
        assert parse(["a.ini"]).chdir == "/\udcffé"

    def test_an_error_names_file_and_line_and_writes_the_name_as_the_file_does(self) -> None:
        Path("a.ini").write_text("[uwsgi]\n\ngevnt = 5\nstrict\n")
        assert problem_of("a.ini") == "gevnt: unknown option, did you mean gevent? (a.ini:3)"
        Path("a.ini").write_text("[uwsgi]\ngevent = x\n")
        assert problem_of("a.ini") == "gevent: 'x' is not a whole number (a.ini:2)"

    @pytest.mark.parametrize(
        ("argument", "problem"),
        [
            ("none.ini", "cannot read 'none.ini': No such file or directory"),
            (".", "cannot read '.': Is a directory"),
            ("\0.ini", "cannot read '\\x00.ini': embedded null byte"),
            ("a.ini:none", "'a.ini' has no section [none]"),
            (":none", "':none' names no file, and there is none before it"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_an_error(self, argument: str, problem: str) -> None:
        Path("a.ini").write_text("[uwsgi]\n")
        assert problem_of("--ini", argument) == f"--ini: {problem} (command line)"

    def test_files_that_name_one_another_are_an_error_and_no_endless_loop(self) -> None:
        Path("a.ini").write_text("[uwsgi]\nini = b.ini\n")
        Path("b.ini").write_text("[uwsgi]\n; back\nini = ./a.ini\n")
        assert problem_of("a.ini") == "ini: './a.ini' is being read already (b.ini:3)"

    def test_no_file_named_at_all_is_an_error_like_any_missing_value(self) -> None:
        assert problem_of("--ini=") == "--ini: needs a value (command line)"
