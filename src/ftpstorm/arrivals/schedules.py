"""Schedules of open-model loads: arrival k of a load is due at `instant_ns(k)` after the load's start.

A schedule is a pure function of its index, in exact integers: it never accumulates error, needs no state, and any shard
can compute any arrival. Closed-model loads (constant-sessions, ramping-sessions, shared-iterations and
probe-until-success) have no schedule: their sessions start when earlier ones end. Ramps and Poisson arrivals have
modules of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ftpstorm.arrivals.poisson import poisson_schedule
from ftpstorm.arrivals.ramps import RampSchedule
from ftpstorm.scenario.load import (
    AnyLoad,
    Burst,
    ConstantArrivalRate,
    HoldSessions,
    PoissonArrivalRate,
    RampingArrivalRate,
    Replay,
)
from ftpstorm.units import Rate


class Schedule(Protocol):
    """`count` arrivals, non-decreasing in time."""

    @property
    def count(self) -> int:
        """Arrivals in all; >= 0, and 0 only by the chance of a Poisson load."""
        ...

    def instant_ns(self, k: int) -> int:
        """Return when arrival k (0 <= k < count) is due, in ns after the load's start."""
        ...


@dataclass(frozen=True, slots=True)
class EvenSchedule:
    """Evenly spaced arrivals: ``instant(k) = floor(k / rate)``, as many as fall before `duration_ns`.

    Worked number: 97/s for 20 s is 1,940 arrivals; the last is due at 1939/97 s = 19.989690721 s.
    """

    rate: Rate
    duration_ns: int

    @property
    def count(self) -> int:
        return self.rate.count_before(self.duration_ns)

    def instant_ns(self, k: int) -> int:
        return self.rate.instant_ns(k)


@dataclass(frozen=True, slots=True)
class BurstSchedule:
    """`times` bursts, `every_ns` apart, each of `sessions` arrivals evenly over `over_ns` (0: all at one instant)."""

    sessions: int
    over_ns: int
    every_ns: int
    times: int

    @property
    def count(self) -> int:
        return self.sessions * self.times

    def instant_ns(self, k: int) -> int:
        burst, position = divmod(k, self.sessions)
        return burst * self.every_ns + position * self.over_ns // self.sessions


@dataclass(frozen=True, slots=True)
class TraceSchedule:
    """Recorded arrivals."""

    instants_ns: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.instants_ns)

    def instant_ns(self, k: int) -> int:
        return self.instants_ns[k]


def schedule_of(load: AnyLoad, stream: int | None = None) -> Schedule | None:
    """Return the schedule of an open-model load, None for a closed one.

    `stream` (`ftpstorm.arrivals.poisson.stream_of`) is the load's own randomness. Raises ValueError where a Poisson
    load is asked for without it, and for a replay whose file has not been read.
    """
    match load:
        case ConstantArrivalRate():
            return EvenSchedule(load.rate, load.duration)
        case RampingArrivalRate():
            stages = [(stage.duration, stage.target.per_s) for stage in load.stages]
            return RampSchedule(load.start_rate.per_s, stages)
        case PoissonArrivalRate():
            if stream is None:
                raise ValueError("the arrivals of a Poisson load depend on its stream: ask `Plan.schedule`")
            return poisson_schedule(load.rate, load.duration, stream)
        case Burst():
            return BurstSchedule(load.sessions, load.over, load.every or 0, load.times)
        case HoldSessions():
            return BurstSchedule(load.sessions, load.over, 0, 1)
        case Replay():
            return TraceSchedule(load.arrivals.instants_ns)
        case _:
            return None
