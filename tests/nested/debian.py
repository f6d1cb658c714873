"""Debian packages, fetched by apt from this machine's own sources and unpacked, never installed.

Unpacking instead of installing keeps a second hypervisor and kernel away from this machine's boot loader, needs no
root and takes seconds: apt resolves the whole closure against an empty package database.
"""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import progress


class PackagesMissing(Exception):
    """A package could not be had; the text says which and what would help."""


def refresh_index() -> None:
    """Updates apt's index: a stale one names package versions which the mirror no longer has."""
    command = ["apt-get", "-q", "update"]
    if os.geteuid() != 0:
        command.insert(0, "sudo")
    progress.say("updating the package index")
    finished = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        raise PackagesMissing(f"'{' '.join(command)}' failed:\n{finished.stderr}")


def fetch(packages: Iterable[str], into: Path) -> list[Path]:
    """Downloads `packages` and all that they depend on, and returns the .deb files."""
    archives = into / "archives"
    (archives / "partial").mkdir(parents=True)
    status = into / "status"
    status.touch()
    apt(
        into,
        "-o", f"Dir::State::status={status}",
        "-o", f"Dir::Cache={into}",
        "-o", f"Dir::Cache::archives={archives}",
        "-o", "Debug::NoLocking=1",
        "--no-install-recommends", "--download-only", "--yes", "install", *packages,
    )  # fmt: skip
    return sorted(archives.glob("*.deb"))


def fetch_alone(package: str, into: Path) -> Path:
    """Downloads one package without its dependencies, and returns the .deb file."""
    into.mkdir(parents=True, exist_ok=True)
    before = set(into.glob("*.deb"))
    # apt writes the file to its working directory.
    apt(into, "download", package)
    (new,) = set(into.glob("*.deb")) - before
    return new


def kernel_of(meta_package: str) -> str:
    """The package with the kernel itself that a meta package such as linux-image-amd64 stands for."""
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", meta_package], check=False, capture_output=True, text=True
    ).stdout
    for line in shown.splitlines():
        if line.startswith("Depends: linux-image-"):
            return line.split()[1]
    raise PackagesMissing(f"no package {meta_package} in the sources of apt: the rig needs Debian 12 (bookworm)")


def apt(directory: Path, *arguments: str) -> None:
    """Runs apt-get in `directory`; what it said is shown only when it fails."""
    finished = subprocess.run(
        ["apt-get", "-q", *arguments],
        cwd=directory,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if finished.returncode != 0:
        raise PackagesMissing(f"apt-get {' '.join(arguments)} failed:\n{finished.stdout}")


def unpack(archives: Iterable[Path], root: Path, *options: str) -> None:
    """Unpacks packages over `root`; `options` go to tar (what to leave out, say)."""
    for archive in archives:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as packed:
            subprocess.run(
                # A merged root has /bin, /lib as symbolic links; the packages still name them as directories.
                ["tar", "--extract", "--keep-directory-symlink", "--directory", root, *options],
                stdin=packed.stdout, check=True,
            )  # fmt: skip
        if packed.returncode != 0:
            raise PackagesMissing(f"{archive.name} cannot be unpacked")
