"""Domains: created and destroyed by xl, given commands through XenStore (see client/agent)."""

import os
import subprocess
from pathlib import Path

from .xenstore import Store

RIG = Path(os.environ["RIG"])
WORK = Path(os.environ["WORK"])
CONSOLES = Path(os.environ["CONSOLES"])


class CommandFailed(Exception):
    """A command in a domain did not succeed; the text has its output."""


class Domain:
    """A domain created by xl."""

    def __init__(self, name: str, configuration: list[str], *options: str) -> None:
        """`options` go to `xl create`: -p leaves the domain paused."""
        self.name = name
        self.console_log().unlink(missing_ok=True)
        file = WORK / f"{name}.cfg"
        file.write_text("\n".join([f"name='{name}'", *configuration, ""]))
        xl("create", *options, str(file))
        self.number = int(xl("domid", name))

    def console_log(self) -> Path:
        """What the domain said."""
        return CONSOLES / f"guest-{self.name}.log"

    def console(self) -> str:
        """What the domain said so far."""
        return self.console_log().read_text(errors="replace") if self.console_log().exists() else ""

    def home(self) -> str:
        """Its directory in XenStore."""
        return f"/local/domain/{self.number}"

    def destroy(self) -> None:
        """Ends the domain."""
        xl("destroy", str(self.number))


class Client(Domain):
    """A Linux domU with the agent in it."""

    def __init__(self, store: Store, name: str, memory_mb: int, *configuration: str) -> None:
        image = RIG / "client"
        super().__init__(
            name,
            [
                f"kernel='{image}/vmlinuz'",
                f"ramdisk='{image}/initrd'",
                f"memory={memory_mb}",
                "extra='console=hvc0 loglevel=4 cryptomgr.notests'",
                *configuration,
            ],
        )
        self.store = store
        self.commands = 0
        self.data = f"{self.home()}/data"
        store.watch(f"{self.data}/status")

    def begin(self, command: str) -> int:
        """Starts a shell command; returns its number."""
        self.commands += 1
        self.store.write(f"{self.data}/command", f"{self.commands} {command}")
        return self.commands

    def finish(self, number: int, seconds: float = 120) -> str:
        """Waits for that command's end; returns what it printed."""
        status = self.store.await_value(f"{self.data}/status", f"{number} ", seconds)
        output = self.store.read(f"{self.data}/output") or ""
        if status != f"{number} 0":
            raise CommandFailed(f"{self.name}: status {status}:\n{output}")
        return output

    def run(self, command: str, seconds: float = 120) -> str:
        """Runs a shell command; returns what it printed (the last 1,900 bytes)."""
        return self.finish(self.begin(command), seconds)


def xl(*arguments: str) -> str:
    """Runs xl; returns what it printed."""
    finished = subprocess.run(["xl", *arguments], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise CommandFailed(f"xl {' '.join(arguments)}: {finished.stderr or finished.stdout}")
    return finished.stdout.strip()


def destroy_all(names: list[str]) -> None:
    """No domain of these names is left; the firewall should be named first."""
    for name in names:
        if subprocess.run(["xl", "domid", name], capture_output=True, check=False).returncode == 0:
            xl("destroy", name)
