"""What dom0 reports, line by line: `begin NAME`, `pass NAME`, `fail NAME`, `end`, `say TEXT`, `stall SECONDS`, `| TEXT`.

`|` is evidence: the output of a scenario that failed.
"""

import hashlib
import itertools
import time
from collections.abc import Iterable
from pathlib import Path

from progress import say

TAIL_LINES = 40
# Of a scenario that failed, how much of its own output and of the firewall's console is said again at the very end.
REASON_LINES = 4
CONSOLE_LINES = 8
CONSOLE_HEADING = "--- console of guest-fw,"


def is_content(line: str) -> bool:
    """It is not the heading of a part of the evidence."""
    return not line.startswith("--- ")


def last_lines(lines: Iterable[str], count: int) -> list[str]:
    """The last so many lines that are not blank."""
    return [line for line in lines if line.strip()][-count:]


class Tally:
    """Counts the scenarios of a test run and prints them as they end."""

    def __init__(self, wanted: list[str]) -> None:
        self.wanted = wanted
        self.passed: list[str] = []
        self.failed: list[str] = []
        self.output: list[str] = []
        self.reasons: dict[str, list[str]] = {}
        self.stalls: list[str] = []
        self.current = "boot"
        self.begun = time.monotonic()

    def stall(self, explanation: str) -> None:
        """dom0 stood still during the current scenario."""
        say(explanation)
        self.stalls.append(explanation)

    def take(self, line: str) -> None:
        """Takes one line of the report."""
        word, _, rest = line.partition(" ")
        match word:
            case "begin":
                self.current, self.begun = rest, time.monotonic()
                self.output, self.stalls = [], []
            case "pass" | "fail":
                (self.passed if word == "pass" else self.failed).append(rest)
                if word == "fail":
                    self.reasons[rest] = self.reason()
                say(f"{word} {rest} ({time.monotonic() - self.begun:.1f} s)")
            case "end":
                self.current = "power-off"
            case "say":
                say(rest)
            case _:
                self.output.append(rest)
                print(f"    {line}", flush=True)

    def reason(self) -> list[str]:
        """When dom0 stood still, and the last that the scenario itself and its firewall said."""
        return self.stalls + self.last_of_scenario() + self.last_of_console()

    def last_of_scenario(self) -> list[str]:
        """The last that the scenario itself printed: what follows is of consoles and XenStore."""
        return last_lines(itertools.takewhile(is_content, self.output), REASON_LINES)

    def last_of_console(self) -> list[str]:
        """The end of the firewall's console, with its heading; nothing if there was none."""
        rest = list(itertools.dropwhile(lambda line: not line.startswith(CONSOLE_HEADING), self.output))
        return rest[:1] + last_lines(itertools.takewhile(is_content, rest[1:]), CONSOLE_LINES)

    def close(self) -> int:
        """Prints the closing lines; returns the exit status. A scenario that never ended has failed."""
        unfinished = [name for name in self.wanted if name not in self.passed + self.failed]
        for name in unfinished:
            say(f"fail {name} (did not end)")
        self.failed += unfinished
        for name in self.failed:
            print(f"failed: {name}")
            for line in self.reasons.get(name, []):
                print(f"    {line}")
        print(f"{len(self.passed)} passed, {len(self.failed)} failed", flush=True)
        return 0 if self.passed and not self.failed else 1


class Story:
    """Prints a demonstration as it happens and a summary at its end."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str, str]] = []
        self.ended = False

    def take(self, line: str) -> None:
        """Takes one line of the report; `result`, TITLE, OUTCOME and DETAIL are separated by tabs."""
        match line.split("\t"):
            case ["result", title, outcome, detail]:
                self.results.append((title, outcome, detail))
                say(f"   {outcome}: {detail}")
            case ["end"]:
                self.ended = True
            case _:
                say(line.removeprefix("say").removeprefix(" "))

    def close(self, image: Path) -> int:
        """Prints the summary; returns the exit status: zero if every step was a success."""
        content = image.read_bytes()
        print("\nSummary")
        print(f"  image    {image.name}, {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
        for title, outcome, detail in self.results:
            print(f"  {outcome:<8} {title:<36} {detail}")
        if not self.ended:
            print("  FAILED   the demonstration did not reach its end")
        return 0 if self.ended and all(outcome == "ok" for _, outcome, _ in self.results) else 1


def print_tail(console_log: Path) -> None:
    """Prints the last lines that Xen and dom0 said."""
    if console_log.exists():
        print(f"--- last lines of {console_log.name} (Xen and dom0)")
        for line in console_log.read_text(errors="replace").splitlines()[-TAIL_LINES:]:
            print(f"    {line}")
