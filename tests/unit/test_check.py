"""``uwsgi_ws check``: what is told of a configuration, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uwsgi_ws.check import check, main
from uwsgi_ws.cli import main as run_server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options_of(entries: list[dict[str, str]]) -> list[str]:
    return [entry["option"] for entry in entries]


def test_each_option_is_told_under_what_holds_for_it() -> None:
    Path("a.ini").write_text(
        "[uwsgi]\nhttp = :80\nmaster = true\nthunder-lock = true\nvaccum = true\nharakiri = 60s\nprocesses = 4\n"
    )
    report = check(["a.ini"], {})
    assert options_of(report.works) == ["--config", "http", "master", "harakiri", "processes"]
    assert options_of(report.no_effect) == ["thunder-lock"]
    assert options_of(report.must_change) == ["vaccum"]
    assert options_of(report.reading) == ["harakiri"]
    assert options_of(report.differs) == ["gevent", "die-on-term", "buffer-size"]
    assert report.must_change[0]["source"] == "a.ini:5"
    assert report.status == 1


def test_all_that_must_change_is_told() -> None:
    Path("a.ini").write_text("[uwsgi]\nemperor = /x\nlisten = many\nhttp = $(NONE)\n")
    report = check(["a.ini", "-M"], {})
    assert options_of(report.works) == ["--master", "--config"]
    assert sorted(options_of(report.must_change)) == ["emperor", "http", "listen"]
    assert report.status == 1


def test_routes_are_looked_at_too_and_told_with_the_rest(capfd: pytest.CaptureFixture[str]) -> None:
    Path("a.ini").write_text(
        "[uwsgi]\nroute = ^/ log:ok\nroute-uri = ^/x cash:1\nfinal-route = ( log:x\nprocesses = many\n"
    )
    report = check(["a.ini"], {})
    wrong = [("processes", "a.ini:5"), ("route-uri", "a.ini:3"), ("final-route", "a.ini:4")]
    assert [(entry["option"], entry["source"]) for entry in report.must_change] == wrong
    assert "route" in options_of(report.works)
    assert run_server(["a.ini"]) == 2
    said = capfd.readouterr().err
    assert [said.count(f"({where})") for _, where in wrong] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gevent = 5\ngevent-monkey-patch\ndie-on-term\nbuffer-size = 8192\n", []),
        ("threads = 4\ndie-on-term\nbuffer-size = 4096\n", []),
        ("threads = 4\ndie-on-term\nbuffer-size = 4096\nprocesses = 2\ncheaper = 1\n", ["cheaper"]),
        ("no-monkey-patch\ndie-on-term\n", ["gevent", "buffer-size"]),
    ],
)
def test_what_differs_depends_on_what_is_asked_for(text: str, names: list[str]) -> None:
    Path("a.ini").write_text("[uwsgi]\n" + text)
    report = check(["a.ini"], {})
    assert (options_of(report.differs), report.status) == (names, 0)


def test_it_is_printed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.ini").write_text("[uwsgi]\nhttp = :80\nmaster\nthunder-lock = true\nvaccum = true\n")
    assert main(["a.ini"], {}) == 1
    text = capsys.readouterr().out
    assert "Must change:\n  vaccum: unknown option, did you mean vacuum?" in text
    assert "Works:\n  --config = a.ini (command line)\n  http = :80 (a.ini:2)\n  master (a.ini:3)\n" in text
    assert main(["--json", "a.ini"], {}) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["works"][1] == {"option": "http", "text": ":80", "source": "a.ini:2"}
    Path("a.ini").write_text("[uwsgi]\nhttp = :80\n")
    assert main(["a.ini"], {}) == 0
    assert main([], {}) == 1
    assert main(["--help"], {}) == 0
    assert "Usage: python -m uwsgi_ws check" in capsys.readouterr().out


def test_what_holds_for_several_options_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.ini").write_text("[uwsgi]\nplugin = python\n")
    Path("a.ini").write_text("[uwsgi]\nplugin = python\nplugins = http\nini = b.ini\nbase = x\nlib = y\n")
    main(["a.ini", "--thunder-lock", "--plugin", "x"], {})
    text = capsys.readouterr().out
    assert "  --thunder-lock: Accepting a connection takes no lock. (command line)\n" in text
    assert "  --plugin, plugin, plugins: Everything is built in. (command line, a.ini:2, 3, b.ini:2)\n" in text
    assert "  base, lib: unknown option: passed over, as uWSGI does (a.ini:5, 6)" in text


@pytest.mark.parametrize(
    ("processes", "words"), [("", "1,000 connections rather than for 1,"), ("processes = 5", "5,000")]
)
def test_databases_are_thought_of_before_greenlets(processes: str, words: str) -> None:
    Path("a.ini").write_text(f"[uwsgi]\ndie-on-term\n{processes}\n")
    [told, _] = check(["a.ini"], {}).differs
    assert words in told["text"]
