"""What the machine in QEMU boots: the hypervisor, dom0's kernel and disk, and the kernel and initrd of Linux domUs."""

import gzip
import hashlib
import lzma
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cache
import debian

# Versions of Xen, the usual one first, and the release of Debian that each and its dom0 come from.
RELEASES = {"4.17": "bookworm", "4.20": "trixie"}
# Clients are the same on every Xen.
CLIENT_RELEASE = "bookworm"
# The cloud kernel cannot be dom0; as a guest it is the smaller one.
DOM0_KERNEL = "linux-image-amd64"
CLIENT_KERNEL = "linux-image-cloud-amd64"

DOM0_PACKAGES = (
    "xenstore-utils dash bash coreutils grep sed mawk tar util-linux procps busybox-static "
    "iproute2 iputils-ping tcpdump python3 iperf3 ethtool"
).split()
DOM0_MODULES = "xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xen-netback xenfs virtio_console pktgen sch_netem".split()
DOM0_BOOT_MODULES = "virtio_pci virtio_blk crc32c_generic ext4".split()
CLIENT_PACKAGES = "busybox xenstore-utils netcat-openbsd iputils-ping ethtool".split()
# What only some clients need: it is four times the rest, and unpacking takes an emulated processor seconds.
TOOL_PACKAGES = "curl python3.11-minimal".split()
# And of Python's library what the minimal package has not: one file, not the ten times as large package.
TOOL_LIBRARY = "libpython3.11-stdlib"
TOOL_LIBRARY_FILES = "*/lib-dynload/mmap.*"
CLIENT_MODULES = "xen-netfront".split()
# What a program needs to play a frontend.
TOOL_MODULES = "xen-gntalloc xen-evtchn".split()

LARGE_BLOCKS = 50
BLOCK_BYTES = (1 << 20) - 8
BLOCK_SEED = 1

# Documentation, translations, character sets and Perl: two thirds of the packages' size, and nothing here reads them.
UNNEEDED = (
    "--exclude=./usr/share/*",
    "--exclude=./usr/lib/x86_64-linux-gnu/perl*",
    "--exclude=./usr/lib/x86_64-linux-gnu/gconv/*",
)

THIS_FILE = Path(__file__)
DEBIAN_FILE = Path(debian.__file__)
DOM0_INITRD_INIT = cache.HERE / "dom0" / "initrd-init"
CLIENT_FILES = cache.HERE / "client"
TOOL_FILES = cache.HERE / "tools"


def dom0_archives(xen: str) -> Path:
    """Every package that a dom0 with this version of Xen is made of: boot/*.deb and dom0/archives/*.deb."""
    hypervisor = f"xen-hypervisor-{xen}-amd64"
    packages = [f"xen-utils-{xen}", *DOM0_PACKAGES]

    def make(work: Path) -> None:
        with scratch() as index:
            release = debian.Release(RELEASES[xen], index)
            for package in (hypervisor, release.kernel_of(DOM0_KERNEL)):
                release.fetch_alone(package, work / "boot")
            release.fetch(packages, work / "dom0")

    return cache.made(f"dom0-archives-{xen}", [DEBIAN_FILE, RELEASES[xen], hypervisor, DOM0_KERNEL, *packages], make)


def client_archives() -> Path:
    """Every package that clients are made of: boot/*.deb, library/*.deb, and archives/*.deb in each of client/ and tools/."""

    def make(work: Path) -> None:
        with scratch() as index:
            release = debian.Release(CLIENT_RELEASE, index)
            release.fetch_alone(release.kernel_of(CLIENT_KERNEL), work / "boot")
            release.fetch(CLIENT_PACKAGES, work / "client")
            release.fetch([*CLIENT_PACKAGES, *TOOL_PACKAGES], work / "tools")
            release.fetch_alone(TOOL_LIBRARY, work / "library")

    inputs = [DEBIAN_FILE, CLIENT_RELEASE, CLIENT_KERNEL, *CLIENT_PACKAGES, "/", *TOOL_PACKAGES, "/", TOOL_LIBRARY]
    return cache.made("client-archives", inputs, make)


