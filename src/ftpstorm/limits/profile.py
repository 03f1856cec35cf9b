"""What is said of a platform: its ports, its TIME_WAIT, what can be set, and where each figure comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ftpstorm.limits.platform import Platform
from ftpstorm.limits.timewait import Hold

Kind = Literal["host", "nat", "passive-range", "server"]
"""`host`: ephemeral ports of a client, and of a server that lets the kernel choose; `nat`: a gateway's ports towards
one destination; `passive-range`: a server's own range, bound without SO_REUSEADDR; `server`: settings of one, no ports.
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """How many local ports there are towards one destination. `low` and `high` where sources or versions differ."""

    count: int
    low: int
    high: int
    source: str
    first: int | None = None
    last: int | None = None
    """Ends of the range, inclusive; None where only the count is documented."""

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.count <= self.high:
            raise ValueError("a number of ports is 1 <= low <= count <= high")
        if self.first is not None and self.last is not None and self.last - self.first + 1 != self.count:
            raise ValueError(f"{self.first}-{self.last} are not {self.count} ports")


@dataclass(frozen=True, slots=True)
class Fact:
    """One more figure that a platform documents, as text: it may be a range or a word."""

    name: str
    value: str
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One platform as documented."""

    name: str
    title: str
    kind: Kind
    platform: Platform
    """Whose words its settings have (`ftpstorm.limits.settings`, `ftpstorm.limits.fixes`)."""
    ports: Ports | None
    time_wait: Hold | None
    """How long a port stays taken after a close; None with `unknown` where nobody says."""
    time_wait_source: str = ""
    unknown: str = ""
    """Why `time_wait` is None."""
    ports_most: int | None = None
    """Widest range that can be set; None where it cannot be set."""
    time_wait_settable: tuple[float, float] | None = None
    """Shortest and longest TIME_WAIT that can be set, in s; None where it cannot be."""
    facts: tuple[Fact, ...] = ()
    clumps: bool = False
    """TIME_WAITs end in clumps, as Linux's timers turn."""
    measured: bool = False

    @property
    def port_range(self) -> tuple[int, int] | None:
        """First and last port, where documented."""
        if self.ports is None or self.ports.first is None or self.ports.last is None:
            return None
        return self.ports.first, self.ports.last

    @property
    def per_s(self) -> float | None:
        """R = P/T: connections a second to one destination that can go on for ever; None where T is not known."""
        if self.ports is None or self.time_wait is None or not self.time_wait.effective_s:
            return None
        return self.ports.count / self.time_wait.effective_s

    @property
    def per_s_interval(self) -> tuple[float, float] | None:
        """Lowest and highest `per_s` where a figure is a range, else None."""
        if self.ports is None or self.time_wait is None or not self.time_wait.low_s:
            return None
        low, high = self.ports.low / self.time_wait.high_s, self.ports.high / self.time_wait.low_s
        return (low, high) if low < high else None
