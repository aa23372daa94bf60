"""Http11Probe's requests, most of them malformed, to a server: ``python tests/compliance/http11probe.py [TARGET ...]``.

``http11probe.json`` has the requests, and which replies the project lets pass, warns of and calls a failure; its first
entry says what it is made of, and whose. Each reply is judged by two rules. *Strict* is the project's own. *By RFC*
lets also pass what an RFC wants or allows where the project does not: the entry's ``right``, with the sentence.

Exit status: 0 when by RFC nothing failed or warned, and when by the strict rule exactly that did not pass which
``http11probe_expected.json`` lists with a reason; 1 otherwise. Of other servers than our own the list says nothing.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from targets import OWN, Address, add_targets, reached

HERE = Path(__file__).resolve().parent
PATIENCE = 5.0  # seconds without a response until it counts as silence; the project's
SETTLING = 0.3  # seconds of quiet behind a response's head; the project's 0.15 is little for a machine with other work
AT_ONCE = 12
VERDICTS = ("pass", "warn", "fail")
APPLICATION = "http11probe.py"
FILE = "/static/file.txt"  # which has validators

_PLACEHOLDER = re.compile(r"\{(?:(len|hex):)?([a-z]+)\}")
_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3})")
_FIRST_LINE = re.compile(rb"[^ \n]+ ([0-9]+)(?: [^\n]*)?\r?\n")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n")

Values = dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What a step brought: every byte, and the connection's state behind them.

    Attributes:
        data: What came, further responses included.
        end: ``open``, ``closed`` by the server, ``silent``, or ``unsent``: the connection was over before.
        status: The first response's; None without one.
        fields: Its header fields, by names in lower case; repeated ones joined.
        content: Its content, chunks decoded, without line ends at its end.
    """

    data: bytes
    end: str
    status: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    content: str = ""

    @property
    def statuses(self) -> list[str]:
        return [status.decode() for status in _STATUS_LINE.findall(self.data)]

    @property
    def outcome(self) -> str:
        """What stands in for a response that did not come, else empty."""
        if self.status is not None:
            return ""
        return {"closed": "close", "unsent": "unsent"}.get(self.end, "silence")

    def __str__(self) -> str:
        if self.outcome:
            return f"{self.outcome} after {self.data[:40]!r}" if self.data else self.outcome
        said = " and ".join(self.statuses) or str(self.status)
        return f"{said} {self.content[:50]!r}" + (", closed" if self.end == "closed" else "")


def reply_of(data: bytes, end: str) -> Reply:
    """Read the first response in ``data``, as far as it came."""
    line = _FIRST_LINE.match(data)
    if line is None:
        return Reply(data, end)
    head, _, rest = data.partition(b"\r\n\r\n")
    fields: dict[str, str] = {}
    for text in head.decode("latin-1").split("\n")[1:]:
        name, colon, value = (part.strip() for part in text.partition(":"))
        if colon:
            name = name.lower()
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if "chunked" in fields.get("transfer-encoding", "").lower():
        rest = b"".join(_chunks(rest))
    elif fields.get("content-length", "").isdigit():
        rest = rest[: int(fields["content-length"])]
    return Reply(data, end, int(line[1]), fields, rest.decode("latin-1").rstrip("\r\n"))


def _chunks(rest: bytes) -> Iterator[bytes]:
    while line := _CHUNK_LINE.match(rest):
        start, size = line.end(), int(line[1], 16)
        yield rest[start : start + size]
        rest = rest[start + size + 2 :]


def read_reply(sock: socket.socket) -> Reply:
    """Read until the server has ended the connection, or is quiet for long enough."""
    data = b""
    deadline = time.monotonic() + PATIENCE
    while True:
        answered = b"\r\n\r\n" in data
        sock.settimeout(SETTLING if answered else max(deadline - time.monotonic(), 0.001))
        try:
            piece = sock.recv(1 << 16)
        except TimeoutError:
            return reply_of(data, "open" if answered else "silent")
        except OSError:
            piece = b""
        if not piece:
            return reply_of(data, "closed")
        data += piece


