"""Gives our parsers whatever bytes reach parts of them that no bytes have reached yet: ``make fuzz SECONDS=60``.

A target is a file in ``targets``: it makes calls of an input, and asserts what must hold for any input. Atheris, which
is LLVM's libFuzzer for Python, changes inputs and keeps those that take another way through the Python build; the
compiled one gets the same bytes. What is kept for good is in ``corpus``, and `make test` gives it to both builds again.

An input with which something does not hold is a finding: it is written below ``build/fuzz/findings``, and the summary
says how to give it to its target once more.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.abc import Loader
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from fuzz.builds import PACKAGE, Build, PythonBuild, builds  # noqa: E402  # found only after the line above

CORPUS = HERE / "corpus"
VECTORS = HERE.parent / "vectors"
KEPT = ROOT / "build" / "fuzz"
FINDINGS = KEPT / "findings"
TARGETS = sorted(path.stem for path in (HERE / "targets").glob("[a-z]*.py"))
#: Bytes of the longest input that is made.
LONGEST = 4_096
#: Seconds for one input, and MiB for all: past either it is a finding.
SLOWEST, LARGEST = 10, 1_024
#: Inputs and bytes that a target keeps for good.
MOST, MOST_BYTES = 16, 24_000

Check = Callable[[bytes], None]


class Result(NamedTuple):
    """What a target's time has brought."""

    target: str
    executions: int
    rate: int
    finding: str
    log: str


def module_of(target: str) -> Any:
    return importlib.import_module(f"fuzz.targets.{target}")


def seeds(target: str, *, with_vectors: bool = True) -> Iterator[tuple[str, bytes]]:
    """Yield what a target begins with, beside its corpus: inputs of its own, and the tests' vectors."""
    module = module_of(target)
    for number, seed in enumerate(module.SEEDS):
        yield f"seed-{number}", seed
    if with_vectors and module.VECTORS is not None:
        folder, ending = module.VECTORS
        for path in sorted((VECTORS / folder).rglob(f"*.{ending}")):
            yield path.name, path.read_bytes() + b"\0"


def corpus(target: str) -> list[Path]:
    """Return the inputs that are kept for good."""
    return sorted((CORPUS / target).glob("*"))


def inputs(target: str) -> Iterator[tuple[str, bytes]]:
    """Yield everything that a target has: seeds, what is kept for good, and what earlier runs here have found."""
    yield from seeds(target)
    for path in (*corpus(target), *sorted((KEPT / target).glob("*"))):
        yield path.name, path.read_bytes()


# A process of its own for each of these, as each begins with imports


def drive(target: str, arguments: Sequence[str]) -> None:
    """Fuzz; libFuzzer ends the process."""
    import atheris
    from atheris.import_hook import AtherisSourceFileLoader

    module = module_of(target)
    traced = {"uwsgi_ws." + name.replace("/", ".") for name in module.MEASURED}

    def loader(name: str, path: str) -> Loader:
        if name in traced or name.startswith("uwsgi_ws.protocol."):
            return AtherisSourceFileLoader(name, path, True)
        return SourceFileLoader(name, path)

    check = module.prepare(builds(loader))
    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


def replay(target: str, paths: Iterable[str]) -> None:
    """Give files to a target, in both builds."""
    check: Check = module_of(target).prepare(builds())
    for path in paths:
        check(Path(path).read_bytes())
        print(f"{path}: as it should be")


def measure(target: str, *, by_input: bool = False) -> None:
    """Print which lines of the Python build a target's inputs reach, as JSON: of all, or those that each adds."""
    import coverage

    meter = coverage.Coverage(data_file=None, config_file=False, include=[f"{PACKAGE}/*"], branch=True)
    meter.start()
    alone: list[Build] = [PythonBuild()]
    check: Check = module_of(target).prepare(alone)
    meter.switch_context("-")
    for name, data in inputs(target):
        if by_input:
            meter.switch_context(name)
        check(data)
    meter.stop()
    if by_input:
        found = meter.get_data()
        arcs: dict[str, list[Any]] = {}
        for name in found.measured_contexts():
            found.set_query_context(name)
            arcs[name] = [[file, *arc] for file in found.measured_files() for arc in found.arcs(file) or ()]
        print(json.dumps(arcs))
        return
    lines: dict[str, Any] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if str(path) in meter.get_data().measured_files() or path.is_relative_to(PACKAGE / "protocol"):
            _, statements, _, missing, _ = meter.analysis2(str(path))
            lines[str(path.relative_to(PACKAGE).with_suffix(""))] = [statements, missing]
    print(json.dumps(lines))


