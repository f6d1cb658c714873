"""Lines for whoever watches, each with the seconds since the rig started."""

import time

START = time.monotonic()


def say(text: str) -> None:
    """Prints one line at once, so that a pipe or a CI log shows it when it happens."""
    print(f"[{time.monotonic() - START:6.1f}s] {text}", flush=True)
