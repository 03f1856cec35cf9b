"""Which addresses the lab's hosts have: pure functions of the scenario's `lab` section.

Client host h has 10.77.h.1 and on, or fd77::h:1 and on (h and the last part in hexadecimal); the server 10.78.0.1 or
fd78::1 and on. The router is 10.79.0.1 or fd79::1 to the server, which is where translated connections come from, and
10.79.1.1 or fd79::1:1 to the clients.
"""

from __future__ import annotations

from ipaddress import IPv6Address

from ftpstorm.scenario.lab import Lab


def client_addresses(lab: Lab, number: int) -> tuple[str, ...]:
    """Return the addresses of client host `number`, from 0. With `topology: loopback` it is the server's first one."""
    if lab.topology == "loopback":
        return server_addresses(lab)[:1]
    last = range(1, lab.client_addresses + 1)
    return tuple(_ipv6(f"fd77::{number:x}:{i:x}") if lab.ipv6 else f"10.77.{number}.{i}" for i in last)


def server_addresses(lab: Lab) -> tuple[str, ...]:
    """Return the addresses that the server is reached at."""
    if lab.topology == "loopback" and not lab.own_address:
        return ("::1" if lab.ipv6 else "127.0.0.1",)
    last = range(1, lab.server_addresses + 1)
    return tuple(f"fd78::{i:x}" if lab.ipv6 else f"10.78.0.{i}" for i in last)


def router_addresses(lab: Lab) -> tuple[str, str]:
    """Return the router's address to the server and the one to the clients."""
    return ("fd79::1", "fd79::1:1") if lab.ipv6 else ("10.79.0.1", "10.79.1.1")


def client_network(lab: Lab, number: int) -> str:
    """Return the network of client host `number` in CIDR notation."""
    return f"fd77:0:0:0:0:0:{number:x}:0/112" if lab.ipv6 else f"10.77.{number}.0/24"


def clients_network(lab: Lab) -> str:
    """Return the network that holds all client hosts, in CIDR notation."""
    return "fd77::/96" if lab.ipv6 else "10.77.0.0/16"


def server_network(lab: Lab) -> str:
    """Return the server's network in CIDR notation."""
    return "fd78::/112" if lab.ipv6 else "10.78.0.0/24"


def everywhere(lab: Lab) -> str:
    """Return the destination of a default route."""
    return "::/0" if lab.ipv6 else "0.0.0.0/0"


def single(lab: Lab, address: str) -> str:
    """Return `address` as ``ip address add`` takes it: alone in its network, and usable at once (`nodad`, IPv6)."""
    return f"{address}/128 nodad" if lab.ipv6 else f"{address}/32"


def _ipv6(text: str) -> str:
    return str(IPv6Address(text))  # the one spelling that the kernel and sockets give back
