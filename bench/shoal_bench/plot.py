"""A bar chart of ratios from the figures of a run: Shoal's rate to that of each peer, one bar a row and peer.

python -m shoal_bench.plot FIGURES.json CHART.svg
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from math import log10
from pathlib import Path

import msgspec

from shoal_bench.load import Measured

OURS = "shoal"
ORDERS = (-1.5, 2.0)
"""Of magnitude, from left to right: slower peers are on the right of the line at 1."""
WIDTH, LABEL, BAR = 960, 380, 16
COLOURS = {
    "seaweedfs": "#4c78a8",
    "rclone": "#9ecae9",
    "nginx": "#f58518",
    "swift": "#54a24b",
    "dd, synced": "#888",
}
TICKS = (0.1, 0.3, 1, 3, 10, 30, 100)

Rows = Mapping[str, Mapping[str, Measured]]


def main() -> int:
    figures, chart = map(Path, sys.argv[1:3])
    chart.write_text(drawn(msgspec.json.decode(figures.read_bytes(), type=dict[str, dict[str, Measured]])))
    return 0


def drawn(rows: Rows) -> str:
    bars = [
        (work, peer, systems[OURS].per_second / figures.per_second)
        for work, systems in rows.items()
        if OURS in systems
        for peer, figures in systems.items()
        if peer in COLOURS
    ]
    height = (len(bars) + 3) * BAR
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(tick(value, height) for value in TICKS),
        *(bar(number, *each) for number, each in enumerate(bars)),
        f'<text x="4" y="{height - 6}">rate of Shoal to the peer, logarithmic; right of 1 Shoal is faster</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def place(ratio: float) -> float:
    low, high = ORDERS
    share = (min(max(log10(ratio), low), high) - low) / (high - low)
    return LABEL + share * (WIDTH - LABEL - 50)


def tick(value: float, height: int) -> str:
    x, colour = place(value), "#000" if value == 1 else "#ddd"
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 2 * BAR}" stroke="{colour}"/>'
    return f'{line}<text x="{x:.1f}" y="{height - 1.3 * BAR:.1f}" text-anchor="middle" fill="#555">{value:g}</text>'


def bar(number: int, work: str, peer: str, ratio: float) -> str:
    y, one, end = number * BAR, place(1), place(ratio)
    label = f'<text x="4" y="{y + 12}">{escape(f"{work} · {peer}")}</text>'
    shape = (
        f'<rect x="{min(one, end):.1f}" y="{y + 2}" width="{abs(end - one):.1f}" height="{BAR - 4}" '
        f'fill="{COLOURS[peer]}"/>'
    )
    return f'{label}{shape}<text x="{max(one, end) + 4:.1f}" y="{y + 12}">{ratio:.2f}</text>'


if __name__ == "__main__":
    sys.exit(main())
