"""The Plan: a validated scenario, the facts of the host that will run it, and how it is divided over workers.

Workers, simulation and report all read the same Plan. It holds no secret (a password travels beside it) and no address
that exists only once a server runs (those travel with `start_at`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from ftpstorm.arrivals.mix import Mix
from ftpstorm.arrivals.poisson import stream_of
from ftpstorm.arrivals.schedules import Schedule, schedule_of
from ftpstorm.arrivals.shard import shard_indexes
from ftpstorm.plan.filling import varying
from ftpstorm.scenario.client import parse_port_range
from ftpstorm.scenario.flow import Flow, Step
from ftpstorm.scenario.load import (
    AnyLoad,
    Burst,
    ConstantArrivalRate,
    ConstantSessions,
    HoldSessions,
    PoissonArrivalRate,
    ProbeUntilSuccess,
    RampingArrivalRate,
    RampingSessions,
    Replay,
    SharedIterations,
)
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.types import Frozen
from ftpstorm.vocabulary import TRANSFERS, Operation

STEPS_MAX: Final = 1_000_000
"""Executed steps of one session; a flow that repeats more often is refused."""
UNREACHABLE_PAUSE_NS: Final = 100_000_000
"""A closed-model slot whose session got no greeting waits this long: no tight loop against a server that refuses."""

__all__ = [
    "STEPS_MAX",
    "UNREACHABLE_PAUSE_NS",
    "AnyLoad",
    "FlowChoice",
    "HoldStep",
    "HostFacts",
    "Plan",
    "PlannedStep",
    "ends_early",
    "load_end_ns",
    "planned_sessions",
    "run_end_ns",
    "session_steps",
    "transfers_of",
    "unroll",
]


class HostFacts(Frozen):
    """What the load generator's host said before the run. None where it did not say."""

    port_range: tuple[int, int] | None = None
    """net.ipv4.ip_local_port_range, both ends inclusive."""
    reserved_ports: int | None = None
    """Ports of the range that ip_local_reserved_ports subtracts."""
    reserved_list: str | None = None
    """net.ipv4.ip_local_reserved_ports as it stands, such as ``8080,40000-40009``; it holds within any range."""
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
    """Of the load generator; in a lab of the client hosts, which are alike."""
    server_host: HostFacts | None = None
    """Of the server's host in a lab; None without one: nobody can tell."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON types; `Plan.model_validate` reads it back."""
        return self.model_dump(mode="json", by_alias=True)

    def worker_shard(self, worker: int) -> tuple[int, int]:
        """Return the (i, n) of worker `worker` in the whole plan."""
        i, n = self.shard
        return i * self.workers + worker, n * self.workers

    @property
    def port_range(self) -> tuple[int, int] | None:
        """First and last local port of the load's connections: the scenario's own range, else the host's; or None."""
        own = self.scenario.client.port_range
        return self.host.port_range if own is None else parse_port_range(own)

    @property
    def local_ports(self) -> int | None:
        """How many ports `port_range` has, without those reserved; None where the host did not say."""
        if self.port_range is None:
            return None
        first, last = self.port_range
        return last - first + 1 - reserved_within(self.host, self.scenario.client.port_range)

    @property
    def loads(self) -> tuple[tuple[str, AnyLoad], ...]:
        """Loads by name, in the order of their index in records."""
        return tuple(self.scenario.load.items())

    def schedule(self, name: str) -> Schedule | None:
        """Return the schedule of the load `name`, None for a closed one."""
        return schedule_of(self.scenario.load[name], stream_of(self.scenario.seed, name))

    def planned_sessions(self, name: str) -> int | None:
        """Return how many sessions the whole plan has for the load `name`; None where only the run can tell."""
        return planned_sessions(self.scenario.load[name], stream_of(self.scenario.seed, name))

    def flow_of(self, name: str, session: int) -> str:
        """Return the flow that session number `session` of the load `name` runs."""
        return FlowChoice(self.scenario.load[name]).pick(session)

    def flow_counts(self, name: str, shard: int = 0, shards: int = 1) -> dict[str, int] | None:
        """Return how many of the planned sessions of the load `name` run each flow, on shard `shard` of `shards`.

        None where only the run can tell how many sessions there are.
        """
        planned, load = self.planned_sessions(name), self.scenario.load[name]
        if planned is None:
            return None
        sharing = sharing_shards(load, shards)
        return FlowChoice(load).counts(planned, shard, sharing) if shard < sharing else {}

    def offered_transfers(self, name: str, shard: int = 0, shards: int = 1) -> int | None:
        """Return how many transfers those sessions offer; None where only the run can tell."""
        counts = self.flow_counts(name, shard, shards)
        if counts is None:
            return None
        return sum(count * transfers_of(self.scenario.flows[flow]) for flow, count in counts.items())

    @property
    def used_flows(self) -> tuple[str, ...]:
        """Flows that some session may run, each once."""
        return tuple(dict.fromkeys(flow for _, load in self.loads for flow in load.flow_names))


def reserved_within(host: HostFacts, own_range: str | None) -> int:
    """Return how many ports of a load's range are reserved on `host`: of its own range, else of the host's."""
    if own_range is None:
        return host.reserved_ports or 0
    return listed_within(host.reserved_list or "", *parse_port_range(own_range))


