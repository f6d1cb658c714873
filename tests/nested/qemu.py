"""A machine in QEMU that boots Xen and dom0, reports over a serial port of its own, and never outlives this process."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

# QEMU's own processor, because most machines cannot virtualise for Xen. SMAP kills dom0 before its first line, XSAVE
# and AVX kill programs in dom0 now and then, RDTSCP hangs PVH guests.
EMULATED = "tcg,thread=multi", "max,-smap,-smep,-pku,-la57,-rdtscp,-xsave,-avx,-avx2,-f16c,-fma"
ACCELERATED = "kvm", "host"


class Clock(Enum):
    """What makes time pass in the machine."""

    # Time goes on while somebody else has the host's processor: that counts as work of whoever was running.
    REAL = ("-smp", "2")
    # One processor of 250 million instructions per second, whatever the host is busy with: what a domain is charged for is
    # what it executed. Waiting still takes real time.
    INSTRUCTIONS = ("-smp", "1", "-icount", "shift=2")


@dataclass(frozen=True)
class Plugin:
    """A plugin of the emulator; what it writes is in the machine's work directory."""

    file: Path
    arguments: str


# What Xen says without a level, as of a domain that crashed, counts as a warning in 4.17 and as information in 4.20.
XEN_OPTIONS = (
    "console=com1 com1=115200,8n1 dom0=pv dom0_mem=1024M,max:1024M dom0_max_vcpus=1 "
    "spec-ctrl=no xpti=no bootscrub=no noreboot loglvl=info guest_loglvl=all"
)
DOM0_OPTIONS = "console=hvc0 loglevel=4 panic=0 mitigations=off cryptomgr.notests apparmor=0"
MEMORY_MB = 2560
STOP_SECONDS = 10


class MachineFailed(Exception):
    """The machine did not do what was waited for; the text says what."""


class Machine:
    """A context: powered on when entered, killed when left."""

    def __init__(
        self,
        dom0: Path,
        payload: Path,
        work: Path,
        interactive: bool = False,
        clock: Clock = Clock.REAL,
        plugin: Plugin | None = None,
    ) -> None:
        """`dom0` holds xen, vmlinuz, initrd and disk (see images.dom0). The consoles of Xen and dom0 go to
        `work`/console.log, or to this terminal when `interactive`. `plugin` goes into the emulator."""
        self.work = work
        self.console_log = work / "console.log"
        self.interactive = interactive
        self.clock = clock
        self.plugin = plugin
        # QEMU's -initrd cannot express every path (a comma separates modules, a space their options).
        for name in ("xen", "vmlinuz", "initrd", "disk"):
            (work / name).symlink_to(dom0 / name)
        (work / "payload").symlink_to(payload)
        if plugin:
            (work / "plugin").symlink_to(plugin.file)

    def __enter__(self) -> Self:
        listener = socket.socket(socket.AF_UNIX)
        # A relative name: the address of a UNIX socket holds about a hundred bytes, a checkout's path may be longer.
        here = os.getcwd()
        os.chdir(self.work)
        listener.bind("report")
        os.chdir(here)
        listener.listen(1)
        with (self.work / "qemu.log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.work,
                stdin=None if self.interactive else subprocess.DEVNULL,
                stdout=None if self.interactive else subprocess.DEVNULL,
                stderr=log,
            )
        listener.settimeout(STOP_SECONDS)
        try:
            self.report, _ = listener.accept()
        except TimeoutError:
            self.__exit__()
            raise MachineFailed(f"QEMU did not start:\n{(self.work / 'qemu.log').read_text()}") from None
        finally:
            listener.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def command(self) -> list[str]:
        """The QEMU command line, run in the work directory."""
        accelerated = os.environ.get("ACCEL") == "kvm"
        accelerator, cpu = ACCELERATED if accelerated else EMULATED
        # KVM counts no instructions, and threads of their own cannot share a count.
        clock = Clock.REAL if accelerated else self.clock
        if clock is Clock.INSTRUCTIONS:
            accelerator = accelerator.replace("thread=multi", "thread=single")
        plugin = ["-plugin", f"./plugin,{self.plugin.arguments}"] if self.plugin else []
        console = "mon:stdio" if self.interactive else f"file:{self.console_log.name}"
        return [
            # Dies with us, even if we are killed.
            "setpriv", "--pdeathsig", "KILL",
            "qemu-system-x86_64",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-accel", accelerator, "-cpu", cpu, *clock.value, "-m", str(MEMORY_MB), *plugin,
            "-kernel", "xen", "-append", XEN_OPTIONS, "-initrd", f"vmlinuz {DOM0_OPTIONS},initrd",
            # Written blocks live in a temporary file: the image in the cache stays as it was made.
            "-drive", "file=disk,format=raw,if=virtio,snapshot=on",
            "-drive", "file=payload,format=raw,if=virtio,readonly=on",
            "-serial", console,
            "-chardev", "socket,id=report,path=report",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=report",
        ]  # fmt: skip

    def processor_seconds(self) -> float:
        """Processor time that QEMU has used so far (proc(5), utime and stime)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lines(self, silence_seconds: float) -> Iterator[str]:
        """The lines of the report until power-off; `silence_seconds` is how long a line may take to come."""
        buffered = b""
        deadline = time.monotonic() + silence_seconds
        while True:
            self.report.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                received = self.report.recv(65536)
            except TimeoutError:
                raise MachineFailed(f"dom0 reported nothing for {silence_seconds:.0f} s") from None
            if not received:
                return
            *complete, buffered = (buffered + received).split(b"\n")
            for line in complete:
                deadline = time.monotonic() + silence_seconds
                yield line.decode(errors="replace")

    def wait_for_power_off(self, seconds: float) -> None:
        """Waits until the machine has switched itself off."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise MachineFailed(f"the machine did not power off within {seconds:.0f} s") from None
