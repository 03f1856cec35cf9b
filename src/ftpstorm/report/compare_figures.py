"""The figures that a comparison sets side by side: how each is read off runs, its interval, and what was predicted.

An interval is the wider one of two: the percentile bootstrap over repeats and blocks of time, which knows that a run
has good and bad stretches, and a formula that knows how little a few events say (Wilson's for shares, order statistics
for percentiles, the estimator's own tolerance for the sustained rate). Of a single run's latencies neither knows
enough: how busy a machine is differs between runs more than within one (`BETWEEN_RUNS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from ftpstorm.records.aggregate import Instants
from ftpstorm.records.estimate import Method
from ftpstorm.report.blocks import Member, Subject, block_edges
from ftpstorm.report.bootstrap import BLOCKS_MIN, interval, percentile_interval, ratio_interval, weights
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import SummaryModel
from ftpstorm.report.wording import number
from ftpstorm.simulate.prediction import Expected
from ftpstorm.units import NS_PER_MS
from ftpstorm.vocabulary import FailureClass, Outcome

Z95: Final = 1.96
"""Half-width of a 95 % interval in standard deviations."""
RATE_TOLERANCE: Final = 0.02
"""What the estimator of the sustained rate owes to phase alone."""
ACHIEVED: Final[Method] = "achieved, nothing ran out"
SCHEDULED: Final = frozenset(
    {"constant-arrival-rate", "ramping-arrival-rate", "poisson-arrival-rate", "replay", "burst", "hold"}
)
"""Executors whose schedule says how much is offered, however the server does."""
BETWEEN_RUNS: Final = {50: 1.35, 99: 4.6}
"""By which factor a percentile of latency may lie off where a column rests on one run, at 95 %: exp(1.96 s), s being
the standard deviation of its logarithm over runs of the same. Measured with eight runs of `try-later`, variant `after`,
6 s each, on two cores that had other work: p50 of a session 1.55 to 2.32 ms, s = 0.14; p99 3.3 to 35.6 ms, s = 0.77."""


class Measured(SummaryModel):
    """One figure of one column with its 95 % interval; all null where it was not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: what it is, and how it is read off runs."""

    quantity: str
    unit: str
    better: Literal["higher", "lower"]
    read: Callable[[Subject], Measured]
    predict: Callable[[Expected], float | None] | None = None
    least: float = 0.0
    """A difference smaller than this is none, whatever the intervals say ..."""
    least_share: float = 0.0
    """... and so is one smaller than this share of the first run's value."""
    apart: Callable[[Subject, Subject], str | None] | None = None
    """Why two subjects' values do not compare although both were measured; None where they do."""

    def predicted(self, subject: Subject) -> float | None:
        """Return the mean of what was predicted before each run; None where one prediction leaves it open."""
        found = []
        for member in subject.members:
            if self.predict is None or member.evidence is None or member.evidence.prediction is None:
                return None
            value = self.predict(member.evidence.prediction.expected)
            if value is None:
                return None
            found.append(value)
        return sum(found) / len(found)


def figures(subjects: Sequence[Subject]) -> Iterator[Figure]:
    """Return the rows for these subjects."""
    yield Figure("sustained transfer rate", "/s", "higher", _sustained, _expected_rate, apart=_offered_less)
    yield Figure("share of attempted transfers that succeeded", "%", "higher", _succeeded_share, _expected_success)
    yield Figure("share of sessions that failed", "%", "lower", _session_share("failed"), _expected_sessions("failed"))
    yield Figure("share of sessions dropped", "%", "lower", _dropped_share, _expected_dropped)
    words = {failure.class_ for subject in subjects for member in subject.members
             for failure in member.summary.failures}  # fmt: skip
    for word in sorted(words):
        name = f"failures for each 100 sessions: {word}"
        yield Figure(name, "%", "lower", _failure_share(word), _expected_failures(word))
    for phase in ("passive", "data_connect", "session"):
        for percent in (50, 99):
            quantity = f"{phase.replace('_', ' ')}, p{percent}"
            yield Figure(quantity, "ms", "lower", _latency(phase, percent), least=0.5, least_share=0.05)


def _evidences(subject: Subject) -> list[tuple[Member, Evidence]]:
    return [(member, member.evidence) for member in subject.members if member.evidence is not None]


def widest(value: float | None, *intervals: tuple[float | None, float | None]) -> Measured:
    """Return `value` with an interval that holds all of `intervals`, those left out that are not known."""
    known = [(low, high) for low, high in intervals if low is not None and high is not None]
    if value is None or not known:
        return Measured(value=value)
    return Measured(value=value, low=min(low for low, _ in known), high=max(high for _, high in known))


# --- the sustained rate -----------------------------------------------------------------------------------------------


