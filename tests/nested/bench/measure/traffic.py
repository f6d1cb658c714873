"""The loads: what is sent through the firewall and measured, each a function of the test bed."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .bed import Bed, settled
from .firewall import UPLINK
from .plan import Plan

DISCARD_PORT = 9
OPENING_PORT = 4001
CONNECT_PORT = 4002
IPERF_PORT = 5201
SMALL, LARGE = 60, 1514
BURST = 64
CONNECTORS = 4
SEARCH_STEPS = 6


def idle(bed: Bed, plan: Plan) -> None:
    """Nothing at all: how much processor time is that?"""
    with bed.measurement("idle"):
        time.sleep(plan.idle_seconds)


def ping(bed: Bed, plan: Plan) -> None:
    """Round trips through the firewall, in microseconds."""
    text = "awk -F time= '/time=/ { printf \"%d \", $2 * 1000 }'"
    with bed.measurement("ping") as record:
        said = bed.client.run(f"ping -i 0.02 -c {plan.pings} {UPLINK} | {text}")
        record["round_trips_us"] = [int(word) for word in said.split()]


def tcp(bed: Bed, plan: Plan) -> None:
    """Bulk transfers by iperf3, whose server is dom0."""
    for streams in (1, 8):
        for direction, option in (("up", ""), ("down", "-R")):
            command = f"iperf3 -c {UPLINK} -J -i 0 -t {plan.tcp_seconds} -P {streams} {option} >/tmp/iperf"
            # The whole report is larger than an answer may be.
            summary = "sed -n '/\"sum_received\"/,/}/p' /tmp/iperf | tr -d ' \\n\\t'"
            with bed.measurement(f"tcp-{direction}-{streams}") as record:
                said = bed.client.run(f"{command} && {summary}")
                sums = json.loads("{" + said.strip().rstrip(",") + "}")["sum_received"]
                record |= {"bytes": sums["bytes"], "transfer_seconds": sums["seconds"]}


def udp(bed: Bed, plan: Plan) -> None:
    """Equal UDP frames from the client, as fast as it can, and at the highest rate that loses none."""
    overload = send_up(bed, "udp-64-up", SMALL, plan.frames, rate=0)
    send_up(bed, "udp-1500-up", LARGE, plan.frames // 2, rate=0)
    low, high = 0, int(overload["sent"] / overload["flood_seconds"])
    best = overload if overload["delivered"] == overload["sent"] else None
    for step in range(SEARCH_STEPS if best is None else 0):
        rate = (low + high) // 2
        tried = send_up(bed, f"udp-64-search-{step}", SMALL, int(rate * plan.search_seconds), rate)
        if tried["delivered"] == tried["sent"]:
            low, best = rate, tried
        else:
            high = rate
    lossless = best["sent"] / best["flood_seconds"] if best else 0
    with bed.measurement("udp-64-lossless") as record:
        record["packets_per_second"] = lossless


def send_up(bed: Bed, name: str, frame_bytes: int, count: int, rate: int) -> dict[str, Any]:
    """One flood; what was sent and what arrived."""
    with bed.measurement(name) as record:
        before = bed.uplink_packets("rx")
        record["sent"] = count
        record["flood_seconds"] = bed.flood_up(DISCARD_PORT, frame_bytes, count, rate)
        record["delivered"] = settled(lambda: bed.uplink_packets("rx"), before + count) - before
    return record


def udp_down(bed: Bed, plan: Plan) -> None:
    """The same from dom0 to the client, through a flow that the client opened."""
    nat_port = open_flow(bed)
    for name, frame_bytes, count in (
        ("udp-64-down", SMALL, plan.frames),
        ("udp-1500-down", LARGE, plan.frames // 2),
    ):
        before = bed.client_packets()
        with bed.measurement(name) as record:
            record["sent"] = count
            record["flood_seconds"] = bed.flood_down(OPENING_PORT, nat_port, frame_bytes, count, rate=0)
            record["delivered"] = settled(bed.client_packets, before + count) - before


def open_flow(bed: Bed) -> int:
    """Has the client open a UDP flow; returns the port that the firewall gave it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((UPLINK, OPENING_PORT))
        receiver.settimeout(20)
        bed.hold_flood_port()
        bed.flood_up(OPENING_PORT, SMALL, count=1, rate=0)
        return receiver.recvfrom(2048)[1][1]


def bursts(bed: Bed, plan: Plan) -> None:
    """Bursts of 64 small packets that wait for the firewall when it gets the processor: what one costs in hypercalls.

    `burst-none` is the cost of asking for the counters, to be subtracted."""
    nat_port = open_flow(bed)
    with bed.measurement("burst-none"):
        pass
    for direction in ("up", "down"):
        with bed.measurement(f"burst-{direction}") as record:
            record["bursts"] = plan.bursts
            record["packets"] = plan.bursts * BURST
            for _ in range(plan.bursts):
                one_burst(bed, direction, nat_port)


def one_burst(bed: Bed, direction: str, nat_port: int) -> None:
    """Pauses the firewall, fills its ring, lets it run and waits until all has passed."""
    read = (lambda: bed.uplink_packets("rx")) if direction == "up" else bed.client_packets
    before = read()
    bed.hypervisor.pause(bed.firewall.number)
    try:
        if direction == "up":
            bed.fill_up(DISCARD_PORT, SMALL, BURST)
        else:
            bed.flood_down(OPENING_PORT, nat_port, SMALL, BURST, rate=0)
    finally:
        bed.hypervisor.unpause(bed.firewall.number)
    if settled(read, before + BURST) < before + BURST:
        raise AssertionError(f"a burst {direction} of {BURST} packets lost some")


def connections(bed: Bed, plan: Plan) -> None:
    """New TCP connections: opened, answered with nothing, closed."""
    each = plan.connections // CONNECTORS
    one = f"/connect {UPLINK} {CONNECT_PORT} {each}"
    commands = "".join(f'{one} & all="$all $!"; ' for _ in range(CONNECTORS))
    with bed.measurement("connections") as record:
        bed.client.run(f"{commands} for one in $all; do wait $one || exit 1; done")
        record["connections"] = each * CONNECTORS


LOADS = (idle, ping, tcp, udp, udp_down, connections)
# What only Ravelin can be asked.
OWN_LOADS = (bursts,)


@contextmanager
def servers() -> Iterator[None]:
    """The uplink's side of all loads."""
    discard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Never read: what does not fit is dropped by the kernel, which costs least.
    discard.bind(("", DISCARD_PORT))
    accepting = socket.create_server(("", CONNECT_PORT), backlog=512)
    threading.Thread(target=close_all, args=(accepting,), daemon=True).start()
    try:
        with iperf_server():
            yield
    finally:
        discard.close()


def close_all(accepting: socket.socket) -> None:
    """Accepts connections and closes them."""
    while True:
        accepting.accept()[0].close()


@contextmanager
def iperf_server() -> Iterator[None]:
    """iperf3 as a server, which listens when the body begins."""
    with subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL) as server:
        try:
            wanted = f":{IPERF_PORT:04X} "
            deadline = time.monotonic() + 30
            while not any(wanted in Path(f"/proc/net/tcp{v}").read_text() for v in ("", "6")):
                if time.monotonic() > deadline:
                    raise TimeoutError("iperf3 does not listen")
                time.sleep(0.05)
            yield
        finally:
            server.kill()
