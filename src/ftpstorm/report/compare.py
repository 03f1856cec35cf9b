"""Two or more runs side by side: what changed in the settings, what that did, and whether chance could have done it.

The first run is the baseline. Each figure carries an interval; *better* and *worse* are said only where the intervals
of the two runs lie apart, else no difference is shown. Runs that prove nothing (invalid, cut short) are compared with
none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.records.manifest import write_json_atomically
from ftpstorm.records.reader import open_run
from ftpstorm.report.build import summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.fail_on import Condition, FailOn, parse_fail_on
from ftpstorm.report.summary import Summary, SummaryModel
from ftpstorm.report.wording import count_of, number
from ftpstorm.units import NS_PER_MS
from ftpstorm.vocabulary import Cause, Status, Verdict

COMPARE_JSON: Final = "compare.json"
COMPARE_PAGE: Final = "compare.html"

Z95: Final = 1.96
"""Half-width of a 95 % interval in standard deviations."""
RATE_TOLERANCE: Final = 0.02
"""What the estimator of the sustained rate owes to phase alone."""

Outcome = Literal["better", "worse", "no difference shown", "not comparable"]


class Measured(SummaryModel):
    """One figure of one run with its 95 % interval; all null where it was not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Row(SummaryModel):
    """One figure over all runs, in their order; differences and verdicts are against the first run."""

    quantity: str
    unit: str
    better: Literal["higher", "lower"]
    values: list[Measured]
    differences: list[float | None]
    changes: list[float | None]
    """Relative: 0.05 is 5 % more than in the first run; null where that was 0 or not measured."""
    verdicts: list[Outcome]


class Setting(SummaryModel):
    """One setting that is not the same in all runs."""

    key: str
    values: list[str | None]


class ComparedRun(SummaryModel):
    """Which run a column is."""

    name: str
    run_id: str
    folder: str
    started_at: str
    status: Status
    verdict: Verdict
    cause: str
    headline: str


class Comparison(SummaryModel):
    """All of compare.json."""

    schema_version: int = Field(default=1, alias="schema")
    headline: str
    comparable: bool
    warnings: list[str]
    runs: list[ComparedRun]
    rows: list[Row]
    settings: list[Setting]
    fail_on: list[FailOn]

    @property
    def exit_code(self) -> ExitCode:
        """99 where a ``--fail-on`` expression holds, 121 where the runs cannot be compared, else 0."""
        if not self.comparable:
            return ExitCode.INVALID_RUN
        return ExitCode.EXPECTATION_FAILED if any(item.failed for item in self.fail_on) else ExitCode.PASS


@dataclass(frozen=True, slots=True)
class Subject:
    """One run under comparison."""

    evidence: Evidence
    summary: Summary
    name: str


def compare_runs(
    folders: Sequence[Path], out: Path | None = None, *, fail_on: Sequence[str] = (), plots: bool = True
) -> Comparison:
    """Compare the runs in `folders`, the first being the baseline; write compare.html and compare.json into `out`.

    `out` defaults to the last run's folder. Raises UsageError for fewer than two runs or a bad `fail_on` expression,
    RecordsError for a folder that no run left.
    """
    if len(folders) < 2:
        raise UsageError("compare needs at least two runs: BEFORE and AFTER; name them with: ftpstorm run ... --label")
    conditions = [parse_fail_on(text) for text in fail_on]
    subjects = _subjects(folders)
    comparison = compare(subjects, conditions)
    target = out if out is not None else folders[-1]
    target.mkdir(parents=True, exist_ok=True)
    write_json_atomically(target / COMPARE_JSON, comparison.model_dump(mode="json", by_alias=True))
    picture = None
    if plots:
        from ftpstorm.report.charts_compare import draw_overlay

        picture = draw_overlay(subjects, target)
    from ftpstorm.report.html import environment

    text = environment().get_template("compare.html.j2").render(c=comparison, picture=picture)
    (target / COMPARE_PAGE).write_text(text, encoding="utf-8")
    return comparison


def _subjects(folders: Sequence[Path]) -> list[Subject]:
    subjects = []
    for folder in folders:
        evidence = Evidence(open_run(folder))
        summary = summarise(evidence)
        subjects.append(Subject(evidence, summary, summary.label or summary.variant or "base"))
    names = [subject.name for subject in subjects]
    return [
        Subject(subject.evidence, subject.summary, subject.name if names.count(subject.name) == 1 else
                f"{subject.name} ({'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[place % 26]})")
        for place, subject in enumerate(subjects)
    ]  # fmt: skip