def filled(text: str, values: Values) -> str:
    """Return a text with its placeholders replaced."""

    def value(match: re.Match[str]) -> str:
        found = values[match[2]]
        return {"len": str(len(found)), "hex": f"{len(found):x}"}.get(match[1], found)

    return _PLACEHOLDER.sub(value, text)


def bytes_of(step: dict[str, Any], given: Values) -> bytes:
    """Return what a step sends."""
    if "send_b64" in step:
        return base64.b64decode(step["send_b64"])
    values = dict(given)
    for name, text in step.get("let", {}).items():
        if isinstance(text, str):
            values[name] = filled(text, values)
        else:
            copies = [filled(text["text"], {**values, "i": str(number)}) for number in range(text["times"])]
            values[name] = text.get("join", "").join(copies)
    return filled(step["send"], values).encode("latin-1")


def _captured(capture: Mapping[str, str], reply: Reply) -> str:
    value = reply.fields.get(capture["header"].lower(), capture["default"])
    bare = value.removeprefix("W/")
    return {"unquoted": bare.strip('"'), "weak": "W/" + bare}.get(capture.get("form", ""), value)


def exchange(steps: Sequence[dict[str, Any]], address: Address) -> list[Reply]:
    """Send a test's steps on a connection of their own; return what each brought."""
    values = {"host": address[0], "port": str(address[1]), "path": FILE}
    replies: list[Reply] = []
    with socket.create_connection(address, PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for step in steps:
            if replies and replies[-1].end != "open":
                replies.append(Reply(b"", "unsent"))
                continue
            sock.settimeout(PATIENCE)
            with contextlib.suppress(OSError):  # it may have had enough: what it has said so far is its reply
                sock.sendall(bytes_of(step, values))
            replies.append(read_reply(sock))
            for name, capture in step.get("capture", {}).items():
                values[name] = _captured(capture, replies[-1])
    return replies


def is_status(pattern: str | list[str], status: int) -> bool:
    """Judge a status by ``400``, ``2xx``, ``300-599``, ``any``, ``not 101``, or a list of such, one of which holds."""
    if isinstance(pattern, list):
        return any(is_status(each, status) for each in pattern)
    if pattern.startswith("not "):
        return not is_status(pattern.removeprefix("not "), status)
    first, _, last = ("000-999" if pattern == "any" else pattern).partition("-")
    return int(first.replace("x", "0")) <= status <= int((last or first).replace("x", "9"))


def matches(pattern: str | dict[str, Any], reply: Reply) -> bool:
    """Judge one step's reply."""
    if reply.outcome or pattern in ("close", "silence", "unsent", "none"):
        return reply.outcome != "" and pattern in (reply.outcome, "none")
    assert reply.status is not None
    if isinstance(pattern, str):
        return is_status(pattern, reply.status)
    judges = {
        "status": lambda wanted: is_status(wanted, reply.status),
        "closes": lambda _: reply.end == "closed",
        "responses": lambda most: len(reply.statuses) <= most,
        "header": lambda name: re.fullmatch(pattern.get("value", ".*"), reply.fields.get(name.lower(), "\n")),
        "value": lambda _: True,  # header has seen to it
        "no_header": lambda name: name.lower() not in reply.fields,
        "body": lambda text: reply.content == text,
        "empty": lambda _: reply.data.endswith(b"\r\n\r\n") and reply.data.count(b"\r\n\r\n") == 1,
        "match": lambda wanted: all(re.search(each, reply.content) for each in wanted),
        "lacks": lambda unwanted: not any(re.search(each, reply.content) for each in unwanted),
    }
    return all(judges[key](value) for key, value in pattern.items())


def verdict_of(expected: Mapping[str, Any], replies: Sequence[Reply]) -> str:
    """Return the first verdict one of whose conditions holds. Without a connection nothing holds."""
    for verdict in VERDICTS[:-1]:
        for condition in expected.get(verdict, ()):
            patterns = condition if isinstance(condition, list) else [condition]
            if replies and all(map(matches, patterns, replies)):
                return verdict
    return VERDICTS[-1]


@dataclass(frozen=True)
class Result:
    """A test with what came of it."""

    test: dict[str, Any]
    replies: Sequence[Reply]
    strict: str
    by_rfc: str

    @property
    def is_scored(self) -> bool:
        return bool(self.test["expected"]["scored"])

    def __str__(self) -> str:
        wanted = " or ".join(text if isinstance(text, str) else json.dumps(text) for text in self._wanted)
        came = "; ".join(map(str, self.replies)) or "no connection"
        return f"{self.test['id']}: {self.test['description']}\n    wanted {wanted}; got {came}"

    @property
    def _wanted(self) -> list[Any]:
        return list(self.test["expected"]["pass"])


def tests() -> list[dict[str, Any]]:
    """Return the tests, without the entry about them."""
    return list(json.loads((HERE / "http11probe.json").read_text())[1:])


def expected() -> dict[str, dict[str, str]]:
    """Return what need not pass by the strict rule: ids to the verdict and its reason."""
    return dict(json.loads((HERE / "http11probe_expected.json").read_text()))


def run(test: dict[str, Any], address: Address) -> Result:
    try:
        replies = exchange(test["steps"], address)
    except OSError:
        replies = []  # it is gone: a failure like others
    strict = verdict_of(test["expected"], replies)
    allowed = strict == "pass" or verdict_of(test.get("right", {}), replies) == "pass"
    return Result(test, replies, strict, "pass" if allowed else strict)


def probe(target: str, names: Sequence[str]) -> list[Result]:
    """Send all tests, or those whose id or category has one of the names in it."""
    chosen = [test for test in tests() if any(name in f"{test['category']} {test['id']}" for name in names or [""])]
    with tempfile.TemporaryDirectory(prefix="http11probe-") as folder:
        Path(folder, Path(FILE).name).write_text("a file\n")
        options = ("--static-map", f"{os.path.dirname(FILE)}={folder}")
        with reached(target, APPLICATION, *options) as address, ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda test: run(test, address), chosen))


