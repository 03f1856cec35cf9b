"""A search's findings and its page: every step, the highest load that passes, the lowest that fails, and why.

Which load is tried next is `ftpstorm.conduct.bisection`'s; here a step is judged from its folder, and all are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from ftpstorm.records.manifest import write_json_atomically
from ftpstorm.records.reader import open_run
from ftpstorm.report.build import summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.settled import settled_checks
from ftpstorm.report.summary import Check, Summary, SummaryModel
from ftpstorm.report.wording import count_of, number
from ftpstorm.scenario.search import Search
from ftpstorm.vocabulary import Cause, Metric, PoolState, Verdict

SEARCH_JSON: Final = "search.json"
SEARCH_PAGE: Final = "search.html"

PASSED: Final = "passed"
FAILED: Final = "failed"
UNFIT: Final = "generator"
VOID: Final = "void"
"""The run proves nothing, for another reason than the generator: its books do not balance, or it was cut short."""


class SearchStep(SummaryModel):
    """One run of a search."""

    number: int
    load: str
    value: float
    """The load as a number: a second, a count, or seconds."""
    fate: str
    """passed, failed, generator (the generator was the limit) or void."""
    folder: str
    """Below the search's folder."""
    run_id: str
    duration_s: float
    offered_per_s: float | None
    """Transfers offered a second; null where all sessions start at one instant."""
    rate_per_s: float
    """Transfers carried a second."""
    checks: list[Check]
    """The conditions, after settling."""
    cause: str
    headline: str
    why: list[str]
    """What did not hold, or why the run proves nothing."""
    limit: str | None
    """The limit that the theory named as binding before this step ..."""
    limit_per_s: float | None
    """... and its rate, of transfers a second."""
    taken_at_start: dict[str, int]
    """Ports that were taken before the first session, by what holds them; what was not sampled is not in it."""
    waited_s: float = 0.0
    """How long the step waited for ports of earlier ones; 0 where it has a network and a server of its own."""


class Edge(SummaryModel):
    """One side of the knee."""

    load: str
    value: float
    runs: int
    passed: int
    offered_per_s: float | None


class SearchResult(SummaryModel):
    """All of search.json."""

    schema_version: int = Field(default=1, alias="schema")
    scenario: str
    description: str = ""
    started_at: str
    status: str
    """running, found, below the range, above the range, generator, out of steps, interrupted or failed."""
    headline: str
    vary: str
    between: tuple[str, str]
    accept: dict[str, tuple[str, ...]]
    settle_s: float
    step_s: float | None
    """How long the load of a step lasts; null where the load has no duration."""
    step_why: str
    precision: float
    confirm: int
    highest_passing: Edge | None
    lowest_failing: Edge | None
    cause: str | None
    """What ran out in the steps at the lowest failing load; null where none failed."""
    cause_headline: str | None = None
    limit: str | None = None
    """The limit that the theory named for the lowest failing load ..."""
    limit_per_s: float | None = None
    ratio: float | None = None
    """... and the load found (the middle of the two, as transfers offered a second) by it."""
    steps: list[SearchStep]
    marks: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)


def read_step(
    folder: Path, search: Search, *, number: int, load: str, value: float, below: str, waited_s: float
) -> SearchStep:
    """Judge the run in `folder` as step `number` of a search; `below` is its folder as the index names it."""
    evidence = Evidence(open_run(folder))
    summary = summarise(evidence)
    checks = settled_checks(evidence, search.accept, search.settle)
    fate, why = judge_step(summary, checks)
    foretold = evidence.prediction
    limits = [] if foretold is None else [limit for limit in foretold.limits if limit.binding]
    offered = None if foretold is None else foretold.offered_per_s
    return SearchStep(
        number=number,
        load=load,
        value=value,
        fate=fate,
        folder=below,
        run_id=summary.run_id,
        duration_s=summary.duration_s,
        offered_per_s=summary.transfers.offered_per_s if offered is None else offered,
        rate_per_s=summary.transfers.rate_per_s,
        checks=checks,
        cause=summary.diagnosis.cause,
        headline=summary.headline,
        why=why,
        limit=str(limits[0].name) if limits else None,
        limit_per_s=limits[0].per_s if limits else None,
        taken_at_start=taken_at_start(evidence),
        waited_s=waited_s,
    )


def judge_step(summary: Summary, checks: Sequence[Check]) -> tuple[str, list[str]]:
    """Return what a step came to, and why."""
    if summary.generator.invalid:
        return UNFIT, list(summary.generator.invalid)
    if summary.verdict is Verdict.INVALID:
        return VOID, list(summary.verdict_reasons)
    missed = [f"{check.name} {check.condition}: {check.reason or _measured(check)}" for check in checks if not check.ok]
    return (FAILED, missed) if missed else (PASSED, [])


def _measured(check: Check) -> str:
    if isinstance(check.measured, int | float):
        return f"measured {number(check.measured)}{f' {check.unit}' if check.unit else ''}"
    return f"found {check.measured}"


