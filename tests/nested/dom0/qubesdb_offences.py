"""The client's side of QubesDB on dom0's own libxenvchan, for trying the daemon (qubesdb.py) without a domain under test.

    qubesdb_offences.py DIRECTORY

A daemon for dom0 itself is started for each case, with its files in DIRECTORY: the dump and live changes must come as they are
specified, what is only answered with an error must be, and each fatal case must end it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import qubesdb
from qubesdb_wire import (
    DATA_LIMIT, ENTRY, ERROR, HEADER, MULTIREAD, OK, PATH_BYTES, PORT, RM, WRITE, Local, header, path_of,
)  # fmt: skip
from vchan import Vchan

PATIENCE_SECONDS = 60
KEYS = {"/a/1": "one", "/a/2": "", "/b": "x" * (DATA_LIMIT - 1), "/name": "fw"}


class Bench:
    """One daemon and one connection to it."""

    def __init__(self, directory: str) -> None:
        self.local_path, self.log, keys = (f"{directory}/offended.{name}" for name in ("qubesdb", "log", "keys"))
        with open(keys, "w") as file:
            file.writelines(f"{path} {value}\n" for path, value in KEYS.items())
        if os.path.exists(self.local_path):
            os.unlink(self.local_path)
        # A process of its own, as what is fatal ends it; but not a new interpreter, for which emulation needs seconds.
        self.process = os.fork()
        if self.process == 0:
            with open(self.log, "w") as log:
                os.dup2(log.fileno(), 1)
            qubesdb.main("0", self.local_path, keys)
        self.until(lambda: os.path.exists(self.local_path), "the daemon to listen")
        self.connect()

    def connect(self) -> None:
        """A fresh connection, once the daemon waits for one; the client's first event wakes it."""
        node = f"/local/domain/0/data/vchan/0/{PORT}/event-channel"
        self.until(lambda: subprocess.run(["xenstore-exists", node], check=False).returncode == 0, "a server")
        self.vchan = Vchan.client(0, PORT)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"waited in vain for {what}")
            time.sleep(0.01)

    def send(self, kind: int, path: bytes = b"", data: bytes = b"", data_bytes: int | None = None) -> None:
        """Sends a message; a length that is given goes before that of the data."""
        rest = header(kind, path, len(data) if data_bytes is None else data_bytes) + data
        while rest:
            rest = rest[self.vchan.write(rest) :]

    def receive(self, count: int) -> bytes:
        """So many bytes."""
        received = b""

        def complete() -> bool:
            nonlocal received
            received += self.vchan.read(min(count - len(received), self.vchan.ready()))
            return len(received) == count

        self.until(complete, f"{count} bytes")
        return received

    def message(self) -> tuple[int, bytes, bytes]:
        """The next message of the daemon."""
        kind, path, _, data_bytes = HEADER.unpack(self.receive(HEADER.size))
        return kind, path_of(path), self.receive(data_bytes)

    def dump(self) -> list[tuple[bytes, bytes]]:
        """Asks for everything."""
        self.send(MULTIREAD)
        found = []
        while (entry := self.message())[1]:
            expect(entry[0] == ENTRY, f"an entry, not {entry}")
            found.append(entry[1:])
        expect(entry == (ENTRY, b"", b""), f"the end of the dump, not {entry}")
        return found

    def ends(self) -> str:
        """Waits for the daemon's end; returns the reason that it gave."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        with open(self.log) as log:
            said = log.read().splitlines()
        expect(status == 1 and "FATAL: " in said[-1], f"status 1, not {status}, and a reason: {said}")
        expect(self.vchan.handle is None or not self.vchan.is_open(), "the client to see the end")
        self.vchan.close()
        return said[-1].partition("FATAL: ")[2]

    def close(self) -> None:
        """Ends the daemon as dom0 does."""
        os.kill(self.process, signal.SIGTERM)
        os.waitpid(self.process, 0)
        self.vchan.close()


def expect(true: bool, what: str) -> None:
    """Ends the trial unless it is true."""
    if not true:
        raise SystemExit(f"FAILED: expected {what}")


def honest(bench: Bench) -> None:
    """Everything that a client may do."""
    everything = sorted((path.encode(), value.encode()) for path, value in KEYS.items())
    expect(bench.dump() == everything[::-1], "all keys, backwards")
    dom0 = Local(bench.local_path)
    dom0.write("/a/3", "three")
    expect(bench.message() == (WRITE, b"/a/3", b"three"), "the change")
    bench.send(OK, b"/a/3")
    dom0.write("/a", "")
    expect(bench.message() == (WRITE, b"/a", b""), "an empty value")
    expect(dom0.remove("/a/") and bench.message() == (RM, b"/a/", b""), "all below /a/ to go")
    expect(not dom0.remove("/a/"), "nothing to be there any more")
    bench.send(WRITE, b"/handled", b"1")
    expect(bench.message() == (OK, b"/handled", b""), "OK")
    bench.send(RM, b"/handled")
    expect(bench.message() == (OK, b"/handled", b""), "OK")
    bench.send(WRITE, b"/handled", b"1\0002")
    expect(bench.message() == (ERROR, b"/handled", b""), "ERROR for a zero byte")
    bench.send(RM, b"/handled", b"data")
    expect(bench.message() == (ERROR, b"/handled", b""), "ERROR for data of an RM")
    expect([path for path, _ in dom0.entries("")] == ["/name", "/b", "/a"], "these keys")
    # Enough to fill the ring while nobody reads it.
    for number in range(20):
        dom0.write(f"/n/{number}", str(number) * 1000)
    for number in range(20):
        expect(bench.message() == (WRITE, b"/n/%d" % number, b"%d" % number * 1000), f"change {number}")
    bench.vchan.close()
    bench.connect()
    expect(len(bench.dump()) == 23, "the same after a new connection")


FATAL: dict[str, Callable[[Bench], None]] = {
    "type 0 (READ)": lambda bench: bench.send(0, b"/name"),
    "type 3 (LIST)": lambda bench: bench.send(3, b"/name"),
    "type 8 (NOENT) as an answer": lambda bench: bench.send(8, b"/name"),
    "type 10": lambda bench: bench.send(10, b"/name"),
    "type 255": lambda bench: bench.send(255, b"/name"),
    "data of 3072 bytes": lambda bench: bench.send(WRITE, b"/long", data_bytes=DATA_LIMIT),
    "a path with a blank": lambda bench: bench.send(WRITE, b"/a b", b"1"),
    "a path with a comma": lambda bench: bench.send(OK, b"/a,b"),
    "a path that begins with a dash": lambda bench: bench.send(OK, b"-a"),
    "a WRITE to a path without a slash": lambda bench: bench.send(WRITE, b"a", b"1"),
    "a WRITE to a path that ends with one": lambda bench: bench.send(WRITE, b"/a/", b"1"),
    "a WRITE to no path": lambda bench: bench.send(WRITE, b"", b"1"),
    "an RM of what is not there": lambda bench: bench.send(RM, b"/missing"),
    "a path that is cut to one with a slash at its end": lambda bench: bench.send(WRITE, b"/" + b"a" * (PATH_BYTES - 3) + b"/b"),
    "ERROR with data": lambda bench: bench.send(ERROR, b"/name", b"why"),
    "an entry that nobody asked for": lambda bench: bench.send(ENTRY, b"/name", b"fw"),
    "a second MULTIREAD": lambda bench: bench.send(MULTIREAD),
    "an RM whose answer does not fit": lambda bench: fill_the_ring(bench),
}


def fill_the_ring(bench: Bench) -> None:
    """Does not read while changes come, and sends an RM: there is no room for its answer."""
    dom0 = Local(bench.local_path)
    for number in range(20):
        dom0.write(f"/n/{number}", "x" * 1000)
    bench.send(RM, b"/name")


def main(directory: str) -> None:
    """Tries everything."""
    bench = Bench(directory)
    honest(bench)
    bench.close()
    print("honest: all as it must be")
    for what, offend in FATAL.items():
        bench = Bench(directory)
        bench.dump()
        offend(bench)
        print(f"{what}: {bench.ends()}", flush=True)
    bench = Bench(directory)
    bench.vchan.close()
    print(f"connected and closed without a word: {bench.ends()}")


main(*sys.argv[1:])
