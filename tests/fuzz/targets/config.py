"""Configuration files: any text is read or refused by a documented error, in each format, and what is read is written.

The first byte of an input chooses the format; the rest is the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fuzz.builds import Build

MEASURED = ("options/ini", "options/documents", "options/expand", "options/setting", "options/row", "options/values")
VECTORS = None
SEEDS = [
    b"\0[uwsgi]\nmaster = true\nprocesses = 2\nhttp = :80\n; c\nchdir = /%(base)\nbase = srv",
    b"\0[uwsgi]\nfor = a b\npythonpath = /%(_)\nendfor =\nif-env = A\nchdir = /a\nelse =\nchdir = /b\nendif =",
    b"\0[uwsgi]\na = 4\nmax-requests = %(a + 1 * 3)\nset-ph = x=5\nif-opt = a=4\nlisten = %(x)\nendif =\n[x]\na = b",
    b"\0[uwsgi]\nenv = A=B\nroute = ^/ break:404\nharakiri = 5\nbuffer-size = 1k\nfor-times = 2\nmount = /%(_)=a\nend",
    b"\0[uwsgi]\nif-not-exists = /none\nwsgi-file = a.py\nendif =\nlog-format = %(method)\ncron = -1 2 * * * x\n=x\n[",
    b"\1uwsgi:\n  master: true\n  http: [':80', ':81']\n  processes: 2\n  env:\n    - A=B\n    - {a: b}\nother: 1\n",
    b"\1uwsgi: &a\n  <<: *a\n  x: !!python/object:os.system y\n",
    b'\2{"uwsgi": {"master": true, "http": [":80", ":81"], "processes": 2, "x": {"y": 1}, "z": null}}',
    b'\2{"uwsgi": {"a": 1e400, "b": NaN, "c": -0.0, "a": [[1]]}, "uwsgi": []}',
    b"\3<uwsgi><master/><http>:80</http><processes>2</processes><a><b>c</b></a></uwsgi>",
    b'\3<x><uwsgi id="a"><http id="b">x</http></uwsgi><uwsgi><p>&amp;&#65;<![CDATA[x]]></p></uwsgi></x>',
    b'\3<!DOCTYPE x [<!ENTITY a "b">]><uwsgi>&a;</uwsgi>',
    b"\4--master --http :80 --processes 2 -p 3 -M --env A=B x.ini",
    b"\4--set a=b --if-env A --chdir /a --endif --listen 5 --harakiri=5",
]
#: Reads files; or, as its author asks for, endlessly many settings.
OUTSIDE = ("@(", "glob", "readline")
MOST_SETTINGS = 2_000


def prepare(builds: Sequence[Build]) -> Callable[[bytes], None]:
    module = builds[0].module
    errors, options, documents = module("errors"), module("options"), module("options.documents")
    setting, ini, language = module("options.setting"), module("options.ini"), module("options.expand")
    argv = module("options.argv")
    parsers = [ini.parse_ini, documents.parse_yaml, documents.parse_json, documents.parse_xml]

    def no_file(asked: Any) -> Any:
        raise asked.error("no file is read here")

    outside = language.Outside(
        environ={"A": "of the environment"},
        is_a_reload=False,
        names_file=lambda name: name in options.BY_NAME and bool(options.BY_NAME[name].reads),
        load=no_file,
        is_late=lambda name: name == "inherit",
        is_option=options.BY_NAME.__contains__,
        keeps=lambda name: options.BY_NAME[name].keeps if name in options.BY_NAME else "%$@",
    )

    def read(which: int, text: str, findings: Any) -> Any:
        if which == len(parsers):
            return argv.command_line(text.replace("\0", "").split(), findings)
        return parsers[which](text, "file", "uwsgi", findings)

    def check(data: bytes) -> None:
        which = data[0] % 5 if data else 0
        text = data[1:].decode("utf-8-sig", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
        findings = setting.Findings()
        try:
            settings = read(which, text, findings)
        except (ValueError, errors.OptionError) as exc:
            assert str(exc)
            assert not isinstance(exc, UnicodeError)
            return
        for note in findings.notes:
            assert str(note)
        if settings is None or any(word in text for word in OUTSIDE):
            return
        for each in settings:
            assert isinstance(each.name, str)
            assert each.value is None or isinstance(each.value, str)
        if any(each.name == "for-times" and len(each.value or "") > 2 for each in settings) or text.count("for") > 3:
            return
        try:
            expanded = language.expand(settings, outside, findings)
            assert len(expanded.settings) <= MOST_SETTINGS
            built = options.build(expanded.settings, expanded.variables, findings)
        except (errors.OptionError, errors.OptionErrors) as exc:
            assert str(exc)
            return
        again = ini.parse_ini(f"[uwsgi]\n{options.ini_text(built)}", "again", "uwsgi", setting.Findings())
        assert again is not None

    return check
