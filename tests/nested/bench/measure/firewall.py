"""The two firewalls: Ravelin, and Linux with nftables."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from .domain import RIG, Client, Domain
from .xenstore import Store

UPLINK = "10.0.0.1"
ADDRESS = "10.0.0.2"
GATEWAY = "10.137.0.1"
UPLINK_MAC = "00:16:3e:00:00:01"
# Both firewalls show this one to their clients: netback's own.
GATEWAY_MAC = "fe:ff:ff:ff:ff:ff"


@dataclass(frozen=True)
class Kind:
    """What a firewall is made of."""

    name: str
    memory_mb: int
    kernel: Path
    ramdisk: Path | None
    # What xl.cfg has besides.
    settings: tuple[str, ...] = ("type='pv'",)

    def image_bytes(self) -> int:
        """What has to be stored of it."""
        return sum(file.stat().st_size for file in (self.kernel, self.ramdisk) if file)


RAVELIN = Kind("ravelin", 16, RIG / "vmlinuz", None)
# Only its boot is measured: in QEMU every hypercall from PVH costs what emulating hardware virtualisation does.
RAVELIN_PVH = Kind(
    "ravelin-pvh", 16, RIG / "vmlinuz", None, ("type='pvh'", "tsc_mode='native'", "shadow_memory=2")
)
LINUX = Kind("linux", 256, RIG / "firewall" / "vmlinuz", RIG / "firewall" / "initrd")
COUNTERS_SECONDS = 20


class Firewall(Domain):
    """A firewall domain with its uplink in dom0, paused until somebody lets it run."""

    def __init__(self, kind: Kind, *options: str) -> None:
        self.kind = kind
        # How often it was asked for its counters.
        self.reports = 0
        words = f"ipv4={ADDRESS}/24 gateway={UPLINK} dns={UPLINK} log=info"
        if kind.ramdisk:
            words += " console=hvc0 loglevel=4 cryptomgr.notests"
        super().__init__(
            "fw",
            [
                f"kernel='{kind.kernel}'",
                *([f"ramdisk='{kind.ramdisk}'"] if kind.ramdisk else []),
                f"memory={kind.memory_mb}",
                *kind.settings,
                f"extra='{words}'",
                "on_crash='preserve'",
                f"vif=['mac={UPLINK_MAC},script={RIG}/dom0/vif-uplink']",
            ],
            *options,
        )

    def uplink(self) -> str:
        """dom0's end of its uplink."""
        return f"vif{self.number}.0"

    def attach(self, store: Store, client: Client, address: str) -> None:
        """Gives a client a vif of this firewall, as libxl would write it.

        Not by xl: libxl gives up on a backend that does not answer within ten seconds of the attachment, and here
        the vif is to be there before the firewall is.
        """
        back = f"{self.home()}/backend/vif/{client.number}/0"
        front = f"{client.home()}/device/vif/0"
        mac = f"00:16:3e:00:01:{int(address.rpartition('.')[2]):02x}"
        store.directory(
            back,
            self.number,
            client.number,
            {
                "frontend": front,
                "frontend-id": str(client.number),
                "online": "1",
                "script": "/bin/true",
                "mac": mac,
                "ip": address,
                "handle": "0",
                "type": "vif",
                "state": "1",
            },
        )
        store.directory(
            front,
            client.number,
            self.number,
            {"backend": back, "backend-id": str(self.number), "handle": "0", "mac": mac, "state": "1"},
        )

    def counters(self, store: Store) -> dict[str, int]:
        """Ravelin's own counters, asked for as `xl sysrq fw s` does and read from its console."""
        seen = len(self.console())
        self.reports += 1
        store.write(f"{self.home()}/control/sysrq", "s")
        deadline = time.monotonic() + COUNTERS_SECONDS
        # The last line of the report is the one about packets.
        while not (said := re.search(r"^.*passes,.*$(?s:.*)^.*packets: .*\n", self.console()[seen:], re.MULTILINE)):
            if time.monotonic() > deadline:
                raise TimeoutError("the firewall did not report its counters")
            time.sleep(0.05)
        line = said.group().splitlines()[0]
        return {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", line)}
