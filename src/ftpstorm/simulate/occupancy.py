"""How many places of each kind the model's sessions took, over time: what a sampler would have seen at any instant.

A million transfers touch five kinds of place each, so what happens to one is noted in one go, as the instants of a
`Ledger`, and counted only when somebody asks. Instants are ns after start_at.

Many lives are counted by numpy. Most plans have few, and are predicted sooner than numpy is loaded: those are counted
without it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ftpstorm.simulate.pool import NEVER_NS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Instants = Sequence[int] | NDArray[np.int64]

MANY: Final = 20_000
"""Lives from which on numpy counts them: so many take about as long without it (10 ms) as a tenth of its import."""


class Ledger:
    """Lives of one kind, each as so many instants: those of a connection are opened, closed, port taken, port free."""

    __slots__ = ("_instants", "_width", "note")

    def __init__(self, width: int) -> None:
        """Prepare for lives of `width` instants, at least 2."""
        self._width = width
        self._instants = array("q")
        self.note = self._instants.extend
        """Note a life, a tuple of `width` instants. It is the array's own method: a call of ours would cost more."""

    def __len__(self) -> int:
        """The lives noted."""
        return len(self._instants) // self._width

    def between(self, start: int, end: int) -> tuple[Instants, Instants]:
        """Return the instants number `start` and number `end` of all lives but those that end as they start; each
        in order of time, for itself."""
        if len(self) < MANY:
            pairs = zip(self._instants[start :: self._width], self._instants[end :: self._width], strict=True)
            lasting = [pair for pair in pairs if pair[1] > pair[0]]
            return sorted(first for first, _ in lasting), sorted(last for _, last in lasting)
        import numpy as np

        instants = np.asarray(self._instants, np.int64).reshape(-1, self._width)
        starts, ends = instants[:, start], instants[:, end]
        lasts = ends > starts
        return np.sort(starts[lasts], kind="stable"), np.sort(ends[lasts], kind="stable")


class Occupancy:
    """How many places of a kind are taken: each from one instant of a life on, and before another."""

    __slots__ = ("_between", "_ends", "_ledger", "_seen", "_starts")

    def __init__(self, ledger: Ledger, start: int = 0, end: int = 1) -> None:
        """Count, for each life, a place from its instant number `start` until its instant number `end`."""
        self._ledger, self._between = ledger, (start, end)
        self._starts: Instants = ()
        self._ends: Instants = ()
        self._seen = 0

    def levels(self, t_ns: ArrayLike) -> NDArray[np.int64]:
        """Return the places taken at each instant."""
        import numpy as np

        self._look()
        starts, ends = (np.asarray(edges, np.int64) for edges in (self._starts, self._ends))
        return np.searchsorted(starts, t_ns, side="right") - np.searchsorted(ends, t_ns, side="right")

    def peak(self) -> int:
        """Return the most places taken at one instant; 0 where nothing ever was."""
        self._look()
        if len(self._starts) >= MANY:
            return int(self.levels(self._starts).max(initial=0))
        freed = highest = 0
        for taken, start in enumerate(self._starts, 1):
            while self._ends[freed] <= start:
                freed += 1
            highest = max(highest, taken - freed)
        return highest

    def last_end_ns(self) -> int | None:
        """Return when the last place was freed, leaks left out; None where nothing ever was taken and freed."""
        self._look()
        freed = bisect_left(self._ends, NEVER_NS)
        return int(self._ends[freed - 1]) if freed else None

    def _look(self) -> None:
        """Put the edges of all lives that were noted in order, unless they are."""
        if self._seen != len(self._ledger):
            self._seen = len(self._ledger)
            self._starts, self._ends = self._ledger.between(*self._between)


class Ledgers:
    """What the world notes: a ledger for each kind of life."""

    __slots__ = (
        "client_time_wait",
        "connections",
        "passive_ports",
        "server_close_wait",
        "server_control_time_wait",
        "server_data_time_wait",
        "sessions",
    )

    def __init__(self) -> None:
        self.sessions = Ledger(2)
        """Due, ended."""
        self.connections = Ledger(4)
        """Opened, closed; the client's port taken, and free again."""
        self.passive_ports = Ledger(3)
        """Given, data connection closed (or given back unused), free again."""
        self.client_time_wait = Ledger(2)
        self.server_control_time_wait = Ledger(2)
        self.server_data_time_wait = Ledger(2)
        self.server_close_wait = Ledger(2)

    def occupancies(self) -> Occupancies:
        """Return what they say of each kind of place, now and whenever it is asked."""
        return Occupancies(
            sessions=Occupancy(self.sessions),
            connections=Occupancy(self.connections),
            client_ports=Occupancy(self.connections, 2, 3),
            client_time_wait=Occupancy(self.client_time_wait),
            server_control_time_wait=Occupancy(self.server_control_time_wait),
            server_data_time_wait=Occupancy(self.server_data_time_wait),
            passive_pool=Occupancy(self.passive_ports, 0, 2),
            passive_in_use=Occupancy(self.passive_ports),
            server_close_wait=Occupancy(self.server_close_wait),
        )


@dataclass(frozen=True, slots=True)
class Occupancies:
    """Every kind of place that the model counts, over time."""

    sessions: Occupancy
    connections: Occupancy
    """Open control and data connections."""
    client_ports: Occupancy
    """Local ports of the client: open connections and its own TIME_WAITs, until they may be taken again."""
    client_time_wait: Occupancy
    server_control_time_wait: Occupancy
    """The server's TIME_WAITs of control connections, as if none were replaced by a new connection on its 4-tuple."""
    server_data_time_wait: Occupancy
    passive_pool: Occupancy
    """Passive ports listening, in use or held down."""
    passive_in_use: Occupancy
    """Of these, those with a data connection, or listening for one."""
    server_close_wait: Occupancy
    """Data connections that the server's program forgets to close."""
