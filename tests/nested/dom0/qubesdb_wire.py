"""QubesDB's messages: a header of 72 bytes and its data, the same on a vchan and on the daemon's local socket.

The numbers and limits are those of core-qubesdb's qubesdb.h.
"""

import socket
import struct

READ, WRITE, MULTIREAD, _, RM = range(5)
OK, NOENT, ERROR, GOT, ENTRY = range(7, 12)

# Type, path, three bytes of padding, length of the data.
HEADER = struct.Struct("<B64s3sI")
PATH_BYTES = 64
# Data must be shorter than this.
DATA_LIMIT = 3072
PORT = 111
# What Qubes leaves uninitialised in a header; here it is never zero by luck.
RUBBISH = 0xA5


def header(kind: int, path: bytes, data_bytes: int = 0) -> bytes:
    """A header as a client of QubesDB makes it: what follows the end of the path means nothing."""
    padded = (path + b"\0").ljust(PATH_BYTES, bytes([RUBBISH]))[:PATH_BYTES]
    return HEADER.pack(kind, padded, bytes([RUBBISH] * 3), data_bytes)


def path_of(field: bytes) -> bytes:
    """The path in a header's field, cut to 63 bytes as the daemon does."""
    return field[: PATH_BYTES - 1].partition(b"\0")[0]


def receive(stream: socket.socket, count: int) -> bytes:
    """Exactly so many bytes; fewer only at the end of the stream."""
    received = b""
    while len(received) < count and (piece := stream.recv(count - len(received))):
        received += piece
    return received


class Local:
    """A connection to a daemon's local socket, as qubesd and qubesdb-cmd have it."""

    def __init__(self, path: str) -> None:
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(path)

    def ask(self, kind: int, path: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
        """Sends a command; returns type, path and data of the answer."""
        self.stream.sendall(header(kind, path.encode(), len(data)) + data)
        return self.answer()

    def answer(self) -> tuple[int, bytes, bytes]:
        """The next answer."""
        received = receive(self.stream, HEADER.size)
        if len(received) < HEADER.size:
            raise SystemExit("the daemon closed the connection")
        kind, path, _, data_bytes = HEADER.unpack(received)
        return kind, path_of(path), receive(self.stream, data_bytes)

    def write(self, path: str, value: str) -> None:
        """Writes a key."""
        if (kind := self.ask(WRITE, path, value.encode())[0]) != OK:
            raise SystemExit(f"write {path}: answer {kind}")

    def remove(self, path: str) -> bool:
        """Removes a key, or all below one that ends with a slash; there may be none."""
        return self.ask(RM, path)[0] == OK

    def read(self, path: str) -> str | None:
        """The value of a key."""
        kind, _, data = self.ask(READ, path)
        return data.decode() if kind == GOT else None

    def entries(self, prefix: str) -> list[tuple[str, str]]:
        """All keys that begin so, with their values."""
        found = []
        kind, path, data = self.ask(MULTIREAD, prefix)
        while kind == ENTRY and path:
            found.append((path.decode(), data.decode()))
            kind, path, data = self.answer()
        return found
