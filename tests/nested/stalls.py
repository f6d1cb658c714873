"""Times in which dom0 stood still, and whether QEMU was busy or idle meanwhile.

A scenario that fails near one has most likely met the machine's limits, or a timer of Xen's that came late, and not the
firewall.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

SAMPLE_SECONDS = 0.5
SAMPLES = 1200


class ProcessorUse(threading.Thread):
    """Remembers how much processor time something has used, over the last ten minutes."""

    def __init__(self, used: Callable[[], float]) -> None:
        """`used` tells the processor seconds so far."""
        super().__init__(daemon=True)
        self.used = used
        self.samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    def run(self) -> None:
        """Takes samples until there is nothing to ask any more."""
        try:
            while True:
                self.samples.append((time.monotonic(), self.used()))
                time.sleep(SAMPLE_SECONDS)
        except OSError:
            return

    def in_last(self, seconds: float) -> float:
        """Processor seconds used in the last `seconds`."""
        samples = list(self.samples)
        if not samples:
            return 0.0
        now, used = samples[-1]
        before = next((sample[1] for sample in samples if sample[0] >= now - seconds), used)
        return used - before

    def explain(self, seconds: float) -> str:
        """A stall of so many seconds that has just ended, in words."""
        return f"dom0 stood still for {seconds:.1f} s; QEMU used {self.in_last(seconds):.1f} s of a processor meanwhile"
