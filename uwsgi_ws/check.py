"""``python -m uwsgi_ws check``: what a configuration will do here, before anything is started.

It reads what the server would read, and uses the same table. The differences from uWSGI are listed here, and only here,
by the options that cause them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import BY_NAME, Options, Setting, parse
from uwsgi_ws.options.setting import Findings
from uwsgi_ws.options.table import DEFAULT_PLACES
from uwsgi_ws.routing.backend import Timeouts
from uwsgi_ws.routing.router import Router
from uwsgi_ws.routing.settings import RouteSettings

__all__ = ["Report", "check", "main", "rule_errors"]

_USAGE = """Usage: python -m uwsgi_ws check [--json] [OPTIONS] FILE...

Tells what of a configuration works, what has no effect here, what must change, and what differs from uWSGI on purpose.
Files and options are those that the server would be started with. Exit status 0 if nothing must change, else 1.
"""


class Report(NamedTuple):
    """What there is to say; each entry is an option as it was written, what is said of it, and where it was.

    Attributes:
        works: Options that do the same as in uWSGI.
        no_effect: Options that need nothing here, and why.
        must_change: Settings that keep the server from starting, and unknown names.
        reading: Values that do not mean what they seem to; they mean the same to uWSGI.
        differs: What differs from uWSGI on purpose.
    """

    works: list[dict[str, str]]
    no_effect: list[dict[str, str]]
    must_change: list[dict[str, str]]
    reading: list[dict[str, str]]
    differs: list[dict[str, str]]

    @property
    def status(self) -> int:
        """The exit status: 0 if nothing must change."""
        return 1 if self.must_change else 0


def check(argv: Sequence[str], environ: Mapping[str, str]) -> Report:
    """Return what there is to say about a command line and the files that it names."""
    findings = Findings()
    options: Options | None = None
    errors: tuple[OptionError, ...] = ()
    try:
        options = parse(argv, environ, findings=findings)
    except OptionError as exc:
        errors = exc.each
    errors = (*errors, *rule_errors(findings.settings))
    by_kind: dict[str, list[dict[str, str]]] = {"no effect": [], "unknown": [], "reading": []}
    for note in findings.notes:
        # A line of the log has to say of itself what the heading says here.
        by_kind[note.kind].append(_entry(note.option, note.text.removeprefix("without effect here. "), note.source))
    must_change = [_entry(error.option, error.problem, error.source) for error in errors] + by_kind["unknown"]
    wrong = {(entry["option"], entry["source"]) for entry in must_change}
    works = [
        _entry(setting.spell(setting.name), setting.value or "", setting.source)
        for setting in findings.settings
        if _is_ours(setting) and (setting.spell(setting.name), setting.source) not in wrong
    ]
    differs = [] if options is None else [_entry(name, text, "") for name, text in _differences(options)]
    return Report(works, by_kind["no effect"], must_change, by_kind["reading"], differs)


def rule_errors(settings: Sequence[Setting]) -> tuple[OptionError, ...]:
    """Return what is wrong with the routes among settings."""
    try:
        Router(RouteSettings.of(settings), Timeouts(1.0, 1.0))
    except OptionError as exc:
        return exc.each
    return ()


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the report; return the exit status."""
    if not argv or "--help" in argv or "-h" in argv:
        print(_USAGE, end="")
        return 0 if argv else 1
    report = check([argument for argument in argv if argument != "--json"], environ)
    if "--json" in argv:
        print(json.dumps(report._asdict(), indent=2))
        return report.status
    headings = {
        "must_change": "Must change:",
        "reading": "Does not mean what it seems to, here as in uWSGI:",
        "differs": "Differs from uWSGI on purpose:",
        "no_effect": "Has no effect here:",
        "works": "Works:",
    }
    for name, heading in headings.items():
        entries: list[dict[str, str]] = getattr(report, name)
        if entries:
            print(heading)
            for alike in [[entry] for entry in entries] if name == "works" else _with_the_same_text(entries):
                text = alike[0]["text"]
                between = " = " if name == "works" and text else ": " if text else ""
                where = ", ".join(_places(alike))
                print(f"  {', '.join(_options(alike))}{between}{text}{f' ({where})' if where else ''}")
    print("The server can be started with it." if not report.status else "The server is not what uWSGI was with it.")
    return report.status


def _entry(option: str, text: str, source: str) -> dict[str, str]:
    return {"option": option, "text": text, "source": source}


def _with_the_same_text(entries: list[dict[str, str]]) -> list[list[dict[str, str]]]:
    """Return the entries in groups: what holds for several options is told once."""
    groups: dict[str, list[dict[str, str]]] = {}
    for entry in entries:
        groups.setdefault(entry["text"], []).append(entry)
    return list(groups.values())


def _options(entries: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(entry["option"] for entry in entries))


def _places(entries: list[dict[str, str]]) -> Iterator[str]:
    """Yield where the entries were: a file's further lines by their number only."""
    before = ""
    for entry in entries:
        file, _, line = entry["source"].rpartition(":")
        if entry["source"]:
            yield line if file and file == before else entry["source"]
        before = file


def _is_ours(setting: Setting) -> bool:
    row = BY_NAME.get(setting.name)
    return row is not None and row.kind == "ours"


def _differences(options: Options) -> Iterator[tuple[str, str]]:
    """Yield what these options do differently from uWSGI."""
    names = {setting.name for setting in options.given}
    is_patched_in_uwsgi = bool(names & {"gevent-monkey-patch", "gevent-early-monkey-patch"})
    if options.monkey_patch and not is_patched_in_uwsgi:
        yield (
            "gevent-monkey-patch",
            "The standard library is made cooperative, so that requests need not wait for one another; uWSGI leaves it "
            "alone. Drivers in C are not, and asyncio's loops do not run in a request. --no-monkey-patch or --threads "
            "N leaves it alone here, too.",
        )
    if options.is_serial:
        yield (
            "gevent",
            "A worker runs one request at a time, as in uWSGI, and WebSockets beside it, a thread each; uWSGI serves "
            f"one WebSocket then and nothing else. --gevent N serves them all in greenlets: {_databases(options)}",
        )
    if options.stops_on_term and not names & {"die-on-term", "exit-on-reload"}:
        yield (
            "die-on-term",
            "SIGTERM stops, as container runtimes and service managers mean it; uWSGI 2.0 reloads, and as process 1 of "
            "a container it is killed once the runtime has waited in vain. --reload-on-term reloads here, too.",
        )
    if options.cheaper:
        yield (
            "cheaper",
            "A worker is busy by its places and CPU time, not while it has any request. WebSockets of one that is put "
            "away have --cheaper-mercy seconds and are closed with 1012 then; uWSGI lets it go on as long as they do.",
        )
    if options.buffer_size > 4096 and not names & set(BY_NAME["buffer-size"].names):
        yield ("buffer-size", f"Heads of {options.buffer_size} bytes are taken; uWSGI's default is 4096.")


def _databases(options: Options) -> str:
    """Return what greenlets would mean for a database whose connections a thread or a request keeps."""
    at_once = options.processes or 1
    return (
        f"then a database may be asked for {at_once * DEFAULT_PLACES:,} connections rather than for {at_once:,}, "
        "unless the application has a pool."
    )
