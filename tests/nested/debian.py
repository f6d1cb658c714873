"""Debian packages of any release, fetched by apt from this machine's own mirrors and unpacked, never installed.

Unpacking instead of installing keeps a second hypervisor and kernel away from this machine's boot loader, needs no
root and takes seconds: apt resolves the whole closure against an empty package database.
"""

import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import progress


class PackagesMissing(Exception):
    """A package could not be had; the text says which and what would help."""


class Release:
    """One release of Debian, with an index of its own: what this machine is or has installed does not matter."""

    def __init__(self, codename: str, directory: Path) -> None:
        """Fetches the index of release `codename` into `directory`."""
        self.codename = codename
        lists, status, sources = directory / "lists", directory / "status", directory / "sources.list"
        (lists / "partial").mkdir(parents=True)
        status.touch()
        sources.write_text(sources_of(codename))
        settings = {
            "Dir::State::lists": lists,
            "Dir::State::status": status,
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-",
            "Dir::Cache": directory,
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": 1,
        }
        self.options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        progress.say(f"fetching the package index of Debian {codename}")
        self.run("apt-get", "-q", "update", "--error-on=any")

    def fetch(self, packages: Iterable[str], into: Path) -> None:
        """Downloads `packages` and all that they depend on to `into`/archives/*.deb."""
        archives = into / "archives"
        (archives / "partial").mkdir(parents=True)
        self.run(
            "apt-get", "-q", "-o", f"Dir::Cache::archives={archives}",
            "--no-install-recommends", "--download-only", "--yes", "install", *packages,
        )  # fmt: skip

    def fetch_alone(self, package: str, into: Path) -> None:
        """Downloads one package without its dependencies to `into`/*.deb."""
        into.mkdir(parents=True, exist_ok=True)
        # apt writes the file to its working directory.
        self.run("apt-get", "-q", "download", package, directory=into)

    def kernel_of(self, meta_package: str) -> str:
        """The package with the kernel itself that a meta package such as linux-image-amd64 stands for."""
        for line in self.run("apt-cache", "show", "--no-all-versions", meta_package).splitlines():
            if line.startswith("Depends: linux-image-"):
                return line.split()[1]
        raise PackagesMissing(f"{meta_package} of Debian {self.codename} depends on no kernel")

    def run(self, program: str, *arguments: str, directory: Path | None = None) -> str:
        """Runs one of apt's programs; returns what it said."""
        finished = subprocess.run(
            [program, *self.options, *arguments],
            cwd=directory,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if finished.returncode != 0:
            command = " ".join([program, *arguments])
            raise PackagesMissing(f"Debian {self.codename}: {command} failed:\n{finished.stdout}")
        return finished.stdout


def sources_of(codename: str) -> str:
    """This machine's own sources of Debian, in apt's one-line format, with that release in place of its own."""
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        check=False, capture_output=True, text=True,
    ).stdout  # fmt: skip
    lines = []
    for target in listed.splitlines():
        mirror, suite, component = target.split()
        release, dash, kind = suite.partition("-")
        if release == own:
            lines.append(f"deb {mirror} {codename}{dash}{kind} {component}\n")
    if not lines:
        raise PackagesMissing(f"no release '{own}' among the sources of apt: the rig needs a Debian with its own sources")
    return "".join(lines)


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
