"""The test bed: a client, a firewall and dom0 as the uplink, with an account of what a measurement cost whom."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .domain import RIG, Client
from .firewall import ADDRESS, GATEWAY_MAC, UPLINK, UPLINK_MAC, Firewall, Kind
from .hypervisor import DOM0, Hypervisor
from .xenstore import Store

CLIENT_ADDRESS = "10.137.0.5"
# The client's end of all floods.
FLOOD_PORT = 4000
# Long enough for a packet that is on its way: nothing came for this long means that nothing comes.
QUIET_SECONDS = 0.3


class Bed:
    """One turn of one firewall."""

    def __init__(
        self, store: Store, hypervisor: Hypervisor, client: Client, firewall: Firewall, repetition: int
    ) -> None:
        self.store = store
        self.hypervisor = hypervisor
        self.client = client
        self.firewall = firewall
        self.kind: Kind = firewall.kind
        self.repetition = repetition

    @contextmanager
    def measurement(self, name: str) -> Iterator[dict[str, Any]]:
        """Accounts for what happens inside and reports it together with what the body adds."""
        record: dict[str, Any] = {}
        domains = {"firewall": self.firewall.number, "client": self.client.number, "dom0": DOM0}
        counters = self.counters()
        reports = self.firewall.reports
        before = {who: self.hypervisor.cpu_seconds(number) for who, number in domains.items()}
        begun = time.monotonic()
        yield record
        record["seconds"] = time.monotonic() - begun
        record["cpu"] = {who: self.hypervisor.cpu_seconds(number) - before[who] for who, number in domains.items()}
        # The last report before and the first one after, of all that it was asked for.
        record["reports"] = [reports, reports + 1]
        after = self.counters()
        record["counters"] = {what: after[what] - counters[what] for what in after}
        report(self.kind.name, self.repetition, name, record)

    def counters(self) -> dict[str, int]:
        """The firewall's own counters, if it has any."""
        return self.firewall.counters(self.store) if self.kind.ramdisk is None else {}

    def uplink_packets(self, direction: str) -> int:
        """Packets that dom0 has got from the firewall (rx) or sent to it (tx)."""
        return int(Path(f"/sys/class/net/{self.firewall.uplink()}/statistics/{direction}_packets").read_text())

    def client_packets(self) -> int:
        """Packets that the client has got."""
        return int(self.client.run("cat /sys/class/net/eth0/statistics/rx_packets"))

    def hold_flood_port(self) -> None:
        """Binds the client's end of all floods, so that it answers none with an ICMP error. Nobody reads there: what does
        not fit is dropped by its kernel, which costs least."""
        bound = f"grep -q ':{FLOOD_PORT:04X} ' /proc/net/udp"
        self.client.run(
            f"{bound} || {{ nc -u -l -p {FLOOD_PORT} >/dev/null 2>&1 </dev/null & "
            f"until {bound}; do usleep 10000; done; kill -STOP $!; }}"
        )

    def flood_up(self, port: int, frame_bytes: int, count: int, rate: int) -> float:
        """UDP frames from the client to dom0; returns the seconds that the client needed."""
        words = f"eth0 {CLIENT_ADDRESS} {FLOOD_PORT} {UPLINK} {port} {GATEWAY_MAC} {frame_bytes} {count} {rate}"
        return flood_seconds(self.client.run(f"/flood {words}"))

    def fill_up(self, port: int, frame_bytes: int, count: int) -> None:
        """The same with a firewall that takes nothing: pktgen would wait until it does, so this waits for the ring."""
        words = f"eth0 {CLIENT_ADDRESS} {FLOOD_PORT} {UPLINK} {port} {GATEWAY_MAC} {frame_bytes} {count} 0"
        sent = "$(cat /sys/class/net/eth0/statistics/tx_packets)"
        self.client.run(
            f"until=$(({sent} + {count})); /flood {words} >/dev/null & until [ {sent} -ge $until ]; do usleep 10000; done"
        )

    def flood_down(
        self, port: int, nat_port: int, frame_bytes: int, count: int, rate: int, times: int = 1
    ) -> float:
        """UDP frames from dom0 to the port that the firewall gave the client's flow, so many `times`; returns the seconds
        that the last time took."""
        route = [self.firewall.uplink(), UPLINK, port, ADDRESS, nat_port, UPLINK_MAC]
        words = [*route, frame_bytes, count, rate, times]
        command = ["sh", str(RIG / "flood"), *map(str, words)]
        return flood_seconds(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def flood_seconds(said: str) -> float:
    """The time in `Result: OK: 2003(c1907+d96) usec, …`."""
    return int(said.rpartition("OK: ")[2].partition("(")[0]) / 1e6


def settled(read: Callable[[], int], expected: int, quiet_seconds: float = QUIET_SECONDS) -> int:
    """A counter once it has reached `expected` or has not moved for a while."""
    value, since = read(), time.monotonic()
    while value < expected and time.monotonic() - since < quiet_seconds:
        time.sleep(0.02)
        now = read()
        if now != value:
            value, since = now, time.monotonic()
    return value


def say(text: str) -> None:
    """A line of progress."""
    print(f"say {text}", flush=True)


def report(firewall: str, repetition: int, name: str, record: dict[str, Any]) -> None:
    """Hands a result to whoever runs the benchmark."""
    head = {"firewall": firewall, "repetition": repetition, "name": name}
    print("result " + json.dumps({**head, **record}), flush=True)
