"""Turn results into a Markdown table, a bar chart and a section of the README."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from servers import HERE

RESULTS = HERE / "results"
README = HERE / "README.md"

Results = dict[str, Any]
Format = Callable[[float], str]


def whole(value: float) -> str:
    """Format with thousands separated."""
    return f"{value:,.0f}"


def digits(value: float) -> str:
    """Format with about three significant digits."""
    return whole(value) if value >= 100 else f"{value:.{1 if value >= 10 else 2}f}"


def times(factor: float) -> Format:
    """Return a format that converts the unit first."""
    return lambda value: digits(value * factor)


@dataclass(frozen=True)
class Column:
    """A figure in the table; with ``spread`` its smallest and largest value over the rounds are shown too."""

    key: str
    title: str
    show: Format
    spread: bool = False


def values(rounds: list[dict[str, float]], key: str) -> list[float]:
    """Return one figure of all rounds that have it."""
    return [figures[key] for figures in rounds if key in figures]


def median(results: Results, name: str, key: str) -> float | None:
    """Return a server's median, None if it was not measured."""
    rounds = results["servers"].get(name, {}).get("rounds")
    return statistics.median(values(rounds, key)) if rounds else None


def _cell(rounds: list[dict[str, float]], column: Column) -> str:
    all_values = values(rounds, column.key)
    if not all_values:
        return "-"
    text = column.show(statistics.median(all_values))
    if column.spread and len(all_values) > 1:
        text += f" ({column.show(min(all_values))}-{column.show(max(all_values))})"
    return text


def _ratio_cell(results: Results, name: str, base: str) -> str:
    own, other = (median(results, each, results["metric"]) for each in (name, base))
    return f"{own / other:.2f}" if own and other and other > 0 else "-"


def _notes(entry: dict[str, Any]) -> str:
    notes = [f"{whole(faults)} faults"] if (faults := sum(values(entry["rounds"], "faults"))) else []
    notes += sorted(set(entry["failures"]))
    return "; ".join(notes).replace("|", "\\|")


def ranking(results: Results) -> list[str]:
    """Return the servers' names, best first, those that could not be measured last."""

    def order(name: str) -> tuple[bool, float]:
        value = median(results, name, results["metric"])
        return value is None, value or 0

    return sorted(results["servers"], key=order)


def table(results: Results, columns: list[Column]) -> str:
    """Write the Markdown table."""
    bases = [base for base in results["against"] if median(results, base, results["metric"])]
    titles = ["server", *(column.title for column in columns)]
    titles += [f"÷ {base}" for base in bases] + ["notes"]
    rows = []
    for name in ranking(results):
        entry = results["servers"][name]
        label = f"**{name}**" if name.startswith("uwsgi_ws") else name
        cells = [_cell(entry["rounds"], column) if entry["rounds"] else "-" for column in columns]
        rows.append([label, *cells, *(_ratio_cell(results, name, base) for base in bases), _notes(entry)])
    return _align([titles, ["---"] + ["---:"] * (len(titles) - 2) + ["---"], *rows])


def _align(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if i in (0, len(row) - 1) else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def conditions(results: Results) -> str:
    """Say what was measured, on what, and with which versions."""
    options = ", ".join(f"{key} {value}" for key, value in results["options"].items())
    versions = ", ".join(results["versions"])
    where = ", ".join(results["machine"].values())
    return (
        f"{results['title']}: {options}. Median of {results['rounds']} rounds (smallest-largest); "
        f"÷ is the ratio of {results['metric_title']}.\n\n"
        f"On {where}; {results['pinning']}. Versions: {versions}."
    )


# ---- the chart ------------------------------------------------------------------------------------------

ROW, LABEL, BAR, MARGIN, TOP = 26, 140, 460, 90, 48


def _bar(row: int, name: str, lowest: float, middle: float, highest: float, scale: float) -> str:
    y = TOP + row * ROW
    color = "#1f77b4" if name.startswith("uwsgi_ws") else "#9aa5b1"
    left, right = LABEL + lowest * scale, LABEL + highest * scale
    return (
        f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LABEL}" y="{y + 2}" width="{middle * scale:.1f}" height="{ROW - 8}" fill="{color}"/>'
        f'<path d="M{left:.1f} {y + 11}H{right:.1f}" stroke="#222" stroke-width="1.5"/>'
        f'<text x="{right + 6:.1f}" y="{y + 14}">{digits(middle)}</text>'
    )


def chart(results: Results, factor: float) -> str:
    """Draw the metric of every measured server as an SVG bar, its spread as a line across the bar's end."""
    bars = []
    for name in ranking(results):
        if rounds := results["servers"][name]["rounds"]:
            found = [value * factor for value in values(rounds, results["metric"])]
            bars.append((name, min(found), statistics.median(found), max(found)))
    scale = BAR / max((bar[3] for bar in bars), default=1)
    width, height = LABEL + BAR + MARGIN, TOP + len(bars) * ROW + 12
    title = f"{results['title']}: {results['metric_title']} (shorter is better)"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="26" font-size="14" font-weight="bold">{escape(title)}</text>',
        *(_bar(row, *bar, scale) for row, bar in enumerate(bars)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


# ---- files ----------------------------------------------------------------------------------------------


def write_json(results: Results, path: Path) -> None:
    """Write everything that was measured."""
    path.write_text(json.dumps(results, indent=1) + "\n")


def update_readme(results: Results, text: str, factor: float) -> None:
    """Put a workload's table between its markers in the README, its figures and chart beside it."""
    name = results["workload"]
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = README.read_text().partition(begin)
    _, closing, after = rest.partition(end)
    if not (found and closing):
        raise SystemExit(f"{README.name} has no markers {begin} and {end}")
    RESULTS.mkdir(exist_ok=True)
    write_json(results, RESULTS / f"{name}.json")
    (RESULTS / f"{name}.svg").write_text(chart(results, factor))
    image = f"![{results['title']}](results/{name}.svg)"
    README.write_text(f"{before}{begin}\n{text}\n\n{image}\n{end}{after}")
