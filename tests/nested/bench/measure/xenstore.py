"""XenStore over xenstored's socket: no process per request, which would cost an emulated dom0 more than what it measures.

The protocol is that of Xen's `xs_wire.h`: 16 bytes of header (type, request, transaction, length), then the payload.
"""

import socket
import struct
import time
from collections import deque

SOCKET = "/run/xenstored/socket"
READ, WATCH, WRITE, MKDIR, REMOVE, SET_PERMISSIONS = 2, 4, 11, 12, 13, 14
WATCH_EVENT, ERROR = 15, 16


class StoreError(Exception):
    """What xenstored answered, as ENOENT."""


class Store:
    """One connection with its watches."""

    def __init__(self) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(SOCKET)
        self.events: deque[str] = deque()

    def read(self, path: str) -> str | None:
        """The value of a node, if there is one."""
        try:
            return self.ask(READ, path.encode() + b"\0").decode(errors="replace")
        except StoreError as error:
            if str(error) == "ENOENT":
                return None
            raise

    def write(self, path: str, value: str) -> None:
        """Sets a node's value."""
        self.ask(WRITE, path.encode() + b"\0" + value.encode())

    def directory(self, path: str, owner: int, reader: int, nodes: dict[str, str]) -> None:
        """A directory that belongs to domain `owner` and that `reader` may read, with these nodes."""
        permissions = f"n{owner}\0r{reader}\0".encode()
        self.ask(MKDIR, path.encode() + b"\0")
        self.ask(SET_PERMISSIONS, path.encode() + b"\0" + permissions)
        for name, value in nodes.items():
            self.write(f"{path}/{name}", value)
            self.ask(SET_PERMISSIONS, f"{path}/{name}".encode() + b"\0" + permissions)

    def watch(self, path: str) -> None:
        """Sets a watch, which fires once at the beginning."""
        self.ask(WATCH, path.encode() + b"\0" + path.encode() + b"\0")

    def await_value(self, path: str, prefix: str, seconds: float) -> str:
        """Waits until a watched node's value begins with `prefix`; returns it."""
        deadline = time.monotonic() + seconds
        while True:
            self.events.clear()
            value = self.read(path)
            if value is not None and value.startswith(prefix):
                return value
            while not self.events:
                self.connection.settimeout(max(0.001, deadline - time.monotonic()))
                try:
                    kind, _, payload = self.receive()
                except TimeoutError:
                    raise StoreError(f"waited in vain for {prefix!r} in {path}, which is {value!r}") from None
                finally:
                    self.connection.settimeout(None)
                if kind == WATCH_EVENT:
                    self.events.append(payload.partition(b"\0")[0].decode())

    def ask(self, kind: int, payload: bytes) -> bytes:
        """One request; watch events that arrive before its reply are kept."""
        self.connection.sendall(struct.pack("<IIII", kind, 1, 0, len(payload)) + payload)
        while True:
            answer, _, received = self.receive()
            if answer == WATCH_EVENT:
                self.events.append(received.partition(b"\0")[0].decode())
            elif answer == ERROR:
                raise StoreError(received.rstrip(b"\0").decode())
            else:
                return received

    def receive(self) -> tuple[int, int, bytes]:
        """One message."""
        kind, request, _, length = struct.unpack("<IIII", self.exactly(16))
        return kind, request, self.exactly(length)

    def exactly(self, count: int) -> bytes:
        """That many bytes."""
        data = b""
        while len(data) < count:
            more = self.connection.recv(count - len(data))
            if not more:
                raise StoreError("xenstored closed the connection")
            data += more
        return data
