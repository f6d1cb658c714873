"""Plots as SVG text. Colours and fonts are the page's (classes), so that they follow its light or dark scheme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
LABELS = 270
RIGHT = 60
ROW = 24
TOP = 14
AXIS = 34
# Least share of a bar that has room for its label.
LABELLED = 9


@dataclass(frozen=True)
class Range:
    """One line of a ratio plot."""

    label: str
    least: float
    middle: float
    greatest: float
    # A bound and its sign, if there is one.
    target: tuple[str, float] | None
    style: str


@dataclass(frozen=True)
class Bar:
    """One stacked bar: parts are (style, share in percent)."""

    label: str
    parts: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Curve:
    """Values whose distribution is drawn."""

    label: str
    style: str
    values: Sequence[float]


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x: float, y: float, to_x: float, to_y: float, style: str) -> str:
    """A straight line."""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" class="{style}"/>'


def figure(height: float, title: str, content: Sequence[str]) -> str:
    """A whole drawing."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        + "".join(content)
        + "</svg>"
    )


def ratios(title: str, ranges: Sequence[Range]) -> str:
    """Ratios on a logarithmic axis around 1: a line from least to greatest, a dot at the median, the target as a bar."""
    seen = [
        value for entry in ranges for value in (entry.least, entry.greatest, *(entry.target or ())[1:]) if value > 0
    ]
    low = math.floor(math.log10(min([*seen, 0.5])) * 2) / 2
    high = math.ceil(math.log10(max([*seen, 2])) * 2) / 2
    bottom = TOP + ROW * len(ranges)

    def place(value: float) -> float:
        share = (math.log10(max(value, 10**low)) - low) / (high - low)
        return LABELS + share * (WIDTH - LABELS - RIGHT)

    content = []
    for tick in (base * 10**power for power in range(math.floor(low), math.ceil(high) + 1) for base in (1, 2, 5)):
        if 10**low <= tick * 1.001 and tick <= 10**high * 1.001:
            content.append(line(place(tick), TOP - 6, place(tick), bottom, "one" if tick == 1 else "grid"))
            content.append(text(place(tick), bottom + 16, f"{tick:g}×", "tick", "middle"))
    for number, entry in enumerate(ranges):
        y = TOP + ROW * (number + 0.5)
        content.append(text(LABELS - 12, y + 4, entry.label, "label", "end"))
        content.append(line(place(entry.least), y, place(entry.greatest), y, f"range {entry.style}"))
        content.append(f'<circle cx="{place(entry.middle):.1f}" cy="{y:.1f}" r="5" class="dot {entry.style}"/>')
        if entry.target:
            at = place(entry.target[1])
            content.append(line(at, y - 8, at, y + 8, "target"))
            # The side that is good.
            towards = 6 if entry.target[0] == "≥" else -6
            content.append(
                line(at, y - 8, at + towards, y - 8, "target") + line(at, y + 8, at + towards, y + 8, "target")
            )
    return figure(bottom + AXIS - 8, title, content)


def bars(title: str, entries: Sequence[Bar], full: float) -> str:
    """Stacked horizontal bars on an axis from 0 to at least `full` percent."""
    full = max([full, *(sum(share for _, share in entry.parts) for entry in entries)])
    bottom = TOP + ROW * len(entries)
    scale = (WIDTH - LABELS - RIGHT) / full
    content = []
    for tick in range(0, int(full) + 1, 50):
        at = LABELS + tick * scale
        content.append(line(at, TOP - 6, at, bottom, "grid") + text(at, bottom + 16, f"{tick} %", "tick", "middle"))
    for number, entry in enumerate(entries):
        y = TOP + ROW * number
        content.append(text(LABELS - 12, y + ROW / 2 + 4, entry.label, "label", "end"))
        x = float(LABELS)
        for style, share in entry.parts:
            width = share * scale
            box = f'x="{x:.1f}" y="{y + 4:.1f}" width="{max(0.0, width - 1):.1f}" height="{ROW - 8}" rx="2"'
            content.append(f'<rect {box} class="fill {style}"/>')
            if share >= LABELLED:
                content.append(text(x + width / 2, y + ROW / 2 + 4, f"{share:.0f}", f"inside {style}", "middle"))
            x += width
    return figure(bottom + AXIS - 8, title, content)


def distribution(title: str, curves: Sequence[Curve], unit: str) -> str:
    """Cumulative distributions on a logarithmic axis."""
    seen = [value for curve in curves for value in curve.values if value > 0] or [1]
    low, high = math.log10(min(seen)) - 0.05, math.log10(max(seen)) + 0.05
    left, height = 50, 220
    bottom = TOP + height

    def across(value: float) -> float:
        return left + (math.log10(max(value, 10**low)) - low) / (high - low) * (WIDTH - left - RIGHT)

    content = []
    for percent in (0, 25, 50, 75, 100):
        y = bottom - height * percent / 100
        content.append(line(left, y, WIDTH - RIGHT, y, "grid") + text(left - 8, y + 4, f"{percent} %", "tick", "end"))
    for tick in (base * 10**power for power in range(int(low) - 1, int(high) + 2) for base in (1, 2, 3, 4, 5, 7)):
        if 10**low <= tick <= 10**high:
            content.append(line(across(tick), TOP, across(tick), bottom, "grid"))
            content.append(text(across(tick), bottom + 16, f"{tick:g} {unit}", "tick", "middle"))
    for curve in curves:
        values = sorted(curve.values)
        points = " ".join(
            f"{across(value):.1f},{bottom - height * (number + 1) / len(values):.1f}"
            for number, value in enumerate(values)
        )
        content.append(f'<polyline points="{points}" class="curve {curve.style}"/>')
    return figure(bottom + AXIS - 8, title, content)
