"""Runs the whole benchmark in dom0: `python3 -m measure REPETITIONS [quick]`, or, for the counting of instructions,
`python3 -m measure instructions`; with RIG, WORK and CONSOLES set.

Prints lines for the runner: `say TEXT`, `result JSON` and, when all of it was done, `end`.
"""

import sys

from .bed import say
from .boot import boot
from .crowd import crowd
from .domain import destroy_all
from .firewall import LINUX, RAVELIN, RAVELIN_PVH
from .hypervisor import Hypervisor
from .instructions import instructions
from .limit import limit
from .plan import Plan, quick
from .traffic import LOADS, OWN_LOADS, servers
from .xenstore import Store


def main(arguments: list[str]) -> None:
    """Runs all turns."""
    repetitions = int(arguments[0])
    plan = quick(repetitions) if "quick" in arguments else Plan(repetitions)
    store, hypervisor = Store(), Hypervisor()
    crowded = [f"client{number}" for number in range(plan.clients)]
    # The firewall first: what is left of its vifs then goes with it.
    names = ["fw", "alice", *crowded]
    with servers():
        for repetition in range(1, plan.repetitions + 1):
            destroy_all(names)
            say(f"repetition {repetition} of {plan.repetitions}: what copying costs")
            limit(repetition)
            # Turn about, so that neither always comes first.
            kinds = (LINUX, RAVELIN) if repetition % 2 else (RAVELIN, LINUX)
            for kind in kinds:
                destroy_all(names)
                say(f"repetition {repetition}, {kind.name}: boot")
                bed = boot(store, hypervisor, kind, repetition)
                for load in LOADS + (OWN_LOADS if kind is RAVELIN else ()):
                    say(f"repetition {repetition}, {kind.name}: {load.__name__.replace('_', ' ')}")
                    load(bed, plan)
            destroy_all(names)
            say(f"repetition {repetition}, {RAVELIN_PVH.name}: boot")
            boot(store, hypervisor, RAVELIN_PVH, repetition)
    destroy_all(names)
    say(f"ravelin with {plan.clients} clients")
    crowd(store, hypervisor, crowded)
    destroy_all(names)
    print("end", flush=True)


if sys.argv[1:] == ["instructions"]:
    instructions()
else:
    main(sys.argv[1:])
