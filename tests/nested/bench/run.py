"""One run of the benchmark: what goes in, and what becomes of the results."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cache
import payload
from bench import figures, guests, page
from progress import say

HERE = Path(__file__).resolve().parent
OUTPUT = cache.ROOT / "build" / "bench"
# On a real dom0, where the nested one has its payload.
LOCAL_RIG = Path("/run/ravelin-bench")
LOCAL_CONSOLES = Path("/var/log/xen/console")


def arguments() -> str:
    """What the half in dom0 is told: how often, and whether quickly."""
    quick = bool(os.environ.get("QUICK"))
    repetitions = int(os.environ.get("REPEATS") or (1 if quick else 3))
    return f"{repetitions} quick" if quick else str(repetitions)


def parts() -> dict[str, Path]:
    """What the half in dom0 needs besides the kernel."""
    return {
        "client": guests.client(),
        "firewall": guests.firewall(),
        "flood": HERE / "client" / "flood",
        "measure": HERE / "measure",
    }


class Results:
    """What dom0 reported."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.ended = False

    def take(self, line: str) -> None:
        """Takes one line."""
        word, _, rest = line.partition(" ")
        match word:
            case "result":
                self.records.append(json.loads(rest))
            case "say":
                say(rest)
            case "end":
                self.ended = True
            case _:
                print(f"    {line}", flush=True)

    def close(self, machine: str) -> int:
        """Writes results and report, prints the figures; returns the exit status."""
        OUTPUT.mkdir(parents=True, exist_ok=True)
        raw = {"machine": machine, "arguments": arguments(), "complete": self.ended, "records": self.records}
        (OUTPUT / "results.json").write_text(json.dumps(raw, indent=1) + "\n")
        if not self.ended:
            print(f"the benchmark did not reach its end; what there is: {OUTPUT / 'results.json'}")
            return 1
        return publish(raw)


def publish(raw: dict[str, Any]) -> int:
    """The report and the printed table of complete results."""
    rows = figures.evaluate(raw["records"])
    (OUTPUT / "report.html").write_text(page.render(raw, rows))
    print(figures.table(rows))
    print(figures.busy_table(raw["records"]))
    print(f"report: {OUTPUT / 'report.html'}", flush=True)
    return 0


def local(kernel: Path) -> int:
    """The same in the dom0 that this machine is."""
    if os.geteuid() != 0 or not shutil.which("xl"):
        print("TARGET=local needs root in a Xen dom0 with xl", file=sys.stderr)
        return 2
    shutil.rmtree(LOCAL_RIG, ignore_errors=True)
    work = LOCAL_RIG / "work"
    work.mkdir(parents=True)
    for name, path in {"vmlinuz": kernel, "dom0": payload.DOM0_FILES, **parts()}.items():
        (LOCAL_RIG / name).symlink_to(path)
    results = Results()
    environment = {**os.environ, "RIG": str(LOCAL_RIG), "WORK": str(work), "CONSOLES": str(LOCAL_CONSOLES)}
    command = ["/usr/bin/python3", "-m", "measure", *arguments().split()]
    with subprocess.Popen(command, cwd=LOCAL_RIG, env=environment, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            results.take(line.rstrip("\n"))
    return results.close("this machine")


if __name__ == "__main__":
    # The report anew, from results that are there.
    sys.exit(publish(json.loads((OUTPUT / "results.json").read_text())))