def compare(subjects: Sequence[Subject], conditions: Sequence[Condition] = ()) -> Comparison:
    """Return the comparison of `subjects`, the first being the baseline."""
    warnings = list(_warnings(subjects))
    comparable = all(subject.summary.verdict is not Verdict.INVALID for subject in subjects)
    rows = [_row(figure, subjects, comparable) for figure in _figures(subjects)]
    return Comparison(
        headline=_headline(subjects, rows, comparable),
        comparable=comparable,
        warnings=warnings,
        runs=[
            ComparedRun(
                name=subject.name,
                run_id=subject.summary.run_id,
                folder=subject.evidence.run.folder.name,
                started_at=subject.summary.started_at,
                status=subject.summary.status,
                verdict=subject.summary.verdict,
                cause=subject.summary.diagnosis.cause,
                headline=subject.summary.headline,
            )
            for subject in subjects
        ],
        rows=rows,
        settings=changed_settings([subject.evidence for subject in subjects]),
        fail_on=[condition.evaluate(subjects[0].summary, subjects[-1].summary) for condition in conditions],
    )


def _warnings(subjects: Sequence[Subject]) -> Iterator[str]:
    first, *rest = subjects
    for subject in subjects:
        if subject.summary.verdict is Verdict.INVALID:
            yield f"{subject.name} is invalid: {'; '.join(subject.summary.verdict_reasons)}"
        elif subject.summary.status not in (Status.COMPLETED, Status.SIMULATED):
            yield f"{subject.name} did not run to its end ({subject.summary.status.value})"
    for subject in rest:
        for what, ours, theirs in (
            ("another host", first.evidence.plan.host.hostname_hash, subject.evidence.plan.host.hostname_hash),
            ("another kernel", first.evidence.plan.host.kernel, subject.evidence.plan.host.kernel),
            ("another scenario", first.summary.scenario, subject.summary.scenario),
            ("another ftpstorm", first.summary.versions.get("ftpstorm"), subject.summary.versions.get("ftpstorm")),
        ):
            if ours != theirs:
                yield (
                    f"{subject.name} ran {what} than {first.name}"
                    if what == "another scenario"
                    else (f"{subject.name} ran on {what} than {first.name}")
                )


# --- figures and their intervals --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: what it is, and how it is read off a run."""

    quantity: str
    unit: str
    better: Literal["higher", "lower"]
    read: Callable[[Subject], Measured]
    least: float = 0.0
    """A difference smaller than this is none, whatever the intervals say ..."""
    least_share: float = 0.0
    """... and so is one smaller than this share of the first run's value: the intervals know the spread within a run,
    not that between two runs of the same."""


def _figures(subjects: Sequence[Subject]) -> Iterator[Figure]:
    yield Figure("sustained transfer rate", "/s", "higher", _sustained)
    yield Figure("share of attempted transfers that succeeded", "%", "higher", _succeeded_share)
    yield Figure("share of sessions that failed", "%", "lower", _failed_share)
    yield Figure("share of sessions dropped", "%", "lower", _dropped_share)
    words = {failure.class_ for subject in subjects for failure in subject.summary.failures}
    for word in sorted(words):
        yield Figure(f"failures for each 100 sessions: {word}", "%", "lower", _failure_share(word))
    for phase in ("passive", "data_connect", "session"):
        for percent in (50, 99):
            quantity = f"{phase.replace('_', ' ')}, p{percent}"
            yield Figure(quantity, "ms", "lower", _latency(phase, percent), least=0.5, least_share=0.2)


def _sustained(subject: Subject) -> Measured:
    rate = subject.summary.transfers.sustained.rate_per_s
    if rate is None:
        return Measured(value=None)
    return Measured(value=rate, low=rate * (1 - RATE_TOLERANCE), high=rate * (1 + RATE_TOLERANCE))


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


def _succeeded_share(subject: Subject) -> Measured:
    return wilson(subject.summary.transfers.succeeded, subject.summary.transfers.attempted)


def _failed_share(subject: Subject) -> Measured:
    return wilson(subject.summary.sessions.failed, subject.summary.sessions.started)


def _dropped_share(subject: Subject) -> Measured:
    sessions = subject.summary.sessions
    return wilson(sessions.dropped, sessions.started + sessions.dropped)


def _failure_share(word: str) -> Callable[[Subject], Measured]:
    def read(subject: Subject) -> Measured:
        count, sessions = subject.summary.failure_count(word), subject.summary.sessions.started
        if count <= sessions:
            return wilson(count, sessions)
        share = 100 * count / max(sessions, 1)
        half = 100 * Z95 * math.sqrt(count) / max(sessions, 1)
        return Measured(value=share, low=share - half, high=share + half)

    return read


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


