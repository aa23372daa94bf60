"""The Autobahn testsuite's fuzzing client against an echo server: ``python tests/compliance/autobahn.py``.

Drives the suite's own case files with ``kosoku`` (the original runs on Python 2.7 only): all of groups 1 to 7, 9 and
10; with ``--compression`` those of permessage-deflate, groups 12 and 13. A case passes when its behavior and its close
are OK or INFORMATIONAL, and when a connection that had to end in an error carried exactly that error's close code; the
suite itself is content with NON-STRICT answers and with close frames that have no code.

Exit status: 0 when every case passed, 1 when some did not, 2 when the suite could not run. A case that may fail is
listed with its reason in ``expected.json``; one that is listed and passes is an error too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.server import Server  # noqa: E402  # a script finds the tests' helpers only after the line above

#: Cases in groups 1 to 7, 9 and 10, and in those of permessage-deflate; a run that reports fewer has not run them all.
TOTAL, TOTAL_COMPRESSED = 301, 216
COMPRESSED = ("12.*", "13.*")
GOOD = ("OK", "INFORMATIONAL")
LIMIT = 1800.0  # seconds for the whole run

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


def find_suite() -> str | None:
    """Return the path of ``kosoku``: beside this interpreter, or on PATH."""
    return shutil.which("kosoku", path=str(Path(sys.executable).parent)) or shutil.which("kosoku")


def run_suite(program: str, folder: Path, cases: list[str], compression: str | None) -> str | None:
    """Serve, and let the suite write its reports; return what went wrong, if it did not come to its end."""
    command = [program, "-o", str(folder)]
    options = OPTIONS
    if compression is None:
        command += [word for case in COMPRESSED for word in ("-x", case)]
    else:
        cases = cases or [*COMPRESSED]
        options += ("--websockets-deflate",)
    if compression == "takeover":
        options += ("--websockets-deflate-takeover",)
    for case in cases:
        command += ["-i", case]
    with Server(ECHO, *options) as server, (folder / "run.log").open("wb") as log:
        try:
            status = subprocess.run(
                [*command, server.ws_url()], stdout=log, stderr=log, timeout=LIMIT, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return f"the suite did not end in {LIMIT:g} s"
        finally:
            (folder / "server.log").write_text(server.log)
    if "Traceback" in server.log:
        return "the server logged a traceback, see server.log"
    if not (folder / "index.json").exists():
        return f"the suite wrote no report; exit status {status}, see run.log"
    return None


def print_counts(verdicts: list[Verdict]) -> None:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--output", type=Path, help="folder for the reports; a new one among the temporary files unless told"
    )
    parser.add_argument(
        "--compression", choices=["alone", "takeover"], help="run groups 12 and 13, without or with context takeover"
    )
    parser.add_argument("cases", nargs="*", help="ids or globs, such as 7.*; all unless told")
    arguments = parser.parse_args()
    program = find_suite()
    if program is None:
        print("autobahn: no kosoku here: pip install -e .[dev]", file=sys.stderr)
        return 2
    folder = arguments.output or Path(tempfile.mkdtemp(prefix="autobahn-"))
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("index.*"), *folder.glob("*_case_*")]:
        old.unlink()
    trouble = run_suite(program, folder, arguments.cases, arguments.compression)
    if trouble is not None:
        print(f"autobahn: {trouble}; reports: {folder}", file=sys.stderr)
        return 2
    verdicts = read_verdicts(folder)
    excused: dict[str, str] = json.loads((HERE / "expected.json").read_text())
    failed = [verdict for verdict in verdicts if not verdict.passed]
    print_counts(verdicts)
    for verdict in failed:
        print(f"failed: {verdict}{'  EXPECTED: ' + excused[verdict.case] if verdict.case in excused else ''}")
    for verdict in verdicts:
        if verdict.passed and verdict.case in excused:
            print(f"passed, but listed in expected.json: {verdict.case}")
    print(f"reports: {folder}")
    total = TOTAL if arguments.compression is None else TOTAL_COMPRESSED
    if arguments.cases:
        total = len(verdicts)
    print(f"autobahn: {len(verdicts) - len(failed)} passed of {total}")
    ran_all = len(verdicts) == total > 0
    as_listed = {verdict.case for verdict in failed} == {v.case for v in verdicts if v.case in excused}
    return 0 if ran_all and as_listed else 1


if __name__ == "__main__":
    sys.exit(main())
