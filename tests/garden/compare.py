"""What it means that two servers have understood a request differently."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from garden.client import Understood

__all__ = ["Explanation", "boundaries_differ", "explanations"]


def boundaries_differ(one: Understood, other: Understood) -> str | None:
    """Return how two servers disagree about where a request ends; None if they do not, or one of them refuses.

    A request that one refuses is safe in front of the other: nothing behind it is understood. What both have answered
    must be the same, request by request; and where one waits for more of a body, the other must not have gone on.
    """
    for number, (mine, theirs) in enumerate(zip(one.requests, other.requests, strict=False), 1):
        if mine[2] != theirs[2]:
            return f"request {number} has the body {mine[2]!r} and {theirs[2]!r}"
    count = min(len(one.requests), len(other.requests))
    for shorter, longer, who in ((one, other, "we"), (other, one, "it")):
        if len(shorter.requests) == count < len(longer.requests) and shorter.end in ("whole", "waits"):
            what = "the end" if shorter.end == "whole" else "more of a body"
            return f"{who} found {what} where the other found request {count + 1}"
    if len(one.requests) == len(other.requests) and {one.end, other.end} == {"whole", "waits"}:
        return f"{'it' if one.end == 'whole' else 'we'} waited for more where the other was done"
    return None


@dataclass(frozen=True)
class Explanation:
    """Why a disagreement is known, and no fault of ours.

    Attributes:
        peers: Of whom, as a pattern of names.
        request: What such requests have in them, as a pattern of bytes.
        reason: Who is right, and why.
    """

    peers: re.Pattern[str]
    request: re.Pattern[bytes]
    reason: str

    def covers(self, peer: str, request: bytes) -> bool:
        return bool(self.peers.fullmatch(peer) and self.request.search(request))


def explanations() -> list[Explanation]:
    entries = json.loads((Path(__file__).resolve().parent / "explained.json").read_text())
    return [
        Explanation(
            re.compile(entry["peers"]), re.compile(entry["request"].encode("latin-1"), re.DOTALL), entry["reason"]
        )
        for entry in entries
    ]
