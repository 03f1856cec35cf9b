"""What stands between the hosts: source NAT, connection tracking, a firewall's caps and rates."""

from __future__ import annotations

from typing import Final

from ftpstorm.limits.connections import LITTLE
from ftpstorm.limits.limit import Limit, Symbol
from ftpstorm.limits.timewait import NO_HOLD, Hold
from ftpstorm.vocabulary import Cause, Side

NAT_SOURCE: Final = (
    "Linux net/netfilter/nf_nat_core.c (get_unique_tuple: a mapping is unique for each destination address and port); "
    "Documentation/networking/nf_conntrack-sysctl.rst (nf_conntrack_tcp_timeout_time_wait, 120 s)"
)
CONNTRACK_SOURCE: Final = (
    "Documentation/networking/nf_conntrack-sysctl.rst (nf_conntrack_max, nf_conntrack_tcp_timeout_time_wait); "
    "Linux net/netfilter/nf_conntrack_core.c (early_drop)"
)

CONNTRACK_TIME_WAIT_S: Final = 120.0
"""nf_conntrack_tcp_timeout_time_wait by default."""

CLASHES_EVICTED_SINCE: Final = (6, 5)
"""Kernel from about which a closed entry makes room for a new mapping on its tuple; 6.18 was measured."""


def nat_hold(kernel: tuple[int, int] | None, timeout_s: float = CONNTRACK_TIME_WAIT_S) -> Hold:
    """Return how long a closed connection keeps its translated port.

    0 from Linux 6.5 on: a closed entry is evicted when its tuple is wanted (measured on 6.18). Before it, and for an
    unknown kernel (None), 0 to nf_conntrack_tcp_timeout_time_wait (`timeout_s`), the longer taken as effective: that is
    what the code says and nobody measured here.
    """
    if timeout_s < 0:
        raise ValueError(f"timeout_s {timeout_s}: must be 0 or more")
    if kernel is not None and kernel >= CLASHES_EVICTED_SINCE:
        return Hold(0.0, 0.0, 0.0, "a closed entry makes room for a new one on its tuple (Linux 6.5 and later)")
    which = "unknown kernel" if kernel is None else f"Linux {kernel[0]}.{kernel[1]}"
    why = (
        f"{which}: before about 6.5 closed entries keep the port for nf_conntrack_tcp_timeout_time_wait (not measured)"
    )
    return Hold(timeout_s, 0.0, timeout_s, why)


def nat_limit(
    ports: int,
    connection_s: float,
    hold: Hold = NO_HOLD,
    *,
    addresses: int = 1,
    destinations: int = 1,
    subject: str = "connections translated by the router",
) -> Limit:
    """Return what source NAT bears: R = B/(T + C), B = R_n x A x D connections at one time.

    R_n = `ports` that it may translate to, A = `addresses` of its own, D = `destinations`, (address, port) pairs: a
    mapping must be unique only for each of them. C = `connection_s`, mean life of a connection, half-closed time
    included; T = `hold`, see `nat_hold`. Beyond B, SYNs are dropped without an answer: connect times out.

    Worked numbers: 100 ports, one destination, C = 10 s: 10 connections a second, 100 at one time. With C = 0 and T =
    120 s: 0.833, and no bound where closed entries make room.
    """
    if ports < 1 or addresses < 1 or destinations < 1 or connection_s < 0:
        raise ValueError("ports, addresses and destinations are 1 or more, and a life 0 or longer")
    budget = ports * addresses * destinations
    round_s = hold.effective_s + connection_s
    spread = hold.high_s > hold.low_s and hold.low_s + connection_s > 0
    return Limit(
        name=Cause.NAT_POOL,
        side=Side.ROUTER,
        subject=subject,
        applies=True,
        per_s=budget / round_s if round_s else None,
        concurrent=budget,
        interval=(budget / (hold.high_s + connection_s), budget / (hold.low_s + connection_s)) if spread else None,
        equation="R = B/(T + C), B = R_n x A x D",
        symbols={
            "B": Symbol(value=budget, unit="connections", meaning="mappings that can be told apart"),
            "R_n": Symbol(value=ports, unit="ports", meaning="ports that the router may translate to"),
            "A": Symbol(value=addresses, unit="addresses", meaning="addresses of the router that it translates to"),
            "D": Symbol(value=destinations, unit="pairs", meaning="destination (address, port) pairs"),
            "T": Symbol(value=hold.effective_s, unit="s", meaning="time a closed connection keeps its mapping"),
            "C": Symbol(value=connection_s, unit="s", meaning="mean life of a connection"),
        },
        assumptions=(f"T: {hold.why}", "nobody else's connections go through this router"),
        source=NAT_SOURCE,
    )


