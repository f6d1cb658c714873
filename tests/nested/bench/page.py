"""The report: one HTML file without anything from elsewhere."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

from bench import plot
from bench.figures import HEADS, LOADS, Record, Row, cells, shares

STYLE = """
:root { color-scheme: light dark; --page: #fbfaf8; --ink: #1d2126; --soft: #626b76; --grid: #e3e0da; --rule: #c9c4bb;
  --ours: #0b7a75; --theirs: #b5651d; --missed: #b3261e; --client: #7c8ba1; --dom0: #b9c2cf; }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --ink: #e6e4df; --soft: #97a1ad; --grid: #2a2f36;
  --rule: #454c55; --ours: #3fb8af; --theirs: #e0954f; --missed: #ff7b72; --client: #6d7c92; --dom0: #434d5a; } }
body { margin: 0 auto; max-width: 920px; padding: 40px 24px 80px; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, "Segoe UI", "Liberation Sans", sans-serif; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 44px 0 4px; }
p { margin: 6px 0 14px; max-width: 70ch; }
.soft { color: var(--soft); }
.sum { font-size: 17px; }
svg { width: 100%; height: auto; display: block; margin: 10px 0; font: 13px system-ui, "Liberation Sans", sans-serif; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 11px; } svg .inside { fill: #fff; font-size: 11px; }
svg .inside.dom0 { fill: var(--ink); }
.grid { stroke: var(--grid); } .one { stroke: var(--soft); stroke-width: 1.5; }
.target { stroke: var(--soft); stroke-width: 2; fill: none; }
.range { stroke-width: 4; stroke-linecap: round; opacity: 0.45; }
.met { stroke: var(--ours); fill: var(--ours); } .missed { stroke: var(--missed); fill: var(--missed); }
.free { stroke: var(--soft); fill: var(--soft); }
.fill.linux { fill: var(--theirs); } .fill.ravelin { fill: var(--ours); }
.fill.client { fill: var(--client); } .fill.dom0 { fill: var(--dom0); }
.curve { fill: none; stroke-width: 2.5; } .curve.linux { stroke: var(--theirs); } .curve.ravelin { stroke: var(--ours); }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; margin-top: 12px; }
th { text-align: right; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--rule); padding: 5px 8px; }
td { text-align: right; padding: 4px 8px; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; padding-left: 0; }
th:nth-child(2), td:nth-child(2) { text-align: left; color: var(--soft); }
td.group { font-weight: 600; padding-top: 16px; }
td.yes { color: var(--ours); } td.no { color: var(--missed); font-weight: 600; }
.key span { display: inline-block; margin-right: 18px; } .key i { display: inline-block; width: 11px; height: 11px;
  border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.scroll { overflow-x: auto; }
"""


def render(raw: dict[str, Any], rows: list[Row]) -> str:
    """The whole page."""
    judged = [row for row in rows if row.verdict()]
    met = sum(row.verdict() == "met" for row in judged)
    repetitions = max(len(row.ravelin) for row in rows)
    times = "once" if repetitions == 1 else f"{repetitions} times"
    body = [
        "<h1>Ravelin and a Linux firewall VM, side by side</h1>",
        f'<p class="sum">{met} of {len(judged)} targets met. Measured {times} in turn, on {escape(raw["machine"])}.</p>',
        '<p class="soft">Linux: Debian’s cloud kernel with nftables masquerading, connection tracking and netback, '
        "256 MB. Ravelin: 16 MB. Both with one vCPU, the same client, the same uplink, the same run. Emulation and the other "
        "work of the machine distort every absolute figure: what counts are the ratios.</p>",
        "<h2>Ratios, Ravelin to Linux</h2>",
        '<p class="soft">A dot is the median, a line reaches from the least to the greatest repetition, a bracket is the '
        "target, open to the good side.</p>",
        *(section(group, list(members)) for group, members in groupby(compared(rows), lambda row: row.figure.group)),
        "<h2>Who was busy</h2>",
        '<p class="soft">Share of one processor, by Xen’s accounting, median of the repetitions. Where client or dom0 come '
        "near 100 %, they are the bottleneck and not the firewall.</p>",
        key((("var(--theirs)", "Linux firewall"), ("var(--ours)", "Ravelin"), ("var(--client)", "client"), ("var(--dom0)", "dom0"))),
        plot.bars("Processor shares", busy(raw["records"]), 100),
        "<h2>Ping through the firewall</h2>",
        key((("var(--theirs)", "Linux"), ("var(--ours)", "Ravelin"))),
        plot.distribution("Round trip times", pings(raw["records"]), "µs"),
        "<h2>All figures</h2>",
        '<p class="soft">Linux and Ravelin: medians. min, median, max: of the ratios, or of Ravelin’s own values where Linux '
        "has none.</p>",
        '<div class="scroll">' + table(rows) + "</div>",
    ]  # fmt: skip
    return (
        "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Ravelin: benchmark</title><style>{STYLE}</style><body>" + "\n".join(body) + "\n"
    )


def compared(rows: list[Row]) -> list[Row]:
    """Those with a ratio."""
    return [row for row in rows if not row.figure.own and row.spread()]


def section(group: str, rows: list[Row]) -> str:
    """A ratio plot of one group."""
    ranges = []
    for row in rows:
        spread, target = row.spread(), row.figure.target
        style = {"met": "met", "not met": "missed", "": "free"}[row.verdict()]
        if spread:
            bound = (target.word, target.bound) if target else None
            ranges.append(plot.Range(f"{row.figure.title}, {row.figure.unit}", *spread, bound, style))
    return f"<h3>{escape(group)}</h3>" + plot.ratios(group, ranges)


def of(records: list[Record], firewall: str, name: str) -> list[Record]:
    """One firewall's records of a name."""
    return [record for record in records if record["firewall"] == firewall and record["name"] == name]


def busy(records: list[Record]) -> list[plot.Bar]:
    """Processor shares under each load, the two firewalls next to each other."""
    entries = []
    for name in LOADS:
        for firewall in ("linux", "ravelin"):
            used = shares(records, firewall, name)
            parts = [(firewall if who == "firewall" else who, share) for who, share in used.items()]
            entries.append(plot.Bar(f"{name}, {firewall.capitalize()}", parts))
    return entries


def pings(records: list[Record]) -> list[plot.Curve]:
    """The round trips of all repetitions."""
    return [
        plot.Curve(firewall, firewall, [trip for record in of(records, firewall, "ping") for trip in record["round_trips_us"]])
        for firewall in ("linux", "ravelin")
    ]  # fmt: skip


def key(entries: Sequence[tuple[str, str]]) -> str:
    """What the colours mean."""
    return (
        '<p class="key soft">'
        + "".join(f'<span><i style="background:{c}"></i>{escape(w)}</span>' for c, w in entries)
        + "</p>"
    )


def table(rows: list[Row]) -> str:
    """All figures."""
    parts = ["<table><tr>" + "".join(f"<th>{escape(head)}</th>" for head in HEADS) + "</tr>"]
    for group, members in groupby(rows, lambda row: row.figure.group):
        parts.append(f"<tr><td class=group colspan={len(HEADS)}>{escape(group)}</td></tr>")
        for row in members:
            style = {"met": "yes", "not met": "no", "": ""}[row.verdict()]
            *most, verdict = cells(row)
            parts.append(
                "<tr>"
                + "".join(f"<td>{escape(cell)}</td>" for cell in most)
                + f'<td class="{style}">{verdict}</td></tr>'
            )
    return "".join(parts) + "</table>"