def own_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(HERE / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=environ, check=False)


# The summary


def fuzz(target: str, seconds: float, seed: int, most: int) -> Result:
    """Fuzz one target for a while, or ``most`` times if that is sooner and not 0; seed 0 is another one each time."""
    for folder in (KEPT / target, CORPUS / target, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="uwsgi_ws-fuzz-") as temporary:
        first, new, files = (Path(temporary, name) for name in ("first", "new", "files"))
        first.mkdir()
        new.mkdir()
        for name, data in seeds(target):
            (first / name).write_bytes(data)
        places = [str(KEPT / target), str(CORPUS / target), str(first)]
        if seed:
            # Nothing of earlier runs, and one order, as a folder's is another everywhere. libFuzzer goes the same way
            # for some thousand executions then; what it makes of comparisons depends on addresses.
            files.write_text(",".join(map(str, (*sorted(first.iterdir()), *corpus(target)))))
            places = [f"-seed_inputs=@{files}", str(new)]
        done = own_process(
            *("--drive", target, f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST}", f"-seed={seed}"),
            *(f"-timeout={SLOWEST}", f"-rss_limit_mb={LARGEST}", "-print_final_stats=1", "-verbosity=1"),
            *(f"-artifact_prefix={FINDINGS}/{target}-", f"-runs={most or -1}"),
            *places,
        )
    log = done.stdout + done.stderr
    executions = max(map(int, re.findall(r"^#(\d+)\t", log, re.M)), default=0)
    done_in = re.search(r"^Done (\d+) runs in (\d+) second", log, re.M)
    if done_in is not None:
        executions = int(done_in[1])
    rates = re.findall(r"exec/s: (\d+)", log)
    finding = ""
    if done.returncode:
        written = re.search(r"Test unit written to (\S+)", log)
        finding = written[1] if written else "(no input)"
    return Result(target, executions, int(rates[-1]) if rates else 0, finding, log)


def share(covered: dict[str, tuple[set[int], set[int]]], names: Iterable[str]) -> str:
    """Return how much of some modules' lines is reached."""
    reached = total = 0
    for name in names:
        statements, missing = covered.get(name, (set(), set()))
        total += len(statements)
        reached += len(statements - missing)
    return f"{100 * reached / total:.1f} %" if total else "none"


def cover(targets: Sequence[str]) -> dict[str, dict[str, tuple[set[int], set[int]]]]:
    """Return, of each target, the statements of each module, and those that its inputs do not reach."""
    with ThreadPoolExecutor(2) as pool:
        outputs = pool.map(lambda target: own_process("--measure", target), targets)
        found = {}
        for target, done in zip(targets, outputs, strict=True):
            if done.returncode:
                raise SystemExit(f"{target}: its corpus is not as it should be\n{done.stderr}")
            said = json.loads(done.stdout)
            found[target] = {name: (set(all_), set(missing)) for name, (all_, missing) in said.items()}
    return found


def of_protocol(by_target: dict[str, dict[str, tuple[set[int], set[int]]]]) -> dict[str, tuple[set[int], set[int]]]:
    """Return the same of the protocol's modules, by all targets together."""
    together: dict[str, tuple[set[int], set[int]]] = {}
    for covered in by_target.values():
        for name, (statements, missing) in covered.items():
            if name.startswith("protocol/"):
                known = together.get(name)
                together[name] = statements, missing if known is None else missing & known[1]
    return together


