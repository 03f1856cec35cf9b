"""Prediction beside measurement: the only place where the two meet.

Each row names its tolerance before the values are looked at. A quantity agrees, disagrees, or could not be measured; a
disagreement is no failure of the run, it is what the reader should look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Agreement
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Metric, Outcome, PoolState, Status


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


def agreement(evidence: Evidence) -> list[Agreement]:
    """Return a row for each quantity that the prediction states; empty where the run has no prediction."""
    return [] if evidence.prediction is None else list(_rows(evidence))


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
    if prediction.ceiling_per_s is not None:
        why = sustained.reason if exhausted else "the pool never ran out: what was achieved is not its ceiling"
        yield _row(
            "ceiling of the passive pool, N/(H + C)", "transfers/s", prediction.ceiling_per_s,
            sustained.rate_per_s if exhausted else None, CEILING, why,
        )  # fmt: skip
    yield _row(
        "sustained transfer rate", "transfers/s", expected.sustained.rate_per_s if expected.sustained else None,
        sustained.rate_per_s, SUSTAINED, left_open.get("expected.sustained") or sustained.reason,
    )  # fmt: skip
    partial = _partial(evidence)
    for quantity, predicted, measured in (
        ("sessions succeeded", expected.sessions.succeeded, evidence.outcome(Outcome.SUCCEEDED)),
        ("sessions failed", expected.sessions.failed, evidence.outcome(Outcome.FAILED)),
        ("sessions dropped", expected.sessions.dropped, evidence.outcome(Outcome.DROPPED)),
        ("transfers attempted", expected.transfers.attempted, len(evidence.transfers)),
        ("transfers succeeded", expected.transfers.succeeded, len(evidence.success_ns)),
    ):
        yield _row(quantity, "", predicted, None if partial else measured, COUNT, partial)
    yield from _failures(evidence, partial)
    first = evidence.failures.data["t_ns"]
    measured_first = int(first[0]) / NS_PER_S if len(first) else None
    if expected.first_failure_s is not None or measured_first is not None:
        why = "no failure was predicted" if expected.first_failure_s is None else "no failure came"
        yield _row("first failure", "s", expected.first_failure_s, measured_first, INSTANT, why)
    yield from _peaks(evidence)


def _failures(evidence: Evidence, partial: str | None) -> Iterator[Agreement]:
    assert evidence.prediction is not None
    predicted = evidence.prediction.expected.failures
    measured = {failure.word: count for failure, count in evidence.failure_counts.items()}
    for word in sorted({*(predicted or ()), *measured}):
        foretold = None if predicted is None else predicted.get(word, 0)
        seen = None if partial else measured.get(word, 0)
        yield _row(f"failures: {word}", "", foretold, seen, COUNT, partial)


def _peaks(evidence: Evidence) -> Iterator[Agreement]:
    assert evidence.prediction is not None
    peaks = evidence.prediction.expected.peaks
    free = evidence.pool_series(PoolState.FREE)
    taken = None if free is None else evidence.pool_peak
    yield _row("passive ports taken, peak", "ports", peaks.passive_pool_taken, taken, PEAK)
    partial = _partial(evidence)
    for side, predicted in (("client", peaks.client_time_wait), ("server", peaks.server_time_wait)):
        seen = None if partial else evidence.peak(Metric.TCP_STATE, host=side, key="time-wait")
        yield _row(f"sockets in TIME_WAIT, {side}, peak", "sockets", predicted, seen, PEAK, partial)


def _partial(evidence: Evidence) -> str | None:
    """Return why totals say nothing about the prediction, or None where the plan was carried out."""
    if evidence.status is Status.SIMULATED or (evidence.whole and not evidence.lost_processes):
        return None
    return f"the run was {evidence.status.value.replace('-', ' ')}: its totals are those of a part of the plan"
