"""The plan in the few numbers that equations take: transfers a session, mean lives, who closes first, offered rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ftpstorm.limits.timewait import Hold
from ftpstorm.plan.plan import Plan
from ftpstorm.scenario.load import (
    ConstantArrivalRate,
    ConstantSessions,
    ProbeUntilSuccess,
    RampingSessions,
    SharedIterations,
)
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.stages import Stage
from ftpstorm.simulate.world import LoadModel
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Side

LEAD_SHARE: Final = 0.1
"""Part of the time to the first exhaustion within which a session has asked for all its ports: N/r is as exact."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Means over the plan's sessions. Times in s; what nothing can be said of (no transfer) is 0."""

    counts_transfers: bool
    """Whether rates are of transfers; else no flow has one, and they are of sessions."""
    transfers_per_session: float
    session_s: float
    """L: how long a session is open when nothing fails."""
    passive_s: float
    """C: how long a transfer uses a passive port."""
    held_part: float
    """Part of the transfers whose passive port the emulator holds afterwards."""
    client_first_part: float
    """Part of the transfers whose TIME_WAIT the client keeps."""
    server_first_part: float
    """Part of the transfers whose TIME_WAIT the server keeps; those reset leave none."""
    active_part: float
    """Part of the transfers in active mode."""
    control_client_first_part: float
    """Part of the sessions whose control connection the client closes first: without QUIT, or as the scenario says."""
    unused_s: float
    """W: how long passive ports listen that are asked for and never used, for each transfer, or each session where
    nothing is transferred."""
    lead_s: float
    """From a session's start to its last request for a passive port, the longest of all flows."""
    data_s: float
    """How long a data connection is open."""
    offered_per_s: float | None
    """Offered a second while loads run; None where a load is closed or starts all at one instant."""
    load_start_ns: int
    load_end_ns: int

    @property
    def sessions_per_unit(self) -> float:
        """Sessions for one transfer; 1 where sessions are counted."""
        return 1 / self.transfers_per_session if self.counts_transfers else 1.0


def shape_of(plan: Plan, loads: Sequence[LoadModel], service: ServiceTimes) -> Shape:
    """Return the plan's shape. Loads weigh by their sessions; of closed ones by what they would do unhindered."""
    shares = [(_weight(load, service) * part, flow) for load in loads for part, flow in load.shares()]
    total = sum(weight for weight, _ in shares)

    def mean(value: Callable[[LoadModel], float]) -> float:
        return sum(weight * value(load) for weight, load in shares) / total

    per_session = mean(lambda load: len(_transfers(load.stages)))
    weighted = [(weight, stage) for weight, load in shares for stage in _transfers(load.stages)]
    return Shape(
        counts_transfers=per_session > 0,
        transfers_per_session=per_session,
        session_s=mean(lambda load: session_ns(load.stages, service)) / NS_PER_S,
        passive_s=_mean((w, service.passive_life_ns(s.size_bytes)) for w, s in weighted) / NS_PER_S,
        held_part=_mean((w, float(s.hold_ns > 0)) for w, s in weighted),
        client_first_part=_mean((w, float(s.keeper is Side.CLIENT)) for w, s in weighted),
        server_first_part=_mean((w, float(s.keeper is Side.SERVER)) for w, s in weighted),
        active_part=_mean((w, float(s.active)) for w, s in weighted),
        control_client_first_part=mean(_client_keeps_control),
        unused_s=mean(lambda load: unused_ns(load.stages, service)) / NS_PER_S / (per_session or 1),
        lead_s=max(lead_ns(load.stages, service) for _, load in shares) / NS_PER_S,
        data_s=_mean((w, service.passive_life_ns(s.size_bytes) - service.reply_ns / 2) for w, s in weighted) / NS_PER_S,
        offered_per_s=_offered_per_s(loads, counts_transfers=per_session > 0),
        load_start_ns=min(load.load.start_time for load in loads),
        load_end_ns=max(load.end_ns for load in loads),
    )


def session_ns(stages: Iterable[Stage], service: ServiceTimes) -> int:
    """Return how long a session of these stages is open when nothing fails and nobody else wants the server.

    Worked number: login, one RETR of 1 KiB, quit, with the defaults: 100 us (connect) + 350 (greeting) + 600 (login)
    + 852.048 (transfer) + 200 (quit) = 2102.048 us.
    """
    total = service.connect_ns + service.session_work_ns + service.reply_ns
    return total + sum(_stage_ns(stage, service) for stage in stages)


