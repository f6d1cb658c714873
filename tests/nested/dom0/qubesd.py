"""What dom0's qubesd writes to the QubesDB of a firewall qube, in its order (core-admin: qubesvm.py, net.py, firewall.py).

    qubesd.py SOCKET create [NAME=VALUE…]     all keys of a qube that provides network; see SETTINGS
    qubesd.py SOCKET rules ADDRESS [RULE…]    a client's rules, and the trigger; a RULE of `-` is one that has expired
    qubesd.py SOCKET connected [ADDRESS…]     the addresses of its clients, running or not
    qubesd.py SOCKET mapped ADDRESS [VISIBLE GATEWAY]   the address that a client believes to have, or none
    qubesd.py SOCKET write PATH VALUE | rm PATH | read PATH | list [PREFIX]

SOCKET is where the qube's daemon listens (qubesdb.py). `rules` and `write` print the seconds of the clock when the last
key was written.
"""

import binascii
import os
import sys
import time

from qubesdb_wire import Local

# What `create` takes: the gateway that clients are told, and the qube's own address and gateway. Without `ip` it has no netvm.
SETTINGS = {"gateway": "10.137.0.1", "ip": "", "uplink": ""}
# Every netvm up to the last one has the same.
RESOLVERS = {"primary": "10.139.1.1", "secondary": "10.139.1.2"}


def create(database: Local, settings: dict[str, str]) -> None:
    """create_qdb_entries. What extensions write comes after it."""
    write = database.write
    write("/name", "fw")
    write("/type", "StandaloneVM")
    write("/default-user", "user")
    write("/qubes-vm-updateable", "True")
    write("/qubes-vm-persistence", "full")
    write("/qubes-debug-mode", "0")
    write("/qubes-base-template", "")
    write("/qubes-random-seed", binascii.b2a_base64(os.urandom(64), newline=False).decode())
    write("/qubes-netvm-network", settings["gateway"])
    write("/qubes-netvm-gateway", settings["gateway"])
    write("/qubes-netvm-netmask", "255.255.255.255")
    for name, address in RESOLVERS.items():
        write(f"/qubes-netvm-{name}-dns", address)
    if settings["ip"]:
        write("/qubes-mac", "00:16:3e:5e:6c:00")
        write("/qubes-ip", settings["ip"])
        write("/qubes-netmask", "255.255.255.255")
        write("/qubes-gateway", settings["uplink"])
        for name, address in RESOLVERS.items():
            write(f"/qubes-{name}-dns", address)
    write("/qubes-timezone", "UTC")
    write("/qubes-block-devices", "")
    write("/qubes-usb-devices", "")


def extensions(database: Local, netvm: bool) -> None:
    """What extensions add when the qube is started."""
    database.write("/qubes-service/meminfo-writer", "0")
    database.write("/qubes-vm-type", "ProxyVM" if netvm else "NetVM")
    database.write("/qubes-iptables-error", "")
    database.write("/qubes-gui-enabled", "False")
    database.write("/keyboard-layout", "us++")


def rules(database: Local, address: str, listed: list[str]) -> None:
    """reload_firewall_for_vm. The numbers are places in the whole list: what has expired leaves a gap."""
    directory = f"/qubes-firewall/{address}/"
    database.remove(directory)
    database.write(directory + "policy", "drop")
    for number, rule in enumerate(listed):
        if rule != "-":
            database.write(f"{directory}{number:04}", rule)
    database.write(directory[:-1], "")


def connected(database: Local, addresses: list[str]) -> None:
    """reload_connected_ips."""
    database.write("/connected-ips", " ".join(addresses))
    database.write("/connected-ips6", "")


def mapped(database: Local, address: str, visible: list[str]) -> None:
    """set_mapped_ip_info_for_vm."""
    for name, value in zip(("visible-ip", "visible-gateway"), visible or [None, None], strict=True):
        path = f"/mapped-ip/{address}/{name}"
        if value is None:
            database.remove(path)
        else:
            database.write(path, value)


def main(local_path: str, verb: str, *arguments: str) -> int:
    """Does what the command line says; returns the exit status."""
    database = Local(local_path)
    match verb, arguments:
        case "create", _:
            settings = {**SETTINGS, **dict(argument.split("=", 1) for argument in arguments)}
            if unknown := settings.keys() - SETTINGS.keys():
                raise SystemExit(f"create: unknown setting {' '.join(unknown)}")
            create(database, settings)
            extensions(database, bool(settings["ip"]))
        case "rules", (address, *listed):
            rules(database, address, listed)
            print(f"{time.time():.3f}")
        case "connected", _:
            connected(database, list(arguments))
        case "mapped", (address, *visible):
            mapped(database, address, visible)
        case "write", (path, value):
            database.write(path, value)
            print(f"{time.time():.3f}")
        case "rm", (path,):
            return 0 if database.remove(path) else 1
        case "read", (path,):
            if (value := database.read(path)) is None:
                return 1
            print(value)
        case "list", _:
            for path, value in database.entries(*arguments or [""]):
                print(path, value)
        case _:
            raise SystemExit(f"unknown command: {verb} {' '.join(arguments)}")
    return 0


sys.exit(main(*sys.argv[1:]))