def listed_within(text: str, first: int, last: int) -> int:
    """Count the ports of ``40000,40010-40019`` that lie within first to last; what is no port counts nothing."""
    ports: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if low.isdigit() and (not high or high.isdigit()):
            ports.update(range(max(int(low), first), min(int(high or low), last) + 1))
    return len(ports)


class FlowChoice:
    """Which flow each session of one load runs: by weight, or as a replayed line says. `flows` are all it may be."""

    __slots__ = ("_mix", "_named", "flows")

    def __init__(self, load: AnyLoad) -> None:
        self.flows = load.flow_names
        self._mix = Mix(load.weights)
        named = load.arrivals.flows if isinstance(load, Replay) else ()
        self._named = named if any(flow is not None for flow in named) else ()

    def pick(self, session: int) -> str:
        """Return the flow of session number `session`."""
        if self._named and (named := self._named[session]) is not None:
            return named
        return self._mix.flows[self._mix.pick(session)]

    def counts(self, planned: int, shard: int = 0, shards: int = 1) -> dict[str, int]:
        """Return how many of the sessions shard, shard + shards, ... below `planned` run each flow."""
        if self._named:
            picked = Counter(self.pick(session) for session in range(shard, planned, shards))
            return {flow: picked[flow] for flow in self.flows}
        return dict(zip(self._mix.flows, self._mix.counts(planned, shard, shards), strict=True))


class HoldStep(Frozen):
    """Options of the operation that the executor `hold` puts before `quit`: stay logged in until an instant."""

    until_ns: int
    """In ns after start_at."""
    noop_every_ns: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One executed step: `repeat` is unrolled. `options` is the step's options model."""

    operation: Operation
    options: Any
    varies: tuple[str, ...] = ()
    """Options that differ between sessions: `ftpstorm.plan.filling` settles them for each."""


def _unroll(steps: tuple[Step, ...]) -> Iterator[PlannedStep]:
    for step in steps:
        if step.kind == "repeat":
            inner = tuple(_unroll(step.options.steps))
            for _ in range(step.options.times):
                yield from inner
        else:
            yield PlannedStep(Operation[step.kind.upper()], step.options, varying(step.options))


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


def session_steps(load: AnyLoad, flow: Flow) -> tuple[PlannedStep, ...]:
    """Return the steps that a session of `flow` executes in `load`: those of the flow, and of `hold` its stay."""
    steps = unroll(flow)
    if not isinstance(load, HoldSessions):
        return steps
    stay = PlannedStep(Operation.HOLD, HoldStep(until_ns=load_end_ns(load), noop_every_ns=load.noop_every))
    end = next((index for index, step in enumerate(steps) if step.operation is Operation.QUIT), len(steps))
    return (*steps[:end], stay, *steps[end:])


def planned_sessions(load: AnyLoad, stream: int | None = None) -> int | None:
    """Return how many sessions the whole plan has for `load`; None where only the run can tell.

    That is so for constant-sessions, ramping-sessions and probe-until-success. `stream` as for `schedule_of`.
    """
    schedule = schedule_of(load, stream)
    if schedule is not None:
        return schedule.count
    return load.iterations if isinstance(load, SharedIterations) else None


def sharing_shards(load: AnyLoad, shards: int) -> int:
    """Return how many of `shards` shards share the sessions of a load, the first ones: all of them, but no more than it
    may have sessions open at a time. Those without a place for any would never serve theirs."""
    places = load.sessions if isinstance(load, SharedIterations) else getattr(load, "max_sessions", None)
    return shards if places is None else min(shards, places)


def shard_sessions(load: AnyLoad, count: int, shard: int, shards: int) -> range:
    """Return the numbers of those of a load's `count` sessions that shard `shard` of `shards` starts."""
    sharing = sharing_shards(load, shards)
    return shard_indexes(count, shard, sharing) if shard < sharing else range(0)


def load_end_ns(load: AnyLoad) -> int:
    """Return when the load stops starting or holding sessions, in ns after start_at.

    For shared-iterations and probe-until-success at the latest.
    """
    match load:
        case (
            ConstantArrivalRate() | RampingArrivalRate() | PoissonArrivalRate() | ConstantSessions() | RampingSessions()
        ):
            return load.start_time + load.duration
        case SharedIterations() | ProbeUntilSuccess():
            return load.start_time + load.max_duration
        case Burst():
            return load.start_time + (load.times - 1) * (load.every or 0) + load.over
        case HoldSessions():
            return load.start_time + load.over + load.duration
        case Replay():
            return load.start_time + load.arrivals.instants_ns[-1]


def ends_early(load: AnyLoad) -> bool:
    """Tell whether the load may be over before `load_end_ns`: when its iterations are done, or when a try succeeded."""
    return isinstance(load, SharedIterations | ProbeUntilSuccess)


def run_end_ns(plan: Plan) -> int:
    """Return the latest instant, in ns after start_at, at which a worker may still be busy: graceful stops included."""
    latest = max(load_end_ns(load) + load.graceful_stop for _, load in plan.loads)
    return min(latest, plan.scenario.stop.max_duration)
