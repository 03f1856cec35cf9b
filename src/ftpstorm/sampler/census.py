"""Count the sockets of one network namespace in a single pass: by side and state, by port, by destination.

A *row* is one socket as a dump reports it (`Row`); where rows come from is not known here. Which side a socket belongs
to follows from its local port: a control or passive port of the server makes it the server's, anything else the
client's; so a server whose passive ports lie inside the client's ephemeral range, in the same namespace, is charged
with some of the client's sockets. A namespace that holds one side only says so (`side`): then ports do not matter.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ftpstorm.vocabulary import Side, TcpState

Row = tuple[int, int, int, int, bytes, bytes]
"""One socket: address family, TCP state, local port, remote port, remote address in 16 bytes (an IPv4 address in the
first four), and the two queue lengths as `struct inet_diag_msg` holds them (8 bytes), or b"" where they are unknown."""

QUEUES: Final = struct.Struct("=II")
"""idiag_rqueue and idiag_wqueue; of a LISTEN socket the accept queue's length and its limit (net/ipv4/tcp_diag.c)."""

PASSIVE_KEY: Final = "passive"
"""Stands for all destinations that are passive ports: one key for each would be thousands of short series."""

_OTHER, _EPHEMERAL, _SERVER, _PASSIVE = range(4)
_PORTS: Final = 65_536
_STATES: Final = 256  # a state is one byte on the wire; what TcpState does not name is not counted
_V4_MAPPED: Final = bytes(10) + b"\xff\xff"
_KNOWN_STATES: Final = frozenset(int(state) for state in TcpState)


@dataclass(frozen=True, slots=True)
class Watch:
    """Which ports mean what. Empty `server_ports` and `passive_ports` say that the server is elsewhere."""

    server_ports: frozenset[int] = frozenset()
    """Control ports of the server."""
    passive_ports: frozenset[int] = frozenset()
    """Ports that the server opens for data connections."""
    port_range: tuple[int, int] | None = None
    """The client's ephemeral range, both ends inclusive; None where it is unknown: then nothing is counted in it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Accept queue of one listening port, summed over the sockets that share it."""

    queue: int
    """Connections that wait for accept(2)."""
    backlog: int
    """The queue's limit; the kernel holds one more."""


@dataclass(frozen=True, slots=True)
class Census:
    """All sockets of one namespace at one moment."""

    sockets: int
    """Rows counted."""
    states: dict[Side, dict[TcpState, int]]
    """Sockets by side and state, states without a socket left out. A side that is not in this namespace has no key."""
    ephemeral: int | None
    """Distinct local ports of the ephemeral range in use on the client's side; None where the range is unknown."""
    ephemeral_by_destination: dict[str, int]
    """The same towards one control port (``address:port``) and towards all passive ports (PASSIVE_KEY)."""
    passive: dict[tuple[int, TcpState], int]
    """Sockets on the server's passive ports, by local port and state."""
    listeners: dict[int, Listener]
    """Accept queues of the server's control ports that are listening, where the source knows queue lengths."""


def format_address(family: int, raw: bytes, port: int) -> str:
    """Return ``127.0.0.1:2121`` or ``[::1]:2121`` of a row's address; an IPv4-mapped IPv6 address reads as IPv4."""
    if family == socket.AF_INET:
        return f"{IPv4Address(raw[:4])}:{port}"
    if raw.startswith(_V4_MAPPED):
        return f"{IPv4Address(raw[12:16])}:{port}"
    return f"[{IPv6Address(raw)}]:{port}"


class CensusTaker:
    """Counts rows for one watch and one namespace; holds lookup tables only, so each census is independent."""

    __slots__ = ("_local", "_remote", "_sides", "_watch")

    def __init__(self, watch: Watch, side: Side | None = None) -> None:
        """`side` is the one side that lives in this namespace, or None where the local port decides."""
        self._watch = watch
        server_here = side is not Side.CLIENT
        client_here = side is not Side.SERVER
        self._local = bytearray([_SERVER if side is Side.SERVER else _OTHER]) * _PORTS
        if client_here and watch.port_range is not None:
            first, last = watch.port_range
            self._local[first : last + 1] = bytes([_EPHEMERAL]) * (last + 1 - first)
        self._remote = bytearray(_PORTS)
        for kind, ports in ((_PASSIVE, watch.passive_ports), (_SERVER, watch.server_ports)):
            for port in ports:
                self._remote[port] = kind
                if server_here:
                    self._local[port] = kind
        if side is not None:
            self._sides: tuple[Side, ...] = (side,)
        elif watch.server_ports or watch.passive_ports:
            self._sides = (Side.CLIENT, Side.SERVER)
        else:
            self._sides = (Side.CLIENT,)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that a census of this namespace tells apart."""
        return self._sides

    def count(self, rows: Iterable[Row]) -> Census:
        """Return the census of `rows`. Runs once over them: about half a microsecond a row."""
        local, remote = self._local, self._remote
        client, server = [0] * _STATES, [0] * _STATES
        ports_seen, passive_seen = bytearray(_PORTS), bytearray(_PORTS)
        towards: dict[tuple[int, bytes, int], set[int]] = {}
        passive: dict[int, int] = {}
        listening: list[Row] = []
        listen = int(TcpState.LISTEN)
        for row in rows:
            family, state, sport, dport, dst, _ = row
            kind = local[sport]
            if kind <= _EPHEMERAL:
                client[state] += 1
                if kind:
                    ports_seen[sport] = 1
                    to = remote[dport]
                    if to == _PASSIVE:
                        passive_seen[sport] = 1
                    elif to:
                        destination = (family, dst, dport)
                        known = towards.get(destination)
                        if known is None:
                            known = towards[destination] = set()
                        known.add(sport)
                continue
            server[state] += 1
            if kind == _PASSIVE:
                key = sport << 8 | state
                passive[key] = passive.get(key, 0) + 1
            elif state == listen:
                listening.append(row)
        counted = {Side.CLIENT: client, Side.SERVER: server}
        return Census(
            sockets=sum(client) + sum(server),
            states={
                side: {state: counted[side][state] for state in TcpState if counted[side][state]}
                for side in self._sides
            },
            ephemeral=ports_seen.count(1) if self._watch.port_range is not None else None,
            ephemeral_by_destination=self._destinations(towards, passive_seen.count(1)),
            passive={
                (key >> 8, TcpState(key & 0xFF)): number
                for key, number in passive.items()
                if key & 0xFF in _KNOWN_STATES
            },
            listeners=self.count_queues(listening),
        )

    def count_queues(self, rows: Iterable[Row]) -> dict[int, Listener]:
        """Return the accept queues of the server's control ports among `rows`, which are all in LISTEN."""
        found: dict[int, Listener] = {}
        for _, _, port, _, _, queues in rows:
            if queues and port in self._watch.server_ports:
                queue, backlog = QUEUES.unpack(queues)
                before = found.get(port)
                found[port] = (
                    Listener(before.queue + queue, before.backlog + backlog) if before else Listener(queue, backlog)
                )
        return found

    def _destinations(self, towards: dict[tuple[int, bytes, int], set[int]], passive: int) -> dict[str, int]:
        if self._watch.port_range is None:
            return {}
        # IPv4 and its IPv6-mapped form are one destination, so ports join before they are counted
        by_name: dict[str, set[int]] = {}
        for destination, ports in towards.items():
            by_name.setdefault(format_address(*destination), set()).update(ports)
        counts = {name: len(ports) for name, ports in by_name.items()}
        if passive:
            counts[PASSIVE_KEY] = passive
        return counts
