"""The figures: how each follows from the results, and what it should be."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

Record = dict[str, Any]
# The record of a name, of one firewall in one repetition.
Find = Callable[[str], Record]

BURST = 64
WHO = ("firewall", "client", "dom0")
# The loads whose shares of the processor are shown.
LOADS = ("tcp-up-1", "tcp-up-8", "tcp-down-1", "tcp-down-8", "udp-64-up", "udp-64-down", "connections")


@dataclass(frozen=True)
class Target:
    """A bound, for the ratio Ravelin to Linux or, where Linux has no such figure, for Ravelin's own."""

    word: str
    bound: float

    def met_by(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value >= self.bound if self.word == "≥" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.word} {self.bound:g}"


def at_least(bound: float) -> Target:
    """More is better."""
    return Target("≥", bound)


def at_most(bound: float) -> Target:
    """Less is better."""
    return Target("≤", bound)


@dataclass(frozen=True)
class Figure:
    """Something that is measured in every repetition."""

    group: str
    title: str
    unit: str
    value: Callable[[Find], float]
    target: Target | None = None
    # Only Ravelin has it, and the target is for the value itself.
    own: bool = False
    # Which of its records that is about.
    ravelin: str = "ravelin"


@dataclass
class Row:
    """A figure with its values, repetition by repetition."""

    figure: Figure
    linux: list[float] = field(default_factory=list)
    ravelin: list[float] = field(default_factory=list)

    def judged(self) -> list[float]:
        """What the target is about: the ratios, or the values of a figure that only Ravelin has."""
        if self.figure.own:
            return self.ravelin
        return [ours / theirs for ours, theirs in zip(self.ravelin, self.linux, strict=True) if theirs]

    def spread(self) -> tuple[float, float, float] | None:
        """Least, median and greatest of those."""
        values = self.judged()
        return (min(values), median(values), max(values)) if values else None

    def verdict(self) -> str:
        """Whether the median meets the target."""
        spread = self.spread()
        if self.figure.target is None or spread is None:
            return ""
        return "met" if self.figure.target.met_by(spread[1]) else "not met"


def throughput(name: str) -> Callable[[Find], float]:
    """Megabits per second."""
    return lambda find: find(name)["bytes"] * 8e-6 / find(name)["transfer_seconds"]


def cpu_per_gigabyte(name: str) -> Callable[[Find], float]:
    """The firewall's seconds for 10⁹ bytes."""
    return lambda find: find(name)["cpu"]["firewall"] / (find(name)["bytes"] / 1e9)


def cpu_per(name: str, what: str) -> Callable[[Find], float]:
    """The firewall's microseconds for each of `what`."""
    return lambda find: find(name)["cpu"]["firewall"] / max(1, find(name)[what]) * 1e6


def delivered_per_second(name: str) -> Callable[[Find], float]:
    """Packets per second that came out, while they were sent in."""
    return lambda find: find(name)["delivered"] / find(name)["flood_seconds"]


def percentile(name: str, share: float) -> Callable[[Find], float]:
    """Of round trips, in microseconds."""

    def value(find: Find) -> float:
        trips = sorted(find(name)["round_trips_us"])
        return trips[min(len(trips) - 1, int(len(trips) * share))]

    return value


def efficiency(size: str, actual_ns: Callable[[Find], float]) -> Callable[[Find], float]:
    """e = T_limit / T_actual, both for one packet."""
    return lambda find: find("limit")["costs"][size]["median_ns"] / actual_ns(find)


def limit_ns(size: str) -> Callable[[Find], float]:
    """T_limit, in nanoseconds."""
    return lambda find: find("limit")["costs"][size]["median_ns"]


def idle_percent(find: Find) -> float:
    """Of one processor, with a client connected and nothing to do."""
    return find("idle")["cpu"]["firewall"] / find("idle")["seconds"] * 100


def packet_ns(name: str) -> Callable[[Find], float]:
    """The firewall's nanoseconds for a delivered packet."""
    return lambda find: cpu_per(name, "delivered")(find) * 1e3


def super_packet_ns(name: str) -> Callable[[Find], float]:
    """The firewall's nanoseconds for 64 KiB of a transfer."""
    return lambda find: find(name)["cpu"]["firewall"] / find(name)["bytes"] * 65536 * 1e9


def copies_per_batch(name: str) -> Callable[[Find], float]:
    """By the kernel's own counters."""
    return lambda find: find(name)["counters"]["copies"] / max(1, find(name)["counters"]["batches"])


