"""What Xen itself says about domains, in nanoseconds where xl rounds, and without starting a program."""

import importlib
import sys
from pathlib import Path

DOM0 = 0


def libxc():  # noqa: ANN201 - the module has no types
    """Xen's own Python binding, which Debian keeps outside Python's path."""
    for folder in sorted(Path("/usr/lib").glob("xen-*/lib/python"), reverse=True):
        sys.path.append(str(folder))
    return importlib.import_module("xen.lowlevel.xc").xc()


class Hypervisor:
    """The hypervisor below this dom0."""

    def __init__(self) -> None:
        self.xc = libxc()

    def info(self, domain: int) -> dict[str, int]:
        """Xen's record of a domain."""
        (info,) = self.xc.domain_getinfo(domain, 1)
        if info["domid"] != domain:
            raise LookupError(f"no domain {domain}")
        return info

    def cpu_seconds(self, domain: int) -> float:
        """Processor time that a domain has used, hypercalls included."""
        return self.info(domain)["cpu_time"] / 1e9

    def memory_kib(self, domain: int) -> int:
        """Memory that a domain has."""
        return self.info(domain)["mem_kb"]

    def pause(self, domain: int) -> None:
        """Takes the processor away from a domain."""
        self.xc.domain_pause(domain)

    def unpause(self, domain: int) -> None:
        """Lets a domain run."""
        self.xc.domain_unpause(domain)
