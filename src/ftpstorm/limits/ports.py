"""The client's local ports: how many connections the 4-tuple or the port space holds, and what rate that bears."""

from __future__ import annotations

from typing import Final, Literal

from ftpstorm.limits.limit import Limit, Symbol
from ftpstorm.limits.timewait import Hold
from ftpstorm.vocabulary import Cause, Side

SOURCE: Final = (
    "Linux net/ipv4/inet_hashtables.c (__inet_hash_connect), "
    "net/ipv4/inet_connection_sock.c (inet_csk_find_open_port), "
    "Documentation/networking/ip-sysctl.rst (ip_local_port_range), ip(7) IP_BIND_ADDRESS_NO_PORT"
)

LINUX_EPHEMERAL_RANGE: Final = (32_768, 60_999)
"""The kernel's default ip_local_port_range: 28,232 ports."""

Space = Literal["4-tuple", "port"]
"""Where a local port is drawn from: at connect() (4-tuple), or by bind((address, 0)) before it (port)."""

EADDRNOTAVAIL: Final = 99
"""What connect() answers when the 4-tuple space is empty (Linux)."""
EADDRINUSE: Final = 98
"""What bind() answers when the port space is empty (Linux)."""


def ephemeral_ports(first: int, last: int, reserved: int = 0) -> int:
    """Return P = last - first + 1 - reserved: the ports of ip_local_port_range less ip_local_reserved_ports.

    Worked number: 32768 to 60999 is 28,232. Raises ValueError for an empty or impossible range.
    """
    if not 1 <= first <= last <= 65_535:
        raise ValueError(f"{first}-{last}: a range is 1 <= first <= last <= 65535")
    count = last - first + 1 - reserved
    if reserved < 0 or count < 1:
        raise ValueError(f"{reserved} reserved ports in {first}-{last}: at least one port must be left")
    return count


def four_tuple_budget(ports: int, sources: int = 1, destinations: int = 1) -> int:
    """Return B = P_even x S x D: connections that connect() can tell apart by their local port.

    The kernel searches an even number of ports, so P_even is P rounded down to an even number (1 stays 1). A
    destination is an address and a port. Worked number: 28,232 ports, 1 source, 2 destinations: 56,464.
    """
    _positive(ports=ports, sources=sources, destinations=destinations)
    return (ports - ports % 2 if ports > 1 else ports) * sources * destinations


def port_space_budget(ports: int, sources: int = 1, owned: int = 0) -> int:
    """Return B = P x S - owned: ports that bind((address, 0)) can still give.

    A port that anybody owns in any state, TIME_WAIT included, is gone for all destinations. Worked number: 20 ports,
    one source, 5 destinations: 20 connections where the 4-tuple space holds 100.
    """
    _positive(ports=ports, sources=sources)
    if owned < 0:
        raise ValueError(f"owned {owned}: must be 0 or more")
    return max(0, ports * sources - owned)


def client_ports_limit(
    *,
    subject: str,
    ports: int,
    life_s: float,
    hold: Hold,
    sources: int = 1,
    destinations: int = 1,
    space: Space = "4-tuple",
    owned: int = 0,
) -> Limit:
    """Return what the client's local ports bear: R = B/(T + C) connections a second, B at one time.

    Arguments: `ports` P of the ephemeral range; `life_s` C, mean seconds a connection is open; `hold` T, how long the
    client's own side keeps the 4-tuple afterwards (0 where the server closes first); `sources` S and `destinations` D,
    addresses and address-port pairs; `owned` ports that others have (port space only). R is None where T + C is 0.

    Worked number: 28,232 ports to one destination, client closes first, T = 61 s, C = 0: 462.8 connections a second,
    between 454.8 and 470.4.
    """
    if life_s < 0:
        raise ValueError(f"life_s {life_s}: must be 0 or more")
    four = space == "4-tuple"
    budget = four_tuple_budget(ports, sources, destinations) if four else port_space_budget(ports, sources, owned)
    round_s = hold.effective_s + life_s
    spread = hold.high_s > hold.low_s
    symbols = {
        "B": Symbol(value=budget, unit="connections", meaning="connections that can be told apart"),
        "P": Symbol(value=ports, unit="ports", meaning="ephemeral ports of the client"),
        "S": Symbol(value=sources, unit="addresses", meaning="source addresses of the client"),
        "T": Symbol(value=hold.effective_s, unit="s", meaning="time the client's side keeps the port after the close"),
        "C": Symbol(value=life_s, unit="s", meaning="mean life of a connection"),
    }
    if four:
        symbols["D"] = Symbol(value=destinations, unit="pairs", meaning="destination (address, port) pairs")
    else:
        symbols["O"] = Symbol(value=owned, unit="ports", meaning="ports that others own, in any state")
    return Limit(
        name=Cause.CLIENT_EPHEMERAL_PORTS if four else Cause.CLIENT_BIND_HABIT,
        side=Side.CLIENT,
        subject=subject,
        applies=True,
        per_s=budget / round_s if round_s else None,
        concurrent=budget,
        interval=(budget / (hold.high_s + life_s), budget / (hold.low_s + life_s))
        if spread and hold.low_s + life_s
        else None,
        equation="R = B/(T + C), B = P_even x S x D" if four else "R = B/(T + C), B = P x S - O",
        symbols=symbols,
        assumptions=(
            f"T: {hold.why}",
            "nobody else uses the range"
            if four
            else "all ports of the range belong to this client, drawn by bind before connect",
            "connections are spread evenly over source addresses and destinations",
        ),
        source=SOURCE,
    )


def _positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} {count}: must be at least 1")
