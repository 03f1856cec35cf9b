"""Prediction beside measurement: the only place where the two meet.

Each row names its tolerance before the values are looked at. A quantity agrees, disagrees, or could not be measured; a
disagreement is no failure of the run, it is what the reader should look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from ftpstorm.records import aggregate
from ftpstorm.records.reader import Readings
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Agreement
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, FailureClass, Metric, Outcome, PoolState, Status


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two values may be: a share of the predicted one, or an absolute distance, whichever is larger."""

    share: float
    distance: float = 0.0
    unit: str = ""

    def holds(self, predicted: float, measured: float) -> bool:
        """Tell whether the two agree."""
        return abs(measured - predicted) <= max(self.share * abs(predicted), self.distance)

    def __str__(self) -> str:
        share = f"{self.share:.0%}"
        return f"{share} or {self.distance:g}{f' {self.unit}' if self.unit else ''}" if self.distance else share


CEILING: Final = Tolerance(0.05)
SUSTAINED: Final = Tolerance(0.02)
COUNT: Final = Tolerance(0.05, 5)
INSTANT: Final = Tolerance(0.10, 0.1, "s")
PEAK: Final = Tolerance(0.10, 10)
IN_FLIGHT: Final = Tolerance(0.10, 25)
"""Short sessions overlap as the hosts happen to be busy."""
RECOVERY: Final = Tolerance(0.10, 0.3, "s")
RECOVERY_BY_DUMP: Final = Tolerance(0.10, 3.0, "s")
"""The kernel ends TIME_WAITs in clumps every two seconds, and dumps come once a second."""


def agreement(evidence: Evidence) -> list[Agreement]:
    """Return a row for each quantity that the prediction states.

    Empty where the run has no prediction, and where it was simulated: a model always agrees with itself.
    """
    if evidence.prediction is None or evidence.status is Status.SIMULATED:
        return []
    return list(_rows(evidence))


def _row(
    quantity: str,
    unit: str,
    predicted: float | None,
    measured: float | None,
    tolerance: Tolerance,
    why: str | None = None,
) -> Agreement:
    ratio = measured / predicted if predicted and measured is not None else None
    if predicted is None or measured is None:
        why = why or ("not predicted" if predicted is None else "not measured")
        return Agreement(
            quantity=quantity, unit=unit, predicted=predicted, measured=measured, ratio=ratio, tolerance=str(tolerance),
            verdict="not-measurable", why=why,
        )  # fmt: skip
    return Agreement(
        quantity=quantity, unit=unit, predicted=predicted, measured=measured, ratio=ratio, tolerance=str(tolerance),
        verdict="agrees" if tolerance.holds(predicted, measured) else "disagrees",
    )  # fmt: skip


def _rows(evidence: Evidence) -> Iterator[Agreement]:
    prediction = evidence.prediction
    assert prediction is not None
    expected = prediction.expected
    left_open = {item.quantity: item.why for item in prediction.not_predicted}
    sustained = evidence.sustained
    exhausted = evidence.count(FailureClass.PASSIVE_EXHAUSTED) > 0
    shard, partial = _shard(evidence), _partial(evidence)
    rate = None if shard else sustained.rate_per_s
    if prediction.ceiling_per_s is not None:
        why = sustained.reason if exhausted else "the pool never ran out: what was achieved is not its ceiling"
        yield _row(
            "ceiling of the passive pool, N/(H + C)", "transfers/s", prediction.ceiling_per_s,
            rate if exhausted else None, CEILING, shard or why,
        )  # fmt: skip
    yield _row(
        "sustained transfer rate", "transfers/s", expected.sustained.rate_per_s if expected.sustained else None,
        rate, SUSTAINED, left_open.get("expected.sustained") or shard or sustained.reason,
    )  # fmt: skip
    for quantity, key, predicted, measured in (
        ("sessions succeeded", "sessions.succeeded", expected.sessions.succeeded, evidence.outcome(Outcome.SUCCEEDED)),
        ("sessions failed", "sessions.failed", expected.sessions.failed, evidence.outcome(Outcome.FAILED)),
        ("sessions dropped", "sessions.dropped", expected.sessions.dropped, evidence.outcome(Outcome.DROPPED)),
        ("transfers attempted", "transfers.attempted", expected.transfers.attempted, len(evidence.transfers)),
        ("transfers succeeded", "transfers.succeeded", expected.transfers.succeeded, len(evidence.success_ns)),
    ):
        why = left_open.get(f"expected.{key}") or partial
        yield _row(quantity, "", predicted, None if partial else measured, COUNT, why)
    yield from _failures(evidence, partial)
    first = evidence.failures.data["t_ns"]
    measured_first = int(first[0]) / NS_PER_S if len(first) else None
    if expected.first_failure_s is not None or measured_first is not None:
        why = "no failure was predicted" if expected.first_failure_s is None else "no failure came"
        why = left_open.get("expected.first_failure_s") or shard or why
        first_s = None if shard else measured_first
        yield _row("first failure", "s", expected.first_failure_s, first_s, INSTANT, why)
    yield from _peaks(evidence, left_open)
    yield from _recovery(evidence, left_open)


