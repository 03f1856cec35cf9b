"""When a run ends before its time, and how: pure rules over the progress totals, and the user's requests.

`drain` starts no more sessions and lets those under way finish; `now` ends them. What happens after that (bounds,
killing a worker that does not answer) belongs to `ftpstorm.conduct.experiment`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from ftpstorm.conduct.progress import RateMeter, Totals
from ftpstorm.scenario.load import ConstantSessions, RampingSessions, SharedIterations
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S, format_duration

How = Literal["drain", "now"]

GUARD_TOLERANCE: Final = Fraction(11, 10)
"""A measured rate counts as above the guard's when it is a tenth above."""
GUARD_WINDOW_NS: Final = 2 * NS_PER_S
GUARD_STALE_NS: Final = NS_PER_S // 4
"""Workers report every quarter of a second: at either end of the window a count may be so old."""

_CLOSED: Final = (ConstantSessions, RampingSessions, SharedIterations)


@dataclass(frozen=True, slots=True)
class Stop:
    """Order to end the run."""

    how: How
    reason: str


class StopRules:
    """The scenario's `stop` and `guard`. `check` is to be called at every progress, with rising instants."""

    def __init__(self, scenario: Scenario) -> None:
        self._stop = scenario.stop
        self._guard = scenario.guard
        # What an open model starts is known beforehand, and was compared with the guard: its arrivals may crowd after a
        # stall of this machine, and a second may hold one more of them than the rate.
        self._measured = any(isinstance(load, _CLOSED) for load in scenario.load.values())
        self._started = RateMeter(GUARD_WINDOW_NS)

    def check(self, t_ns: int, totals: Totals) -> Stop | None:
        """Return why the run must end at `t_ns` (relative to start_at), None where it may go on."""
        if t_ns >= self._stop.max_duration:
            return Stop("now", f"stop.max_duration of {format_duration(self._stop.max_duration)} is over")
        limit = self._stop.unreachable_sessions
        if limit is not None and totals.unreachable_streak >= limit:
            return Stop("drain", f"{totals.unreachable_streak} sessions in a row got no greeting")
        return self._check_guard(t_ns, totals)

    def _check_guard(self, t_ns: int, totals: Totals) -> Stop | None:
        guard = self._guard
        if guard is None:
            return None
        if t_ns >= guard.stop_after:
            return Stop("now", f"guard.stop_after of {format_duration(guard.stop_after)} is over")
        if totals.in_flight > guard.max_sessions:
            return Stop("now", f"{totals.in_flight} sessions in flight, guard.max_sessions is {guard.max_sessions}")
        rate = self._started.read(t_ns, totals.started) if self._measured else None
        if rate is None or t_ns < GUARD_WINDOW_NS:
            return None
        slack = 1 + Fraction(GUARD_STALE_NS, GUARD_WINDOW_NS)
        if rate > guard.max_rate.per_s * GUARD_TOLERANCE * slack + Fraction(NS_PER_S, GUARD_WINDOW_NS):
            return Stop("now", f"{rate:.4g} sessions started a second, guard.max_rate is {guard.max_rate}")
        return None


class StopRequests:
    """What the user asked for, over the supervisor's channel or by a signal to the conductor itself."""

    def __init__(self) -> None:
        self.how: How | None = None
        """The strongest request so far."""
        self.asked = asyncio.Event()
        """Set by the first request."""
        self.insisted = asyncio.Event()
        """Set once `now` was asked for."""
        self.changed: asyncio.Event | None = None
        """Set at each request, where the run has one to wait on."""

    def request(self, how: How | None = None) -> None:
        """Take a request; without `how` the first means drain and every further one now."""
        if how is None:
            how = "now" if self.how else "drain"
        if self.how != "now":
            self.how = how
        self.asked.set()
        if self.how == "now":
            self.insisted.set()
        if self.changed is not None:
            self.changed.set()