def dom0(xen: str) -> Path:
    """`xen`, `vmlinuz`, `initrd` and `disk`: all that QEMU needs to boot this version of Xen and a dom0 with xl."""
    packages = dom0_archives(xen)

    def make(work: Path) -> None:
        with scratch() as root:
            merged_root(root)
            debian.unpack((packages / "dom0" / "archives").glob("*.deb"), root, *UNNEEDED)
            # What the packages' own scripts would have set up.
            (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
            (root / "etc/group").write_text("root:x:0:\n")
            link(root / "usr/bin/awk", "mawk")
            link(root / "usr/bin/sh", "dash")
            link_applets(root)
            compile_python(root, *"collections email encodings html http importlib json re urllib".split())
            make_large_file(root / "srv")
            with unpacked(packages / "boot", "linux-image-*[0-9]-amd64_*.deb") as kernel:
                (image,) = (kernel / "boot").glob("vmlinuz-*")
                shutil.copy(image, work / "vmlinuz")
                copy_modules(kernel, DOM0_MODULES, root / "modules", loaded=DOM0_BOOT_MODULES)
                make_initrd(work / "initrd", kernel, packages, DOM0_BOOT_MODULES, DOM0_INITRD_INIT)
            with unpacked(packages / "boot", "xen-hypervisor-*.deb") as hypervisor:
                image = hypervisor / "boot" / f"xen-{xen}-amd64.gz"
                (work / "xen").write_bytes(gzip.decompress(image.read_bytes()))
            subprocess.run(
                ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", root, work / "disk", "512M"],
                check=True,
                stdout=subprocess.DEVNULL,
            )

    modules = [*DOM0_MODULES, "/", *DOM0_BOOT_MODULES]
    inputs: list[str | Path] = [THIS_FILE, DEBIAN_FILE, packages.name, DOM0_INITRD_INIT, *modules]
    return cache.made(f"dom0-{xen}", inputs, make)


def client() -> Path:
    """`vmlinuz` and `initrd` of a Linux domU that obeys dom0 (see client/init), and `initrd-tools`, which has curl, Python
    and the programs of tools/ besides."""
    packages = client_archives()

    def make(work: Path) -> None:
        with unpacked(packages / "boot", "linux-image-*-cloud-amd64_*.deb") as kernel:
            (image,) = (kernel / "boot").glob("vmlinuz-*")
            shutil.copy(image, work / "vmlinuz")
            with client_root(kernel, packages / "client", CLIENT_MODULES) as root:
                pack(root, work / "initrd")
            with client_root(kernel, packages / "tools", [*CLIENT_MODULES, *TOOL_MODULES]) as root:
                library = (packages / "library").glob("*.deb")
                debian.unpack(library, root, "--wildcards", TOOL_LIBRARY_FILES)
                link(root / "usr/bin/python3", python_of(root).name)
                compile_python(root, ".", "collections", "encodings", "importlib", "re")
                shutil.copytree(TOOL_FILES, root / "tools")
                pack(root, work / "initrd-tools")

    modules = [*CLIENT_MODULES, "/", *TOOL_MODULES]
    inputs: list[str | Path] = [THIS_FILE, DEBIAN_FILE, packages.name, CLIENT_FILES, TOOL_FILES, *modules]
    return cache.made("client", inputs, make)


@contextmanager
def client_root(kernel: Path, packages: Path, modules: list[str]) -> Iterator[Path]:
    """The root of a client, with these packages and modules."""
    with scratch() as root:
        merged_root(root)
        debian.unpack((packages / "archives").glob("*.deb"), root, *UNNEEDED)
        copy_modules(kernel, modules, root / "modules")
        link(root / "usr/bin/nc", "nc.openbsd")
        link_applets(root)
        for file in CLIENT_FILES.iterdir():
            shutil.copy(file, root / file.name)
        yield root


@contextmanager
def unpacked(directory: Path, packages: str) -> Iterator[Path]:
    """The content of the packages in `directory` whose names match. Kernels of older releases have modules in /lib, of
    newer ones in /usr/lib: in a merged root both are the same."""
    with scratch() as root:
        merged_root(root)
        debian.unpack(directory.glob(packages), root)
        yield root


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory as a context, removed afterwards; on the disk of the build, not in a /tmp that may be small."""
    with tempfile.TemporaryDirectory(dir=cache.BUILD, prefix=".scratch-") as name:
        yield Path(name)


def merged_root(root: Path) -> None:
    """An empty root file system as Debian lays it out: /bin, /lib and so on are links into /usr."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "sys", "run", "tmp", "root", "srv"):
        (root / name).mkdir()
    (root / "var").mkdir()
    # Relative, so that what is unpacked through it stays in this root.
    (root / "var/run").symlink_to("../run")


def link(path: Path, target: str) -> None:
    """Makes a symbolic link unless a package brought a file of that name."""
    if not path.exists() and not path.is_symlink():
        path.symlink_to(target)


def link_applets(root: Path) -> None:
    """Makes every command of busybox available that no other package of the root has."""
    listed = subprocess.run([root / "usr/bin/busybox", "--list"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        if not (root / "usr/sbin" / name).exists():
            link(root / "usr/bin" / name, "busybox")


def compile_python(root: Path, *directories: str) -> None:
    """Compiles what programs import from these directories of the library, where it takes one second and not ten. By the
    root's own interpreter: each version has its own code."""
    python = python_of(root)
    libraries = root / "usr/lib"
    paths = [libraries / python.name / name for name in directories]
    subprocess.run(
        [root / "lib64/ld-linux-x86-64.so.2", "--library-path", libraries / "x86_64-linux-gnu", python,
         "-m", "compileall", "-q", "-l", *paths],
        env={"PYTHONHOME": str(root / "usr")},
        check=True,
    )  # fmt: skip


def python_of(root: Path) -> Path:
    """The interpreter of a root that has one: usr/bin/python3.11, say."""
    (python,) = (root / "usr/bin").glob("python3.[0-9]*")
    return python


def make_large_file(directory: Path) -> None:
    """What the transfers carry: `large` is 50 times `block` with its number, eight digits, in front, so that a client
    with little memory can send the same. `large.sha256` is its SHA-256 in hexadecimal digits."""
    block = random.Random(BLOCK_SEED).randbytes(BLOCK_BYTES)
    large = b"".join(b"%08d" % number + block for number in range(1, LARGE_BLOCKS + 1))
    (directory / "block").write_bytes(block)
    (directory / "large").write_bytes(large)
    (directory / "large.sha256").write_text(hashlib.sha256(large).hexdigest())


def make_initrd(file: Path, kernel: Path, packages: Path, modules: Iterable[str], init: Path) -> None:
    """An initrd of busybox, some modules and the script `init`."""
    with unpacked(packages / "dom0" / "archives", "busybox-static_*.deb") as root:
        link(root / "usr/bin/sh", "busybox")
        copy_modules(kernel, modules, root / "modules")
        shutil.copy(init, root / "init")
        pack(root, file)


def copy_modules(kernel: Path, names: Iterable[str], into: Path, loaded: Iterable[str] = ()) -> None:
    """Copies modules and what they need but what is `loaded` already and what that needs; their file names sort in the
    order in which insmod takes them."""
    into.mkdir()
    (tree,) = (kernel / "lib/modules").iterdir()
    subprocess.run(["depmod", "--basedir", kernel, tree.name], check=True)
    needs: dict[str, list[str]] = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        path, _, dependencies = line.partition(":")
        # modules.dep lists what to load from right to left.
        needs[module_name(path)] = [*reversed(dependencies.split()), path]
    builtin = {module_name(path) for path in (tree / "modules.builtin").read_text().split()}

    def closure(names: Iterable[str]) -> dict[str, None]:
        """The files in order, each once."""
        return dict.fromkeys(path for name in map(module_name, names) if name not in builtin for path in needs[name])

    have = closure(loaded)
    for number, path in enumerate(path for path in closure(names) if path not in have):
        content = (tree / path).read_bytes()
        # Newer kernels come with their modules compressed, which busybox's insmod does not read.
        file = into / f"{number:02}-{Path(path).name.removesuffix('.xz')}"
        file.write_bytes(lzma.decompress(content) if path.endswith(".xz") else content)


def module_name(path: str) -> str:
    """`kernel/drivers/net/xen-netfront.ko` → `xen_netfront`; compressed ones too."""
    return Path(path).name.removesuffix(".xz").removesuffix(".ko").replace("-", "_")


def pack(root: Path, initrd: Path) -> None:
    """Makes an initrd of a directory. It is not compressed: unpacking takes an emulated processor seconds."""
    names = subprocess.run(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE, check=True).stdout
    with initrd.open("wb") as file:
        subprocess.run(
            ["cpio", "--quiet", "--null", "--create", "--format=newc", "--owner=0:0"],
            cwd=root, input=names, stdout=file, check=True,
        )  # fmt: skip
