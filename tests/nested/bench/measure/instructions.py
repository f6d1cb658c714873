"""The loads under which instructions are counted, in one turn of Ravelin. The emulator counts, at each report of the firewall."""

import time

from .bed import Bed, say, settled
from .boot import boot
from .firewall import RAVELIN, UPLINK
from .hypervisor import Hypervisor
from .plan import Plan
from .traffic import DISCARD_PORT, LARGE, OPENING_PORT, SMALL, connections, open_flow, send_up, servers
from .xenstore import Store

# Slow enough that each packet meets a firewall that sleeps.
PACED_RATE = 1000
# So many frames at once from dom0 as the client's ring has room for: how many more wait in a queue, and cost more, depends on
# when the client happens to run.
DOWN_BURST = 128
# How long a transfer may take to reach its speed, which no two do alike.
RAMP_SECONDS = 3
# So much that two boots differ by less than 1 %.
PLAN = Plan(repetitions=1, tcp_seconds=8, frames=16_000, connections=3_000)


def udp_up(bed: Bed, plan: Plan) -> None:
    """Equal frames from the client, as fast as it can, and one at a time."""
    send_up(bed, "udp-64-up", SMALL, plan.frames, rate=0)
    send_up(bed, "udp-1500-up", LARGE, plan.frames // 2, rate=0)
    send_up(bed, "udp-64-up-paced", SMALL, plan.frames // 8, PACED_RATE)


def udp_down(bed: Bed, plan: Plan) -> None:
    """Equal frames from dom0 to the client, through a flow that the client opened."""
    nat_port = open_flow(bed)
    for name, frame_bytes, bursts in (
        ("udp-64-down", SMALL, plan.frames // DOWN_BURST),
        ("udp-1500-down", LARGE, plan.frames // DOWN_BURST // 2),
    ):
        before, count = bed.client_packets(), bursts * DOWN_BURST
        with bed.measurement(name) as record:
            record["sent"] = count
            bed.flood_down(OPENING_PORT, nat_port, frame_bytes, DOWN_BURST, rate=0, times=bursts)
            record["delivered"] = settled(bed.client_packets, before + count) - before


def tcp(bed: Bed, plan: Plan) -> None:
    """Bulk transfers by iperf3, whose server is dom0, while they go at full speed."""
    seconds = plan.tcp_seconds + 2 * RAMP_SECONDS
    for streams in (1, 8):
        for direction, option in (("up", ""), ("down", "-R")):
            command = f"iperf3 -c {UPLINK} -t {seconds} -P {streams} {option}"
            bed.client.run(f"{command} >/tmp/iperf 2>&1 & echo $! >/tmp/iperf-process")
            time.sleep(RAMP_SECONDS)
            with bed.measurement(f"tcp-{direction}-{streams}"):
                time.sleep(plan.tcp_seconds)
            bed.client.run("while kill -0 $(cat /tmp/iperf-process); do usleep 100000; done; grep -q receiver /tmp/iperf")


def nothing(bed: Bed, _: Plan) -> None:
    """What asking for the counters costs."""
    with bed.measurement("nothing"):
        pass


LOADS = (nothing, udp_up, udp_down, tcp, connections)


def instructions() -> None:
    """Runs all loads once."""
    with servers():
        bed = boot(Store(), Hypervisor(), RAVELIN, 1)
        for load in LOADS:
            say(load.__name__.replace("_", " "))
            load(bed, PLAN)
    print("end", flush=True)