def run(targets: Sequence[str], seconds: float, seed: int, most: int) -> int:
    """Fuzz, two targets at a time, and tell what came of it; return the exit status."""
    each = 2 * seconds / max(2, len(targets))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda target: fuzz(target, each, seed, most), targets))
    covered = cover([result.target for result in results])
    findings = [result for result in results if result.finding]
    for result in results:
        lines = share(covered[result.target], module_of(result.target).MEASURED)
        what = f"FINDING {result.finding}" if result.finding else "no findings"
        count = f"{result.executions:>10,} executions {result.rate:>7,}/s"
        print(f"{result.target:<11}{count} {lines:>8} of its lines  {what}")
    for result in findings:
        print(f"\n{result.target}:\n{last_lines(result.log)}")
        print(f"again: make fuzz TARGET={result.target} ARGS={result.finding}")
    protocol = of_protocol(covered)
    total = sum(result.executions for result in results)
    print(
        f"fuzz: {len(results)} targets, {total:,} executions, {len(findings)} findings, "
        f"{share(protocol, protocol)} of the lines of protocol/"
    )
    return 1 if findings else 0


def last_lines(log: str) -> str:
    """Return the traceback, without what libFuzzer tells of itself."""
    begin = log.rfind("=== Uncaught Python exception")
    end = log.find("\n==", begin + 40)
    return log[begin:end].strip()[:3_000] if begin >= 0 else log[-2_000:]


def minimize(target: str) -> None:
    """Replace what is kept for good by the fewest inputs that reach, together with the seeds, all that is reached."""
    done = own_process("--measure-inputs", target)
    if done.returncode:
        raise SystemExit(done.stderr)
    by_name = {name: frozenset(map(tuple, arcs)) for name, arcs in json.loads(done.stdout).items()}
    data = dict(inputs(target))
    reached: set[tuple[Any, ...]] = set().union(
        *(by_name.get(name, ()) for name, _ in seeds(target)), by_name.get("", ())
    )
    kept: list[str] = []
    size = 0
    left = {name for name in by_name if name in data}
    while left and len(kept) < MOST:
        # What adds most, of these the shortest.
        best = max(left, key=lambda name: (len(by_name[name] - reached), -len(data[name])))
        left.discard(best)
        if not by_name[best] - reached:
            break
        if size + len(data[best]) <= MOST_BYTES:
            reached |= by_name[best]
            kept.append(best)
            size += len(data[best])
    chosen = {re.sub(r"\W", "", name)[:12]: data[name] for name in kept}
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    for path in corpus(target):
        path.unlink()
    for name, content in chosen.items():
        (CORPUS / target / name).write_bytes(content)
    print(f"{target}: {len(chosen)} inputs, {size:,} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="shared among the targets")
    parser.add_argument("--seed", type=int, default=0, help="try nearly the same inputs; 0, the default, is for others")
    parser.add_argument("--executions", type=int, default=0, help="end each target after so many, if that is sooner")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--minimize", action="store_true", help="keep for good what is worth it of what was found")
    parser.add_argument("--missing", action="store_true", help="say which lines of the protocol no input reaches")
    parser.add_argument("--measure", metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("--measure-inputs", metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("inputs", nargs="*", help="files to give to the target once more")
    logging.disable(logging.CRITICAL)  # what a peer's fault says in the log is nothing here
    if sys.argv[1:2] == ["--drive"]:
        drive(sys.argv[2], sys.argv[3:])
        return 0
    options = parser.parse_args()
    targets = [options.target] if options.target else TARGETS
    if options.measure or options.measure_inputs:
        measure(options.measure or options.measure_inputs, by_input=bool(options.measure_inputs))
    elif options.inputs:
        if not options.target:
            parser.error("inputs are for a --target")
        replay(options.target, options.inputs)
    elif options.minimize:
        for target in targets:
            minimize(target)
    elif options.missing:
        protocol = of_protocol(cover(targets))
        for name, (_, missing) in sorted(protocol.items()):
            if missing:
                print(f"{name}: {', '.join(map(str, sorted(missing)))}")
        print(share(protocol, protocol))
    else:
        return run(targets, options.seconds, options.seed, options.executions)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
