"""Draws what workers held over time, as an SVG: a panel for each number, a line for each worker."""

from __future__ import annotations

from typing import Any

__all__ = ["chart"]

WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 120, 90, 40, 50
COLORS = ("#1f77b4", "#d9822b", "#2ca02c", "#9467bd")
#: What each panel shows, in which unit.
PANELS = (("rss", "resident memory, MiB", 2**20), ("descriptors", "descriptors", 1))
PANELS += (("greenlets", "greenlets", 1), ("objects", "objects", 1))


def chart(series: dict[str, list[dict[str, Any]]], begun: float) -> str:
    """Return the picture.

    Args:
        series: Samples, by worker.
        begun: When the time axis begins.
    """
    end = max((taken[-1]["at"] for taken in series.values() if taken), default=begun + 1)
    width, height = LEFT + WIDTH + 20, TOP + len(PANELS) * (HEIGHT + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for row, (key, title, unit) in enumerate(PANELS):
        top = TOP + row * (HEIGHT + GAP)
        most = max((sample[key] for taken in series.values() for sample in taken), default=1) / unit or 1
        lines.append(f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{title}</text>')
        lines.append(f'<path d="M{LEFT} {top}V{top + HEIGHT}H{LEFT + WIDTH}" stroke="#999" fill="none"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>')
        lines.append(f'<text x="{LEFT - 8}" y="{top + HEIGHT}" text-anchor="end">0</text>')
        lines.append(f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 16}" text-anchor="end">{end - begun:,.0f} s</text>')
        for taken, color in zip(series.values(), COLORS, strict=False):
            points = " ".join(
                f"{LEFT + (sample['at'] - begun) / (end - begun) * WIDTH:.1f},"
                f"{top + HEIGHT - sample[key] / unit / most * HEIGHT:.1f}"
                for sample in _shown(taken, key)
            )
            lines.append(f'<polyline points="{points}" stroke="{color}" fill="none" stroke-width="1.5"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _shown(taken: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return as many samples as a line has pixels, each the highest of those that it stands for."""
    size = -(-len(taken) // WIDTH)
    groups = (taken[at : at + size] for at in range(0, len(taken), size or 1))
    return [max(group, key=lambda sample: sample[key]) for group in groups]
