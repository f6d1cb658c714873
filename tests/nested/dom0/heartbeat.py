"""Says `stall SECONDS` whenever a short sleep took long: dom0, or the whole machine, stood still."""

import time

SLEEP_SECONDS = 0.25
STALL_SECONDS = 2

while True:
    begun = time.monotonic()
    time.sleep(SLEEP_SECONDS)
    took = time.monotonic() - begun
    if took > STALL_SECONDS:
        print(f"stall {took:.1f}", flush=True)
