"""What is slow to make is made once: a directory under build/nested per step, named by the hash of its inputs.

A step is made in a temporary directory and renamed when it is complete, so an interrupted or failed build leaves
nothing that a later run could take for a finished one.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import progress

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "nested"


def made(name: str, inputs: Iterable[str | Path], make: Callable[[Path], None]) -> Path:
    """Returns the directory of step `name`, calling `make(directory)` if these inputs have not been seen before.

    A `Path` among the inputs stands for the content of that file (of every file below it, if a directory), a string
    for itself.
    """
    final = BUILD / f"{name}-{digest(inputs)}"
    if final.exists():
        return final
    BUILD.mkdir(parents=True, exist_ok=True)
    progress.say(f"making {name}")
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=f".{name}-") as temporary:
        work = Path(temporary) / name
        work.mkdir()
        make(work)
        # The versions this one replaces: disk images are large.
        for old in BUILD.glob(f"{name}-????????????"):
            shutil.rmtree(old)
        work.rename(final)
    return final


def digest(inputs: Iterable[str | Path]) -> str:
    """Twelve hex digits which change when any input does."""
    total = hashlib.sha256()
    for item in inputs:
        total.update(content(item))
    return total.hexdigest()[:12]


def content(item: str | Path) -> bytes:
    """The hash of one input; hashing each by itself keeps neighbours from running into each other."""
    if isinstance(item, str):
        return hashlib.sha256(item.encode()).digest()
    files = sorted(path for path in item.rglob("*") if path.is_file()) if item.is_dir() else [item]
    return b"".join(
        hashlib.sha256(file.relative_to(item.parent).as_posix().encode()).digest()
        + hashlib.sha256(file.read_bytes()).digest()
        for file in files
        if "__pycache__" not in file.parts
    )
