"""What dom0 gets from this run: the kernel under test, the guests, its scripts and what it is to do, as a tar file.

dom0's disk image knows none of it, so a new kernel or a changed scenario costs no new image.
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import cache

DOM0_FILES = cache.HERE / "dom0"
SCENARIOS = cache.HERE / "scenarios"


def write(file: Path, kernel: Path, client: Path, settings: Mapping[str, str]) -> None:
    """Writes the payload; each of `settings` becomes a file of that name."""
    with tarfile.open(file, "w") as tar:
        tar.add(kernel, "vmlinuz")
        tar.add(client, "client")
        tar.add(DOM0_FILES, "dom0")
        tar.add(SCENARIOS, "scenarios")
        for name, text in settings.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
