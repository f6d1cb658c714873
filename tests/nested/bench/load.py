"""What was counted under one load: instructions by address, between the report before and the one after."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Whose = Literal["own", "xen"]

# Two reports, and nothing between them.
NOTHING = "nothing"


@dataclass(frozen=True)
class Load:
    """A load with its counts; what reporting costs is taken off."""

    record: dict[str, Any]
    own: Counter[int]
    xen: Counter[int]

    @property
    def units(self) -> int:
        """How many of whatever is counted went through: packets, connections or, of TCP, copies."""
        for name in ("connections", "delivered"):
            if name in self.record:
                return int(self.record[name])
        return self.counter("copies")

    def counts(self, whose: Whose) -> Counter[int]:
        """The instructions of one of the two, by address."""
        return self.own if whose == "own" else self.xen

    def per_unit(self, whose: Whose) -> dict[int, float]:
        """The instructions of one of the two for each of what went through, by address."""
        return {address: count / self.units for address, count in self.counts(whose).items()}

    def counter(self, name: str) -> int:
        """How far one of the firewall's own counters has gone."""
        return int(self.record["counters"][name])

    def less(self, other: "Load") -> "Load":
        """Without another load, which this one has in it."""
        counters = {name: self.counter(name) - other.counter(name) for name in self.record["counters"]}
        record = {**self.record, "counters": counters}
        return Load(record, difference(self.own, other.own), difference(self.xen, other.xen))


def loads(folder: Path) -> dict[str, Load]:
    """All loads of one boot by their names."""

    @cache
    def counts(number: int) -> dict[str, Counter[int]]:
        totals: dict[str, Counter[int]] = {"own": Counter(), "xen": Counter()}
        for line in (folder / f"counts-{number}").read_text().splitlines():
            whose, address, count = line.split()
            totals[whose][int(address, 16)] += int(count)
        return totals

    def load(record: dict[str, Any]) -> Load:
        before, after = map(counts, record["reports"])
        return Load(record, difference(after["own"], before["own"]), difference(after["xen"], before["xen"]))

    records = json.loads((folder / "records.json").read_text())
    raw = {record["name"]: load(record) for record in records if "reports" in record}
    nothing = raw.pop(NOTHING)
    return {name: load.less(nothing) for name, load in raw.items()}


def difference(after: Counter[int], before: Counter[int]) -> Counter[int]:
    """What came between, where anything did. A count may be negative: what reporting costs is not always the same."""
    return Counter({address: count - before[address] for address, count in after.items() if count != before[address]})
