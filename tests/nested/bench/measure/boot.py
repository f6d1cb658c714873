"""A turn's beginning: from the instant the firewall may run to the first packet of its client that leaves it."""

import socket
import struct
import time

from .bed import CLIENT_ADDRESS, Bed, report
from .domain import Client
from .firewall import ADDRESS, GATEWAY, UPLINK, Firewall, Kind
from .hypervisor import Hypervisor
from .xenstore import Store

CLIENT_MB = 192
BOOT_SECONDS = 60
IPV4, ICMP, ECHO_REQUEST = 0x0800, 1, 8


def boot(store: Store, hypervisor: Hypervisor, kind: Kind, repetition: int) -> Bed:
    """A running firewall with a client that can send. The client waits for its network before the firewall runs, so
    nothing but the firewall is measured, and what a frontend needs to connect."""
    client = Client(store, "alice", CLIENT_MB)
    firewall = Firewall(kind, "-p")
    client.run("true")
    firewall.attach(store, client, CLIENT_ADDRESS)
    client.run(f"/join {CLIENT_ADDRESS} {GATEWAY} {UPLINK} >/tmp/join 2>&1 &")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IPV4)) as uplink:
        uplink.bind((firewall.uplink(), IPV4))
        begun = time.monotonic()
        hypervisor.unpause(firewall.number)
        while not forwarded(receive(uplink, begun + BOOT_SECONDS)):
            pass
        seconds = time.monotonic() - begun
    client.run("kill $(cat /tmp/ping)")
    record = {
        "seconds": seconds,
        "memory_kib": hypervisor.memory_kib(firewall.number),
        "image_bytes": kind.image_bytes(),
        "cpu": {"firewall": hypervisor.cpu_seconds(firewall.number)},
    }
    report(kind.name, repetition, "boot", record)
    return Bed(store, hypervisor, client, firewall, repetition)


def receive(uplink: socket.socket, deadline: float) -> bytes:
    """The next frame on the uplink."""
    uplink.settimeout(max(0.001, deadline - time.monotonic()))
    try:
        return uplink.recv(2048)
    except TimeoutError:
        raise TimeoutError(f"no packet was forwarded within {BOOT_SECONDS} s") from None


def forwarded(frame: bytes) -> bool:
    """Whether that is a ping from the firewall's address, which can only be the client's."""
    if len(frame) < 14 + 20 + 8:
        return False
    _, protocol, _, source = struct.unpack_from("!BBH4s", frame, 14 + 8)
    return protocol == ICMP and source == socket.inet_aton(ADDRESS) and frame[14 + 20] == ECHO_REQUEST