def taken_at_start(evidence: Evidence) -> dict[str, int]:
    """Return what was taken when the run began: ports of the emulator's pool, and sockets in TIME_WAIT by host."""
    taken: dict[str, int] = {}
    free = evidence.pool_series(PoolState.FREE)
    if free is not None and len(free) and evidence.pool_size is not None:
        taken["passive pool"] = evidence.pool_size - int(free.value[0])
    for series, readings in evidence.run.samples.select(Metric.SOCKSTAT, key="tw").items():
        if len(readings):
            taken[f"TIME_WAIT, {series.host}"] = int(readings.value[0])
    return taken


def edges(steps: Sequence[SearchStep]) -> tuple[Edge | None, Edge | None]:
    """Return the highest load whose runs all passed, and the lowest with a run that failed."""
    by_load: dict[float, list[SearchStep]] = {}
    for step in steps:
        if step.fate in (PASSED, FAILED, UNFIT):
            by_load.setdefault(step.value, []).append(step)
    failing = min((value for value, runs in by_load.items() if any(run.fate == FAILED for run in runs)), default=None)
    bound = min((value for value, runs in by_load.items() if any(run.fate != PASSED for run in runs)), default=None)
    passing = max((value for value in by_load if bound is None or value < bound), default=None)
    return _edge(by_load, passing), _edge(by_load, failing)


def _edge(by_load: dict[float, list[SearchStep]], value: float | None) -> Edge | None:
    if value is None:
        return None
    runs = by_load[value]
    return Edge(
        load=runs[0].load,
        value=value,
        runs=len(runs),
        passed=sum(run.fate == PASSED for run in runs),
        offered_per_s=runs[0].offered_per_s,
    )


def conclude(result: SearchResult, status: str) -> SearchResult:
    """Return the result with what its steps say: the knee, the cause beyond it, and one sentence."""
    passing, failing = edges(result.steps)
    beyond = [] if failing is None else [s for s in result.steps if s.value == failing.value and s.fate == FAILED]
    cause = Counter(step.cause for step in beyond).most_common(1)[0][0] if beyond else None
    named = next((step for step in beyond if step.cause == cause), None)
    ratio = None
    if passing is not None and failing is not None and named is not None and named.limit_per_s:
        lower, upper = passing.offered_per_s, failing.offered_per_s
        ratio = None if lower is None or upper is None else (lower + upper) / 2 / named.limit_per_s
    found = result.model_copy(
        update={
            "status": status,
            "highest_passing": passing,
            "lowest_failing": failing,
            "cause": cause,
            "cause_headline": None if named is None else named.headline,
            "limit": None if named is None else named.limit,
            "limit_per_s": None if named is None else named.limit_per_s,
            "ratio": ratio,
        }
    )
    return found.model_copy(update={"headline": _headline(found, named)})


def _headline(result: SearchResult, beyond: SearchStep | None) -> str:
    passing, failing = result.highest_passing, result.lowest_failing
    holds = f"{result.vary} = {passing.load} passes" if passing is not None else f"no {result.vary} passed"
    if passing is not None and passing.runs > 1:
        holds += f" ({passing.passed} of {count_of(passing.runs, 'run')})"
    fails = ""
    if failing is not None:
        fails = f"; {failing.load} fails ({failing.runs - failing.passed} of {count_of(failing.runs, 'run')})"
        if beyond is not None:
            nothing = beyond.cause == Cause.NONE
            fails += f": {beyond.why[0]}" if nothing and beyond.why else f": {beyond.cause}"
    match result.status:
        case "below the range":
            return f"Not even the lowest load passes{fails}."
        case "above the range":
            return f"{_capital(holds)}, and that is the highest load that was asked for."
        case "generator":
            unfit = next((step for step in result.steps if step.fate == UNFIT), None)
            told = f" at {unfit.load}: {unfit.why[0]}" if unfit is not None else ""
            return f"The load generator is the limit{told}; {holds}{fails}. Of the server this says no more."
        case "found":
            return f"{_capital(holds)}{fails}."
        case status:
            return f"The search is {status}: {holds}{fails}."


def _capital(text: str) -> str:
    return text if "." in text.partition(" ")[0] else text[:1].upper() + text[1:]


def write_result(folder: Path, result: SearchResult) -> None:
    """Write search.json."""
    write_json_atomically(folder / SEARCH_JSON, result.model_dump(mode="json", by_alias=True))


def write_page(folder: Path, result: SearchResult, *, plots: bool = True) -> Path:
    """Write search.html, and the picture as search.png and .svg, into a search's folder; return the page."""
    from ftpstorm.report.html import environment

    picture = None
    if plots:
        from ftpstorm.report.charts_search import draw_search

        picture = draw_search(result, folder)
    page = folder / SEARCH_PAGE
    page.write_text(environment().get_template("search.html.j2").render(r=result, picture=picture), encoding="utf-8")
    return page