def _sustained(subject: Subject) -> Measured:
    rates = [member.summary.transfers.sustained.rate_per_s for member in subject.members]
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates):
        return Measured(value=None)
    rate = sum(known) / len(known)
    tolerance = (rate * (1 - RATE_TOLERANCE), rate * (1 + RATE_TOLERANCE))
    return widest(rate, tolerance, _rate_interval(subject, rate) if subject.recorded else (None, None))


def _rate_interval(subject: Subject, rate: float) -> tuple[float | None, float | None]:
    """Resample successes by blocks of the estimator's windows; the spread is taken to the estimator's own value."""
    counts: list[np.ndarray[Any, Any]] = []
    lengths: list[np.ndarray[Any, Any]] = []
    for _, evidence in _evidences(subject):
        window = evidence.sustained
        edges = block_edges(
            window.window_from_ns, max(window.window_to_ns, window.window_from_ns + 1), evidence.hold_ns
        )
        found, _ = np.histogram(evidence.success_ns, edges)
        counts.append(found.astype(np.float64))
        lengths.append(np.diff(edges).astype(np.float64))
    blocks = [len(part) for part in counts]
    if sum(blocks) < max(2, BLOCKS_MIN if len(blocks) == 1 else 2):
        return None, None
    drawn = weights(blocks)
    hits, of = np.concatenate(counts), np.concatenate(lengths)
    mean = hits.sum() / of.sum()
    return interval((drawn @ hits) / (drawn @ of) * (rate / mean)) if mean else (None, None)


def _offered_less(one: Subject, other: Subject) -> str | None:
    """Return why the lower rate says nothing: it was all that was asked for, and less than of the other one.

    Of closed loads nothing is said: what they offer is what they carry.
    """
    rates = [_sustained(subject).value for subject in (one, other)]
    offered = [_offered_per_s(subject) for subject in (one, other)]
    if None in rates or offered[0] is None or offered[1] is None or rates[0] == rates[1]:
        return None
    lower = int(rates[1] < rates[0])  # type: ignore[operator]  # just looked
    less, more = offered[lower], offered[1 - lower]
    subject, against = (one, other)[lower], (one, other)[1 - lower]
    methods = {member.summary.transfers.sustained.method for member in subject.members}
    assert less is not None
    assert more is not None
    if ACHIEVED not in methods or less >= more * (1 - RATE_TOLERANCE):
        return None
    return (
        f"{subject.name} was offered less ({number(less)}/s; {against.name} {number(more)}/s) and nothing ran out: "
        "its rate is what was asked for, no limit"
    )


def _offered_per_s(subject: Subject) -> float | None:
    """Return the mean of what was offered a second; None where a load's schedule does not set it."""
    found = []
    for member in subject.members:
        rate = member.summary.transfers.offered_per_s
        if rate is None or any(load.executor not in SCHEDULED for load in member.summary.by_load.values()):
            return None
        found.append(rate)
    return sum(found) / len(found)


def _expected_rate(expected: Expected) -> float | None:
    return None if expected.sustained is None else expected.sustained.rate_per_s


# --- shares -----------------------------------------------------------------------------------------------------------


def wilson(hits: int, of: int) -> Measured:
    """Return a share in per cent with its 95 % interval (Wilson's score interval); nothing of nothing is not measured.

    Worked number: 5 of 100 is 5 % with 2.15 to 11.18 %.
    """
    if not of:
        return Measured(value=None)
    share, z2 = hits / of, Z95**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return Measured(value=100 * share, low=100 * max(0.0, centre - half), high=100 * min(1.0, centre + half))


def _share(subject: Subject, hits: int, of: int, blocks: Callable[[Evidence], tuple[Instants, Instants]]) -> Measured:
    """Return 100 x hits / of; `blocks` gives the instants of the hits and of all of a run."""
    if hits <= of:
        formula = wilson(hits, of)
    else:  # several failures a session
        half = 100 * Z95 * math.sqrt(hits) / max(of, 1)
        share = 100 * hits / max(of, 1)
        formula = Measured(value=share, low=share - half, high=share + half)
    if subject.drawn is None or formula.value is None:
        return formula
    parts = [(member, blocks(evidence)) for member, evidence in _evidences(subject)]
    above = np.concatenate([member.counts(pair[0]) for member, pair in parts])
    below = np.concatenate([member.counts(pair[1]) for member, pair in parts])
    low, high = ratio_interval(100 * above, below, subject.drawn)
    return widest(formula.value, (formula.low, formula.high), (low, high))


def _total(subject: Subject, read: Callable[[Member], int]) -> int:
    return sum(read(member) for member in subject.members)


def _succeeded_share(subject: Subject) -> Measured:
    def instants(evidence: Evidence) -> tuple[Instants, Instants]:
        rows = evidence.transfers
        return rows["start_ns"][rows["outcome"] == Outcome.SUCCEEDED], rows["start_ns"]

    hits = _total(subject, lambda member: member.summary.transfers.succeeded)
    return _share(subject, hits, _total(subject, lambda member: member.summary.transfers.attempted), instants)


