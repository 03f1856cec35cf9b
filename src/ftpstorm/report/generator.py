"""Was the load generator fit? Its lateness, its CPU, and the rules by which it makes a run invalid.

A generator that was the bottleneck must never make the server look guilty. The rules stand here and nowhere else. They
look at medians and shares of many sessions, never at a single late one: on a busy machine some always are.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.records import aggregate
from ftpstorm.records.aggregate import Instants
from ftpstorm.records.reader import Readings
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Generator, LatenessMs
from ftpstorm.scenario.expressions import parse_expression
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import GENERATOR_CLASSES, Cause, FailureClass, Metric, Outcome

LATE_MEDIAN_MS: Final = 100.0
"""A median start later than this: the offered load was not the planned one."""
LATE_MS: Final = 250.0
LATE_SHARE: Final = 0.05
"""So many of the planned arrivals may start more than LATE_MS late."""
LATE_MIN: Final = 20
"""Fewer sessions than this have no meaningful median or share."""
STALL_MS: Final = 1000.0
"""A worker whose loop stands still for less at one time is no reason: on a busy machine some do."""
BUSY_SHARE: Final = 0.95
"""A worker has one core: a second in which it used more of it than this was full."""
BUSY_SECONDS_SHARE: Final = 0.5
"""A worker is saturated when so many of the seconds were full."""

RAN_OUT: Final = "the load generator's own host ran out"
"""End of a reason that names what ran out; all others say that the generator was too slow."""

WANTED_BY: Final = {
    FailureClass.LOCAL_PORTS_EXHAUSTED: frozenset(
        {Cause.CLIENT_EPHEMERAL_PORTS, Cause.CLIENT_BIND_HABIT, Cause.GENERATOR}
    ),
    FailureClass.LOCAL_FILES_EXHAUSTED: frozenset({Cause.CLIENT_FILES, Cause.GENERATOR}),
    FailureClass.LOCAL_BUFFERS_EXHAUSTED: frozenset({Cause.GENERATOR}),
}
"""For each failure of the generator's own host, the causes whose expectation means that just this is wanted."""


def generator_health(evidence: Evidence) -> Generator:
    """Return how the generator fared and, in `invalid`, why it was the bottleneck."""
    by_load = {
        name: _lateness(_late_ns(evidence, index))
        for index, (name, _) in enumerate(evidence.plan.loads)
        if evidence.open_load(name) or evidence.is_burst(name)
    }
    planned = [
        _late_ns(evidence, index) for index, (name, _) in enumerate(evidence.plan.loads) if evidence.open_load(name)
    ]
    lateness = _lateness(np.concatenate(planned) if planned else np.zeros(0, np.int64))
    cpu_s = _cpu_s(evidence)
    left, saturated = _headroom(evidence)
    headroom, basis = _with_basis(evidence, left)
    stalls = [(worker.counts or {}).get("loop_stall_ns") for worker in evidence.workers]
    stall_ms = max((stall / NS_PER_MS for stall in stalls if stall is not None), default=None)
    moved = len(evidence.transfers)
    return Generator(
        cpu_s=cpu_s,
        cpu_us_per_transfer=cpu_s * 1e6 / moved if cpu_s is not None and moved else None,
        lateness_ms=lateness,
        lateness_by_load=by_load,
        headroom=headroom,
        headroom_basis=basis,
        saturated=saturated,
        loop_stall_ms=stall_ms,
        invalid=_invalid(evidence, lateness, stall_ms),
        notes=_notes(evidence, saturated),
    )


def _late_ns(evidence: Evidence, load: int) -> Instants:
    return aggregate.lateness(evidence.sessions[evidence.sessions["load"] == load])


def _lateness(late_ns: Instants) -> LatenessMs:
    found = aggregate.percentiles(late_ns / NS_PER_MS, (50, 95, 99, 100))
    p50, p95, p99, most = found or (None, None, None, None)
    share = float(np.mean(late_ns > LATE_MS * NS_PER_MS)) if len(late_ns) else None
    return LatenessMs(n=len(late_ns), p50=p50, p95=p95, p99=p99, max=most, late_share=share)


def _invalid(evidence: Evidence, lateness: LatenessMs, stall_ms: float | None) -> list[str]:
    reasons = [
        f"{evidence.failure_counts[failure]} x {failure.word}: {RAN_OUT}"
        for failure in sorted(GENERATOR_CLASSES)
        if failure in evidence.failure_counts and not _expected(evidence, failure)
    ]
    if lateness.n >= LATE_MIN:
        if lateness.p50 is not None and lateness.p50 > LATE_MEDIAN_MS:
            reasons.append(
                f"half of the sessions started more than {lateness.p50:.0f} ms late (allowed: {LATE_MEDIAN_MS:.0f} ms)"
            )
        elif lateness.late_share is not None and lateness.late_share > LATE_SHARE:
            reasons.append(
                f"{lateness.late_share:.1%} of the sessions started more than {LATE_MS:.0f} ms late "
                f"(allowed: {LATE_SHARE:.0%})"
            )
    if stall_ms is not None and stall_ms > (allowed := _stall_allowed_ms(evidence)):
        reasons.append(
            f"a worker stood still for {stall_ms:,.0f} ms at one time (allowed: {allowed:,.0f} ms): what came "
            "meanwhile was read that late"
        )
    return reasons