def _latency(phase: str, percent: float) -> Callable[[Subject], Measured]:
    def read(subject: Subject) -> Measured:
        return quantile_interval(np.sort(subject.evidence.durations[phase].ns) / NS_PER_MS, percent)

    return read


def _row(figure: Figure, subjects: Sequence[Subject], comparable: bool) -> Row:
    values = [figure.read(subject) for subject in subjects]
    first = values[0]
    differences: list[float | None] = []
    changes: list[float | None] = []
    verdicts: list[Outcome] = []
    for value in values[1:]:
        difference = None if value.value is None or first.value is None else value.value - first.value
        differences.append(difference)
        changes.append(difference / first.value if difference is not None and first.value else None)
        verdicts.append(_outcome(figure, first, value) if comparable else "not comparable")
    return Row(
        quantity=figure.quantity, unit=figure.unit, better=figure.better, values=values,
        differences=differences, changes=changes, verdicts=verdicts,
    )  # fmt: skip


def _outcome(figure: Figure, first: Measured, value: Measured) -> Outcome:
    if first.low is None or first.high is None or value.low is None or value.high is None:
        return "not comparable"
    assert value.value is not None
    assert first.value is not None
    apart = value.low > first.high or value.high < first.low
    if not apart or abs(value.value - first.value) < max(figure.least, figure.least_share * abs(first.value)):
        return "no difference shown"
    return "better" if (value.value > first.value) == (figure.better == "higher") else "worse"


def _headline(subjects: Sequence[Subject], rows: Sequence[Row], comparable: bool) -> str:
    """Return one sentence: the figure that says most, how many more changed alike, and what that did to the cause."""
    first, last = subjects[0], subjects[-1]
    if not comparable:
        return "These runs cannot be compared: one of them proves nothing."
    better = [row for row in rows if row.verdicts[-1] == "better"]
    worse = [row for row in rows if row.verdicts[-1] == "worse"]
    told = [f"{word} in {_change(found)}" for word, found in (("better", better), ("worse", worse)) if found]
    changed = f"{last.name} is {' but '.join(told)}" if told else f"{last.name} shows no difference from {first.name}"
    against = f" than {first.name}" if told else ""
    return f"{changed}{against}; {_causes(first, last)}."


def _change(rows: Sequence[Row]) -> str:
    """Return the first row's change in words, and how many there are beside it."""
    row = rows[0]
    before, after = row.values[0].value, row.values[-1].value
    unit = row.unit if row.unit == "/s" else f" {row.unit}"
    text = f"{row.quantity} ({number(after)}{unit} instead of {number(before)}{unit})"
    return f"{text} and {count_of(len(rows) - 1, 'more figure')}" if len(rows) > 1 else text


def _causes(first: Subject, last: Subject) -> str:
    before, after = (subject.summary.diagnosis.cause for subject in (first, last))
    if before == after:
        return "nothing ran out in either" if before == Cause.NONE else f"the cause is {before} in both"
    if after == Cause.NONE:
        return f"nothing ran out any more (before: {before})"
    return f"the cause is now {after} (before: {'nothing ran out' if before == Cause.NONE else before})"


# --- settings ---------------------------------------------------------------------------------------------------------

_NOT_SETTINGS: Final = ("expect.", "thresholds.", "description", "variants.", "imitates", "cannot_show")


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return the leaves of a JSON value as dotted key and value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value:
        yield prefix.removesuffix("."), value
        return
    for key, inner in items:
        yield from flatten(inner, f"{prefix}{key}.")


def changed_settings(runs: Sequence[Evidence]) -> list[Setting]:
    """Return every setting of scenario, host and run that is not the same in all runs."""
    flat = []
    for evidence in runs:
        plan = evidence.plan.to_json()
        settings = {key: value for key, value in flatten(plan["scenario"]) if not key.startswith(_NOT_SETTINGS)}
        settings |= {f"host.{key}": value for key, value in flatten(plan["host"])}
        settings |= {"workers": plan["workers"], "private_namespace": plan["private_namespace"]}
        flat.append(settings)
    keys = dict.fromkeys(key for settings in flat for key in settings)
    return [
        Setting(key=key, values=[None if key not in settings else _shown(settings[key]) for settings in flat])
        for key in keys
        if any(settings.get(key) != flat[0].get(key) for settings in flat)
    ]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