def _expected_success(expected: Expected) -> float | None:
    return _per_cent(expected.transfers.succeeded, expected.transfers.attempted)


def _session_share(fate: Literal["failed"]) -> Callable[[Subject], Measured]:
    def instants(evidence: Evidence) -> tuple[Instants, Instants]:
        rows = evidence.started
        return rows["intended_ns"][rows["outcome"] == Outcome.from_word(fate)], rows["intended_ns"]

    def read(subject: Subject) -> Measured:
        hits = _total(subject, lambda member: getattr(member.summary.sessions, fate))
        return _share(subject, hits, _total(subject, lambda member: member.summary.sessions.started), instants)

    return read


def _expected_sessions(fate: Literal["failed"]) -> Callable[[Expected], float | None]:
    return lambda expected: _per_cent(getattr(expected.sessions, fate), expected.sessions.started)


def _dropped_share(subject: Subject) -> Measured:
    def instants(evidence: Evidence) -> tuple[Instants, Instants]:
        rows = evidence.sessions
        return rows["intended_ns"][rows["outcome"] == Outcome.DROPPED], rows["intended_ns"]

    hits = _total(subject, lambda member: member.summary.sessions.dropped)
    return _share(subject, hits, hits + _total(subject, lambda member: member.summary.sessions.started), instants)


def _expected_dropped(expected: Expected) -> float | None:
    sessions = expected.sessions
    if sessions.dropped is None or sessions.started is None:
        return None
    return _per_cent(sessions.dropped, sessions.dropped + sessions.started)


def _failure_share(word: str) -> Callable[[Subject], Measured]:
    def instants(evidence: Evidence) -> tuple[Instants, Instants]:
        return evidence.failures.of(FailureClass.from_word(word))["start_ns"], evidence.started["intended_ns"]

    def read(subject: Subject) -> Measured:
        hits = _total(subject, lambda member: member.summary.failure_count(word))
        return _share(subject, hits, _total(subject, lambda member: member.summary.sessions.started), instants)

    return read


def _expected_failures(word: str) -> Callable[[Expected], float | None]:
    def predict(expected: Expected) -> float | None:
        return (
            None if expected.failures is None else _per_cent(expected.failures.get(word, 0), expected.sessions.started)
        )

    return predict


def _per_cent(hits: int | None, of: int | None) -> float | None:
    return 100 * hits / of if hits is not None and of else None


# --- latencies --------------------------------------------------------------------------------------------------------


def quantile_interval(sorted_values: np.ndarray[Any, Any], percent: float) -> Measured:
    """Return a percentile (nearest-rank) of sorted values with the 95 % interval that order statistics give."""
    n = len(sorted_values)
    if not n:
        return Measured(value=None)
    share = percent / 100
    half = Z95 * math.sqrt(n * share * (1 - share))
    ranks = (math.ceil(n * share), math.floor(n * share - half), math.ceil(n * share + half))
    middle, low, high = (float(sorted_values[min(max(rank, 1), n) - 1]) for rank in ranks)
    return Measured(value=middle, low=low, high=high)


def _latency(phase: str, percent: int) -> Callable[[Subject], Measured]:
    def read(subject: Subject) -> Measured:
        if not subject.recorded:
            found = subject.summary.latency_ms.get(phase)
            return Measured(value=None if found is None else getattr(found, f"p{percent}"))
        parts = [(member, evidence.durations[phase]) for member, evidence in _evidences(subject)]
        together = np.sort(np.concatenate([spans.ns for _, spans in parts])) / NS_PER_MS
        formula = quantile_interval(together, percent)
        if subject.drawn is None or formula.value is None:
            return formula
        blocks = [block / NS_PER_MS for member, spans in parts for block in member.split(spans.start_ns, spans.ns)]
        resampled = percentile_interval(blocks, percent, subject.drawn)
        return widest(formula.value, (formula.low, formula.high), resampled)

    def read_with_spread(subject: Subject) -> Measured:
        found = read(subject)
        return between_runs(found, BETWEEN_RUNS[percent]) if len(subject.members) == 1 else found

    return read_with_spread


def between_runs(found: Measured, factor: float) -> Measured:
    """Return a latency of one run with its interval widened by what runs of the same differ by.

    `factor` is the half-width of that at 95 %; both spreads are of the logarithm and independent, so they add in
    quadrature. Worked number: 2 ms, 1.9 to 2.1 within the run, factor 1.35: 1.475 to 2.711 ms.
    """
    if found.value is None or found.low is None or found.high is None or found.low <= 0:
        return found
    below = math.hypot(math.log(found.value / found.low), math.log(factor))
    above = math.hypot(math.log(found.high / found.value), math.log(factor))
    return Measured(value=found.value, low=found.value * math.exp(-below), high=found.value * math.exp(above))
