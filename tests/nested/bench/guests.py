"""The domUs that only the benchmark needs: a client with measuring tools, and a Linux firewall to compare with."""

import shutil
from pathlib import Path

import cache
import debian
import images

HERE = Path(__file__).resolve().parent

CLIENT_PACKAGES = [*images.CLIENT_PACKAGES, "iperf3", "bash"]
CLIENT_MODULES = "xen-netfront pktgen".split()
FIREWALL_PACKAGES = "busybox xenstore-utils nftables".split()
FIREWALL_MODULES = "xen-netfront xen-netback nf_tables nft_chain_nat nft_ct nft_masq".split()

# What only the packages' own scripts need, by the beginnings of names: it would double the initrd.
SCRIPTING = (
    "adduser_ base-files_ debconf_ debianutils_ dpkg_ init-system-helpers_ libaudit libdb5 libgdbm libpam libperl libsemanage "
    "libsepol mawk_ passwd_ perl tar_ usrmerge_"
).split()


def client() -> Path:
    """`vmlinuz` and `initrd` of the client that sends and receives."""
    return guest("bench-client", CLIENT_PACKAGES, CLIENT_MODULES, [images.CLIENT_FILES, HERE / "client"])


def firewall() -> Path:
    """`vmlinuz` and `initrd` of the Linux firewall: Debian's cloud kernel, nftables and a shell script."""
    return guest("linux-firewall", FIREWALL_PACKAGES, FIREWALL_MODULES, [HERE / "firewall"])


def guest(name: str, packages: list[str], modules: list[str], files: list[Path]) -> Path:
    """A domU of Debian's cloud kernel and an initrd of `packages`, `modules` and all `files` at its top."""
    kernels = images.client_archives() / "boot"

    def fetch(work: Path) -> None:
        with images.scratch() as index:
            debian.Release(images.CLIENT_RELEASE, index).fetch(packages, work)

    inputs: list[str | Path] = [images.DEBIAN_FILE, images.CLIENT_RELEASE, *packages]
    archives = cache.made(f"{name}-archives", inputs, fetch) / "archives"

    def make(work: Path) -> None:
        with images.scratch() as root, images.unpacked(kernels, "linux-image-*-cloud-amd64_*.deb") as kernel:
            images.merged_root(root)
            wanted = [path for path in archives.glob("*.deb") if not path.name.startswith(tuple(SCRIPTING))]
            debian.unpack(wanted, root, *images.UNNEEDED)
            (image,) = (kernel / "boot").glob("vmlinuz-*")
            shutil.copy(image, work / "vmlinuz")
            images.copy_modules(kernel, modules, root / "modules")
            images.link(root / "usr/bin/nc", "nc.openbsd")
            images.link_applets(root)
            for file in (file for folder in files for file in folder.iterdir()):
                shutil.copy(file, root / file.name)
            images.pack(root, work / "initrd")

    inputs = [Path(__file__), images.THIS_FILE, archives.parent.name, kernels.parent.name, *files]
    return cache.made(name, [*inputs, *modules], make)
