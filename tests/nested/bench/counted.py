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
        subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", str(SOURCE), "-o", str(work / "counter.so")], check=True)

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


def close(image: Symbols) -> int:
    """Prints what was counted; returns the exit status: zero if all figures are within their budgets and repeat."""
    boots = [load.loads(OUTPUT / f"boot-{boot}") for boot in range(1, BOOTS + 1)]
    last = boots[-1]
    columns = {title: last[name].own_per_unit() for title, name in COLUMNS.items()} | {"pass": costs.of_a_pass(last)}
    places = image.places(sorted({address for column in columns.values() for address in column}))
    written = {title: stages.by_function(counts, places, stages.INNERMOST) for title, counts in columns.items()}
    compiled = {title: stages.by_function(counts, places, stages.OUTERMOST) for title, counts in columns.items()}
    (OUTPUT / "functions.txt").write_text(
        f"As written, without what is inlined into each:\n\n{rows(written)}\n\nAs compiled:\n\n{rows(compiled)}\n"
    )
    figures, good = costs.table(boots)
    staged = {title: stages.by_stage(counts, places) for title, counts in columns.items()}
    print(f"{figures}\n\n{rows(staged)}\n\nby function: {OUTPUT / 'functions.txt'}", flush=True)
    return 0 if good else 1


def rows(columns: Mapping[str, Mapping[str, float]]) -> str:
    """A table with a column for each load; what takes most of all of them comes first."""
    names = {name for column in columns.values() for name, count in column.items() if count >= LEAST_SHOWN}
    names = sorted(names, key=lambda name: -sum(column.get(name, 0) for column in columns.values()))
    lines = ["".join(f"{title:>11}" for title in columns) + "  own instructions"]
    lines.append("".join(f"{sum(column.values()):>11,.1f}" for column in columns.values()) + "  all")
    for name in names:
        lines.append("".join(f"{column.get(name, 0):>11,.1f}" for column in columns.values()) + f"  {name}")
    return "\n".join(lines)


if __name__ == "__main__":
    # The tables anew, from counts that are there: IMAGE with symbols.
    sys.exit(close(Symbols(Path(sys.argv[1]))))
