"""Ravelin in 16 MB with several clients, each a domain of its own, attached by xl as users do."""

from .bed import report, say
from .domain import Client
from .firewall import GATEWAY, RAVELIN, UPLINK, Firewall
from .hypervisor import DOM0, Hypervisor
from .xenstore import Store

FIRST_ADDRESS = 11
CLIENT_MB = 128
CONNECT_SECONDS = 60


def crowd(store: Store, hypervisor: Hypervisor, names: list[str]) -> None:
    """Connects all clients and has each ping the uplink."""
    firewall = Firewall(RAVELIN)
    state = f"/local/domain/{DOM0}/backend/vif/{firewall.number}/0/state"
    store.watch(state)
    store.await_value(state, "4", CONNECT_SECONDS)
    clients = []
    for place, name in enumerate(names):
        address = f"10.137.0.{FIRST_ADDRESS + place}"
        mac = f"00:16:3e:00:01:{FIRST_ADDRESS + place:02x}"
        vif = f"vif=['mac={mac},backend=fw,ip={address},script=/bin/true']"
        clients.append((Client(store, name, CLIENT_MB, vif), address))
    for client, address in clients:
        client.run(f"/plug {address} {GATEWAY} && ping -c 2 -w 20 {UPLINK}")
        say(f"{client.name} is connected")
    memory = hypervisor.memory_kib(firewall.number)
    report("ravelin", 0, "clients", {"clients": len(clients), "memory_kib": memory})
