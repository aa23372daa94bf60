"""The Autobahn testsuite's fuzzing client against an echo server: ``python tests/compliance/autobahn.py``.

Drives the suite's own case files with ``kosoku`` (the original runs on Python 2.7 only): groups 1 to 7, 9 and 10
without compression, 12 and 13 with it, without context takeover (``alone``) or with it (``takeover``). The server is
reached directly or in one of the other ways of ``WAYS``.

A case passes when its behavior and its close are OK or INFORMATIONAL, and when a connection that had to end in an error
carried exactly that error's close code; the suite itself is content with NON-STRICT answers and with close frames that
have no code.

Exit status: 0 when every case passed, 1 when some did not, 2 when the suite could not run. A case that may fail is
listed with its reason in ``autobahn_expected.json``; one that is listed and passes is an error too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support import carriers  # noqa: E402  # a script finds the tests' helpers only after the line above
from support.carriers import Start, running  # noqa: E402
from support.peers import require_program  # noqa: E402
from support.server import Server, ServerFailed, free_port  # noqa: E402
from support.tls import Authority  # noqa: E402

GOOD = ("OK", "INFORMATIONAL")
LIMIT = 3600.0  # seconds for one run of the suite
START = 60.0  # seconds for the server to start; the machine may have other work
AT_ONCE = 4  # cases

# Group 9 sends messages of 16 MiB.
OPTIONS = ("--websockets-max-size", "17000", "--disable-logging")
ECHO = """\
import uwsgi_ws

def application(environ, start_response):
    ws = uwsgi_ws.accept(environ)
    for message in ws:
        ws.send(message)
    return []
"""

#: Groups of compression; some of their cases: each set of parameters, most sizes, with fragments and without.
COMPRESSED = ("12.*", "13.*")
SAMPLE = ("12.1.3", "12.1.10", "12.2.10", "12.4.5", "13.1.3", "13.3.4", "13.4.4", "13.5.4", "13.6.4")


@dataclass(frozen=True)
class Mode:
    """Groups of cases, and what the server is told for them.

    Args:
        total: How many cases there are; a run that reports fewer has not run them all.
        is_compressed: Whether they are those of compression.
        options: The server's.
    """

    total: int
    is_compressed: bool = False
    options: tuple[str, ...] = ()

    def words(self, cases: Sequence[str]) -> list[str] | None:
        """Return what the suite is told to run all of its cases or some; None if none of these belong to the mode."""
        if not cases:
            return [word for case in COMPRESSED for word in ("-i" if self.is_compressed else "-x", case)]
        own = [case for case in cases if self.is_compressed == case.startswith(("12.", "13."))]
        return [word for case in own for word in ("-i", case)] or None


MODES = {
    "plain": Mode(301),
    "alone": Mode(216, True, ("--websockets-deflate",)),
    "takeover": Mode(216, True, ("--websockets-deflate", "--websockets-deflate-takeover")),
}


def tls(start: Start, folder: Path) -> Iterator[carriers.Carrier]:
    """Serve with TLS. The suite has none, so haproxy speaks it for the suite and passes on every byte as it is."""
    program = require_program("haproxy", "/usr/sbin/haproxy")
    server = start("--https", f"127.0.0.1:0,{Authority(folder).issue()}")
    host, port = server.addresses[-1]
    front = free_port()
    (folder / "haproxy.cfg").write_text(f"""\
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen tls
    bind 127.0.0.1:{front}
    server one {host}:{port} ssl verify none alpn http/1.1
