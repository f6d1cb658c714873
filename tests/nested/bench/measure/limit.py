"""What copying costs on this machine, measured by the kernel itself (`measure=copy`, see the README)."""

import re
import time

from .bed import report
from .domain import RIG, Domain

SECONDS = 60
LINE = re.compile(r"copy of (\d+) bytes: (\d+) ns per packet, at least (\d+) ns")


def limit(repetition: int, sizes: int = 3) -> None:
    """Boots the kernel for that and reports what it says about `sizes` sizes."""
    domain = Domain("fw", [f"kernel='{RIG}/vmlinuz'", "memory=16", "extra='measure=copy'"])
    deadline = time.monotonic() + SECONDS
    while len(found := LINE.findall(domain.console())) < sizes:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the kernel measured nothing:\n{domain.console()}")
        time.sleep(0.1)
    costs = {bytes_: {"median_ns": int(median), "least_ns": int(least)} for bytes_, median, least in found}
    report("ravelin", repetition, "limit", {"costs": costs})
