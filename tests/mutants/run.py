"""Changes a file of the protocol in one place after the other, and counts the changes that no test sees.

``make mutants FILE=uwsgi_ws/protocol/websocket/frames.py``. mutmut makes the changes (mutants), in a copy of the pure
build, and runs those tests that reach them. A mutant that survives shows a place that no test asserts. Two kinds are no
such places, and stand outside of the score: those which change only the words of a message, and those in
``equivalent.json``, which change nothing that anybody can see; each has its reason there. Of a large file
``ARGS=--sample`` takes every fifth mutant.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPY = ROOT / "build" / "mutants"
EQUIVALENT = HERE / "equivalent.json"
PROTOCOL = "tests/unit/protocol"

#: Tests of a file, where it is not only the one of its name.
TESTS = {
    "websocket/engine": ("engine", "lenient", "transcript", "messages", "deflate", "prepared"),
    "websocket/frames": ("frames", "lenient", "transcript"),
    "websocket/messages": ("messages", "engine"),
    "websocket/handshake": ("handshake", "lenient"),
    "websocket/masking": ("speed",),
    "http/http2": ("http2_heads",),
    "http/grammar": ("grammar", "check_head"),
    "http/cgi": ("cgi", "http1", "http2_heads"),
}
#: Fewer examples, and the same each time.
PROFILE = """
settings.register_profile("mutants", deadline=None, max_examples=15, derandomize=True, database=None)
settings.load_profile("mutants")
"""
CONFIGURATION = """
[mutmut]
source_paths = {file}
also_copy =
    uwsgi_ws
    tests
do_not_mutate_patterns =
    raise \\w+\\(f?"[^"]*"\\)
pytest_add_cli_args =
    -p
    no:cacheprovider
    -k
    not memory_is_bounded and not time_is_linear and not linear_time and not no_more_memory
