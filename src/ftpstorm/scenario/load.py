"""When sessions start: the executors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ftpstorm.scenario.types import Documented, DurationNs, PositiveCount, PositiveRate


class LoadBase(Documented):
    """Keys of every load."""

    flow: str
    start_time: DurationNs = "0s"  # type: ignore[assignment]
    """When this load begins, after the run's start."""
    graceful_stop: DurationNs = "10s"  # type: ignore[assignment]
    """How long sessions under way may go on after the load's end; then they count as interrupted."""


class Burst(LoadBase):
    """`sessions` at once, or spread evenly `over` a while; `every` repeats the burst `times` times."""

    executor: Literal["burst"]
    sessions: PositiveCount
    over: DurationNs = "0s"  # type: ignore[assignment]
    every: DurationNs | None = None
    times: PositiveCount = 1
    max_sessions: PositiveCount | None = None
    """Sessions in flight at one time; an arrival beyond is a counted drop. null: no limit."""

    @model_validator(mode="after")
    def _repeats(self) -> Burst:
        if self.times > 1 and self.every is None:
            raise ValueError("`times` needs `every`")
        if self.every is not None and self.every < max(self.over, 1):
            raise ValueError("`every` must be at least as long as `over`, and above 0s")
        return self


class ConstantArrivalRate(LoadBase):
    """Open model: sessions start at a fixed rate, however long each takes."""

    executor: Literal["constant-arrival-rate"]
    rate: PositiveRate
    """Sessions started for each unit of time."""
    duration: DurationNs
    max_sessions: PositiveCount = 1000
    """Sessions in flight at one time; an arrival beyond is a counted drop."""


class ConstantSessions(LoadBase):
    """Closed model: so many sessions at any time, each replaced when it ends."""

    executor: Literal["constant-sessions"]
    sessions: PositiveCount
    duration: DurationNs


class SharedIterations(LoadBase):
    """Closed model: `iterations` sessions in all, done by `sessions` at a time."""

    executor: Literal["shared-iterations"]
    sessions: PositiveCount
    iterations: PositiveCount
    max_duration: DurationNs = "10m"  # type: ignore[assignment]
    """When it stops even if iterations are left."""


Load = Annotated[Burst | ConstantArrivalRate | ConstantSessions | SharedIterations, Field(discriminator="executor")]
