"""The passive pool: which ports are free, listening, in use or held down after use. Pure: every call is told the time.

A hold-down has no timer. A held port stands in a queue with the instant of its release, and each call first moves the
ports that are due to the free ones: a port is free exactly when ``now_ns >= held_until``. Sockets belong to
`ftpstorm.emulator.dataport`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, Literal

from ftpstorm.vocabulary import PoolState, Side

HoldRule = Literal["any-close", "server-close", "none"]
"""`any-close` holds a port after every data connection; `server-close` only where the server closed first, as the
TIME_WAIT of RFC 9293, 3.6.1 stays with the side that closes first; `none` never."""


class PassivePool:
    """N ports and the state of each. Ports are reused in the order in which they became free.

    `now_ns` is on any one monotonic scale and must not go backwards between calls (ValueError).
    """

    __slots__ = ("_changed", "_counts", "_free", "_held", "_hold_ns", "_now_ns", "_rule", "_states")

    def __init__(self, ports: Iterable[int], *, hold_ns: int = 0, rule: HoldRule = "any-close") -> None:
        """Make a pool of `ports`, all free. `hold_ns` >= 0. Raises ValueError for no port or one given twice."""
        self._free = deque(ports)
        self._states = dict.fromkeys(self._free, PoolState.FREE)
        if not self._free or len(self._states) != len(self._free):
            raise ValueError("a pool needs at least one port, and each once")
        if hold_ns < 0:
            raise ValueError(f"a hold-down of {hold_ns} ns is negative")
        self._hold_ns: Final = hold_ns
        self._rule: Final = rule
        self._held: deque[tuple[int, int]] = deque()
        self._counts = dict.fromkeys(PoolState, 0)
        self._counts[PoolState.FREE] = len(self._free)
        self._changed = dict.fromkeys(self._free)
        self._now_ns: int | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port of the pool, in the order given."""
        return tuple(self._states)

    def reserve(self, now_ns: int) -> int | None:
        """Take the port that has been free longest and call it listening; None when no port is free."""
        self._release_due(now_ns)
        if not self._free:
            return None
        port = self._free.popleft()
        self._become(port, PoolState.LISTENING)
        return port

    def give_back(self, port: int, now_ns: int) -> None:
        """Free a listening port that nobody connected to: no connection ended, so there is no hold-down."""
        self._release_due(now_ns)
        self._expect(port, PoolState.LISTENING)
        self._become(port, PoolState.FREE)
        self._free.append(port)

    def connected(self, port: int, now_ns: int) -> None:
        """Note that a listening port has accepted its data connection."""
        self._release_due(now_ns)
        self._expect(port, PoolState.LISTENING)
        self._become(port, PoolState.IN_USE)

    def ended(self, port: int, now_ns: int, closed_by: Side) -> None:
        """Note that the data connection of a port ended, closed first by `closed_by`; hold it down by the rule."""
        self._release_due(now_ns)
        self._expect(port, PoolState.IN_USE)
        if self._hold_ns and (self._rule == "any-close" or (self._rule == "server-close" and closed_by is Side.SERVER)):
            self._become(port, PoolState.HELD)
            self._held.append((now_ns + self._hold_ns, port))
        else:
            self._become(port, PoolState.FREE)
            self._free.append(port)

    def state(self, port: int, now_ns: int) -> PoolState:
        """Return the state of one port. Raises KeyError for a port that is not in the pool."""
        self._release_due(now_ns)
        return self._states[port]

    def counts(self, now_ns: int) -> dict[PoolState, int]:
        """Return how many ports are in each state; the values add up to the size of the pool."""
        self._release_due(now_ns)
        return dict(self._counts)

    def take_changes(self, now_ns: int) -> dict[int, PoolState]:
        """Return the present state of each port that changed since the last call; the first call returns all ports."""
        self._release_due(now_ns)
        changes = {port: self._states[port] for port in self._changed}
        self._changed.clear()
        return changes

    def _become(self, port: int, state: PoolState) -> None:
        self._counts[self._states[port]] -= 1
        self._counts[state] += 1
        self._states[port] = state
        self._changed[port] = None

    def _expect(self, port: int, state: PoolState) -> None:
        if self._states.get(port) is not state:
            raise ValueError(f"port {port} is {self._states.get(port)!r}, not {state!r}")

    def _release_due(self, now_ns: int) -> None:
        if self._now_ns is not None and now_ns < self._now_ns:
            raise ValueError(f"time went back by {self._now_ns - now_ns} ns")
        self._now_ns = now_ns
        while self._held and self._held[0][0] <= now_ns:
            _, port = self._held.popleft()
            self._become(port, PoolState.FREE)
            self._free.append(port)