""")
    with running([program, "-db", "-f", "haproxy.cfg"], front, folder) as address:
        yield carriers.Carrier(server, address)


@dataclass(frozen=True)
class Way:
    """How the suite reaches the server, and how that runs.

    Args:
        carrier: Starts it and what stands in front of it.
        options: The server's.
        environment: What is added to its environment.
    """

    carrier: Callable[[Start, Path], Iterator[carriers.Carrier]]
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


WAYS = {
    "http1": Way(carriers.http1),
    "pure": Way(carriers.http1, environment={"UWSGI_WS_PURE_PYTHON": "1"}),
    "threads": Way(carriers.http1, ("--threads", "16")),
    "tls": Way(tls),
    "http2": Way(carriers.haproxy_h2),  # of a front that speaks RFC 8441 to the server
    "nginx-http": Way(carriers.nginx_proxy_pass),
    "nginx-uwsgi": Way(carriers.nginx_uwsgi_pass),
}


@dataclass(frozen=True)
class Verdict:
    """What the suite says about one case, and what we add."""

    case: str
    behavior: str
    close: str
    code: int | None
    wanted: tuple[int, ...]  # close codes of which one had to come; empty when none had to
    why: str

    @property
    def is_told(self) -> bool:
        """Whether an error close, if one was due, carried its code."""
        return not self.wanted or self.code in self.wanted

    @property
    def passed(self) -> bool:
        return self.behavior in GOOD and self.close in GOOD and self.is_told

    def __str__(self) -> str:
        due = f" instead of {' or '.join(map(str, self.wanted))}" if not self.is_told else ""
        return f"{self.case:8} behavior={self.behavior} close={self.close} code={self.code}{due}  {self.why}"


def read_verdicts(folder: Path) -> list[Verdict]:
    """Return the verdicts of a report folder, in the cases' order."""
    index = json.loads((folder / "index.json").read_text())
    verdicts = [read_verdict(folder, case, entry) for agent in index.values() for case, entry in agent.items()]
    return sorted(verdicts, key=lambda verdict: [int(number) for number in verdict.case.split(".")])


def read_verdict(folder: Path, case: str, entry: dict[str, Any]) -> Verdict:
    detail = json.loads((folder / Path(entry["reportfile"]).name).read_text())
    # The close that the case expects. Where 1000 is among its codes, no error is due.
    wanted = tuple((detail.get("expectedClose") or {}).get("closeCode") or (1000,))
    reasons = [
        detail["result"] if entry["behavior"] not in GOOD else "",
        detail["resultClose"] if entry["behaviorClose"] not in GOOD else "",
        detail.get("wasNotCleanReason") or "",
    ]
    return Verdict(
        case,
        entry["behavior"],
        entry["behaviorClose"],
        entry.get("remoteCloseCode"),
        () if 1000 in wanted else wanted,
        "; ".join(filter(None, reasons)),
    )


class SuiteFailed(Exception):
    """The suite did not come to its end."""


@contextlib.contextmanager
def served(way: Way, options: Sequence[str], folder: Path) -> Iterator[str]:
    """Give the URL at which an echo server is reached; what it logs goes into ``folder``."""
    servers: list[Server] = []
    with contextlib.ExitStack() as stack:

        def start(*more: str) -> Server:
            server = Server(ECHO, *OPTIONS, *options, *way.options, *more, env=way.environment, deadline=START)
            servers.append(stack.enter_context(server))
            return server

        carrier = stack.enter_context(contextlib.contextmanager(way.carrier)(start, folder))
        host, port = carrier.address
        yield f"ws://{host}:{port}"
    log = "".join(server.log for server in servers)
    (folder / "server.log").write_text(log)
    if "Traceback" in log:
        raise SuiteFailed("the server logged a traceback, see server.log")


def run_suite(way: Way, mode: Mode, words: Sequence[str], folder: Path) -> list[Verdict]:
    """Serve, let the suite write its reports, and read them."""
    for old in [*folder.glob("index.*"), *folder.glob("*_case_*")]:
        old.unlink()
    command = [sys.executable, str(HERE / "kosoku_driver.py"), "-o", str(folder), "-p", str(AT_ONCE), *words]
    with served(way, mode.options, folder) as url, (folder / "run.log").open("wb") as log:
        try:
            status = subprocess.run([*command, url], stdout=log, stderr=log, timeout=LIMIT).returncode
        except subprocess.TimeoutExpired:
            raise SuiteFailed(f"the suite did not end in {LIMIT:g} s") from None
    if not (folder / "index.json").exists():
        raise SuiteFailed(f"the suite wrote no report; exit status {status}, see run.log")
    return read_verdicts(folder)


def print_counts(verdicts: Sequence[Verdict]) -> None:
    print("behavior:     ", tally(verdict.behavior for verdict in verdicts))
    print("behaviorClose:", tally(verdict.close for verdict in verdicts))
    due = [verdict for verdict in verdicts if verdict.wanted]
    print(f"error closes:  {sum(verdict.is_told for verdict in due)} of {len(due)} with exactly their code")
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.case.partition(".")[0], []).append(verdict)
    for group, members in groups.items():
        print(f"{group + '.*':5} {sum(verdict.passed for verdict in members):3} of {len(members):3}")


