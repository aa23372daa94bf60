"""Unusual but valid requests to a server: ``python tests/compliance/valid_requests.py [TARGET ...]``.

The mirror of Http11Probe, which a server passes that refuses everything. ``valid_requests.json`` has each request with
the answer that it must get: the status, what the application sees of it, and whether the connection can be used
afterwards, which the next request on it shows. Its first entry says what the data are made of.

Exit status: 0 when each got its answer, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.http_client import HttpClient, Response  # noqa: E402  # a script finds it only after the line above
from support.websocket_client import CLOSE, PING, TEXT, RawClient, close_frame, text  # noqa: E402
from targets import Address, add_targets, reached  # noqa: E402

PATIENCE = 10.0  # seconds for any one wait
AT_ONCE = 8
APPLICATION = "seen.py"
#: The file that requests for ranges and with conditions name, as they name it, and what is in it.
FILE, TARGET = "caf\u00e9 1.txt", "/static/caf%C3%A9%201.txt"
CONTENT = b"0123456789abcdefghijklmnopqrstuvwxyz\n"

_REPEATED = re.compile(r"\{([^{}]+?)\*([0-9]+)\}")

Values = dict[str, str]


class Peer(HttpClient):
    """A connection to a server, which may answer an HTTP/1.0 request in its version."""

    status_line = re.compile(r"(HTTP/1\.[01]) ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)")


@dataclass(frozen=True)
class Outcome:
    """A case, and what is wrong with its answer, if anything is."""

    case: dict[str, Any]
    why: str

    def __str__(self) -> str:
        return f"{self.case['id']} ({self.case['source']}): {self.case['why']}\n    {self.why}"


def cases() -> list[dict[str, Any]]:
    """Return the cases, without the entry about them."""
    return list(json.loads((HERE / "valid_requests.json").read_text())[1:])


def filled(given: str, values: Values) -> str:
    """Return a text with its placeholders replaced."""
    for name, value in values.items():
        given = given.replace(f"{{{name}}}", value)
    return _REPEATED.sub(lambda match: match[1] * int(match[2]), given)


def ask(case: dict[str, Any], address: Address, values: Values, sees: bool) -> None:
    """Send a case's steps on a connection of their own.

    Args:
        case: The case.
        address: Of the server.
        values: Of placeholders.
        sees: Whether there is an application that says what it sees.

    Raises:
        AssertionError: The answer is another than it must be, or none.
    """
    with Peer(address, PATIENCE) as client:
        for step in case.get("steps", [case]):
            for piece in [step["send"]] if isinstance(step["send"], str) else step["send"]:
                client.send(filled(piece, values).encode("latin-1"))
            if step.get("ends"):
                client.end_sending()
            for reply in step["get"] if isinstance(step["get"], list) else [step["get"]]:
                check(reply, read(reply, client), values, sees)
        match case.get("then", "open"):
            case "open":
                client.send(filled("GET /after HTTP/1.1\r\nHost: {host}\r\n\r\n", values).encode())
                check({"status": 200, "sees": {"method": "GET", "path": "/after"}}, client.read_response(), {}, sees)
            case "closed":
                client.assert_ended()
            case "websocket":
                talk(RawClient(client.sock))


def read(reply: dict[str, Any], client: HttpClient) -> Response:
    """Read up to a final response, to 101, or to the 100 that is waited for."""
    interim = []
    while (response := client.read_head()).status in (100, 102, 103) and reply["status"] != 100:
        interim.append(response.status)
    response.interim = interim
    if response.status >= 200:
        response.body = b"".join(client.read_pieces(response, "HEAD" if reply.get("head") else "GET"))
    return response


def check(reply: dict[str, Any], response: Response, values: Values, sees: bool) -> None:
    """Hold a response to what it must be."""
    wanted = reply["status"]
    assert response.status in (wanted if isinstance(wanted, list) else [wanted]), f"{response.status}, not {wanted}"
    assert response.interim in ([], reply.get("interim", [])), f"{response.interim} before it"
    for name, pattern in reply.get("fields", {}).items():
        value = response.get(name)
        fits = value is None if pattern is None else re.fullmatch(filled(pattern, values), value or "")
        assert fits, f"{name}: {value}"
    if "body" in reply:
        assert response.body.decode("latin-1") == filled(reply["body"], values), f"body: {response.body[:80]!r}"
    if not sees or "sees" not in reply:
        return
    seen = json.loads(response.body)
    seen |= {f"fields.{name}": seen["fields"].get(name) for name in reply["sees"].get("fields", {})}
    due = {name: value for name, value in reply["sees"].items() if name != "fields"}
    due |= {f"fields.{name}": value for name, value in reply["sees"].get("fields", {}).items()}
    for name, value in due.items():
        choices = [filled(each, values) if each is not None else None for each in _listed(value)]
        assert seen[name] in choices, f"the application sees {name} {seen[name]!r:.80}, not {value!r:.80}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def talk(client: RawClient) -> None:
    """Have a message echoed, and end the WebSocket."""
    client.send(text("h\u00e9llo"))
    frames = [client.read_frame()]
    while frames[-1].opcode == PING:
        frames.append(client.read_frame())
    came = frames[-1]
    assert (came.fin, came.opcode, came.payload) == (True, TEXT, "h\u00e9llo".encode()), f"not the echo: {came}"
    client.send(close_frame(1000))
    while (came := client.read_frame()).opcode == PING:
        pass
    assert came.opcode == CLOSE, f"not the close: {came}"


def attempt(case: dict[str, Any], address: Address, values: Values, sees: bool) -> Outcome:
    try:
        ask(case, address, values, sees)
    except (AssertionError, OSError, ValueError) as exc:
        return Outcome(case, str(exc).partition("\n")[0] or type(exc).__name__)
    return Outcome(case, "")


def file_values(address: Address) -> Values:
    """Return the values that stand for the file and what the server says of it."""
    with Peer(address, PATIENCE) as client:
        response = client.request("GET", TARGET)
    return {"file": TARGET, "etag": response.get("ETag") or "", "modified": response.get("Last-Modified") or ""}


def mirror(target: str, names: Sequence[str], lacks: Sequence[str] = ()) -> list[Outcome]:
    """Send all requests, or those with one of the names in their ids.

    Args:
        target: Whom.
        names: Parts of ids.
        lacks: What the target does not have: cases that need ``websocket`` or ``static`` are left out; without
            ``application`` only what that sees is not looked at.
    """
    chosen = [case for case in cases() if any(name in case["id"] for name in names or [""])]
    chosen = [case for case in chosen if case.get("needs") not in lacks]
    with tempfile.TemporaryDirectory(prefix="valid-requests-") as folder:
        Path(folder, FILE).write_bytes(CONTENT)
        options = ("--static-map", f"{os.path.dirname(TARGET)}={folder}")
        with reached(target, APPLICATION, *options) as address, ThreadPoolExecutor(AT_ONCE) as pool:
            values = {"host": f"{address[0]}:{address[1]}"}
            if "static" not in lacks:
                values |= file_values(address)
            return list(pool.map(lambda case: attempt(case, address, values, "application" not in lacks), chosen))


def report(target: str, outcomes: Sequence[Outcome]) -> bool:
    """Print what came of a target; return whether all is as it must be."""
    wrong = [outcome for outcome in outcomes if outcome.why]
    for outcome in wrong:
        print(outcome)
    print(f"valid requests: {target}: {len(outcomes) - len(wrong)} of {len(outcomes)} got their answer")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="a part of ids")
    parser.add_argument("--lacks", action="append", default=[], choices=["websocket", "static", "application"])
    add_targets(parser)
    arguments = parser.parse_args()
    targets = arguments.targets
    return 0 if all([report(target, mirror(target, arguments.only, arguments.lacks)) for target in targets]) else 1


if __name__ == "__main__":
    sys.exit(main())