def conntrack_limit(
    entries: int, connection_s: float, *, timeout_s: float = CONNTRACK_TIME_WAIT_S, closed_make_room: bool = True
) -> Limit:
    """Return what the table of tracked connections bears: M at one time, R = M/C a second, at the least M/(T + C).

    M = `entries`, nf_conntrack_max; C = `connection_s`; T = `timeout_s`, nf_conntrack_tcp_timeout_time_wait. A full
    table drops closed entries early to make room (`closed_make_room`), so T counts only where that is off. Beyond it
    the kernel logs 'nf_conntrack: table full, dropping packet' and the SYN is lost.

    Worked numbers: 262,144 entries, C = 1 s: 262,144 a second, or 2,166 where closed entries stay 120 s.
    """
    if entries < 1 or connection_s < 0 or timeout_s < 0:
        raise ValueError("a table has at least one entry, and times are 0 or more")
    hold_s = 0.0 if closed_make_room else timeout_s
    low = entries / (timeout_s + connection_s) if timeout_s + connection_s else None
    rate = entries / (hold_s + connection_s) if hold_s + connection_s else None
    return Limit(
        name=Cause.NAT_POOL,
        side=Side.ROUTER,
        subject="connections that the router keeps track of",
        applies=True,
        per_s=rate,
        concurrent=entries,
        interval=(low, rate) if low is not None and rate is not None and low < rate else None,
        equation="R = M/(T + C)",
        symbols={
            "M": Symbol(value=entries, unit="entries", meaning="nf_conntrack_max"),
            "T": Symbol(
                value=hold_s, unit="s", meaning="time a closed connection keeps its entry when the table is full"
            ),
            "C": Symbol(value=connection_s, unit="s", meaning="mean life of a connection"),
        },
        assumptions=(
            "a full table drops closed entries early"
            if closed_make_room
            else "closed entries stay until their timeout",
            "control and data connections are an entry each",
        ),
        source=CONNTRACK_SOURCE,
    )


def connection_count_limit(count: int, session_s: float, clients: int = 1) -> Limit:
    """Return what a firewall's cap on each client address bears: R = K x S/L sessions a second, K x S at one time.

    K = `count` connections of one address, S = `clients` addresses, L = `session_s`. Worked number: 10 for each
    address, one address, sessions of 2.5 s: 4 a second.
    """
    if count < 1 or clients < 1 or session_s < 0:
        raise ValueError("count and clients are 1 or more, and a session lasts 0 or longer")
    return Limit(
        name=Cause.PER_ADDRESS_LIMIT,
        side=Side.ROUTER,
        subject="control connections that the firewall lets one address have",
        applies=True,
        counts="sessions",
        per_s=count * clients / session_s if session_s else None,
        concurrent=count * clients,
        equation="R = K x S/L",
        symbols={
            "K": Symbol(value=count, unit="connections", meaning="connections of one client address at one time"),
            "S": Symbol(value=clients, unit="addresses", meaning="client addresses"),
            "L": Symbol(value=session_s, unit="s", meaning="mean time a session is open"),
        },
        assumptions=("sessions are spread evenly over the client's addresses",),
        source=f"nft(8) ct count; {LITTLE}",
    )


def new_connection_rate_limit(per_s: float, burst: int = 5) -> Limit:
    """Return what a firewall's rate bears: R = A sessions a second, with `burst` more at the start (token bucket).

    Worked number: 50 a second, burst 5: 50 a second.
    """
    if per_s <= 0 or burst < 0:
        raise ValueError("a rate is above 0 and a burst 0 or more")
    return Limit(
        name=Cause.PER_ADDRESS_LIMIT,
        side=Side.ROUTER,
        subject="new control connections that the firewall lets through",
        applies=True,
        counts="sessions",
        per_s=per_s,
        equation="R = A; b more at the start",
        symbols={
            "A": Symbol(value=per_s, unit="1/s", meaning="new connections that pass a second"),
            "b": Symbol(value=burst, unit="connections", meaning="depth of the token bucket"),
        },
        assumptions=("those beyond it are refused, and not asked again",),
        source="nft(8) limit rate (a token bucket; burst 5 packets by default)",
    )
