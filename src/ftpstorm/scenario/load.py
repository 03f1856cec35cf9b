"""When sessions start: the executors, and which flow each session runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ftpstorm.scenario.trace import Trace, parse_trace
from ftpstorm.scenario.types import (
    NOT_BOOL,
    AnyRate,
    Count,
    DurationNs,
    Frozen,
    LastingNs,
    PositiveCount,
    PositiveRate,
)

WEIGHTS_MAX = 1_000_000
Weight = Annotated[int, Field(ge=1, le=WEIGHTS_MAX), NOT_BOOL]


class LoadBase(Frozen):
    """Keys of every load."""

    flow: str | Annotated[dict[str, Weight], Field(min_length=1)]
    """A flow, or several by weight, such as `{download: 3, upload: 1}`: the number of a session decides, so that every
    shard agrees and the weights hold closely at any time."""
    start_time: DurationNs = "0s"  # type: ignore[assignment]
    """When this load begins, after the run's start."""
    graceful_stop: DurationNs = "10s"  # type: ignore[assignment]
    """How long sessions under way may go on after the load's end; then they count as interrupted."""

    @property
    def weights(self) -> dict[str, int]:
        """Flows by weight."""
        return {self.flow: 1} if isinstance(self.flow, str) else dict(self.flow)

    @property
    def flow_names(self) -> tuple[str, ...]:
        """All flows that a session of this load may run."""
        return tuple(self.weights)


class Burst(LoadBase):
    """`sessions` at once, or spread evenly `over` a while; `every` repeats the burst `times` times."""

    executor: Literal["burst"]
    sessions: PositiveCount
    """Sessions of one burst."""
    over: DurationNs = "0s"  # type: ignore[assignment]
    """Spread each burst evenly over so long; `0s`: all at once."""
    every: DurationNs | None = None
    """From the start of a burst to the start of the next; null: there is one burst."""
    times: PositiveCount = 1
    """Bursts in all; more than one needs `every`."""
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
    duration: LastingNs
    max_sessions: PositiveCount = 1000
    """Sessions in flight at one time; an arrival beyond is a counted drop."""


class RateStage(Frozen):
    """One stretch of a ramping rate."""

    duration: DurationNs
    """0s: the rate jumps."""
    target: AnyRate
    """Rate at its end; in between it changes in a straight line."""


class RampingArrivalRate(LoadBase):
    """Open model: sessions start at a rate that goes in straight lines from one stage's target to the next."""

    executor: Literal["ramping-arrival-rate"]
    start_rate: AnyRate = "0/s"  # type: ignore[assignment]
    """Rate at the load's start."""
    stages: Annotated[tuple[RateStage, ...], Field(min_length=1)]
    max_sessions: PositiveCount = 1000
    """Sessions in flight at one time; an arrival beyond is a counted drop."""

    @field_validator("stages")
    @classmethod
    def _lasts(cls, stages: tuple[RateStage, ...]) -> tuple[RateStage, ...]:
        if not any(stage.duration for stage in stages):
            raise ValueError("at least one stage must last longer than 0s")
        return stages

    @model_validator(mode="after")
    def _starts_some(self) -> RampingArrivalRate:
        rates = (self.start_rate, *(stage.target for stage in self.stages))
        lasting = zip(pairwise(rates), self.stages, strict=True)
        if not any(stage.duration and (one.per_s or other.per_s) for (one, other), stage in lasting):
            raise ValueError("the rate is 0/s all the time: no session would start")
        return self

    @property
    def duration(self) -> int:
        """Length of all stages, in ns."""
        return sum(stage.duration for stage in self.stages)


class PoissonArrivalRate(LoadBase):
    """Open model: sessions start at random, independently of each other, at a mean rate. The scenario's `seed` and the
    load's name decide when; another seed gives other arrivals, also another number of them."""

    executor: Literal["poisson-arrival-rate"]
    rate: PositiveRate
    """Sessions started for each unit of time, in the mean."""
    duration: LastingNs
    max_sessions: PositiveCount = 1000
    """Sessions in flight at one time; an arrival beyond is a counted drop."""


class ConstantSessions(LoadBase):
    """Closed model: so many sessions at any time, each replaced when it ends."""

    executor: Literal["constant-sessions"]
    sessions: PositiveCount
    duration: LastingNs


class SessionsStage(Frozen):
    """One stretch of a ramping number of sessions."""

    duration: DurationNs
    """0s: the number jumps."""
    target: Count
    """Sessions at its end; in between the number changes in a straight line."""


