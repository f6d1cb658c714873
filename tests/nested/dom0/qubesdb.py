"""dom0's qubesdb-daemon of one domain, byte for byte and as easily offended: what ends Qubes' own ends this one, which
says why.

    qubesdb.py DOMAIN-ID SOCKET [KEYS]

Serves the domain by libxenvchan and dom0 by the local socket SOCKET (see qubesd.py). KEYS is a file of lines "PATH VALUE"
that are there before the domain can connect. Its output is a log: the seconds of the clock and what happened. It ends
with the domain, and with status 1 at what is fatal.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import NoReturn

from qubesdb_wire import (
    DATA_LIMIT, ENTRY, ERROR, GOT, HEADER, MULTIREAD, NOENT, OK, PATH_BYTES, PORT, READ, RM, WRITE, path_of, receive,
)  # fmt: skip
from vchan import Vchan

RING_BYTES = 4096
ALIVE_SECONDS = 10
PATH_CHARACTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.:@"
FROM_DOMAIN = (WRITE, MULTIREAD, RM, OK, ERROR, ENTRY)
FROM_DOM0 = (READ, WRITE, MULTIREAD, RM)


class Fatal(Exception):
    """What the domain sent ends the daemon; the text says why."""


def log(text: str) -> None:
    """One line of the log."""
    print(f"{time.time():.3f} {text}", flush=True)


def offence(kind: int, path: bytes, data_bytes: int, allowed: tuple[int, ...]) -> str | None:
    """What is wrong with a header."""
    if kind not in allowed:
        return f"type {kind}"
    if path.startswith(b"-") or not all(byte in PATH_CHARACTERS for byte in path):
        return f"path {path!r}"
    if data_bytes >= DATA_LIMIT:
        return f"{data_bytes} bytes of data"
    return None


class Database:
    """The keys, in the order of their bytes."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}

    def write(self, path: bytes, value: bytes) -> bool:
        """Sets a key, if its path may be one."""
        if not path.startswith(b"/") or path.endswith(b"/"):
            return False
        self.entries[path] = value
        return True

    def remove(self, path: bytes) -> bool:
        """Removes a key, or all below one that ends with a slash; says whether there was any."""
        gone = [key for key in self.entries if key == path or (path.endswith(b"/") and key.startswith(path))]
        for key in gone:
            del self.entries[key]
        return bool(gone)

    def below(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """What begins so, in order; everything is dumped backwards."""
        found = sorted((path, value) for path, value in self.entries.items() if path.startswith(prefix))
        return found if prefix else found[::-1]


class Daemon:
    """The daemon: one domain, any number of local connections."""

    def __init__(self, domain: int, local_path: str) -> None:
        self.domain = domain
        self.database = Database()
        self.local_path = local_path

    def listen(self) -> None:
        """From here on both sides can connect."""
        self.connect()
        self.door = socket.socket(socket.AF_UNIX)
        if os.path.exists(self.local_path):
            os.unlink(self.local_path)
        # Whoever waits for the socket to appear can connect as soon as it does.
        self.door.bind(self.local_path + "-new")
        self.door.listen(16)
        os.rename(self.local_path + "-new", self.local_path)
        self.locals: dict[int, socket.socket] = {}

    def connect(self) -> None:
        """Waits for the domain, anew."""
        self.vchan = Vchan.server(self.domain, PORT, RING_BYTES)
        # What did not fit into the ring.
        self.queue = b""
        # A header whose data has not arrived.
        self.pending: tuple[bytes, int, bytes, int] | None = None
        # The domain has asked for everything and gets every change since.
        self.synchronised = False

    def run(self) -> NoReturn:
        """Serves until something ends it."""
        while True:
            poll = select.poll()
            for number in (self.vchan.fileno(), self.door.fileno(), *self.locals):
                poll.register(number, select.POLLIN)
            events = dict(poll.poll(ALIVE_SECONDS * 1000))
            if not events and not self.alive():
                log("the domain is gone")
                sys.exit(0)
            # The order is that of Qubes' daemon: the vchan at every turn, whoever woke it.
            self.serve_domain(self.vchan.fileno() in events)
            for number in [number for number in self.locals if number in events]:
                self.serve_local(number)
            if self.door.fileno() in events:
                stream, _ = self.door.accept()
                self.locals[stream.fileno()] = stream

    def alive(self) -> bool:
        """The domain exists."""
        return subprocess.run(["xenstore-exists", f"/local/domain/{self.domain}"], check=False).returncode == 0

    def serve_domain(self, event: bool) -> None:
        """Handles what the domain did."""
        if event:
            self.vchan.wait()
        if not self.vchan.is_open():
            if not self.synchronised:
                raise Fatal("closed before it had asked for the dump")
            log("closed; waiting for the domain")
            self.vchan.close()
            self.connect()
            return
        self.send(b"")
        while self.vchan.ready() and self.serve_message():
            pass

    def serve_message(self) -> bool:
        """Handles one message, if all of it is there."""
        if self.pending is None:
            if self.vchan.ready() < HEADER.size:
                return False
            raw = self.vchan.read(HEADER.size)
            kind, field, _, data_bytes = HEADER.unpack(raw)
            if problem := offence(kind, path_of(field), data_bytes, FROM_DOMAIN):
                raise Fatal(problem)
            self.pending = raw, kind, path_of(field), data_bytes
        raw, kind, path, data_bytes = self.pending
        if self.vchan.ready() < data_bytes:
            return False
        self.pending = None
        self.handle(raw, kind, path, self.vchan.read(data_bytes))
        return True

    def handle(self, raw: bytes, kind: int, path: bytes, data: bytes) -> None:
        """Obeys one message of the domain."""
        if kind == WRITE:
            self.take_write(raw, path, data)
        elif kind == MULTIREAD:
            if self.synchronised:
                raise Fatal("a second MULTIREAD")
            if data:
                log("MULTIREAD with data: ERROR")
                self.send(answer(raw, ERROR))
            else:
                self.dump(raw, path)
            self.synchronised = True
        elif kind == RM:
            self.take_remove(raw, path, data)
        elif kind == OK:
            log(f"OK {path.decode()}")
        elif kind == ERROR:
            if data:
                raise Fatal("ERROR with data")
            log(f"ERROR {path.decode()}")
        else:
            raise Fatal("an answer to a MULTIREAD that was never sent")

    def take_write(self, raw: bytes, path: bytes, data: bytes) -> None:
        """A WRITE of the domain."""
        if b"\0" in data:
            log(f"write {path.decode()} with a zero byte: ERROR")
            self.send(answer(raw, ERROR))
        elif not self.database.write(path, data):
            raise Fatal(f"a WRITE to {path!r}")
        else:
            log(f"write {path.decode()} {data.decode(errors='replace')}")
            self.send(answer(raw, OK))

    def take_remove(self, raw: bytes, path: bytes, data: bytes) -> None:
        """An RM of the domain."""
        if self.vchan.space() < HEADER.size:
            raise Fatal("an RM whose answer does not fit")
        if data:
            log(f"rm {path.decode()} with data: ERROR")
            self.send(answer(raw, ERROR))
        elif not self.database.remove(path):
            raise Fatal(f"an RM of {path!r}, which is not there")
        else:
            log(f"rm {path.decode()}")
            self.send(answer(raw, OK))

    def dump(self, raw: bytes, prefix: bytes) -> None:
        """Sends all there is. The terminator's path is empty by its first byte alone: the last key is behind it."""
        entries = self.database.below(prefix)
        _, field, padding, _ = HEADER.unpack(raw)
        for path, value in entries:
            field = path.ljust(PATH_BYTES, b"\0")
            self.send(HEADER.pack(ENTRY, field, padding, len(value)))
            self.send(value)
        self.send(HEADER.pack(ENTRY, b"\0" + field[1:], padding, 0))
        log(f"dumped {len(entries)} keys")

    def send(self, data: bytes) -> None:
        """To the domain, now or when there is room; each piece is a write of its own if there is."""
        if self.queue:
            self.queue = self.queue[self.vchan.write(self.queue) :]
        if self.queue:
            self.queue += data
        else:
            self.queue = data[self.vchan.write(data) :]

    def serve_local(self, number: int) -> None:
        """Handles one command of dom0, or its end."""
        stream = self.locals[number]
        raw = receive(stream, HEADER.size)
        kind, field, _, data_bytes = HEADER.unpack(raw) if len(raw) == HEADER.size else (None, b"", b"", 0)
        if kind is None or offence(kind, path_of(field), data_bytes, FROM_DOM0):
            stream.close()
            del self.locals[number]
            return
        path, data = path_of(field), receive(stream, data_bytes)
        if kind == READ:
            value = self.database.entries.get(path)
            stream.sendall(answer(raw, NOENT) if value is None else answer(raw, GOT, len(value)) + value)
        elif kind == MULTIREAD:
            for key, value in self.database.below(path):
                stream.sendall(HEADER.pack(ENTRY, key, b"", len(value)) + value)
            stream.sendall(HEADER.pack(ENTRY, b"", b"", 0))
        elif kind == WRITE and self.database.write(path, data):
            self.forward(raw, data)
            stream.sendall(answer(raw, OK))
        elif kind == RM and self.database.remove(path):
            self.forward(raw)
            stream.sendall(answer(raw, OK))
        else:
            stream.sendall(answer(raw, NOENT if kind == RM else ERROR))

    def forward(self, raw: bytes, data: bytes = b"") -> None:
        """A change that dom0 made, for the domain; header and data are two writes."""
        if self.synchronised:
            self.send(raw)
            self.send(data)


def answer(raw: bytes, kind: int, data_bytes: int = 0) -> bytes:
    """The header of an answer is that of what it answers."""
    _, field, padding, _ = HEADER.unpack(raw)
    return HEADER.pack(kind, field, padding, data_bytes)


def main(domain: str, local_path: str, keys: str | None = None) -> NoReturn:
    """Serves until the domain ends, or offends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    daemon = Daemon(int(domain), local_path)
    if keys:
        with open(keys, "rb") as lines:
            for line in lines:
                path, _, value = line.rstrip(b"\n").partition(b" ")
                daemon.database.write(path, value)
    daemon.listen()
    log("ready")
    try:
        daemon.run()
    except Fatal as fatal:
        # As Qubes' daemon leaves: without closing, which is left to the kernel.
        log(f"FATAL: {fatal}")
        os._exit(1)
    finally:
        daemon.vchan.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
