"""The functions of Xen, from the table that it has in its image for its own stack traces: Debian hands out no other.

As `xen/tools/symbols.c` writes it: a 32-bit offset from Xen's first address for each symbol, in ascending order; their number;
their names, each a length and so many tokens of a byte; later the 256 tokens, texts that end in a zero byte. The first
character of a name is its type as of nm.
"""

import struct
from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

# XEN_VIRT_START, what offsets count from.
BASE = 0xFFFF82D040000000
TOKENS = 256
# Tokens of characters that names have are these themselves.
DIGITS = b"".join(bytes([digit, 0]) for digit in b"0123456789")
# How many symbols a Xen may have, and how far before the tokens their number is at most.
COUNTS = range(3_000, 30_000)
LONGEST_TABLE = 1 << 19


class XenSymbols:
    """Xen's functions by address."""

    def __init__(self, image: Path) -> None:
        content = image.read_bytes()
        end = first_token(content)
        tokens = content[end:].split(b"\0", TOKENS)[:TOKENS]
        for at in range(end - LONGEST_TABLE & ~3, end, 4):
            (count,) = struct.unpack_from("<I", content, at)
            if count in COUNTS and (names := read_names(content, at + 4, count, tokens, end)):
                self.names = names
                self.offsets = struct.unpack_from(f"<{count}I", content, at - 4 * count)
                return
        raise SystemExit(f"{image}: no table of symbols")

    def function(self, address: int) -> str:
        """The function that an address is in, with its file if it is static."""
        place = bisect(self.offsets, address - BASE)
        # Behind the image there are only the stubs, by which system calls enter.
        return self.names[place - 1] if 0 < place < len(self.names) else "stubs"

    def by_function(self, counts: Mapping[int, float]) -> dict[str, float]:
        """Instructions of each function."""
        functions: dict[str, float] = defaultdict(float)
        for address, count in counts.items():
            functions[self.function(address)] += count
        return functions


def first_token(content: bytes) -> int:
    """Where the tokens begin: so many before that of `0`."""
    at = content.index(DIGITS)
    for _ in range(ord("0")):
        at = content.rindex(b"\0", 0, at - 1) + 1
    return at


def read_names(content: bytes, at: int, count: int, tokens: list[bytes], end: int) -> list[str]:
    """That many names from `at` on, or none if that is no list of names before `end`."""
    names = []
    for _ in range(count):
        length = content[at]
        if not length or at + length >= end:
            return []
        parts = content[at + 1 : at + 1 + length]
        names.append(b"".join(tokens[part] for part in parts).decode(errors="replace")[1:])
        at += 1 + length
    return names
