"""Hosts joined by wires: client, server and router as network namespaces that end with whoever holds them.

`loopback` is one host; `pair` has a wire from each client host to the server; `routed` one from each client host to the
router, and one from there to the server. A wire is a veth pair without ARP and with the same hardware address at both
ends: no packet of a burst waits for, or is lost with, an address not yet resolved.

Which addresses there are says `addresses`, what goes over a wire at what cost `links`, what the router lets through
`firewall`, kernel settings `sysctls`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab import kernel, links, sysctls
from ftpstorm.lab.addresses import (
    client_addresses,
    client_network,
    everywhere,
    router_addresses,
    server_addresses,
    server_network,
    single,
)
from ftpstorm.lab.commands import Batch, Commands
from ftpstorm.lab.firewall import ruleset
from ftpstorm.lab.hosts import Host, current_network, new_network
from ftpstorm.scenario.lab import Lab, Link
from ftpstorm.vocabulary import Side

WIRE: Final = "eth0"
"""The interface of a host that has one wire. A host with several names each by what is at its other end."""
HARDWARE: Final = "02:00:00:00:00:01"
"""At both ends of each wire: a locally administered address (IEEE 802, U/L bit)."""
CONTROL_PORT: Final = 21
CARRIER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Network:
    """What `build` made. The hosts' descriptors are open until it ends."""

    clients: tuple[Host, ...]
    server: Host
    router: Host | None
    settings: Mapping[str, Mapping[str, str]]
    """Host name to full sysctl name to the value read back, of all that the lab set."""
    log: str
    """The commands that were run, host by host."""

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, clients first. With `topology: loopback` client and server share one namespace."""
        return (*self.clients, *((self.router,) if self.router else ()), self.server)


@contextlib.contextmanager
def build(lab: Lab, *, control_port: int = CONTROL_PORT) -> Iterator[Network]:
    """Make the network of `lab` and give it; call it in a private namespace (`namespaces.start_private`).

    The calling process's own network becomes client-0, so that it can be the first client as it is. On the way out it
    is cut off and gets its settings back; only what load left in it, TIME_WAIT above all, stays. The other hosts end
    with their last descriptor and process. `control_port` is the server's, which a firewall always admits. Call it from
    the main thread: commands are run. Raises EnvironmentUnavailableError for a missing program (with its package), a
    kernel setting that does not hold, and what this kernel cannot do.
    """
    with contextlib.ExitStack() as owned:
        commands = Commands()
        clients, server, router = _hosts(lab, owned)
        apart = [*clients, *([router] if router else []), *([server] if lab.topology != "loopback" else [])]
        owned.callback(_cut_off, lab, clients[0], commands)
        for host in apart:
            if host is clients[0]:
                owned.enter_context(
                    sysctls.restored(host, sysctls.defaults(lab, host.side) | sysctls.asked(lab, host.side))
                )
            sysctls.apply(host, sysctls.defaults(lab, host.side))
        if lab.topology == "loopback":
            commands.run([Batch(server, "ip", _on_loopback(lab))])
        else:
            _join(lab, clients, server, router, commands)
        if router is not None:
            commands.run([Batch(router, "nft", ruleset(lab, control_port))])
        settings = {}
        for host in apart:
            asked = sysctls.asked(lab, host.side)
            sysctls.apply(host, asked)
            settings[host.name] = sysctls.verify(host, sysctls.defaults(lab, host.side) | asked)
        settings.setdefault(server.name, settings[clients[0].name])
        yield Network(clients, server, router, settings, "".join(commands.log))


def _hosts(lab: Lab, owned: contextlib.ExitStack) -> tuple[tuple[Host, ...], Host, Host | None]:
    """Make the namespaces, whose descriptors `owned` closes."""

    def kept(netns: int) -> int:
        owned.callback(os.close, netns)
        return netns

    home = kept(current_network())
    clients = tuple(
        Host(f"client-{number}", Side.CLIENT, kept(new_network()) if number else home, client_addresses(lab, number))
        for number in range(lab.clients)
    )
    alone = lab.topology == "loopback"
    server = Host("server", Side.SERVER, home if alone else kept(new_network()), server_addresses(lab))
    router = (
        Host("router", Side.ROUTER, kept(new_network()), router_addresses(lab)) if lab.topology == "routed" else None
    )
    return clients, server, router


def _on_loopback(lab: Lab) -> str:
    """Return the lines for ``ip -batch`` that give `lo` the addresses of client and server, "" where 127.0.0.1 does."""
    if not lab.own_address:
        return ""
    return _text([f"address add {single(lab, address)} dev lo" for address in server_addresses(lab)])


def _cut_off(lab: Lab, client: Host, commands: Commands) -> None:
    """Take away what the calling process's own network got: at once, not when the kernel ends the other hosts."""
    lines = [f"link delete dev {WIRE}"]
    if lab.topology == "loopback":
        lines = [
            f"address delete {single(lab, address)} dev lo" for address in server_addresses(lab) if lab.own_address
        ]
    with contextlib.suppress(EnvironmentUnavailableError):  # a lab that failed half way may have no wire yet
        commands.run([Batch(client, "ip", _text(lines))])


