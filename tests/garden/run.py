"""The same odd requests at us, at other servers, and at us behind proxies: ``make garden SECONDS=60``.

Each request is made from one of our vectors by a few changes, the same for the same SEED and number. It goes, with
another one behind it, to every server; where one finds its end elsewhere than we do, and neither refuses it, somebody
could smuggle a request past a proxy that understands HTTP as the one does to a server that does as the other.

Proxies stand in front of us. Each sets a mark in what it passes on: a request that comes to us without it, or with it
in its body, is one whose end we and the proxy have found in different places.

Exit status: 0 when every disagreement is explained in ``explained.json``, 1 when one is not, 2 when nothing ran. Those
of the peers that are not installed are named, and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

# A script finds the tests' helpers only after the line above.
from garden import forwarded  # noqa: E402
from garden.client import Understood, ask  # noqa: E402
from garden.compare import Explanation, boundaries_differ, explanations  # noqa: E402
from garden.mutate import mutated, seeds  # noqa: E402
from garden.peers import ORIGINS, OURS, PROXIES, Peer, Running, running  # noqa: E402

#: Seconds for an answer; and once more, alone, before a disagreement is believed.
PATIENCE, MORE_PATIENCE = 0.5, 3.0
#: Requests under way at once, and those between two looks at the clock.
AT_ONCE, BATCH = 16, 128
#: Of the requests of which we understand nothing, the part that other servers get nevertheless.
SAMPLE = 10
#: Of those servers that read a request to its end, how many must refuse what we take, or take what we refuse, for us
#: to stand alone.
ALONE = 7


@dataclass
class Tally:
    """What has come of all requests.

    Attributes:
        seen: Ends of each server's.
        found: Disagreements that nothing explains, in words.
        explained: How often each reason explains one, by peer.
        lenient: Requests that we take and nearly everybody else refuses.
        strict: The other way round.
    """

    requests: int = 0
    seen: dict[str, Counter[str]] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    explained: dict[str, Counter[str]] = field(default_factory=dict)
    lenient: list[int] = field(default_factory=list)
    strict: list[int] = field(default_factory=list)

    def judge(self, known: Sequence[Explanation], peer: str, request: bytes, what: str) -> None:
        """Count a disagreement."""
        for explanation in known:
            if explanation.covers(peer, request):
                self.explained.setdefault(peer, Counter())[explanation.reason] += 1
                return
        self.found.append(f"{peer}: {what}\n    {request!r}")


class Garden:
    """All that runs, and the requests that it gets."""

    def __init__(self, seed: int, environment: Path, stack: ExitStack, names: re.Pattern[str]) -> None:
        self.tally = Tally()
        self.missing: list[str] = []
        self._known = explanations()
        self._seed = seed
        self._base = seeds()
        self._mark = secrets.token_hex(8)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uwsgi_ws-garden-")))
        folder.chmod(0o755)  # some give their privileges up

        def start(peer: Peer, **options: object) -> Running:
            name = f"{len(list(folder.iterdir()))}-{re.sub('[^a-z0-9]', '', peer.name)}"
            return stack.enter_context(running(peer, environment, folder / name, **options))  # type: ignore[arg-type]

        def there(peers: list[Peer]) -> list[Peer]:
            wanted = [peer for peer in peers if names.search(peer.name)]
            self.missing += [peer.name for peer in wanted if not peer.told_version(environment)]
            return [peer for peer in wanted if peer.name not in self.missing]

        self._ours = start(OURS)
        self._origins = [start(peer) for peer in there(ORIGINS)]
        self._chains: list[tuple[Running, Running]] = []
        for peer in there(PROXIES):
            back = start(OURS, record=folder / f"{peer.name}.record")
            self._chains.append((start(peer, backend=back.address[1], mark=self._mark), back))
        for server in (self._ours, *self._origins, *(proxy for proxy, _ in self._chains)):
            server.wait()

    @property
    def names(self) -> list[str]:
        return [server.name for server in self._origins] + [proxy.name for proxy, _ in self._chains]

    async def play(self, numbers: range) -> None:
        """Send the requests with these numbers to all, and look at what came of each."""
        gate = asyncio.Semaphore(AT_ONCE)
        proxies = [proxy for proxy, _ in self._chains]

        async def one(number: int) -> None:
            request = mutated(self._base, self._seed, number)
            async with gate:
                ours = await ask(self._ours.address, request, PATIENCE)
                # Where we refuse at once nobody can disagree; a sample shows whether we are too strict.
                origins = self._origins if ours.requests or ours.end != "refused" or not number % SAMPLE else []
                servers = [*origins, *proxies]
                others = await asyncio.gather(*[ask(server.address, request, PATIENCE) for server in servers])
            understood = dict(zip([server.name for server in servers], others, strict=True))
            for name, each in {OURS.name: ours, **understood}.items():
                self.tally.seen.setdefault(name, Counter())[each.end] += 1
            if origins:
                await self._compare(number, request, ours, understood)

        before = [self._records(back) for _, back in self._chains]
        await asyncio.gather(*[one(number) for number in numbers])
        self.tally.requests += len(numbers)
        for (proxy, back), old in zip(self._chains, before, strict=True):
            what = self._is_smuggled(proxy.peer, self._records(back)[len(old) :])
            if what:
                await self._find_smuggled(proxy, back, numbers, what)

    async def _compare(self, number: int, request: bytes, ours: Understood, understood: dict[str, Understood]) -> None:
        others = {server.name: understood[server.name] for server in self._origins}
        for server in self._origins:
            if boundaries_differ(ours, others[server.name]) is None:
                continue
            # Perhaps one was only slow.
            again = [await ask(each.address, request, MORE_PATIENCE) for each in (self._ours, server)]
            what = boundaries_differ(*again)
            if what is not None:
                words = f"{number}: {what}\n    we: {again[0]}\n    it: {again[1]}"
                self.tally.judge(self._known, server.name, request, words)
        if ours.end == "whole" and sum(each.end in ("refused", "closed") for each in others.values()) >= ALONE:
            self.tally.lenient.append(number)
        elif ours.end == "refused" and sum(each.end == "whole" for each in others.values()) >= ALONE:
            self.tally.strict.append(number)

    async def _find_smuggled(self, proxy: Running, back: Running, numbers: range, what: str | None) -> None:
        """Send the requests again, one by one, to see whose end we and the proxy have found in different places."""
        once = what
        for number in numbers:
            request = mutated(self._base, self._seed, number)
            before = len(self._records(back))
            await ask(proxy.address, request, PATIENCE)
            what = self._is_smuggled(proxy.peer, self._records(back)[before:])
            if what:
                self.tally.judge(self._known, f"{proxy.name}, in front of us", request, f"{number}: {what}")
                return
        self.tally.found.append(f"{proxy.name}, in front of us: {once}, in {numbers}; not again")

    def _records(self, back: Running) -> list[str]:
        assert back.record is not None
        return back.record.read_text().splitlines() if back.record.exists() else []

    def _is_smuggled(self, proxy: Peer, lines: list[str]) -> str | None:
        for line in lines:
            method, target, body, mark = json.loads(line)
            # A client's own field of this name is what no mutation makes.
            is_marked = mark == self._mark if proxy.mark is None else re.fullmatch(proxy.mark, mark)
            if not is_marked:
                return f"we got {method} {target!r} without its mark: {mark!r}"
            if self._mark.encode() in base64.b64decode(body):
                return f"the body of {method} {target!r} has another request in it"
        return None


def table(garden: Garden, environment: Path) -> str:
    """Return what came of it as Markdown."""
    peers = {peer.name: peer for peer in (*ORIGINS, *PROXIES)}
    rows = ["| | version | whole | refused | closed | waits | explained |", "|---|---|--:|--:|--:|--:|--:|"]
    for name in (OURS.name, *garden.names):
        seen = garden.tally.seen.get(name, Counter())
        version = peers[name].told_version(environment) if name in peers else ""
        behind = f"{name}, in front of us"
        count = sum(sum(garden.tally.explained.get(each, Counter()).values()) for each in (name, behind))
        counts = " | ".join(f"{seen[end]:,}" for end in ("whole", "refused", "closed", "waits"))
        rows.append(f"| {name} | {version} | {counts} | {count} |")
    return "\n".join([*rows, ""])


def show_forwarded(arguments: argparse.Namespace) -> int:
    request = mutated(seeds(), arguments.seed, arguments.forwarded)
    there = [peer for peer in PROXIES if re.search(arguments.peers, peer.name) and peer.find(arguments.environment)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uwsgi_ws-garden-")))
        folder.chmod(0o755)
        ours = stack.enter_context(running(OURS, arguments.environment, folder / "ours"))
        ours.wait()
        forwarded.show(there, ours, request, arguments.environment, folder)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="go on for so long")
    parser.add_argument("--requests", type=int, help="send so many instead")
    parser.add_argument("--first", type=int, default=0, help="the first request's number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", default="", help="only those whose names match this")
    parser.add_argument("--environment", type=Path, default=Path(sys.prefix), help="where the peers in Python are")
    parser.add_argument("--forwarded", type=int, metavar="NUMBER", help="show what proxies pass on of this request")
    parser.add_argument("--table", type=Path, help="write what came of it there, as Markdown")
    arguments = parser.parse_args()
    # So that all that has been started ends with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.forwarded is not None:
        return show_forwarded(arguments)
    with ExitStack() as stack:
        garden = Garden(arguments.seed, arguments.environment, stack, re.compile(arguments.peers))
        number, end = arguments.first, time.monotonic() + arguments.seconds
        last = sys.maxsize if arguments.requests is None else number + arguments.requests
        with contextlib.suppress(KeyboardInterrupt):  # what has been seen until then counts
            while number < last and (arguments.requests is not None or time.monotonic() < end):
                numbers = range(number, min(number + BATCH, last))
                asyncio.run(garden.play(numbers))
                number = numbers.stop
        text = table(garden, arguments.environment)
    tally = garden.tally
    print(text)
    for name, reasons in sorted(tally.explained.items()):
        for reason, count in reasons.items():
            print(f"explained: {name}: {count} times: {reason}")
    for what, numbers in (("take", tally.lenient), ("refuse", tally.strict)):
        print(f"what nearly nobody else would {what}: {len(numbers)}, such as {numbers[:10]}")
    for found in tally.found:
        print(f"unexplained: {found}")
    if arguments.table:
        arguments.table.write_text(text)
    missing = f"; not here: {', '.join(garden.missing)}" if garden.missing else ""
    explained = sum(sum(reasons.values()) for reasons in tally.explained.values())
    figures = f"{len(tally.found)} disagreements unexplained, {explained} explained"
    print(f"garden: {tally.requests:,} requests, {len(garden.names)} peers, {figures}{missing}")
    if not garden.names or not tally.requests:
        return 2
    return 1 if tally.found else 0


if __name__ == "__main__":
    os.environ.pop("GARDEN_RECORD", None)
    sys.exit(main())