class RampingSessions(LoadBase):
    """Closed model: a number of sessions that goes in straight lines from one stage's target to the next, each session
    replaced when it ends. Where the number falls, sessions under way finish and are not replaced."""

    executor: Literal["ramping-sessions"]
    start_sessions: Count = 0
    """Sessions at the load's start."""
    stages: Annotated[tuple[SessionsStage, ...], Field(min_length=1)]

    @field_validator("stages")
    @classmethod
    def _lasts(cls, stages: tuple[SessionsStage, ...]) -> tuple[SessionsStage, ...]:
        if not any(stage.duration for stage in stages):
            raise ValueError("at least one stage must last longer than 0s")
        return stages

    @model_validator(mode="after")
    def _starts_some(self) -> RampingSessions:
        if self.sessions == 0:
            raise ValueError("every target is 0: no session would start")
        return self

    @property
    def sessions(self) -> int:
        """Most sessions at one time."""
        return max(self.start_sessions, *(stage.target for stage in self.stages))

    @property
    def duration(self) -> int:
        """Length of all stages, in ns."""
        return sum(stage.duration for stage in self.stages)


class SharedIterations(LoadBase):
    """Closed model: `iterations` sessions in all, done by `sessions` at a time."""

    executor: Literal["shared-iterations"]
    sessions: PositiveCount
    """Sessions at one time."""
    iterations: PositiveCount
    """Sessions in all."""
    max_duration: LastingNs = "10m"  # type: ignore[assignment]
    """When it stops even if iterations are left."""


class HoldSessions(LoadBase):
    """`sessions` log in, at once or evenly `over` a while, and stay. Each does the steps of its flow up to `quit`, is
    held until `duration` after the last one was due, and then quits."""

    executor: Literal["hold"]
    sessions: PositiveCount
    over: DurationNs = "0s"  # type: ignore[assignment]
    duration: DurationNs
    """How long all of them are held together."""
    noop_every: DurationNs | None = None
    """Send NOOP so often, so that a server does not close an idle session; null: stay silent."""

    @field_validator("noop_every")
    @classmethod
    def _spaced(cls, value: int | None) -> int | None:
        if value is not None and value < 100_000_000:
            raise ValueError("must be at least 100ms")
        return value


class ProbeUntilSuccess(LoadBase):
    """One session after another tries the flow until one succeeds: how long until the server serves again."""

    executor: Literal["probe-until-success"]
    every: DurationNs = "1s"  # type: ignore[assignment]
    """From the start of a try to the start of the next; a try that takes longer is followed at once."""
    max_duration: LastingNs = "10m"  # type: ignore[assignment]
    """When it gives up."""

    @field_validator("every")
    @classmethod
    def _spaced(cls, value: int) -> int:
        if value < 1_000_000:
            raise ValueError("must be at least 1ms")
        return value


class Replay(LoadBase):
    """Open model: sessions start at recorded instants."""

    executor: Literal["replay"]
    file: str | None = None
    """Lines of an instant and, where wanted, a flow (CSV): seconds after the load's start. Looked for beside the
    scenario file, else from the working directory."""
    trace: str | None = None
    """The same as text; read from `file` where only that is given, so that a run keeps what it replayed."""
    max_sessions: PositiveCount = 1000
    """Sessions in flight at one time; an arrival beyond is a counted drop."""

    @field_validator("trace")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_trace(value)
        return value

    @model_validator(mode="after")
    def _has_arrivals(self) -> Replay:
        if self.file is None and self.trace is None:
            raise ValueError("needs `file` or `trace`")
        return self

    @property
    def arrivals(self) -> Trace:
        """The arrivals. Raises ValueError while the file has not been read (the loader reads it)."""
        if self.trace is None:
            raise ValueError(f"{self.file} has not been read: load the scenario with `load_scenario`")
        return parse_trace(self.trace)

    @property
    def flow_names(self) -> tuple[str, ...]:
        """All flows that a session of this load may run."""
        named = () if self.trace is None else self.arrivals.named
        return tuple(dict.fromkeys((*self.weights, *named)))


AnyLoad = (
    Burst
    | ConstantArrivalRate
    | RampingArrivalRate
    | PoissonArrivalRate
    | ConstantSessions
    | RampingSessions
    | SharedIterations
    | HoldSessions
    | ProbeUntilSuccess
    | Replay
)
OpenLoad = Burst | ConstantArrivalRate | RampingArrivalRate | PoissonArrivalRate | HoldSessions | Replay
"""Loads with a schedule: when a session is due does not depend on the others."""

Load = Annotated[AnyLoad, Field(discriminator="executor")]