def tally(words: Any) -> str:
    return "  ".join(f"{word} {count}" for word, count in sorted(Counter(words).items()))


@dataclass(frozen=True)
class Run:
    """What came of a mode's cases in one way.

    Args:
        way: Its name.
        mode: Its name.
        verdicts: Of all cases that ran.
        total: How many had to.
        seconds: How long it took.
    """

    way: str
    mode: str
    verdicts: Sequence[Verdict]
    total: int
    seconds: float

    @property
    def passed(self) -> int:
        return sum(verdict.passed for verdict in self.verdicts)

    def report(self, excused: Mapping[str, str]) -> bool:
        """Print what came; return whether each case passed, or failed for a listed reason."""
        print_counts(self.verdicts)
        listed = True
        for verdict in self.verdicts:
            if not verdict.passed:
                print(f"failed: {verdict}{'  EXPECTED: ' + excused[verdict.case] if verdict.case in excused else ''}")
            elif verdict.case in excused:
                print(f"passed, but listed in autobahn_expected.json: {verdict.case}")
            listed = listed and verdict.passed != (verdict.case in excused)
        print(f"{self.way}, {self.mode}: {self.passed} passed of {self.total} in {self.seconds:.0f} s", flush=True)
        return listed and len(self.verdicts) == self.total > 0


def print_table(runs: Sequence[Run]) -> None:
    """Print all runs as a table, a way in each line."""
    modes = list(dict.fromkeys(run.mode for run in runs))
    print("|".join(["", " way ", *(f" {mode} " for mode in modes), ""]))
    print("|".join(["", *["---"] * (len(modes) + 1), ""]))
    for way in dict.fromkeys(run.way for run in runs):
        cells = [f" {run.passed} of {run.total} " for run in runs if run.way == way]
        print("|".join(["", f" {way} ", *cells, ""]))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="folder for the reports; a new temporary one unless told")
    parser.add_argument("--way", action="append", choices=[*WAYS, "all"], help="http1 unless told; may be repeated")
    parser.add_argument("--mode", action="append", choices=MODES, help="plain and alone unless told; may be repeated")
    parser.add_argument("--sample", action="store_true", help="of compression only some cases")
    parser.add_argument("cases", nargs="*", help="ids or globs, such as 7.*; all unless told")
    arguments = parser.parse_args()
    if importlib.util.find_spec("kosoku") is None:
        print("autobahn: no kosoku here: pip install -e .[dev]", file=sys.stderr)
        return 2
    carriers.SILENCE = 60  # the deployed files' own: cases are silent for some seconds
    folder = arguments.output or Path(tempfile.mkdtemp(prefix="autobahn-"))
    excused: dict[str, str] = json.loads((HERE / "autobahn_expected.json").read_text())
    runs: list[Run] = []
    is_good = True
    print(f"reports: {folder}")
    ways = arguments.way or ["http1"]
    for way in WAYS if "all" in ways else ways:
        for name in arguments.mode or ["plain", "alone"]:
            mode = MODES[name]
            cases = arguments.cases or (SAMPLE if arguments.sample and mode.is_compressed else ())
            words = mode.words(cases)
            if words is None:
                continue
            reports = folder / way / name
            reports.mkdir(parents=True, exist_ok=True)
            begin = time.monotonic()
            try:
                verdicts = run_suite(WAYS[way], mode, words, reports)
            except (SuiteFailed, ServerFailed) as failure:
                print(f"autobahn: {way}, {name}: {failure}; reports: {reports}", file=sys.stderr)
                return 2
            total = len(verdicts) if cases else mode.total
            runs.append(Run(way, name, verdicts, total, time.monotonic() - begin))
            is_good = runs[-1].report(excused) and is_good
    if len(runs) > 1:
        print_table(runs)
    print(f"autobahn: {sum(run.passed for run in runs)} passed of {sum(run.total for run in runs)}")
    return 0 if is_good and runs else 1


if __name__ == "__main__":
    sys.exit(main())