def _failures(evidence: Evidence, partial: str | None) -> Iterator[Agreement]:
    assert evidence.prediction is not None
    predicted = evidence.prediction.expected.failures
    opened = {item.quantity: item.why for item in evidence.prediction.not_predicted}
    measured = {failure.word: count for failure, count in evidence.failure_counts.items()}
    for word in sorted({*(predicted or ()), *measured}):
        foretold = None if predicted is None else predicted.get(word, 0)
        seen = None if partial else measured.get(word, 0)
        yield _row(f"failures: {word}", "", foretold, seen, COUNT, opened.get("expected.failures") or partial)


def _peaks(evidence: Evidence, left_open: Mapping[str, str]) -> Iterator[Agreement]:
    assert evidence.prediction is not None
    peaks = evidence.prediction.expected.peaks
    free = evidence.pool_series(PoolState.FREE)
    partial = _partial(evidence)
    unsampled = "nothing sampled it"
    rows: list[tuple[str, str, str, int | None, int | None]] = [
        (
            "passive ports taken, peak",
            "ports",
            "passive_pool_taken",
            peaks.passive_pool_taken,
            None if free is None else evidence.pool_peak,
        ),
        (
            "ephemeral ports of the client in use, peak",
            "ports",
            "client_ephemeral_in_use",
            peaks.client_ephemeral_in_use,
            evidence.client_ports[0],
        ),
        ("sessions in flight, peak", "sessions", "sessions", peaks.sessions, _in_flight(evidence)),
    ]
    for side, key, predicted in (
        ("client", "client_time_wait", peaks.client_time_wait),
        ("server", "server_time_wait", peaks.server_time_wait),
    ):
        seen = evidence.peak(Metric.TCP_STATE, host=side, key="time-wait")
        rows.append((f"sockets in TIME_WAIT, {side}, peak", "sockets", key, predicted, seen))
    for quantity, unit, key, predicted, seen in rows:
        why = left_open.get(f"expected.peaks.{key}") or partial or (unsampled if seen is None else None)
        tolerance = IN_FLIGHT if key == "sessions" else PEAK
        yield _row(quantity, unit, predicted, None if partial else seen, tolerance, why)


def _in_flight(evidence: Evidence) -> int:
    """Most sessions under way at one time, from their records."""
    begun = evidence.started
    known = begun[(begun["start_ns"] != ABSENT) & (begun["end_ns"] != ABSENT)]
    return aggregate.most_in_flight(known["start_ns"], known["end_ns"])


def _recovery(evidence: Evidence, left_open: Mapping[str, str]) -> Iterator[Agreement]:
    """From the load's end until all that was predicted to run out is free again."""
    assert evidence.prediction is not None
    expected = evidence.prediction.expected
    why = left_open.get("expected.recovery_s")
    if expected.recovery_s is None and why is None:
        return
    measured, unseen, tolerance = None, _partial(evidence), RECOVERY
    if unseen is None and expected.exhausted is Cause.SERVER_PASSIVE_POOL:
        free = evidence.pool_series(PoolState.FREE)
        if free is not None and evidence.pool_size is not None:
            taken = Readings(free.t_ns, evidence.pool_size - free.value)
            measured, unseen = _until_free(taken, evidence.load_end_ns)
    elif unseen is None and expected.exhausted in (Cause.CLIENT_EPHEMERAL_PORTS, Cause.CLIENT_BIND_HABIT):
        in_use, tolerance = evidence.run.samples.one(Metric.EPHEMERAL_PORTS, host="client", key="*"), RECOVERY_BY_DUMP
        if in_use is not None:
            measured, unseen = _until_free(in_use, evidence.load_end_ns)
    elif unseen is None and expected.exhausted in (Cause.SERVER_CONNECTION_CAP, Cause.NAT_POOL):
        measured = max(0, int(evidence.started["end_ns"].max()) - evidence.load_end_ns) / NS_PER_S
    yield _row("recovery", "s", expected.recovery_s, measured, tolerance, why or unseen or "nothing sampled it")


def _until_free(taken: Readings, load_end_ns: int) -> tuple[float | None, str | None]:
    """Return seconds from the load's end until a series stays at 0, or None and why that was not seen."""
    busy = np.flatnonzero(taken.value > 0)
    if not len(busy):
        return 0.0, None
    if busy[-1] + 1 == len(taken):
        return None, "sampling ended before all was free again: a longer `sampling.cool_down` shows it"
    return max(0, int(taken.t_ns[busy[-1] + 1]) - load_end_ns) / NS_PER_S, None


def _partial(evidence: Evidence) -> str | None:
    """Return why totals say nothing about the prediction, or None where the plan was carried out."""
    if evidence.whole and not evidence.lost_processes:
        return _shard(evidence)
    return f"the run was {evidence.status.value.replace('-', ' ')}: its totals are those of a part of the plan"


def _shard(evidence: Evidence) -> str | None:
    """Return why nothing measured says anything about the prediction: the run is one shard of several."""
    index, count = evidence.plan.shard
    if count == 1:
        return None
    told = f"this is shard {index} of {count}, and the prediction is of all together"
    if evidence.emulator is not None:
        return f"{told} at one server: each shard had an emulator of its own"
    return f"{told}: `ftpstorm report` with all their folders compares the two"
