"""The nested rig: Xen, a Debian dom0 and the firewall under test in QEMU, from Debian packages only.

    rig.py test [SCENARIO…]   runs the scenarios (all by default), ends with "N passed, N failed"
    rig.py soak               half an hour of everything that comes and goes (SOAK_SECONDS, SOAK_SEED)
    rig.py demo               shows the firewall at work
    rig.py bench              measures it against a Linux firewall (REPEATS=3 times; QUICK=1: once, and short)
    rig.py instructions       counts the instructions of the firewall, and of Xen for it, under the loads of bench
    rig.py shell              leaves you at a shell in dom0 with a firewall and a client running
    rig.py images             makes what the above need and stops

TYPE=pv or pvh says what the firewalls are (pv by default; `test` takes "pv pvh", one after the other), XEN=4.17 or 4.20
what they run on, STORE=xenstored or oxenstored which XenStore daemon; the first of each by default. The image under test is
build/vmlinuz, or what KERNEL names. See docs/testing.md.
"""

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cache
import debian
import images
import payload
import qemu
import report
import stalls
from bench import counted
from bench import run as bench_run
from bench.symbols import Symbols
from bench.xen_symbols import XenSymbols
from progress import say

KERNEL = Path(os.environ.get("KERNEL", cache.ROOT / "build" / "vmlinuz"))
STORES = ("xenstored", "oxenstored")
# Types of firewall domains, and how many times longer everything may take with each: for a hypercall from PVH the emulator
# has to emulate hardware virtualisation, too, which takes it 200 µs.
PATIENCE = {"pv": 1, "pvh": 3}
# How long dom0 may take for a scenario that does not say how long (`# limit 300`), and how much longer it may be silent.
SCENARIO_SECONDS = 180
GRACE_SECONDS = 60
# How long one load of the benchmark may take.
BENCH_SILENCE_SECONDS = 600


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    match arguments:
        case ["test", *names]:
            return test(names)
        case ["soak"]:
            return run((kind, payload.SCENARIOS / "long" / "soak.sh") for kind in chosen_types())
        case ["demo"]:
            return demo()
        case ["bench"]:
            return bench_run.local(KERNEL) if os.environ.get("TARGET") == "local" else bench()
        case ["instructions"]:
            return instructions()
        case ["shell"]:
            return shell()
        case ["images"]:
            images.dom0(chosen_xen())
            images.client()
            bench_run.parts()
            return 0
    print(__doc__, file=sys.stderr)
    return 2


def test(names: list[str]) -> int:
    """Runs the named scenarios in one boot of the machine; without names, all but those under long/ with PV firewalls, and
    of these those that say so (`# types pv pvh`) with PVH ones."""
    # Those under shared/ follow each other, which is what sharing domains is worth something for.
    folders = ("shared", "own", "long")
    paths = [path for folder in folders for path in sorted((payload.SCENARIOS / folder).glob("*.sh"))]
    known = [path.stem for path in paths]
    if unknown := [name for name in names if name not in known]:
        print(f"no scenario {', '.join(unknown)}; there are: {' '.join(known)}", file=sys.stderr)
        return 2
    return run(
        (kind, path)
        for kind in chosen_types()
        for path in paths
        if path.stem in names or (not names and path.parent.name != "long" and kind in types_of(path))
    )


def run(scenarios: Iterable[tuple[str, Path]]) -> int:
    """Runs these scenarios, each with firewalls of a type, in one boot of the machine."""
    limits = {
        f"{kind} {path.parent.name}/{path.stem}": limit_of(path) * PATIENCE[kind] for kind, path in scenarios
    }
    settings = {
        "mode": "test",
        "scenarios.list": "".join(f"{name} {limit}\n" for name, limit in limits.items()),
        "soak-seconds": os.environ.get("SOAK_SECONDS", "1800"),
        "soak-seed": os.environ.get("SOAK_SEED", "1"),
    }
    silence = max(limits.values()) + GRACE_SECONDS
    tally = report.Tally(list(limits))
    try:
        with machine(settings) as running:
            use = stalls.ProcessorUse(running.processor_seconds)
            use.start()
            for line in running.lines(silence):
                if line.startswith("stall "):
                    tally.stall(use.explain(float(line.removeprefix("stall "))))
                else:
                    tally.take(line)
            running.wait_for_power_off(GRACE_SECONDS)
    except qemu.MachineFailed as failure:
        say(f"{failure}; while in: {tally.current}")
        report.print_tail(WORK / "console.log")
    return tally.close()


def chosen_types() -> list[str]:
    """The types of firewall domains that TYPE names, PV if none."""
    words = os.environ.get("TYPE", "").split()
    return [one_of("TYPE", word, PATIENCE) for word in words or list(PATIENCE)[:1]]


def chosen_xen() -> str:
    """The version of Xen that XEN names."""
    return one_of("XEN", os.environ.get("XEN") or next(iter(images.RELEASES)), images.RELEASES)


