"""What dom0 reports, line by line: `begin NAME`, `pass NAME`, `fail NAME`, `end`, `say TEXT`, `| TEXT`.

`|` is evidence: the output of a scenario that failed.
"""

import time
from pathlib import Path

from progress import say

TAIL_LINES = 40


class Tally:
    """Counts the scenarios of a test run and prints them as they end."""

    def __init__(self, wanted: list[str]) -> None:
        self.wanted = wanted
        self.passed: list[str] = []
        self.failed: list[str] = []
        self.current = "boot"
        self.begun = time.monotonic()

    def take(self, line: str) -> None:
        """Takes one line of the report."""
        word, _, rest = line.partition(" ")
        match word:
            case "begin":
                self.current, self.begun = rest, time.monotonic()
            case "pass" | "fail":
                (self.passed if word == "pass" else self.failed).append(rest)
                say(f"{word} {rest} ({time.monotonic() - self.begun:.1f} s)")
            case "end":
                self.current = "power-off"
            case "say":
                say(rest)
            case _:
                print(f"    {line}", flush=True)

    def close(self) -> int:
        """Prints the closing lines; returns the exit status. A scenario that never ended has failed."""
        unfinished = [name for name in self.wanted if name not in self.passed + self.failed]
        for name in unfinished:
            say(f"fail {name} (did not end)")
        self.failed += unfinished
        if self.failed:
            print(f"failed: {' '.join(self.failed)}")
        print(f"{len(self.passed)} passed, {len(self.failed)} failed", flush=True)
        return 0 if self.passed and not self.failed else 1


def print_tail(console_log: Path) -> None:
    """Prints the last lines that Xen and dom0 said."""
    if console_log.exists():
        print(f"--- last lines of {console_log.name} (Xen and dom0)")
        for line in console_log.read_text(errors="replace").splitlines()[-TAIL_LINES:]:
            print(f"    {line}")