def hypercalls_per_burst(name: str) -> Callable[[Find], float]:
    """For a burst that waited, without what asking for the counters costs."""
    return lambda find: (
        (find(name)["counters"]["hypercalls"] - find("burst-none")["counters"]["hypercalls"]) / find(name)["bursts"]
    )


def hypercalls_under_load(name: str) -> Callable[[Find], float]:
    """For as many packets as a burst has, while more arrive."""
    return lambda find: (
        (find(name)["counters"]["hypercalls"] - find("burst-none")["counters"]["hypercalls"])
        / (find(name)["delivered"] / BURST)
    )


def tcp_figures() -> list[Figure]:
    """Throughput and its cost, in both directions."""
    figures = []
    for direction in ("up", "down"):
        for streams in (1, 8):
            name, words = f"tcp-{direction}-{streams}", f"TCP {direction}, {streams} stream{'s' * (streams > 1)}"
            figures += [
                Figure("TCP", f"{words}: throughput", "Mb/s", throughput(name), at_least(1.3)),
                Figure("TCP", f"{words}: vCPU", "s/GB", cpu_per_gigabyte(name), at_most(1 / 5)),
            ]
    return figures


def small_figures() -> list[Figure]:
    """Packets, connections, round trips."""
    return [
        Figure(
            "UDP", "64-byte UDP without loss", "packets/s", lambda find: find("udp-64-lossless")["packets_per_second"]
        ),
        Figure("UDP", "64-byte UDP, overload", "packets/s", delivered_per_second("udp-64-up")),
        Figure("UDP", "64-byte UDP up: vCPU", "µs/packet", cpu_per("udp-64-up", "delivered"), at_most(1 / 8)),
        Figure("UDP", "64-byte UDP down: vCPU", "µs/packet", cpu_per("udp-64-down", "delivered"), at_most(1 / 8)),
        Figure("UDP", "1,500-byte UDP up: vCPU", "µs/packet", cpu_per("udp-1500-up", "delivered")),
        Figure("UDP", "1,500-byte UDP down: vCPU", "µs/packet", cpu_per("udp-1500-down", "delivered")),
        Figure(
            "new TCP connections",
            "connections",
            "1/s",
            lambda find: find("connections")["connections"] / find("connections")["seconds"],
        ),
        Figure("new TCP connections", "vCPU", "µs/connection", cpu_per("connections", "connections"), at_most(1 / 5)),
        Figure("ping", "median", "µs", percentile("ping", 0.5), at_most(1)),
        Figure("ping", "99th percentile", "µs", percentile("ping", 0.99)),
        Figure("domain", "boot to first forwarded packet", "s", lambda find: find("boot")["seconds"], at_most(1 / 20)),
        Figure("domain", "memory", "MiB", lambda find: find("boot")["memory_kib"] / 1024),
        Figure("domain", "image", "KiB", lambda find: find("boot")["image_bytes"] / 1024),
        Figure("domain", "idle vCPU", "%", idle_percent),
    ]


def own_figures() -> list[Figure]:
    """What only Ravelin has."""

    def own(group: str, title: str, unit: str, value: Callable[[Find], float], target: Target | None) -> Figure:
        return Figure(group, title, unit, value, target, own=True)

    rows = [
        own("Ravelin alone", "idle vCPU", "%", idle_percent, at_most(0.1)),
        own("Ravelin alone", "image", "KiB", lambda find: find("boot")["image_bytes"] / 1024, at_most(512)),
        Figure(
            "Ravelin alone",
            "PVH: boot to first forwarded packet",
            "s",
            lambda find: find("boot")["seconds"],
            own=True,
            ravelin="ravelin-pvh",
        ),
        Figure(
            "Ravelin alone",
            "PVH: memory",
            "MiB",
            lambda find: find("boot")["memory_kib"] / 1024,
            own=True,
            ravelin="ravelin-pvh",
        ),
    ]
    limit = "e = T_limit / T_actual"
    for words, size, actual, target in (
        ("64 bytes up", "64", packet_ns("udp-64-up"), None),
        ("64 bytes down", "64", packet_ns("udp-64-down"), None),
        ("1,500 bytes up", "1500", packet_ns("udp-1500-up"), at_least(0.7)),
        ("1,500 bytes down", "1500", packet_ns("udp-1500-down"), at_least(0.7)),
        ("64 KiB of TCP up", "65536", super_packet_ns("tcp-up-1"), None),
        ("64 KiB of TCP down", "65536", super_packet_ns("tcp-down-1"), None),
    ):
        rows.append(own(limit, words, "", efficiency(size, actual), target))
    for size in ("64", "1500", "65536"):
        rows.append(own(limit, f"T_limit, {int(size):,} bytes", "ns", limit_ns(size), None))
    batches = "hypercalls"
    for name in ("tcp-up-8", "tcp-down-8", "udp-64-up", "udp-64-down"):
        rows.append(own(batches, f"copies per hypercall, {name}", "", copies_per_batch(name), at_least(16)))
    for direction in ("up", "down"):
        rows.append(
            own(
                batches,
                f"per 64 packets under load, {direction}",
                "",
                hypercalls_under_load(f"udp-64-{direction}"),
                at_most(2.2),
            )
        )
        rows.append(
            own(
                batches,
                f"per burst of 64 that waited, {direction}",
                "",
                hypercalls_per_burst(f"burst-{direction}"),
                at_most(2.2),
            )
        )
    return rows


