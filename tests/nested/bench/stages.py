"""The stages of a packet's way, by the functions of the kernel that belong to them."""

from collections import defaultdict
from collections.abc import Mapping

from bench.symbols import Place

# A stage and where it is: files by the beginning of their paths, or functions of one file. Of an address, the functions
# that were inlined one into the other are asked from the innermost outwards, and of the rules the first that fits
# decides; what serves many stages (rings, frames, words for units) has none, and belongs to whom it was inlined in.
STAGES = (
    ("netback: settle", "src/vif/netback.rs:settle"),
    ("netback: settle", "src/vif/netback.rs:give_back"),
    ("netback: settle", "src/vif/netback/deliver.rs:settle"),
    ("netback: deliver", "src/vif/netback/deliver.rs"),
    ("netback: deliver", "src/vif/netback.rs:send"),
    ("netback: collect", "src/vif/netback.rs:collect"),
    ("netback: collect", "src/vif/netback.rs:fetch"),
    ("netback: collect", "src/vif/slots.rs:read_packet"),
    ("netback: the rest", "src/vif/netback.rs"),
    ("netfront: reap", "src/vif/netfront/transmit.rs:reap"),
    ("netfront: reap", "src/vif/netfront.rs:end"),
    ("netfront: transmit", "src/vif/netfront/transmit.rs"),
    ("netfront: post buffers", "src/vif/netfront/receive.rs:post"),
    ("netfront: receive", "src/vif/netfront/receive.rs"),
    ("netfront: the rest", "src/vif/netfront.rs"),
    ("fair queues", "src/vif/fair_queue.rs"),
    ("copy batch", "src/xen/copy.rs"),
    ("copy batch", "src/vif/in_flight.rs"),
    ("copy batch", "src/kernel/client_exchange.rs"),
    ("grants", "src/xen/grant.rs"),
    ("pages and accounts", "src/xen/page_pool.rs"),
    ("pages and accounts", "src/xen/charge.rs"),
    ("pages and accounts", "src/tables/share.rs"),
    ("pages and accounts", "src/vif/chunks.rs"),
    ("egress, neighbours", "src/kernel/egress.rs"),
    ("egress, neighbours", "src/route/"),
    ("egress, neighbours", "src/wire/ethernet.rs"),
    ("engine: table of flows", "src/flow/table.rs"),
    ("engine: table of flows", "src/tables/index.rs"),
    ("engine: table of flows", "src/tables/siphash.rs"),
    ("engine: table of flows", "src/tables/prf.rs"),
    ("engine: headers", "src/wire/"),
    ("engine: rules", "src/guard/"),
    ("engine: TCP state, lists, timers", "src/flow/"),
    ("engine: TCP state, lists, timers", "src/tables/wheel.rs"),
    ("engine: names, ports, rewriting", "src/nat/"),
    ("engine: judging", "src/engine"),
    ("data plane", "src/kernel/dataplane.rs"),
    ("data plane", "src/kernel/client_vifs.rs"),
    ("control plane, XenStore", "src/kernel/control.rs"),
    ("control plane, XenStore", "src/store/"),
    ("turn, events, sleep", "src/kernel/turn.rs"),
    ("turn, events, sleep", "src/xen/"),
)
INNERMOST, OUTERMOST = 0, -1
LIBRARY = "memcpy, memset"
REST = "the rest"


def stage_of(inlined: tuple[Place, ...]) -> str:
    """The stage of an address, given the functions of ours that it is in, from the innermost outwards."""
    if not inlined[-1].file.startswith("src/"):
        return LIBRARY if inlined[-1].function.startswith("mem") else REST
    return next((stage for place in inlined for stage, where in STAGES if str(place).startswith(where)), REST)


def by_stage(counts: Mapping[int, float], places: Mapping[int, tuple[Place, ...]]) -> dict[str, float]:
    """Instructions of each stage."""
    stages: dict[str, float] = defaultdict(float)
    for address, count in counts.items():
        stages[stage_of(places[address])] += count
    return stages


def by_function(counts: Mapping[int, float], places: Mapping[int, tuple[Place, ...]], which: int) -> dict[str, float]:
    """Instructions of each function as it is written, without those inlined into it (INNERMOST), or as it is compiled, with
    them (OUTERMOST)."""
    functions: dict[str, float] = defaultdict(float)
    for address, count in counts.items():
        functions[str(places[address][which])] += count
    return functions
