"""How the load generator connects, and how long it waits."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from ftpstorm.scenario.types import DurationNs, Frozen
from ftpstorm.units import NS_PER_S

ADDRESSES_MAX: Final = 65_535
"""Source addresses of one scenario: their index in records has two bytes."""


LAB_ADDRESSES: Final = "lab"
"""Entry of `source_addresses` that stands for all addresses of the lab's client hosts."""


def parse_port_range(text: str) -> tuple[int, int]:
    """Return first and last port of ``first-last``. Raises ValueError."""
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last) <= 65_535):
        raise ValueError("must be first-last with 1 <= first <= last <= 65535, such as 40000-40019")
    return int(first), int(last)


def _port_range(text: str) -> str:
    parse_port_range(text)
    return text


PortRange = Annotated[str, Field(pattern=r"^\d+-\d+$"), AfterValidator(_port_range)]


@lru_cache(maxsize=64)
def expand_addresses(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses that `entries` (addresses and networks in CIDR notation) mean, each once, in their order.

    LAB_ADDRESSES stays as it is: what it means shows where the lab is known. Of a network its host addresses count:
    neither the network's own nor the broadcast address, except in /31, /32, /127 and /128. Raises ValueError for what
    is neither, and above ADDRESSES_MAX.
    """
    addresses: dict[str, None] = {}
    for entry in entries:
        if entry == LAB_ADDRESSES:
            addresses[entry] = None
            continue
        network = ipaddress.ip_network(entry, strict=False) if "/" in entry else None
        if network is None:
            addresses[str(ipaddress.ip_address(entry))] = None
        elif network.num_addresses - 2 > ADDRESSES_MAX:
            raise ValueError(f"{entry} has more than {ADDRESSES_MAX} addresses")
        else:
            addresses.update((str(address), None) for address in network.hosts())
    if len(addresses) > ADDRESSES_MAX:
        raise ValueError(f"more than {ADDRESSES_MAX} addresses")
    return tuple(addresses)


class Timeouts(Frozen):
    """Deadline of each phase."""

    connect: DurationNs = "5s"  # type: ignore[assignment]  # validated from text
    """From SYN to SYN-ACK, of control and of data connections."""
    greeting: DurationNs = "5s"  # type: ignore[assignment]
    """From the connection to the 220."""
    reply: DurationNs = "10s"  # type: ignore[assignment]
    """From a command to its reply."""
    data: DurationNs = "10s"  # type: ignore[assignment]
    """Longest silence on a data connection, and longest wait for the final reply after it."""


class Client(Frozen):
    """How the load generator connects."""

    driver: Literal["storm", "aioftp"] = "storm"
    """`aioftp` runs the same flows on aioftp.Client, a client that others wrote: a cross-check, slower by far. What it
    cannot do is refused."""
    mode: Literal["epsv", "pasv", "auto", "active", "eprt"] = "auto"
    """How data connections are asked for; `auto` tries EPSV and falls back to PASV after 500, 502 or 522. `active`:
    listen, and have the server connect, with PORT over IPv4 and EPRT over IPv6; `eprt` uses EPRT over both. PASV and
    PORT do not know IPv6: over it, `pasv` fails as unsupported and `auto` never falls back."""
    active_ports: PortRange | None = None
    """Ports that active mode listens on, such as `40000-40019`, taken in turn and bound without SO_REUSEADDR: one whose
    connection is open or in TIME_WAIT is taken, and a range used up fails as local-ports-exhausted. All workers share
    it. null: the kernel's choice. Only connections from the control peer's address are taken, unless
    `pasv_address: reply`."""
    bind: Literal["kernel", "no-port", "port"] = "kernel"
    """`kernel`: the kernel draws the port at connect (4-tuple space); `no-port`: source address fixed, port drawn at
    connect; `port`: bind first (port space)."""
    source_addresses: tuple[str, ...] = ()
    """Local addresses, or networks such as `10.0.0.0/28` that stand for all their host addresses; spread evenly over
    sessions. `[lab]` are all addresses of the lab's client hosts: a session uses those of the host that its worker runs
    on."""
    data_source: Literal["same", "other"] = "same"
    """Whether a session's data connections come from its control connection's address, or, to try a server's check for
    that, from the next one of `source_addresses`."""
    port_range: PortRange | None = None
    """An ephemeral range of one's own, such as `40000-40019`, for all connections that the load makes: no root needed,
    Linux 6.3 or later (IP_LOCAL_PORT_RANGE, ip(7)). It must lie inside net.ipv4.ip_local_port_range; a run whose kernel
    ignores it is refused."""
    keepalive: DurationNs | None = None
    """Send TCP keepalive probes on control after so long a silence, at least 1s; null: none."""
    greeting_nudge: DurationNs | None = None
    """After so long a silence before the greeting, send one NOOP, and ignore its answer. It tells ghosts from slow
    servers. A connection that the peer knows nothing of (any more) is answered with RST: greeting-reset. Where silence
    goes on, greeting-silent has errno 110 (ETIMEDOUT) when nobody has acknowledged the NOOP: the server's kernel holds
    no such connection, a ghost of a full backlog; and errno 0 when it was acknowledged: the connection is there, the
    server does not serve it. A full backlog that has room again may take a nudged ghost in after all."""
    pasv_address: Literal["control-peer", "reply", "refuse"] = "control-peer"
    """When a PASV reply names another host: connect to the control peer, to that host, or fail with protocol-error."""
    timeouts: Timeouts = Timeouts()

    @model_validator(mode="after")
    def _bind_needs_address(self) -> Client:
        if self.bind != "kernel" and not self.source_addresses:
            raise ValueError(f"`bind: {self.bind}` needs `source_addresses`")
        if LAB_ADDRESSES in self.source_addresses and len(self.source_addresses) > 1:
            raise ValueError(f"`source_addresses: [{LAB_ADDRESSES}]` stands alone: it names all addresses there are")
        if self.data_source == "other" and len(self.addresses) < 2 and LAB_ADDRESSES not in self.source_addresses:
            raise ValueError("`data_source: other` needs two `source_addresses` or more")
        if self.keepalive is not None and self.keepalive < NS_PER_S:
            raise ValueError("`keepalive` must be at least 1s")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """Source addresses, networks expanded."""
        return expand_addresses(self.source_addresses)
