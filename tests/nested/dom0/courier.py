"""Asks XenStore for the shell, and carries commands to clients: a process per question would take dom0 an eighth of a second,
and a command in a client a dozen of them.

Requests are lines of the FIFO $WORK/asked; the first word names the FIFO that gets the answer, a line:

    REPLY read PATH                 `=VALUE`, or `-` if there is no such node
    REPLY run NAME DOMAIN SECONDS   has the client run $WORK/NAME.command: its exit status, when $WORK/NAME.answer has what it
                                    printed, or `late` if that took longer

Who has asked keeps REPLY open until then. If nobody does, there is nobody to answer.
"""

import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Message types of XenStore (Xen's public/io/xs_wire.h).
READ, WATCH, UNWATCH, WRITE, WATCH_EVENT, ERROR = 2, 4, 5, 11, 15, 16
# Type, request, transaction, bytes that follow.
HEADER = struct.Struct("<IIII")
SOCKET = "/run/xenstored/socket"


class XenStore:
    """A connection to the XenStore daemon."""

    def __init__(self) -> None:
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(SOCKET)
        # Paths of watches that fired and nobody has looked at.
        self.fired: list[str] = []

    def ask(self, kind: int, *words: str) -> str | None:
        """Sends a request; returns the answer, None if it is an error."""
        # What is written is not ended, all else is.
        body = "\0".join(words) + ("" if kind == WRITE else "\0")
        self.stream.sendall(HEADER.pack(kind, 0, 0, len(body.encode())) + body.encode())
        while (message := self.receive())[0] == WATCH_EVENT:
            self.fired.append(message[1])
        return None if message[0] == ERROR else message[1]

    def receive(self) -> tuple[int, str]:
        """The next message, an answer or that of a watch: its type, and its text or the path."""
        kind, _, _, count = HEADER.unpack(self.stream.recv(HEADER.size, socket.MSG_WAITALL))
        text = (self.stream.recv(count, socket.MSG_WAITALL) if count else b"").decode(errors="replace")
        return kind, text.partition("\0")[0] if kind == WATCH_EVENT else text


@dataclass
class Command:
    """What a client was told to run."""

    number: str
    reply: str
    name: str
    data: str
    until: float


class Courier:
    """Answers the requests of `asked`."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.store = XenStore()
        # By the path of the status that is waited for.
        self.commands: dict[str, Command] = {}
        # Open for writing, too: else it would end whenever nobody has it open.
        self.asked = os.open(work / "asked", os.O_RDWR)
        self.received = b""

    def serve(self) -> None:
        """For as long as dom0 runs."""
        while True:
            deadline = min((command.until for command in self.commands.values()), default=None)
            patience = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.asked, self.store.stream], [], [], patience)
            if self.store.stream in ready:
                kind, path = self.store.receive()
                if kind == WATCH_EVENT:
                    self.store.fired.append(path)
            if self.asked in ready:
                *lines, self.received = (self.received + os.read(self.asked, 65536)).split(b"\n")
                for line in lines:
                    self.take(line.decode().split())
            while self.store.fired:
                self.look_at(self.store.fired.pop())
            now = time.monotonic()
            for path in [path for path, command in self.commands.items() if command.until <= now]:
                self.end(path, "late")

    def take(self, request: list[str]) -> None:
        """Answers a request, or begins with it."""
        match request:
            case [reply, "read", path]:
                value = self.store.ask(READ, path)
                answer(reply, "-" if value is None else f"={value}")
            case [reply, "run", name, domain, seconds]:
                data = f"/local/domain/{domain}/data"
                status = f"{data}/status"
                # An earlier one may still be there that nobody waits for any more.
                if status in self.commands:
                    self.end(status, "late")
                until = time.monotonic() + float(seconds)
                command = Command(str(time.time_ns()), reply, name, data, until)
                self.commands[status] = command
                self.store.ask(WATCH, status, "status")
                text = (self.work / f"{name}.command").read_text()
                self.store.ask(WRITE, f"{data}/command", f"{command.number} {text}")
            case _:
                print(f"not understood: {request}", file=sys.stderr, flush=True)

    def look_at(self, path: str) -> None:
        """A status was written: does a command end with it?"""
        command = self.commands.get(path)
        number, _, status = (self.store.ask(READ, path) or "").partition(" ")
        if command and number == command.number:
            output = self.store.ask(READ, f"{command.data}/output") or ""
            (self.work / f"{command.name}.answer").write_text(output.rstrip("\n") + "\n")
            self.end(path, status)

    def end(self, path: str, text: str) -> None:
        """No more is waited for this status."""
        self.store.ask(UNWATCH, path, "status")
        answer(self.commands.pop(path).reply, text)


def answer(reply: str, text: str) -> None:
    """Writes a line to whoever has `reply` open."""
    try:
        fifo = os.open(reply, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return
    os.write(fifo, text.encode() + b"\n")
    os.close(fifo)


Courier(Path(sys.argv[1])).serve()
