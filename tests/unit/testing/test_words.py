"""From keywords to a command line, and from a production's file to a test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from uwsgi_ws.options import parse
from uwsgi_ws.testing.words import file_for_test, listens, names_in, words_of


def test_keywords_become_words() -> None:
    given = {"processes": 2, "master": True, "lazy": False, "logto": None, "route": ["^/a last:", "^/b last:"]}
    words = ["--processes", "2", "--master", "--route", "^/a last:", "--route", "^/b last:"]
    assert list(words_of(given)) == words
    assert list(words_of({"wsgi_file": Path("a.py")})) == ["--wsgi-file", "a.py"]


def test_options_are_known_by_all_their_names() -> None:
    assert names_in(["--workers", "2", "--http=:80", "app.py"]) == {"processes", "http"}


@pytest.mark.parametrize(
    ("words", "does"), [(["--http", ":1"], True), (["--https-socket=:1"], True), (["a.py"], False)]
)
def test_whether_an_address_is_named(words: list[str], does: bool) -> None:
    assert listens(words) is does


def test_what_a_file_says_of_its_place_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "site.ini"
    lines = ["[uwsgi]", "base = 10", "http = :80", "stats = :81", "uid = nobody", "logto = /x", "gevent = %(base)"]
    file.write_text("\n".join([*lines, "env = A=b%%c"]))
    (tmp_path / "test.ini").write_text(file_for_test(str(file), {}))
    options = parse([str(tmp_path / "test.ini")])
    assert (options.gevent, options.http, options.uid, options.logto) == (10, (), None, None)
    assert [str(each.value) for each in options.env] == ["b%c"]