def _stall_allowed_ms(evidence: Evidence) -> float:
    """Return how long a worker may stand still: no larger part of the load's time than sessions may be late by number,
    and no longer than the shortest timeout, which could pass unseen; but STALL_MS in any case."""
    timeouts = evidence.plan.scenario.client.timeouts
    shortest_ns = min(timeouts.connect, timeouts.greeting, timeouts.reply, timeouts.data)
    share_ns = LATE_SHARE * (evidence.load_end_ns - evidence.load_start_ns)
    return max(STALL_MS, min(share_ns, shortest_ns) / NS_PER_MS)


def _expected(evidence: Evidence, failure: FailureClass) -> bool:
    """Tell whether the scenario expects failures of the generator's own host, by class or by cause."""
    expect = evidence.plan.scenario.expect
    if expect is None:
        return False
    condition = expect.failures.get(failure.word)
    if condition is not None and parse_expression(condition).holds(evidence.failure_counts[failure]):
        return True
    return expect.cause in WANTED_BY[failure]


def _notes(evidence: Evidence, saturated: bool | None) -> list[str]:
    notes = []
    dropped = evidence.outcome(Outcome.DROPPED)
    if dropped:
        notes.append(f"{dropped} sessions were dropped: `max_sessions` were in flight when they were due")
    if saturated:
        notes.append("a worker used its whole core for most of the time: give the run more --workers")
    return notes


def _cpu_s(evidence: Evidence) -> float | None:
    """CPU seconds of all workers: as they counted them, else from the samples."""
    counted = [(worker.counts or {}).get("cpu_s") for worker in evidence.workers]
    if counted and all(value is not None for value in counted):
        return float(sum(value for value in counted if value is not None))
    rises = [aggregate.increase(readings) for readings in _worker_cpu(evidence)]
    known = [rise for rise in rises if rise is not None]
    return sum(known) if known else None


def _worker_cpu(evidence: Evidence) -> list[Readings]:
    found = evidence.run.samples.select(Metric.PROCESS_CPU)
    return [readings for series, readings in found.items() if series.key.startswith("worker")]


def _headroom(evidence: Evidence) -> tuple[float | None, bool | None]:
    """Return the share of a core that the busiest worker left in its busiest second, and whether one was saturated."""
    busiest: float | None = None
    saturated: bool | None = None
    for readings in _worker_cpu(evidence):
        edges = np.arange(evidence.load_start_ns, evidence.load_end_ns + 1, NS_PER_S, dtype=np.int64)
        if len(readings) < 2 or len(edges) < 2 or readings.t_ns[-1] < edges[-1] - NS_PER_S:
            continue
        used = np.diff(np.interp(edges, readings.t_ns, readings.value))
        busiest = max(busiest or 0.0, float(used.max()))
        saturated = bool(saturated) or float(np.mean(used > BUSY_SHARE)) > BUSY_SECONDS_SHARE
    return (None if busiest is None else max(0.0, 1.0 - busiest)), saturated


def _with_basis(evidence: Evidence, sampled: float | None) -> tuple[float | None, str | None]:
    """Return the headroom and what it rests on: CPU as sampled, else what the host's calibration makes of the load."""
    expected = _calibrated_share(evidence)
    parts = []
    if sampled is not None:
        parts.append("CPU of the busiest worker in its busiest second, as sampled")
    if expected is not None:
        calibration = evidence.manifest.calibration
        assert calibration is not None
        whole, held = calibration.whole_sessions, calibration.open_connections
        parts.append(
            f"by this host's calibration of {calibration.measured_at} ({whole.cpu_us_each:.0f} us of CPU for a session "
            f"with a download, {held.cpu_us_each:.0f} us for a further one) the busiest second took {expected:.0%} of "
            "a worker's core"
        )
    if sampled is None and expected is not None:
        sampled = max(0.0, 1.0 - expected)
    return sampled, "; ".join(parts) or None


def _calibrated_share(evidence: Evidence) -> float | None:
    """Return the part of a core that each worker needed in the busiest second by the calibration, None without one.

    A calibration is the engine's own, in plain FTP, with small files: for other loads it says nothing.
    """
    calibration, scenario = evidence.manifest.calibration, evidence.plan.scenario
    if calibration is None or scenario.client.driver != "storm" or scenario.target.tls.mode != "none":
        return None
    edges = np.arange(0, max(evidence.end_ns, 1) + NS_PER_S, NS_PER_S, dtype=np.int64)
    sessions = np.histogram(evidence.started["start_ns"], edges)[0]
    transfers = np.histogram(evidence.transfers["start_ns"], edges)[0]
    workers = max(1, len(evidence.workers))
    return max(
        calibration.worker_share(int(one) / workers, int(other) / workers)
        for one, other in zip(sessions, transfers, strict=True)
    )