def types_of(scenario: Path) -> list[str]:
    """The types of firewall domains that a scenario is run with."""
    stated = re.search(r"^# types (.+)$", scenario.read_text(), re.MULTILINE)
    return stated[1].split() if stated else ["pv"]


def one_of(variable: str, value: str, values: Iterable[str]) -> str:
    """`value`, if it is among the values that a variable of the environment may have."""
    if value not in values:
        raise SystemExit(f"{variable}={value}: there are {' and '.join(values)}")
    return value


def limit_of(scenario: Path) -> int:
    """How many seconds a scenario may take."""
    stated = re.search(r"^# limit (\d+)$", scenario.read_text(), re.MULTILINE)
    return int(stated[1]) if stated else SCENARIO_SECONDS


def demo() -> int:
    """Shows a firewall and a client at work; the exit status says whether all of it worked."""
    story = report.Story()
    try:
        with machine({"mode": "demo"}) as running:
            for line in running.lines(SCENARIO_SECONDS * PATIENCE[chosen_types()[0]] + GRACE_SECONDS):
                story.take(line)
            running.wait_for_power_off(GRACE_SECONDS)
    except qemu.MachineFailed as failure:
        say(str(failure))
        report.print_tail(WORK / "console.log")
    return story.close(KERNEL)


def bench() -> int:
    """Measures the firewall and a Linux one in turn; the exit status says whether the benchmark reached its end."""
    return measured(bench_run.arguments()).close("Xen in QEMU")


def instructions() -> int:
    """Counts instructions in two boots; the exit status says whether all figures are within their budgets and repeat."""
    if os.environ.get("ACCEL") == "kvm":
        raise SystemExit("only the emulator counts instructions: not with ACCEL=kvm")
    image = Symbols(KERNEL)
    plugin = counted.plugin(image)
    for number in range(1, counted.BOOTS + 1):
        say(f"boot {number} of {counted.BOOTS}")
        results = measured("instructions", plugin)
        if not results.ended:
            return 1
        counted.keep(number, results.records, WORK)
    return counted.close(image, XenSymbols(images.dom0(chosen_xen()) / "xen"))


def measured(measurements: str, plugin: str = "") -> bench_run.Results:
    """What these measurements gave, in one boot of a machine whose clock counts instructions."""
    results = bench_run.Results()
    settings = {"mode": "bench", "bench": measurements}
    try:
        with machine(settings, bench_run.parts(), clock=qemu.Clock.INSTRUCTIONS, plugin=plugin) as running:
            for line in running.lines(BENCH_SILENCE_SECONDS):
                results.take(line)
            running.wait_for_power_off(GRACE_SECONDS)
    except qemu.MachineFailed as failure:
        say(str(failure))
        report.print_tail(WORK / "console.log")
    return results


def shell() -> int:
    """Hands this terminal to dom0."""
    with machine({"mode": "shell"}, interactive=True) as running:
        for line in running.lines(silence_seconds=24 * 3600):
            say(line.removeprefix("say ") + "\r")
        running.wait_for_power_off(GRACE_SECONDS)
    return 0


WORK = cache.BUILD / "run"


@contextmanager
def machine(
    settings: dict[str, str],
    parts: dict[str, Path] | None = None,
    interactive: bool = False,
    clock: qemu.Clock = qemu.Clock.REAL,
    plugin: qemu.Plugin | None = None,
) -> Iterator[qemu.Machine]:
    """A running machine with the kernel under test and these settings in its payload; `parts` are what goes there
    besides the kernel, if it is not the client."""
    if not KERNEL.exists():
        raise SystemExit(f"{KERNEL} is missing: run `make` first")
    cache.BUILD.mkdir(parents=True, exist_ok=True)
    lock = (cache.BUILD / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("another rig is running in this directory") from None
    choices = {
        "store": one_of("STORE", os.environ.get("STORE") or STORES[0], STORES),
        # What scenarios.list says of a scenario goes before this.
        "type": chosen_types()[0],
        "build-id": build_id(KERNEL),
        "patience": "".join(f"{name} {times}\n" for name, times in PATIENCE.items()),
    }
    dom0 = images.dom0(chosen_xen())
    content = {"vmlinuz": KERNEL, **(parts or {"client": images.client()})}
    # What the previous run left is kept until now, for whoever wants to look at it.
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    payload.write(WORK / "payload.tar", content, {**choices, **settings})
    say("powering on")
    with qemu.Machine(dom0, WORK / "payload.tar", WORK, interactive, clock, plugin) as running:
        yield running


def build_id(image: Path) -> str:
    """The first digits of an image's GNU build id, by which it calls itself on its console."""
    _, _, id_and_more = image.read_bytes().partition(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0")
    return id_and_more[:4].hex()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except debian.PackagesMissing as missing:
        sys.exit(str(missing))
    except KeyboardInterrupt:
        sys.exit("interrupted")
