"""Counting instructions: the emulator's plugin, and what becomes of its counts."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cache
import qemu
from bench import costs, load, stages
from bench.symbols import Symbols
from bench.xen_symbols import XenSymbols

SOURCE = Path(__file__).resolve().parent / "counter.c"
OUTPUT = cache.ROOT / "build" / "instructions"
BOOTS = 2
# The columns of the tables by stage and by function, and the loads they are about.
COLUMNS = {
    "64 up": "udp-64-up",
    "64 down": "udp-64-down",
    "1500 up": "udp-1500-up",
    "1500 down": "udp-1500-down",
    "TCP up": "tcp-up-1",
    "TCP down": "tcp-down-1",
    "connection": "connections",
}
# What takes less than this under all loads is in the sums only.
LEAST_SHOWN = 0.05


def plugin(image: Symbols) -> qemu.Plugin:
    """The plugin, compiled, with its arguments for an image."""

    def compile_it(work: Path) -> None:
        command = ["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", str(SOURCE), "-o", str(work / "counter.so")]
        subprocess.run(command, check=True)

    first, end = image.code()
    file = cache.made("counter", [SOURCE], compile_it) / "counter.so"
    return qemu.Plugin(file, f"own={first:x}-{end:x},report={image.report():x}")


def keep(boot: int, records: list[dict[str, Any]], work: Path) -> None:
    """Puts aside what one boot has left in the machine's directory."""
    folder = OUTPUT / f"boot-{boot}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "records.json").write_text(json.dumps(records, indent=1) + "\n")
    for counts in work.glob("counts-*"):
        shutil.copy(counts, folder / counts.name)


def close(image: Symbols, xen: XenSymbols) -> int:
    """Prints what was counted; returns the exit status: zero if all figures are within their budgets and repeat."""
    boots = [load.loads(OUTPUT / f"boot-{boot}") for boot in range(1, BOOTS + 1)]
    own, of_xen = columns(boots[-1], "own"), columns(boots[-1], "xen")
    places = image.places(sorted({address for column in own.values() for address in column}))
    tables = {
        "Own functions, without what is inlined into each": {
            title: stages.by_function(counts, places, stages.INNERMOST) for title, counts in own.items()
        },
        "Own functions, as compiled": {
            title: stages.by_function(counts, places, stages.OUTERMOST) for title, counts in own.items()
        },
        "Xen's functions": {title: xen.by_function(counts) for title, counts in of_xen.items()},
    }
    functions = OUTPUT / "functions.txt"
    functions.write_text("\n".join(f"{title}:\n\n{rows(table)}\n" for title, table in tables.items()))
    figures, good = costs.table(boots)
    staged = {title: stages.by_stage(counts, places) for title, counts in own.items()}
    print(f"{figures}\n\nOwn instructions by stage:\n\n{rows(staged)}\n\nby function: {functions}", flush=True)
    return 0 if good else 1


def columns(loads: costs.Loads, whose: load.Whose) -> dict[str, dict[int, float]]:
    """What the tables are about: instructions by address, for each of what passed."""
    counts = {title: loads[name].per_unit(whose) for title, name in COLUMNS.items()}
    return {**counts, "pass": costs.of_a_pass(loads, whose)}


def rows(table: Mapping[str, Mapping[str, float]]) -> str:
    """A table with a column for each load; what takes most of all of them comes first."""
    shown = {name for column in table.values() for name, count in column.items() if count >= LEAST_SHOWN}
    names = sorted(shown, key=lambda name: -sum(column.get(name, 0) for column in table.values()))
    lines = ["".join(f"{title:>11}" for title in table)]
    lines.append("".join(f"{sum(column.values()):>11,.1f}" for column in table.values()) + "  all")
    for name in names:
        lines.append("".join(f"{column.get(name, 0):>11,.1f}" for column in table.values()) + f"  {name}")
    return "\n".join(lines)


if __name__ == "__main__":
    # The tables anew, from counts that are there: the image with symbols, and Xen's.
    sys.exit(close(Symbols(Path(sys.argv[1])), XenSymbols(Path(sys.argv[2]))))
