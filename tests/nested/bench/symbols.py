"""What an address of the image is: its function, its line, and the functions that were inlined there."""

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Where the kernel prints its counters, as `nm` demangles it.
REPORT = "Firewall<X,R>>::report"
# Files of ours, as against those of crates and of Rust's library.
SOURCES = "src/"


@dataclass(frozen=True)
class Place:
    """A function and the source file that it is from; what is compiled without line numbers has no file."""

    function: str
    file: str

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"


class Symbols:
    """An image with symbols and line tables."""

    def __init__(self, image: Path) -> None:
        self.image = image
        listing = output("nm", "-C", str(image))
        symbols = re.findall(r"^(\w+) \w (.+)$", listing, re.MULTILINE)
        self.addresses = {name: int(address, 16) for address, name in symbols}
        if "image_text" not in self.addresses:
            raise SystemExit(f"{image} has no symbols")

    def code(self) -> tuple[int, int]:
        """The first address of its code, and the first behind it."""
        return self.addresses["image_text"], self.addresses["image_rodata"]

    def report(self) -> int:
        """The first instruction of the report."""
        (address,) = (address for name, address in self.addresses.items() if name.endswith(REPORT))
        return address

    def places(self, addresses: Iterable[int]) -> dict[int, tuple[Place, ...]]:
        """For each address the functions of ours that it is in, from the innermost of those that were inlined outwards.
        What Rust's library has inlined counts as whose it is inlined in."""
        asked = "".join(f"{address:#x}\n" for address in addresses)
        options = "--addresses --functions --inlines --demangle".split()
        said = output("addr2line", *options, "--exe", str(self.image), given=asked)
        frames = {}
        for part in re.split(r"^0x", said, flags=re.MULTILINE)[1:]:
            address, *lines = part.splitlines()
            files = (line.partition(":")[0] for line in lines[1::2])
            frames[int(address, 16)] = list(zip(lines[::2], files, strict=True))
        # Of some lines of the library's it is known only which function they are in, and not the file of that.
        homes = {function: file for chain in frames.values() for function, file in chain if file.startswith(SOURCES)}
        return {address: ours(chain, homes) for address, chain in frames.items()}


def ours(chain: list[tuple[str, str]], homes: Mapping[str, str]) -> tuple[Place, ...]:
    """Of a function and those inlined into it, the innermost first, those of ours; if there is none, the outermost."""
    places = (Place(short_name(function), file) for function, file in chain if file.startswith(SOURCES))
    function, file = chain[-1]
    return tuple(place for place in places if place.function) or (Place(short_name(function), homes.get(function, file)),)


def short_name(demangled: str) -> str:
    """A function without its path and its types; of a closure in a path, that of the function which it is in, and of
    a closure without a path nothing."""
    demangled = demangled.replace("->", "")
    while (shorter := re.sub(r"<[^<>]*>|{+[^{}]*}+", "", demangled)) != demangled:
        demangled = shorter
    return re.split(r"::", demangled.rstrip(":"))[-1]


def output(*command: str, given: str = "") -> str:
    """What a program prints."""
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout
