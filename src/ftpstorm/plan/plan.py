"""The Plan: a validated scenario, the facts of the host that will run it, and how it is divided over workers.

Workers, simulation and report all read the same Plan. It holds no secret (a password travels beside it) and no address
that exists only once a server runs (those travel with `start_at`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from ftpstorm.arrivals.schedules import schedule_of
from ftpstorm.scenario.flow import Flow, Step
from ftpstorm.scenario.load import Burst, ConstantArrivalRate, ConstantSessions, SharedIterations
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.types import Frozen
from ftpstorm.vocabulary import TRANSFERS, Operation

STEPS_MAX: Final = 1_000_000
"""Executed steps of one session; a flow that repeats more often is refused."""

AnyLoad = Burst | ConstantArrivalRate | ConstantSessions | SharedIterations


class HostFacts(Frozen):
    """What the load generator's host said before the run. None where it did not say."""

    port_range: tuple[int, int] | None = None
    """net.ipv4.ip_local_port_range, both ends inclusive."""
    reserved_ports: int | None = None
    """Ports of the range that ip_local_reserved_ports subtracts."""
    tcp_tw_reuse: int | None = None
    tcp_timestamps: int | None = None
    somaxconn: int | None = None
    nofile_soft: int | None = None
    nofile_hard: int | None = None
    kernel: str | None = None
    cpu_count: int | None = None
    hostname_hash: str | None = None
    """Tells hosts apart without naming them."""


class Plan(Frozen):
    """One run, fully determined."""

    run_id: str
    scenario: Scenario
    """Effective: variant and overrides applied."""
    variant: str | None = None
    workers: int = Field(default=1, ge=1, le=64)
    shard: tuple[int, int] = (0, 1)
    """This machine's share (i, n) of the whole; workers divide that share again."""
    private_namespace: bool = False
    """The run has a network namespace of its own, so kernel counters are its alone."""
    host: HostFacts = HostFacts()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON types; `Plan.model_validate` reads it back."""
        return self.model_dump(mode="json", by_alias=True)

    def worker_shard(self, worker: int) -> tuple[int, int]:
        """Return the (i, n) of worker `worker` in the whole plan."""
        i, n = self.shard
        return i * self.workers + worker, n * self.workers

    @property
    def loads(self) -> tuple[tuple[str, AnyLoad], ...]:
        """Loads by name, in the order of their index in records."""
        return tuple(self.scenario.load.items())


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One executed step: `repeat` is unrolled. `options` is the step's options model."""

    operation: Operation
    options: Any


def _unroll(steps: tuple[Step, ...]) -> Iterator[PlannedStep]:
    for step in steps:
        if step.kind == "repeat":
            inner = tuple(_unroll(step.options.steps))
            for _ in range(step.options.times):
                yield from inner
        else:
            yield PlannedStep(Operation[step.kind.upper()], step.options)


def unroll(flow: Flow) -> tuple[PlannedStep, ...]:
    """Return the steps that one session of `flow` executes, in order. Raises ValueError above STEPS_MAX."""
    planned: list[PlannedStep] = []
    for step in _unroll(flow.steps):
        planned.append(step)
        if len(planned) > STEPS_MAX:
            raise ValueError(f"a session of this flow executes more than {STEPS_MAX} steps")
    return tuple(planned)


def transfers_of(flow: Flow) -> int:
    """Return how many transfers one session of `flow` offers (retries not counted)."""
    return sum(step.operation in TRANSFERS for step in unroll(flow))


def planned_sessions(load: AnyLoad) -> int | None:
    """Return how many sessions the whole plan has for `load`; None where only the run can tell (constant-sessions)."""
    schedule = schedule_of(load)
    if schedule is not None:
        return schedule.count
    return load.iterations if isinstance(load, SharedIterations) else None


def load_end_ns(load: AnyLoad) -> int:
    """Return when the load stops starting sessions, in ns after start_at; for shared-iterations at the latest."""
    match load:
        case ConstantArrivalRate() | ConstantSessions():
            return load.start_time + load.duration
        case SharedIterations():
            return load.start_time + load.max_duration
        case Burst():
            return load.start_time + (load.times - 1) * (load.every or 0) + load.over


def run_end_ns(plan: Plan) -> int:
    """Return the latest instant, in ns after start_at, at which a worker may still be busy: graceful stops included."""
    latest = max(load_end_ns(load) + load.graceful_stop for _, load in plan.loads)
    return min(latest, plan.scenario.stop.max_duration)