def lead_ns(stages: Iterable[Stage], service: ServiceTimes) -> int:
    """Return when, after its start, a session of these stages asks for its last passive port; 0 where it asks for none.

    Worked number: login, one RETR, quit, with the defaults: 100 us (connect) + 350 (greeting) + 600 (login) = 1.05 ms.
    """
    last = 0
    at_ns = service.connect_ns + service.session_work_ns + service.reply_ns
    for stage in stages:
        if stage.passive and not stage.active:
            last = at_ns
        at_ns += _stage_ns(stage, service)
    return last


def unused_ns(stages: Iterable[Stage], service: ServiceTimes) -> int:
    """Return how long passive ports of one session listen for nobody: each until the next is asked for or the end.

    Worked number: login, pasv-only, a pause of 3 s, quit, with the defaults: 100 us (half the reply's round trip) + 3 s
    + 200 us (quit) = 3.0003 s.
    """
    total = at_ns = 0
    since: int | None = None
    for stage in stages:
        if stage.passive and not stage.active:
            asked = at_ns + service.reply_ns // 2
            total += 0 if since is None else asked - since
            since = None if stage.transfer else asked
        at_ns += _stage_ns(stage, service)
    return total if since is None else total + at_ns - since


def _stage_ns(stage: Stage, service: ServiceTimes) -> int:
    if stage.transfer:
        return service.reply_ns // 2 + service.passive_life_ns(stage.size_bytes) + service.final_reply_ns
    return service.reply_ns if stage.passive else stage.duration_ns


def begins_evenly(plan: Plan, shape: Shape, first_s: float) -> bool:
    """Tell whether r ports a second are taken from start_at on, and none comes back, until `first_s`.

    Not so with a load that begins later, or whose rate changes or is one in the mean only; where some transfers give
    their port back at once, or a transfer takes ports that are not used; where a session asks for a port long after
    its start.
    """
    ((_, load),) = plan.loads
    held = shape.held_part if plan.scenario.target.emulator is not None else shape.server_first_part
    return (
        isinstance(load, ConstantArrivalRate)
        and load.start_time == 0
        and first_s * NS_PER_S < load.duration
        and held in (0.0, 1.0)
        and shape.unused_s == 0
        and shape.lead_s <= LEAD_SHARE * first_s
    )


def mean_hold(shape: Shape, hold_s: float, why: str) -> Hold:
    """Return the mean hold-down of a passive port after a transfer."""
    held = hold_s * shape.held_part
    return Hold(held, held, held, why)


def _transfers(stages: Iterable[Stage]) -> list[Stage]:
    return [stage for stage in stages if stage.transfer]


def _client_keeps_control(load: LoadModel) -> float:
    """Return 1 where a session's control connection leaves its TIME_WAIT with the client, else 0."""
    quitting = next((stage for stage in load.stages if stage.quits), None)
    return float(quitting is None or quitting.keeper is Side.CLIENT)


def _weight(load: LoadModel, service: ServiceTimes) -> float:
    if load.schedule is not None:
        return max(1, load.schedule.count)
    if isinstance(load.load, SharedIterations):
        return load.load.iterations
    if isinstance(load.load, ProbeUntilSuccess):
        return 1
    each = sum(part * session_ns(flow.stages, service) for part, flow in load.shares())
    return max(1.0, _session_time_ns(load) / max(1.0, each))


def _session_time_ns(load: LoadModel) -> float:
    """Return the sum over the slots of a closed load of the time that each is in use, in ns."""
    if isinstance(load.load, RampingSessions):
        levels = (load.load.start_sessions, *(stage.target for stage in load.load.stages))
        steps = zip(pairwise(levels), load.load.stages, strict=True)
        return sum((one + other) / 2 * stage.duration for (one, other), stage in steps)
    assert isinstance(load.load, ConstantSessions)
    return load.load.sessions * max(1, load.end_ns - load.load.start_time)


def _mean(weighted: Iterable[tuple[float, float]]) -> float:
    pairs = list(weighted)
    total = sum(weight for weight, _ in pairs)
    return sum(weight * value for weight, value in pairs) / total if total else 0.0


def _offered_per_s(loads: Sequence[LoadModel], *, counts_transfers: bool) -> float | None:
    offered = 0.0
    for load in loads:
        if load.schedule is None:
            return None
        each = sum(part * (len(_transfers(flow.stages)) if counts_transfers else 1) for part, flow in load.shares())
        offered += load.schedule.count * each
    lasting_ns = max(load.end_ns for load in loads) - min(load.load.start_time for load in loads)
    return offered * NS_PER_S / lasting_ns if lasting_ns > 0 else None