pytest_add_cli_args_test_selection =
{tests}
"""
CHILDREN = "3"
#: mutmut numbers the mutants of a function.
EVERY_FIFTH = "*__mutmut_*[05]"
KILLED = (1, 3, 24, 36, 152, 255, -24, -9, -11)
UNSEEN = (0, 5, 33)  # survived, or reached by no test
#: Words: a literal that has a blank between two of them.
WORDS = re.compile(r'f?"[^"]*[\w}],? [\w{][^"]*"')
CODECS = re.compile('"(LATIN-1|ASCII|UTF-8)"')


class Survivor(NamedTuple):
    """A mutant that no test has seen: where, and what it changes."""

    function: str
    old: str
    new: str

    @property
    def is_same(self) -> bool:
        """Whether the change means nothing to Python.

        From 3.11 it takes the network's byte order where none is named. A codec may be named in upper case.
        """
        return self.new == self.old.replace('"big"', "") or self.old == CODECS.sub(
            lambda name: name[0].lower(), self.new
        )

    @property
    def is_wording(self) -> bool:
        old, new = WORDS.sub("TEXT", self.old), WORDS.sub("TEXT", self.new)
        return "TEXT" in old and new in (old, old.replace("TEXT", "None", 1))


def tests_of(file: Path) -> list[str]:
    room = file.parts[-2]
    names = TESTS.get(f"{room}/{file.stem}", (file.stem,))
    return [f"{PROTOCOL}/{room}/test_{name}.py" for name in names]


def make_copy(file: Path) -> None:
    """Put the Python build and its tests where mutmut may change them."""
    shutil.rmtree(COPY, ignore_errors=True)
    skipped = shutil.ignore_patterns(
        "*.so", "*.c", "*.pyx", "*.pxd", "__pycache__", "applications", "integration", "corpus"
    )
    for name in ("uwsgi_ws", "tests"):
        shutil.copytree(ROOT / name, COPY / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, COPY)
    # What examples cost is nothing here, but that they are the same ones is.
    with open(COPY / "tests" / "conftest.py", "a") as conftest:
        conftest.write(PROFILE)
    tests = "\n".join(f"    {test}" for test in tests_of(file))
    (COPY / "setup.cfg").write_text(CONFIGURATION.format(file=file, tests=tests))


def mutmut(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "UWSGI_WS_PURE_PYTHON": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=COPY, env=environ, capture_output=True, text=True, check=False)


#: One process for all of them: each would read the mutated file anew.
SHOW = """
import json, sys
from mutmut.mutation.diff_apply import get_diff_for_mutant
file, *names = sys.argv[1:]
print(json.dumps({name: get_diff_for_mutant(name, path=file) for name in names}))
"""


def survivors(file: Path, names: list[str]) -> list[Survivor]:
    """Return what mutants change."""
    command = [sys.executable, "-c", SHOW, str(file), *names]
    shown = subprocess.run(command, cwd=COPY, capture_output=True, text=True, check=True).stdout
    return [survivor(name, diff.splitlines()) for name, diff in json.loads(shown).items()]


def survivor(name: str, shown: list[str]) -> Survivor:
    changed = {"-": "", "+": ""}
    for line in shown:
        if line[:1] in changed and not line.startswith(("---", "+++")):
            changed[line[0]] = f"{changed[line[0]]} {line[1:].strip()}".strip()
    function = re.sub(r"__mutmut_\d+$", "", name).rpartition(".")[2]
    return Survivor(re.sub("^x_?|ǁ", " ", function).strip().replace(" ", "."), changed["-"], changed["+"])


def judge(file: Path, *, is_shown: bool, is_sampled: bool) -> bool:
    """Mutate one file; print a line, and what survives."""
    make_copy(file)
    sample = (EVERY_FIFTH,) if is_sampled else ()
    done = mutmut("run", "--max-children", CHILDREN, *sample)
    record = COPY / "mutants" / f"{file}.meta"
    if not record.exists():
        print(done.stdout[-3_000:], done.stderr[-3_000:], file=sys.stderr)
        raise SystemExit(f"{file}: mutmut has not run")
    codes: dict[str, int | None] = json.loads(record.read_text())["exit_code_by_key"]
    if is_sampled:
        codes = {name: code for name, code in codes.items() if fnmatch(name, EVERY_FIFTH)}
    unknown = [name for name, code in codes.items() if code not in (*KILLED, *UNSEEN)]
    if unknown:
        print(done.stdout[-3_000:], file=sys.stderr)
        raise SystemExit(f"{file}: {len(unknown)} mutants were not judged, such as {unknown[0]}: {codes[unknown[0]]}")
    listed = json.loads(EQUIVALENT.read_text()).get(str(file), [])
    known = {(each["function"], each["old"], each["new"]) for each in listed}
    killed = sum(code in KILLED for code in codes.values())
    left = survivors(file, [name for name, code in codes.items() if code in UNSEEN])
    wording = [each for each in left if each.is_wording]
    equivalent = [each for each in left if each in known or each.is_same]
    others = [each for each in left if not each.is_wording and each not in equivalent]
    scored = killed + len(others)
    score = 100 * killed / scored if scored else 100.0
    print(
        f"{file}: {len(codes)} mutants{', every fifth' if is_sampled else ''}, {killed} killed, "
        f"{len(equivalent)} equivalent, {len(wording)} of words only, {len(others)} survive: {score:.1f} %",
        flush=True,
    )
    if is_shown:
        print(json.dumps([each._asdict() for each in others], indent=1, ensure_ascii=False))
    return score >= 90


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", action="store_true", help="take every fifth mutant")
    parser.add_argument("--show", action="store_true", help="say what survives")
    parser.add_argument("files", nargs="+", type=Path, help="such as uwsgi_ws/protocol/websocket/frames.py")
    options = parser.parse_args()
    good = [judge(file, is_shown=options.show, is_sampled=options.sample) for file in options.files]
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
