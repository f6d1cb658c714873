"""How much is measured: the full benchmark, or a quick one for development."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Durations and amounts of one turn. Emulation is slow: more would change the figures little."""

    repetitions: int
    clients: int = 8
    idle_seconds: float = 20
    pings: int = 300
    tcp_seconds: int = 8
    frames: int = 20_000
    search_seconds: float = 2
    bursts: int = 20
    connections: int = 400


def quick(repetitions: int) -> Plan:
    """Short enough to be tried again and again; its figures are noise."""
    return Plan(
        repetitions,
        clients=2,
        idle_seconds=5,
        pings=100,
        tcp_seconds=3,
        frames=4_000,
        search_seconds=0.5,
        bursts=5,
        connections=100,
    )
