"""What came of system calls that have failed, and the table of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What came of the calls of one kind in one scenario.

    Attributes:
        failed: How many calls failed.
        ways: How the scenario went on, by its words in the table.
        problems: What must not be.
    """

    failed: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{count} {way}" for way, count in self.ways.most_common()) or "not called"


def table(outcomes: dict[tuple[str, str, str], Outcome]) -> str:
    """Return what came of it in Markdown."""
    names = list(dict.fromkeys(scenario for _, _, scenario in outcomes))
    lines = ["| call | error | " + " | ".join(names) + " |", "|---|---" + "|---" * len(names) + "|"]
    for call, error in dict.fromkeys((call, error) for call, error, _ in outcomes):
        cells = [str(outcomes.get((call, error, name), "not called")) for name in names]
        if any(cell != "not called" for cell in cells):
            lines.append(f"| {call} | {error} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