FIGURES = tcp_figures() + small_figures() + own_figures()


def evaluate(records: list[Record]) -> list[Row]:
    """Every figure of every repetition."""
    index = {(record["firewall"], record["repetition"], record["name"]): record for record in records}
    repetitions = sorted({number for _, number, _ in index if number})

    def values(figure: Figure, firewall: str) -> list[float]:
        finders = [partial(found, index, firewall, number) for number in repetitions]
        return [figure.value(find) for find in finders]

    rows = [Row(one, [] if one.own else values(one, "linux"), values(one, one.ravelin)) for one in FIGURES]
    # With its group, which is the first of Ravelin's own.
    place = next(number for number, row in enumerate(rows) if row.figure.own)
    return rows[:place] + [clients_row(record) for record in records if record["name"] == "clients"] + rows[place:]


def found(index: dict[tuple[str, int, str], Record], firewall: str, repetition: int, name: str) -> Record:
    """One record."""
    return index[firewall, repetition, name]


def clients_row(record: Record) -> Row:
    """Memory with clients connected, measured once."""
    title = f"memory, {record['clients']} clients connected"
    figure = Figure("Ravelin alone", title, "MiB", lambda _: 0, at_most(16), own=True)
    return Row(figure, ravelin=[record["memory_kib"] / 1024])


def shares(records: list[Record], firewall: str, name: str) -> dict[str, float]:
    """Percent of one processor that firewall, client and dom0 used under a load, medians."""
    of = [record for record in records if record["firewall"] == firewall and record["name"] == name]
    return {who: median(record["cpu"][who] / record["seconds"] * 100 for record in of) for who in WHO}


def busy_table(records: list[Record]) -> str:
    """Who was busy, for a terminal."""
    lines = ["percent of one processor:  firewall  client  dom0"]
    for name in LOADS:
        for firewall in ("linux", "ravelin"):
            used = [f"{share:.0f}".rjust(len(who)) for who, share in shares(records, firewall, name).items()]
            lines.append(f"  {name:<14}{firewall:<8}     " + "  ".join(used))
    return "\n".join(lines)


def number(value: float) -> str:
    """A value in three or four digits."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4
    return f"{value:,.{digits}f}"


def cells(row: Row) -> list[str]:
    """A row as text: title, unit, Linux, Ravelin, least, median and greatest ratio, target, verdict."""
    spread = row.spread()
    linux, ravelin = (number(median(values)) if values else "" for values in (row.linux, row.ravelin))
    three = [number(value) for value in spread] if spread else ["", "", ""]
    target = str(row.figure.target) if row.figure.target else ""
    return [row.figure.title, row.figure.unit, linux, ravelin, *three, target, row.verdict()]


HEADS = ["figure", "unit", "Linux", "Ravelin", "min", "median", "max", "target", ""]


def table(rows: list[Row]) -> str:
    """All of it for a terminal; min, median and max are of the ratios Ravelin / Linux, or of Ravelin's own values."""
    lines: list[list[str]] = [HEADS]
    group = ""
    for row in rows:
        if row.figure.group != group:
            group = row.figure.group
            lines.append([group])
        lines.append(["  " + cells(row)[0], *cells(row)[1:]])
    full = [line for line in lines if len(line) > 1]
    widths = [max(len(line[column]) for line in full) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(
            text.ljust(widths[place]) if place in (0, 1, 8) else text.rjust(widths[place])
            for place, text in enumerate(line)
        ).rstrip()
        for line in lines
    )