def counted(verdicts: Sequence[str]) -> str:
    count = Counter(verdicts)
    return f"{count['pass']} passed, {count['warn']} warned, {count['fail']} failed of {len(verdicts)}"


def unlike_expected(results: Sequence[Result]) -> list[str]:
    """Return what is not as the list of expected verdicts has it."""
    listed = expected()
    lines = []
    for result in results:
        name = result.test["id"]
        wanted = listed.get(name, {"verdict": "pass"})["verdict"]
        if result.strict != wanted:
            lines.append(f"{result.strict}, expected {wanted}: {result}")
    return lines


def report(target: str, results: Sequence[Result]) -> bool:
    """Print what came of a target; return whether all is as it must be."""
    if target in OWN:
        lines = unlike_expected(results)
    else:
        lines = [f"{result.strict}: {result}" for result in results if result.strict != "pass"]
    lines += [f"by RFC {result.by_rfc}: {result}" for result in results if result.by_rfc != "pass"]
    print("\n".join(lines), end="\n" if lines else "")
    scored = [result for result in results if result.is_scored]
    others = [result for result in results if not result.is_scored]
    print(f"{target}, unscored: {counted([result.strict for result in others])}")
    strict, by_rfc = ([getattr(result, rule) for result in scored] for rule in ("strict", "by_rfc"))
    print(f"http11probe: {target}: strict {counted(strict)}; by RFC {counted(by_rfc)}")
    return not lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="a part of ids or categories")
    add_targets(parser)
    arguments = parser.parse_args()
    return 0 if all([report(target, probe(target, arguments.only)) for target in arguments.targets]) else 1


if __name__ == "__main__":
    sys.exit(main())
