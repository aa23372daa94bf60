"""uWSGI's configuration language: each case's result is the one that real uWSGI has, wherever that is on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import Options, ini_text, opt_dict, parse

FOLDER = "{folder}"
CASES = {
    "variables of one's own": ("project = demo\nbase = /srv/%(project)\nchdir = %(base)/x", {"chdir": "/srv/demo/x"}),
    "what comes later": ("chdir = %(base)\nbase = /srv", {"chdir": "/srv"}),
    "the first of several": ("a = 1\na = 2\nchdir = /%(a)", {"chdir": "/1"}),
    "an option as a variable": ("processes = 3\nmax-requests = %(processes)0", {"max-requests": "30"}),
    "a sum": ("a = 4\nmax-requests = %(a + 1)", {"max-requests": "5"}),
    "from left to right": ("a = 4\nmax-requests = %(a + 1 * 3 - 5)", {"max-requests": "10"}),
    "a quotient": ("a = -7\nmax-requests = %(a / 2 + 10)", {"max-requests": "7"}),
    "by nought": ("a = 7\nzero = 0\nmax-requests = %(a / zero)", {"max-requests": "0"}),
    "put together": ("a = 2\nb = 8\nmax-requests = %(a b + 2)", {"max-requests": "30"}),
    "one more and one less": ("a = 2\nmax-requests = %(a ++)\nharakiri = %(a --)", {
        "max-requests": "3", "harakiri": "1"
    }),
    "text as a number": ("a = 12abc\nmax-requests = %(a + 1)", {"max-requests": "13"}),
    "magic": ("chdir = %d\nn = %n\ns = %s\ne = %e\np = %p\nc = %c\nv = %v", {
        "chdir": "{folder}/", "n": "site", "s": "site.ini", "e": "ini", "p": "{folder}/site.ini",
        "c": "conf", "v": "{folder}",
    }),
    "magic of the path and the hash": ("a = %0\nj = %j\nx = x%x\n", {"a": "{first}", "j": "{hash}", "x": "x"}),
    "magic in arithmetic": ("max-requests = %(%k + 1)", {"max-requests": "{cpus+1}"}),
    "a percent sign": ("env = A=100%%\n", {"env": "A=100%"}),
    "magic that stands for nothing": ("chdir = /a%qb", {"chdir": "/ab"}),
    "the environment": ("chdir = $(FIELD)/x", {"chdir": "/of/the/environment/x"}),
    "what only looks like a placeholder": ("route = ^/a$(?!b) break:404", {"route": "^/a$(?!b) break:404"}),
    "a file's text": ("chdir = /@(text.txt)/x", {"chdir": "/read/x"}),
    "one in the other": ("name = FIELD\nchdir = $(FIELD)\nbase = %(chdir)", {"base": "/of/the/environment"}),
    "a loop": ("for = a b\npythonpath = /%(_)\nchdir = /%(_)\nendfor =\nmax-requests = 5", {
        "pythonpath": "/a", "chdir": "/a", "max-requests": "5"
    }),
    "a loop of numbers": ("for-times = 2\nmount = /%(_)=a.py\nend-for =", {"mount": "/1=a.py"}),
    "a loop of paths": ("for-glob = *.txt\nwatch = %(_)\nendfor =", {"watch": "text.txt"}),
    "if the environment has it": ("if-env = FIELD\nchdir = %(_)\nendif =", {"chdir": "/of/the/environment"}),
    "if it has not": ("if-env = NONE\nchdir = /a\nendif =\nif-not-env = NONE\nchdir = /b\nendif =", {"chdir": "/b"}),
    "if it has this value": ("if-env = ONE=1\nchdir = /a\nendif =\nif-env = ONE=2\nchdir = /b\nendif", {"chdir": "/a"}),
    "if there is a file": ("if-file = text.txt\nchdir = /%(_)\nend =", {"chdir": "/text.txt"}),
    "if there is a directory": ("if-dir = %d\nchdir = /a\nendif =\nif-not-dir = /none\nmax-requests = 3\nendif =", {
        "chdir": "/a", "max-requests": "3"
    }),
    "if there is a path": ("if-exists = /none\nchdir = /a\nendif =\nif-not-exists = /none\nchdir = /b\nendif =", {
        "chdir": "/b"
    }),
    "if an option is given": ("a = 5\nif-opt = a=5\nchdir = /%(_)\nendif =\nif-not-opt = a\nchdir = /b\nendif =", {
        "chdir": "/5"
    }),
    "if it is a reload": ("if-reload =\nchdir = /a\nendif =\nif-not-reload =\nchdir = /b\nendif =", {"chdir": "/b"}),
    "a placeholder that is set": ("set-ph = a=5\nset-placeholder = b=6\nmax-requests = %(a)%(b)", {
        "max-requests": "56"
    }),
    "an option that is set": ("set = chdir=/a", {"chdir": "/a"}),
    "another section": ("ini = :more\nmax-requests = 3\n[more]\nchdir = /a\n", {"chdir": "/a", "max-requests": "3"}),
    "an included file": ("include = {folder}/other.ini\nchdir = /%(of-other)", {"chdir": "/42", "listen": "7"}),
    "a file by its format": ("yaml = {folder}/other.yaml\n", {"chdir": "/y", "listen": "8"}),
    "names without a value": ("master\nneed-app\nchdir = /a", {"chdir": "/a"}),
    "comments": ("; a\n# b\n\n   ; c\nchdir = /a ; b # c", {"chdir": "/a ; b # c"}),
}  # fmt: skip
ENVIRON = {"FIELD": "/of/the/environment", "ONE": "1"}
uwsgi = shutil.which("uwsgi")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path.resolve() / "conf"
    folder.mkdir()
    (folder / "text.txt").write_text("read\n")
    (folder / "other.ini").write_text("[uwsgi]\nof-other = 42\nlisten = 7\n")
    (folder / "other.yaml").write_text("uwsgi:\n  chdir: /y\n  listen: 8\n")
    monkeypatch.chdir(folder)
    return folder


def filled_in(text: str, folder: Path) -> str:
    text = text.replace("{folder}", str(folder)).replace("{first}", folder.parts[1])
    text = text.replace("{cpus+1}", str(os.sysconf("SC_NPROCESSORS_ONLN") + 1))
    value = 5381
    for byte in os.fsencode(folder / "site.ini"):
        value = ((value << 5) + value & 0xFFFFFFFF) ^ byte
    return text.replace("{hash}", value.to_bytes(4, "little").hex().upper())


def given(options: Options) -> dict[str, str | None]:
    """Return the first value of each name, as ``uwsgi --get`` prints it."""
    return {setting.name: setting.value for setting in reversed(options.given)}


@pytest.mark.parametrize("case", CASES)
def test_what_a_file_means(case: str, folder: Path) -> None:
    text, expected = CASES[case]
    (folder / "site.ini").write_text("[uwsgi]\n" + filled_in(text, folder))
    found = given(parse(["--ini", "site.ini"], ENVIRON))
    assert {name: found[name] for name in expected} == {n: filled_in(v, folder) for n, v in expected.items()}


@pytest.mark.skipif(uwsgi is None, reason="uWSGI is not on PATH")
@pytest.mark.parametrize("case", CASES)
def test_real_uwsgi_means_the_same(case: str, folder: Path) -> None:
    text, expected = CASES[case]
    (folder / "site.ini").write_text("[uwsgi]\n" + filled_in(text, folder))
    for name, value in expected.items():
        command = [str(uwsgi), "--ini", "site.ini", "--get", name]
        environ: Mapping[str, str] = {**ENVIRON, "PATH": os.environ["PATH"]}
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20, check=False)
        assert ended.stdout.splitlines()[-1:] == [filled_in(value, folder)], ended.stderr


def problems_of(text: str, *argv: str) -> list[str]:
    Path("site.ini").write_text("[uwsgi]\n" + text)
    with pytest.raises(OptionError) as caught:
        parse(["--ini", "site.ini", *argv], ENVIRON)
    return str(caught.value).splitlines()


class TestWhatCannotBeFilledIn:
    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("chdir = /$(NONE)", "'$(NONE)' is not filled in: the environment has no NONE"),
            ("chdir = /%(none)", "'%(none)' is not filled in: no option or variable 'none' is given"),
            ("listen = %(none + 1)", "'%(none + 1)' is not filled in: no option or variable 'none' is given"),
            ("chdir = @(none.txt)", "'@(none.txt)' No such file or directory"),
        ],
    )
    def test_a_placeholder_that_names_nothing_is_an_error(self, folder: Path, line: str, problem: str) -> None:
        assert problems_of(line) == [f"{line.split()[0]}: {problem} (site.ini:2)"]

    def test_all_of_them_are_told_with_everything_else_that_is_wrong(self, folder: Path) -> None:
        text = "chdir = /$(NONE)\nlisten = many\nemperor = /x\nhttp = 80\n= 5\ninclude = none.ini\n"
        problems = problems_of(text, "--frobnicate", "5", "--processes", "x")
        assert [problem.split()[0].rstrip(":") for problem in sorted(problems)] == [
            "--frobnicate", "--processes", "=", "chdir", "emperor", "http", "include", "listen"
        ]  # fmt: skip
        assert [problem.rpartition("(")[2] for problem in sorted(problems)][2:] == [
            "site.ini:6)", "site.ini:2)", "site.ini:4)", "site.ini:5)", "site.ini:7)", "site.ini:3)"
        ]  # fmt: skip

    def test_placeholders_that_name_one_another_are_an_error_and_no_endless_loop(self, folder: Path) -> None:
        (problem, *_) = problems_of("chdir = %(b)\nb = %(chdir)\n")
        assert "has placeholders that name one another" in problem

    def test_a_format_keeps_its_own_and_takes_those_that_are_given(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nlog-format = %(method) %(app) %(uri)\napp = demo\n")
        assert parse(["--ini", "site.ini"]).log_format == "%(method) demo %(uri)"

    def test_what_nobody_reads_need_not_be_filled_in(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nplugins = %(none)\nlock-engine = $(NONE)\n")
        assert parse(["--ini", "site.ini"]).given


class TestBlocks:
    def test_they_may_stand_in_blocks(self, folder: Path) -> None:
        text = "if-env = ONE\nif-env = NONE\npp = a\nelse =\nfor = x y\npp = %(_)\nend =\nendif =\nendif =\npp = z\n"
        Path("site.ini").write_text("[uwsgi]\n" + text)
        assert parse(["--ini", "site.ini"], ENVIRON).pythonpath == ("x", "y", "z")
        assert parse(["--ini", "site.ini"]).pythonpath == ("z",)

    def test_a_loop_repeats_each_line_as_in_uwsgi(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nfor = 1 2\npp = a%(_)\npp = b%(_)\nendfor =\n")
        assert parse(["--ini", "site.ini"]).pythonpath == ("a1", "a2", "b1", "b2")

    def test_they_ask_for_what_is_known_by_then(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nbase = %d\nif-file = %(base)text.txt\nlisten = 5\nendif =\n")
        assert parse(["--ini", "site.ini"]).listen == 5

    def test_a_reload_is_told(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nif-reload =\nlisten = 5\nelse =\nlisten = 6\nendif =\n")
        assert parse(["--ini", "site.ini"], is_a_reload=True).listen == 5
        assert parse(["--ini", "site.ini"]).listen == 6

    def test_one_without_an_end_ends_with_its_file(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nif-env = ONE\nlisten = 5\n")
        options = parse(["--ini", "site.ini", "--gevent", "7"], ENVIRON)
        assert (options.listen, options.gevent) == (5, 7)
        assert options.notes == ("if-env: its end is missing, so it ends here with its file (site.ini:2)",)
        assert parse(["--ini", "site.ini", "--gevent", "7"]).gevent == 7


class TestSources:
    def test_the_environment_comes_first_and_has_uwsgis_prefix(self, folder: Path) -> None:
        environ = {"UWSGI_LISTEN": "5", "UWSGI_GEVENT": "7", "UWSGI_WS_PURE_PYTHON": "1", "UWSGI_RELOADS": "0"}
        options = parse(["--gevent", "9"], environ)
        assert (options.listen, options.gevent, options.notes) == (5, 9, ())
        with pytest.raises(OptionError, match=r"listen: 'x' is not a whole number \(UWSGI_LISTEN\)"):
            parse([], {"UWSGI_LISTEN": "x"})

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.yaml", "uwsgi:\n  http: ':80'\n  pythonpath: [a, b]\n  master: true\n  umask-of-mine: 0660\n"),
            ("a.yml", "other: 1\nuwsgi:\n  - 5\nuwsgi:\n  http: :80\n  pythonpath:\n    - a\n    - b\n  master: yes\n"),
            ("a.json", '{"x": {"uwsgi": 1}, "uwsgi": {"http": ":80", "pythonpath": ["a", "b"], "master": true}}'),
            ("a.js", '{"uwsgi": {"http": ":80", "pythonpath": "a", "pythonpath": "b", "master": 1}}'),
            ("a.xml", "<uwsgi><http>:80</http><pythonpath>a</pythonpath><pythonpath> b </pythonpath><master/></uwsgi>"),
            ("b.xml", "<x><uwsgi><http>:80</http><pp>a</pp><pp>b</pp><master>1</master></uwsgi></x>"),
            ("a.ini", "[uwsgi]\nhttp = :80\npythonpath = a\npythonpath = b\nmaster\n"),
        ],
    )
    def test_every_format_says_the_same(self, folder: Path, name: str, text: str) -> None:
        Path(name).write_text(text)
        for argv in (
            [name],
            ["--config", name],
            [f"--{'yaml' if 'y' in name else name[2:]}", name],
            ["--include", name],
        ):
            options = parse(argv)
            assert ([str(each) for each in options.http], options.pythonpath) == ([":80"], ("a", "b"))
            assert options.master

    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("a.yaml", "uwsgi:\n  http: :80\n  listen: x\n", "listen: 'x' is not a whole number (a.yaml:3)"),
            ("a.yaml", "uwsgi: [", "not YAML"),
            ("a.json", '{"uwsgi": {\n"http": ":80",\n"listen": "x"}}', "listen: 'x' is not a whole number (a.json:3)"),
            ("a.json", "{", "not JSON"),
            ("a.xml", "<uwsgi>\n<listen>x</listen></uwsgi>", "listen: 'x' is not a whole number (a.xml:2)"),
            ("a.xml", "<uwsgi>", "not XML"),
            ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><uwsgi/>', "no XML that may be read"),
        ],
    )
    def test_what_is_wrong_in_them_is_told_by_file_and_line(
        self, folder: Path, name: str, text: str, problem: str
    ) -> None:
        Path(name).write_text(text)
        with pytest.raises(OptionError) as caught:
            parse([name])
        assert problem in str(caught.value)

    def test_sections_of_each_format(self, folder: Path) -> None:
        Path("a.yaml").write_text("uwsgi:\n  listen: 5\nother:\n  listen: 6\n")
        Path("a.json").write_text('{"uwsgi": {"listen": 5}, "other": {"listen": 6}}')
        Path("a.xml").write_text(
            '<x><uwsgi id="uwsgi"><listen>5</listen></uwsgi><uwsgi id="other"><listen>6</listen></uwsgi></x>'
        )
        for name in ("a.yaml", "a.json", "a.xml"):
            assert parse([f"{name}:other"]).listen == 6
            assert parse([name]).listen == 5
            with pytest.raises(OptionError, match=r"has no section \[none\]"):
                parse([f"{name}:none"])

    def test_a_missing_library_is_named_with_what_brings_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "yaml", None)
        monkeypatch.setitem(__import__("sys").modules, "defusedxml", None)
        Path("a.yaml").touch()
        Path("a.xml").touch()
        with pytest.raises(OptionError, match=r"pip install 'uwsgi_ws\[yaml\]'"):
            parse(["a.yaml"])
        with pytest.raises(OptionError, match=r"pip install 'uwsgi_ws\[xml\]'"):
            parse(["a.xml"])

    def test_an_inherited_file_counts_last(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\ninherit = other.ini\nlisten = 5\nchdir = /%(of-other)\n")
        options = parse(["--ini", "site.ini", "--listen", "6"])
        assert (options.listen, options.chdir) == (7, "/42")

    def test_a_file_without_the_section_says_so_and_counts_for_nothing(self, folder: Path) -> None:
        Path("empty.ini").write_text("[other]\n")
        options = parse(["empty.ini"])
        assert [note for note in options.notes if "has no section [uwsgi]" in note]


class TestNames:
    def test_an_unknown_one_in_a_file_is_told_and_passed_over(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nvaccum = true\nmine = 5\nlisten = %(mine)\n")
        options = parse(["--ini", "site.ini"])
        assert options.notes == (
            "vaccum: unknown option, did you mean vacuum?: passed over, as uWSGI does (site.ini:2)",
        )
        assert opt_dict(options)["vaccum"] == b"true"

    @pytest.mark.parametrize("strict", ["strict = true\n{}", "{}strict\n"])
    def test_in_strict_mode_it_is_an_error(self, folder: Path, strict: str) -> None:
        assert "did you mean vacuum?" in problems_of(strict.format("vaccum = true\n"))[0]

    def test_strict_lets_variables_be(self, folder: Path) -> None:
        Path("site.ini").write_text("[uwsgi]\nstrict\nset-ph = mine=5\nlisten = %(mine)\n")
        assert parse(["--ini", "site.ini"]).listen == 5

    def test_an_option_is_no_placeholder(self, folder: Path) -> None:
        assert "is an option, no placeholder" in problems_of("set-placeholder = listen=5")[0]

    @pytest.mark.parametrize(
        ("argv", "advice"),
        [
            (["-b", ":8000"], "is given by --http"),
            (["--bind", ":8000"], "give --http ADDRESS"),
            (["-k", "gevent"], "give --gevent N"),
            (["--timeout", "30"], "give --harakiri"),
            (["--reload"], "--py-autoreload"),
            (["-w", "4"], "--processes"),
            (["--host", "0.0.0.0"], "give --http HOST:PORT"),
            (["--port", "80"], "give --http HOST:PORT"),
        ],
    )
    def test_another_servers_flag_gets_its_counterpart(self, argv: list[str], advice: str) -> None:
        with pytest.raises(OptionError) as caught:
            parse([*argv, "pkg.mod:app"])
        assert advice in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


class TestValuesInFiles:
    @pytest.mark.parametrize(
        ("line", "attribute", "value", "remarks"),
        [
            ("listen = 5 ; comment", "listen", 5, 0),
            ("listen = 5# comment", "listen", 5, 0),
            ("listen = 5;", "listen", 5, 0),
            ("harakiri = 60s", "harakiri", 60.0, 1),
            ("harakiri = false", "harakiri", 0.0, 0),
            ("max-requests = true", "max_requests", 0, 1),
            ("max-requests =", "max_requests", 0, 0),
            ("max-requests = 1.5", "max_requests", 1, 1),
            ("buffer-size = 65536  # large", "buffer_size", 65_535, 1),
            ("master = true ; yes", "master", True, 0),
            ("master = false", "master", False, 0),
            ("master = false ; no", "master", True, 1),
            ("chmod-socket", "chmod_socket", 0o666, 0),
            ("http = : 5000", "http", ":5000", 0),
            ("socket = site.socket", "socket", "site.socket", 0),
            ("reload-mercy = 0", "reload_mercy", 10.0, 1),
            ("gevent = 0", "gevent", 0, 0),
            ("threads = 4\ngevent = 5", "threads", 0, 1),
            ("threads = 4", "threads", 4, 0),
            ("processes = 4\ncheaper = 2\ncheaper-initial = 9", "first_workers", 4, 1),
            ("processes = 4\ncheaper = 2\ncheaper-initial = 1", "first_workers", 2, 1),
            ("processes = 4\ncheaper = 2\ncheaper-algo = idle", "cheaper_algo", "spare", 1),
            ("processes = 4\ncheaper-initial = 2", "first_workers", 4, 1),
            ("processes = 4\ncheaper = 2\nreuse-port", "reuse_port", True, 1),
            ("static-map = static=/srv", "static_map", "Mount(path='/static', target='/srv')", 1),
        ],
    )
    def test_they_are_read_as_uwsgi_reads_them(
        self, folder: Path, line: str, attribute: str, value: object, remarks: int
    ) -> None:
        Path("site.ini").write_text(f"[uwsgi]\n{line}\n")
        options = parse(["--ini", "site.ini"])
        found = getattr(options, attribute)
        assert (str(found[0]) if isinstance(found, tuple) else found) == value
        assert len(options.notes) == remarks, options.notes

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("listen = many ; comment", "is not a whole number"),
            ("buffer-size = 32k", "is out of bounds"),
            ("chdir =", "needs a value"),
        ],
    )
    def test_what_does_not_fit_says_so(self, folder: Path, line: str, problem: str) -> None:
        assert problem in problems_of(line)[0]


class TestShowing:
    def test_what_is_shown_can_be_read_again(self, folder: Path) -> None:
        text = "a = 5\nlisten = %(a)\nlog-format = %(uri) 100%%\nif-env = ONE\npp = x\nend =\nmaster\n"
        Path("site.ini").write_text("[uwsgi]\nset-ph = unused=5\ninclude = other.ini\n" + text)
        options = parse(["--ini", "site.ini", "--http", ":80"], ENVIRON)
        Path("again.ini").write_text(ini_text(options))
        again = parse(["--ini", "again.ini"])
        names = set(Options.__slots__) - {"given", "notes", "ini", "config"}
        assert {name: getattr(again, name) for name in names} == {name: getattr(options, name) for name in names}
