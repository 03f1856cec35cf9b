"""Two or more runs side by side: what changed in the settings, what that did, and whether chance could have done it.

The first column is the baseline. A column is one run, or several that repeat each other. *Better* and *worse* are said
only where the interval of the difference leaves out nothing; else no difference is shown. Runs that prove nothing
(invalid, cut short) are compared with none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.records.manifest import write_json_atomically
from ftpstorm.records.reader import open_run
from ftpstorm.report.blocks import Member, Subject
from ftpstorm.report.bootstrap import difference_interval
from ftpstorm.report.build import summarise
from ftpstorm.report.compare_figures import BETWEEN_RUNS, Figure, Measured, figures
from ftpstorm.report.compare_settings import Setting, changed_settings
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.fail_on import Condition, FailOn, parse_fail_on
from ftpstorm.report.marks import marks
from ftpstorm.report.summary import Summary, SummaryModel
from ftpstorm.report.wording import count_of, number
from ftpstorm.vocabulary import Cause, Status, Verdict

COMPARE_JSON: Final = "compare.json"
COMPARE_PAGE: Final = "compare.html"

Outcome = Literal["better", "worse", "no difference shown", "not comparable"]
Overall = Literal["better", "worse", "better and worse", "no difference shown", "not comparable"]


class Row(SummaryModel):
    """One figure over all columns, in their order; differences and verdicts are against the first one."""

    quantity: str
    unit: str
    better: Literal["higher", "lower"]
    values: list[Measured]
    differences: list[float | None]
    intervals: list[tuple[float, float] | None] = Field(default_factory=list)
    """95 % interval of each difference; null where that of a value is not known."""
    changes: list[float | None]
    """Relative: 0.05 is 5 % more than in the first column; null where that was 0 or not measured."""
    predicted: list[float | None] = Field(default_factory=list)
    """What was predicted of each column before its runs; null where that was left open."""
    predicted_differences: list[float | None] = Field(default_factory=list)
    verdicts: list[Outcome]
    reasons: list[str | None] = Field(default_factory=list)
    """Why a verdict is `not comparable` although both values were measured."""


class ComparedRun(SummaryModel):
    """Which run, or which runs, a column is."""

    name: str
    run_id: str
    folder: str
    started_at: str
    status: Status
    verdict: Verdict
    cause: str
    headline: str
    repeats: int = 1
    others: list[str] = Field(default_factory=list)
    """The folders of its further runs."""
    method: str = ""
    """How its intervals come about."""
    marks: list[str] = Field(default_factory=list)


class Comparison(SummaryModel):
    """All of compare.json."""

    schema_version: int = Field(default=1, alias="schema")
    headline: str
    comparable: bool
    verdicts: list[Overall] = Field(default_factory=list)
    """Of each column after the first, over all figures."""
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


def compare_runs(
    folders: Sequence[Path | Sequence[Path]],
    out: Path | None = None,
    *,
    baseline: Path | None = None,
    fail_on: Sequence[str] = (),
    plots: bool = True,
) -> Comparison:
    """Compare the columns in `folders`, the first being the baseline; write compare.html and compare.json into `out`.

    A column is the folder of a run, or those of its repeats. `baseline` is a summary.json that was kept: then it is the
    first column. `out` defaults to the last run's folder. Raises UsageError for fewer than two columns, a run that is
    given twice, a bad `fail_on` expression or a baseline that is none, RecordsError for a folder that no run left.
    """
    if len(folders) + (baseline is not None) < 2:
        raise UsageError(
            "compare needs at least two runs: BEFORE and AFTER, or AFTER and --baseline FILE; "
            "name runs with: ftpstorm run ... --label"
        )
    conditions = [parse_fail_on(text) for text in fail_on]
    columns = [[item] if isinstance(item, Path) else list(item) for item in folders]
    _refuse_twice(columns)
    subjects = _named([tuple(map(_member, column)) for column in columns])
    if baseline is not None:
        subjects.insert(0, Subject("baseline", (_kept(baseline),)))
    _refuse_copies(subjects)
    comparison = compare(subjects, conditions)
    target = out if out is not None else columns[-1][-1]
    target.mkdir(parents=True, exist_ok=True)
    write_json_atomically(target / COMPARE_JSON, comparison.model_dump(mode="json", by_alias=True))
    pictures = []
    if plots:
        from ftpstorm.report.charts_compare import draw_overlays

        pictures = draw_overlays(subjects, target)
    from ftpstorm.report.html import environment

    text = environment().get_template("compare.html.j2").render(c=comparison, pictures=pictures)
    (target / COMPARE_PAGE).write_text(text, encoding="utf-8")
    return comparison


def _refuse_twice(columns: Sequence[Sequence[Path]]) -> None:
    """Raise UsageError for a folder that is given twice: a run does not vary from itself."""
    seen: set[Path] = set()
    for folder in (folder.resolve() for column in columns for folder in column):
        if folder in seen:
            raise UsageError(f"{folder.name} is given twice; a run is compared with other runs and repeats none")
        seen.add(folder)


def _refuse_copies(subjects: Sequence[Subject]) -> None:
    """Raise UsageError for two folders, or a folder and a kept baseline, that are of the same run."""
    seen: dict[str, str] = {}
    for member in (member for subject in subjects for member in subject.members):
        name = "the baseline" if member.evidence is None else member.evidence.run.folder.name
        run_id = member.summary.run_id
        if run_id in seen:
            raise UsageError(f"{seen[run_id]} and {name} are the same run ({run_id}); give another one")
        seen[run_id] = name


def _member(folder: Path) -> Member:
    evidence = Evidence(open_run(folder))
    return Member(summarise(evidence), evidence)


def _kept(file: Path) -> Member:
    try:
        return Member(Summary.model_validate_json(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"--baseline {file}: cannot be read: {error.strerror}") from None
    except (ValidationError, UnicodeDecodeError):
        raise UsageError(
            f"--baseline {file}: is no summary.json; keep one with: cp results/RUN/summary.json FILE"
        ) from None


def _named(columns: Sequence[tuple[Member, ...]]) -> list[Subject]:
    names = [column[0].summary.label or column[0].summary.variant or "base" for column in columns]
    return [
        Subject(name if names.count(name) == 1 else f"{name} ({'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[place % 26]})", column)
        for place, (name, column) in enumerate(zip(names, columns, strict=True))
    ]


def compare(subjects: Sequence[Subject], conditions: Sequence[Condition] = ()) -> Comparison:
    """Return the comparison of `subjects`, the first being the baseline."""
    comparable = all(member.valid for subject in subjects for member in subject.members)
    rows = [_row(figure, subjects, comparable) for figure in figures(subjects)]
    return Comparison(
        headline=_headline(subjects, rows, comparable),
        comparable=comparable,
        verdicts=[_overall([row.verdicts[place] for row in rows]) for place in range(len(subjects) - 1)],
        warnings=list(_warnings(subjects)),
        runs=[_compared(subject) for subject in subjects],
        rows=rows,
        settings=changed_settings([subject.evidence for subject in subjects]),
        fail_on=[condition.evaluate(subjects[0].summary, subjects[-1].summary) for condition in conditions],
    )


def _compared(subject: Subject) -> ComparedRun:
    summary, evidence = subject.summary, subject.evidence
    others = [member.evidence.run.folder.name for member in subject.members[1:] if member.evidence is not None]
    return ComparedRun(
        name=subject.name,
        run_id=summary.run_id,
        folder=summary.run_id if evidence is None else evidence.run.folder.name,
        started_at=summary.started_at,
        status=summary.status,
        verdict=summary.verdict,
        cause=subject.cause,
        headline=summary.headline,
        repeats=len(subject.members),
        others=others,
        method=subject.method,
        marks=[] if evidence is None else marks(evidence.plan.scenario, evidence.status),
    )


def _warnings(subjects: Sequence[Subject]) -> Iterator[str]:
    first, *rest = subjects
    for subject in subjects:
        for place, member in enumerate(subject.members, 1):
            name = subject.name if len(subject.members) == 1 else f"run {place} of {subject.name}"
            summary = member.summary
            if summary.verdict is Verdict.INVALID:
                yield f"{name} is invalid: {'; '.join(summary.verdict_reasons)}"
            elif summary.status not in (Status.COMPLETED, Status.SIMULATED):
                yield f"{name} did not run to its end ({summary.status.value})"
        apart = changed_settings([member.evidence for member in subject.members])
        if apart:
            yield f"the runs of {subject.name} are no repeats: they differ in {', '.join(item.key for item in apart)}"
    for subject in rest:
        yield from _elsewhere(first, subject)
    if any(len(subject.members) == 1 for subject in subjects):
        yield (
            f"{'each' if all(len(s.members) == 1 for s in subjects) else 'a'} column rests on one run: its "
            "intervals know how a run varies over time, not how far two runs of the same lie apart; those of its "
            "latencies are widened by what runs of the same were measured to differ by "
            f"(p50 {BETWEEN_RUNS[50]:g}-fold, p99 {BETWEEN_RUNS[99]:g}-fold)"
        )


def _elsewhere(first: Subject, subject: Subject) -> Iterator[str]:
    one, other = first.summary, subject.summary
    for what, ours, theirs in (
        ("another host", one.host.get("hostname_hash"), other.host.get("hostname_hash")),
        ("another kernel", one.host.get("kernel"), other.host.get("kernel")),
        ("another ftpstorm", one.versions.get("ftpstorm"), other.versions.get("ftpstorm")),
    ):
        if ours != theirs:
            yield f"{subject.name} ran on {what} than {first.name}"
    if one.scenario != other.scenario:
        yield f"{subject.name} ran another scenario than {first.name}"
    simulated = [item.name for item in (first, subject) if item.summary.status is Status.SIMULATED]
    if len(simulated) == 1:
        yield f"{simulated[0]} was simulated, the other one measured"


def _row(figure: Figure, subjects: Sequence[Subject], comparable: bool) -> Row:
    values = [figure.read(subject) for subject in subjects]
    predicted = [figure.predicted(subject) for subject in subjects]
    first = values[0]
    differences: list[float | None] = []
    intervals: list[tuple[float, float] | None] = []
    changes: list[float | None] = []
    foretold: list[float | None] = []
    verdicts: list[Outcome] = []
    reasons = [figure.apart(subjects[0], subject) if figure.apart else None for subject in subjects[1:]]
    for value, expected, reason in zip(values[1:], predicted[1:], reasons, strict=True):
        difference = None if value.value is None or first.value is None else value.value - first.value
        differences.append(difference)
        intervals.append(_interval(first, value))
        changes.append(difference / first.value if difference is not None and first.value else None)
        foretold.append(None if expected is None or predicted[0] is None else expected - predicted[0])
        verdicts.append(_outcome(figure, first, value) if comparable and reason is None else "not comparable")
    return Row(
        quantity=figure.quantity, unit=figure.unit, better=figure.better, values=values, differences=differences,
        intervals=intervals, changes=changes, predicted=predicted, predicted_differences=foretold, verdicts=verdicts,
        reasons=reasons,
    )  # fmt: skip


def _interval(first: Measured, value: Measured) -> tuple[float, float] | None:
    before, after = (first.value, first.low, first.high), (value.value, value.low, value.high)
    if None in before or None in after:
        return None
    return difference_interval(before, after)  # type: ignore[arg-type]  # just looked


def _outcome(figure: Figure, first: Measured, value: Measured) -> Outcome:
    between = _interval(first, value)
    if between is None or value.value is None or first.value is None:
        return "not comparable"
    low, high = between
    difference = value.value - first.value
    if low <= 0 <= high or abs(difference) < max(figure.least, figure.least_share * abs(first.value)):
        return "no difference shown"
    return "better" if (difference > 0) == (figure.better == "higher") else "worse"


def _overall(verdicts: Sequence[Outcome]) -> Overall:
    better, worse = "better" in verdicts, "worse" in verdicts
    if better or worse:
        return "better and worse" if better and worse else "better" if better else "worse"
    return "no difference shown" if "no difference shown" in verdicts else "not comparable"


# --- in words ---------------------------------------------------------------------------------------------------------


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
    return f"{changed}{against}; {_causes(first.cause, last.cause)}."


def _change(rows: Sequence[Row]) -> str:
    """Return the first row's change in words, and how many there are beside it."""
    row = rows[0]
    before, after = row.values[0].value, row.values[-1].value
    unit = row.unit if row.unit == "/s" else f" {row.unit}"
    text = f"{row.quantity} ({number(after)}{unit} instead of {number(before)}{unit})"
    return f"{text} and {count_of(len(rows) - 1, 'more figure')}" if len(rows) > 1 else text


def _causes(before: str, after: str) -> str:
    if before == after:
        return "nothing ran out in either" if before == Cause.NONE else f"the cause is {before} in both"
    if after == Cause.NONE:
        return f"nothing ran out any more (before: {before})"
    return f"the cause is now {after} (before: {'nothing ran out' if before == Cause.NONE else before})"