def _join(lab: Lab, clients: Sequence[Host], server: Host, router: Host | None, commands: Commands) -> None:
    """Lay the wires from each client host to the server, or to the router and from there on; wait until they carry."""
    hub = router or server
    ends = {client.name: client for client in clients} | ({} if router is None else {server.name: server})
    lines = []
    for name, host in ends.items():
        lines.append(
            f"link add name {name} address {HARDWARE} type veth "
            f"peer name {WIRE} address {HARDWARE} netns /proc/self/fd/{host.netns}"
        )
        lines.append(_up(name))
    lines += _hub_addresses(lab, router, server)
    source = router.addresses if router is not None else (server.addresses[0],) * 2
    lines += [
        f"route add {client_network(lab, number)} dev {client.name} src {source[1]}"
        for number, client in enumerate(clients)
    ]
    if router is not None:
        lines.append(f"route add {server_network(lab)} dev {server.name} src {source[0]}")
    commands.run([Batch(hub, "ip", _text(lines), tuple(host.netns for host in ends.values()))])
    commands.run([Batch(host, "ip", _text(_end_lines(lab, host))) for host in ends.values()])
    _wait_for_carrier({hub: tuple(ends)} | dict.fromkeys(ends.values(), (WIRE,)))
    if lab.link is not None:
        _slow_down(lab, lab.link, clients, server, router, commands)


def _hub_addresses(lab: Lab, router: Host | None, server: Host) -> list[str]:
    if router is None:
        return [f"address add {single(lab, address)} dev lo" for address in server.addresses]
    to_server, to_clients = router.addresses
    return [f"address add {single(lab, to_server)} dev {server.name}", f"address add {single(lab, to_clients)} dev lo"]


def _end_lines(lab: Lab, host: Host) -> list[str]:
    """Return the lines for a host with one wire: its addresses, and that everything lies behind the wire."""
    return [
        _up(WIRE),
        *(f"address add {single(lab, address)} dev {WIRE}" for address in host.addresses),
        f"route add {everywhere(lab)} dev {WIRE} src {host.addresses[0]}",
    ]


def _up(interface: str) -> str:
    return f"link set dev {interface} arp off addrgenmode none up"


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _wait_for_carrier(interfaces: Mapping[Host, Sequence[str]]) -> None:
    """Return when all interfaces are running: before that the kernel drops what they are to send (linkwatch)."""
    deadline = time.monotonic() + CARRIER_S
    for host, names in interfaces.items():
        with host.entered():
            for name in names:
                while not kernel.interface_flags(name) & kernel.IFF_RUNNING:
                    if time.monotonic() > deadline:
                        raise EnvironmentUnavailableError(
                            f"lab: {name} on {host.name} has no carrier {CARRIER_S:g} s after both ends were up"
                        )
                    time.sleep(0.001)


def _slow_down(
    lab: Lab, link: Link, clients: Sequence[Host], server: Host, router: Host | None, commands: Commands
) -> None:
    """Put delay, loss and rate on the way, each direction: each client's wire, or the one between router and server."""
    if router is not None:
        places: list[tuple[Host, tuple[str, ...]]] = [(router, (server.name,)), (server, (WIRE,))]
    else:
        places = [(server, tuple(client.name for client in clients)), *((client, (WIRE,)) for client in clients)]
    batches = [Batch(host, "tc", "".join(links.qdiscs(link, name) for name in names)) for host, names in places]
    try:
        commands.run(batches)
    except EnvironmentUnavailableError as error:
        raise EnvironmentUnavailableError(links.missing(link, str(error))) from None
