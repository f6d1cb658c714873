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


def write(file: Path, parts: Mapping[str, Path], settings: Mapping[str, str]) -> None:
    """Writes the payload; each of `parts`, a file or a directory, gets that name, and each of `settings` becomes a file
    of that name."""
    with tarfile.open(file, "w") as tar:
        for name, path in {**parts, "dom0": DOM0_FILES, "scenarios": SCENARIOS}.items():
            # What Python left behind on this machine is for another interpreter.
            tar.add(path, name, filter=lambda entry: None if "__pycache__" in entry.name else entry)
        for name, text in settings.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
