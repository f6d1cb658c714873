"""Counting instructions: the emulator's plugin, and what becomes of its counts."""

import json
import shutil
import subprocess
import sys
from collections import Counter
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
    places = image.places(sorted({address for one in last.values() for address in one.own}))
    columns = {title: (last[name].units, last[name].own) for title, name in COLUMNS.items()}
    stage_rows = {title: stages.by_stage(counts, places) for title, (_, counts) in columns.items()}
    function_rows = {title: stages.by_function(counts, places) for title, (_, counts) in columns.items()}
    units = {title: count for title, (count, _) in columns.items()}
    (OUTPUT / "functions.txt").write_text(rows(function_rows, units) + "\n")
    figures, good = costs.table(boots)
    print(f"{figures}\n\n{rows(stage_rows, units)}\n\nby function: {OUTPUT / 'functions.txt'}", flush=True)
    return 0 if good else 1


def rows(counts: dict[str, Counter[str]], units: dict[str, int]) -> str:
    """A table with a column for each load, per unit, that begins with what takes most."""
    total: Counter[str] = Counter()
    for title, column in counts.items():
        for name, count in column.items():
            total[name] += count / units[title]
    lines = ["".join(f"{title:>11}" for title in counts) + "  own instructions"]
    sums = {title: column.total() / units[title] for title, column in counts.items()}
    lines.append("".join(f"{value:>11,.1f}" for value in sums.values()) + "  all")
    for name, _ in total.most_common():
        lines.append("".join(f"{column[name] / units[title]:>11,.1f}" for title, column in counts.items()) + f"  {name}")
    return "\n".join(lines)


if __name__ == "__main__":
    # The tables anew, from counts that are there: IMAGE with symbols.
    sys.exit(close(Symbols(Path(sys.argv[1]))))
