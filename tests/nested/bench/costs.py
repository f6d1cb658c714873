"""What is counted, in instructions, and what it may be."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.load import Load, Whose

Loads = dict[str, Load]

# How much two boots may differ, and how much more than its budget a figure may be.
REPEATS_WITHIN = 0.01
# The same of transfers side by side, which share the way differently in each boot.
SIDE_BY_SIDE = 0.05
OVER_BUDGET = 0.03


@dataclass(frozen=True)
class Cost:
    """A figure. `budget` is what the kernel takes at present: what takes more fails. `must` is where it has to come to, and
    fails nothing. `repeats` is how much two boots may differ."""

    title: str
    value: Callable[[Loads], float]
    budget: int
    must: int | None = None
    repeats: float = REPEATS_WITHIN

    def is_within(self, value: float) -> bool:
        """Whether a value is within the budget."""
        return value <= self.budget * (1 + OVER_BUDGET)


def per_unit(whose: Whose, name: str) -> Callable[[Loads], float]:
    """Instructions for each of what passed under a load: packets, copies or connections."""
    return lambda loads: loads[name].counts(whose).total() / loads[name].units


def of_a_pass(loads: Loads, whose: Whose) -> dict[int, float]:
    """Instructions of a pass and the sleep after it, whatever it carries, by address: by how much packets are dearer that
    come one at a time, divided by the passes that they need more of."""
    paced, crowded = loads["udp-64-up-paced"], loads["udp-64-up"]
    more_passes = paced.counter("passes") / paced.units - crowded.counter("passes") / crowded.units
    alone, together = paced.per_unit(whose), crowded.per_unit(whose)
    return {
        address: (alone.get(address, 0) - together.get(address, 0)) / more_passes for address in alone | together
    }


def pass_and_sleep(whose: Whose) -> Callable[[Loads], float]:
    """The sum of that."""
    return lambda loads: sum(of_a_pass(loads, whose).values())


# Budgets are the greatest value of some boots by `make bench-instructions` of the same kernel; lower them with what lowers the
# figure.
COSTS = (
    Cost("own, 64-byte packet up", per_unit("own", "udp-64-up"), 1_040, must=540),
    Cost("own, 64-byte packet down", per_unit("own", "udp-64-down"), 840, must=580),
    Cost("own, 1,500-byte packet up", per_unit("own", "udp-1500-up"), 2_100, must=540),
    Cost("own, 1,500-byte packet down", per_unit("own", "udp-1500-down"), 1_170, must=580),
    Cost("own, copy of TCP up", per_unit("own", "tcp-up-1"), 790, must=330),
    Cost("own, copy of TCP down", per_unit("own", "tcp-down-1"), 670, must=330),
    Cost("own, copy of 8 TCP up", per_unit("own", "tcp-up-8"), 830, must=330, repeats=SIDE_BY_SIDE),
    Cost("own, copy of 8 TCP down", per_unit("own", "tcp-down-8"), 810, must=330, repeats=SIDE_BY_SIDE),
    Cost("own, connection", per_unit("own", "connections"), 14_500, must=6_500),
    Cost("own, pass and sleep", pass_and_sleep("own"), 2_630, must=400),
    Cost("Xen, 64-byte packet up", per_unit("xen", "udp-64-up"), 900, must=980),
    Cost("Xen, 64-byte packet down", per_unit("xen", "udp-64-down"), 1_058, must=1_060),
    Cost("Xen, 1,500-byte packet up", per_unit("xen", "udp-1500-up"), 1_667),
    Cost("Xen, 1,500-byte packet down", per_unit("xen", "udp-1500-down"), 1_503),
    Cost("Xen, copy of TCP up", per_unit("xen", "tcp-up-1"), 1_850),
    Cost("Xen, copy of TCP down", per_unit("xen", "tcp-down-1"), 1_883),
    Cost("Xen, copy of 8 TCP up", per_unit("xen", "tcp-up-8"), 1_720, repeats=SIDE_BY_SIDE),
    Cost("Xen, copy of 8 TCP down", per_unit("xen", "tcp-down-8"), 1_880, repeats=SIDE_BY_SIDE),
    Cost("Xen, connection", per_unit("xen", "connections"), 12_850),
    Cost("Xen, pass and sleep", pass_and_sleep("xen"), 8_210),
)


def table(boots: list[Loads]) -> tuple[str, bool]:
    """All figures of all boots as lines of text, and whether they are within their budgets and repeat."""
    head = "".join(f"{f'boot {number}':>10}" for number in range(1, len(boots) + 1))
    lines = [f"{'instructions':<30}{head}{'budget':>10}{'must':>10}"]
    good = True
    for cost in COSTS:
        values = [cost.value(loads) for loads in boots]
        wrong = []
        if not all(map(cost.is_within, values)):
            wrong.append("over its budget")
        if max(values) > min(values) * (1 + cost.repeats):
            wrong.append("does not repeat")
        good = good and not wrong
        row = "".join(f"{value:>10,.0f}" for value in values)
        must = f"{cost.must:,}" if cost.must else ""
        lines.append(f"{cost.title:<30}{row}{cost.budget:>10,}{must:>10}  {', '.join(wrong)}".rstrip())
    return "\n".join(lines), good
