"""Evaluate what the scenario demands: `thresholds` on any metric, `expect` on cause and failures.

What cannot be measured does not hold, and says why: a threshold that nobody could check must not pass. The same
selection serves a finished run and, a batch of records at a time, one that goes on: populations add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records import aggregate
from ftpstorm.records.abort_file import Abort, read_abort
from ftpstorm.records.reader import Array
from ftpstorm.report.summary import Check
from ftpstorm.report.wording import number
from ftpstorm.scenario.expressions import Expression, MetricSelector, parse_expression, parse_metric
from ftpstorm.vocabulary import LATENCY_PHASES, FailureClass, Outcome

if TYPE_CHECKING:
    from ftpstorm.report.evidence import Evidence

NS_PER_MS: Final = 1_000_000


class NotMeasurableError(Exception):
    """The metric, so narrowed and aggregated, has no value; the message says why."""


@dataclass(frozen=True, slots=True)
class Population:
    """What a metric with its tags selects: values (ns) of a latency metric, or a number of events out of all."""

    values: npt.NDArray[np.float64] | None
    count: int
    of: int


@dataclass(frozen=True, slots=True)
class Grounds:
    """The records that thresholds are judged on: all of a run, or the batch that came since the last look."""

    loads: Sequence[str]
    """Names of the loads; a record's `load` is an index into them."""
    sessions: Array
    operations: Array
    failures: Array
    """As `aggregate.failures` gathers them."""

    @property
    def started(self) -> Array:
        """Sessions that started."""
        rows: Array = self.sessions[self.sessions["outcome"] != Outcome.DROPPED]
        return rows


def thresholds(evidence: Evidence) -> list[Check]:
    """Return every threshold of the scenario with its measured value, in the file's order."""
    grounds = Grounds(
        [name for name, _ in evidence.plan.loads], evidence.sessions, evidence.operations, evidence.failures.data
    )
    abort = read_abort(evidence.run.folder)
    checks: list[Check] = []
    for metric, conditions in evidence.plan.scenario.thresholds.items():
        selector = parse_metric(metric)
        for item in conditions:
            check = judge_condition(grounds, selector, parse_expression(item.threshold), evidence.spans.seconds)
            if abort is not None and (abort.metric, abort.condition) == (metric, item.threshold) and item.abort_on_fail:
                check = check.model_copy(update={"ok": False, "reason": aborted(abort)})
            checks.append(check)
    return checks


def aborted(abort: Abort) -> str:
    """Return in words how a threshold with `abort_on_fail` ended the run."""
    seen = f"{number(abort.measured)} {abort.unit}".strip()
    return f"did not hold {number(abort.t_s)} s into the run (measured {seen}), which ended it"


def expectations(evidence: Evidence, cause: str) -> list[Check]:
    """Return every expectation of the scenario: `cause` is the diagnosed one.

    None where a simulation leaves open what runs out: what the model has no part for it cannot be held to.
    """
    from ftpstorm.report.modelled import left_open  # what judges live batches loads no evidence

    expect = evidence.plan.scenario.expect
    if expect is None or left_open(evidence) is not None:
        return []
    checks: list[Check] = []
    if expect.cause is not None:
        checks.append(
            Check(name="cause", condition=f"== {expect.cause}", measured=cause, unit="", ok=cause == expect.cause)
        )
    named = {name for name in expect.failures if name not in ("any", "any-other")}
    for name, condition in expect.failures.items():
        expression = parse_expression(condition)
        counts = evidence.failure_counts.items()
        if name == "any":
            measured = sum(count for _, count in counts)
        elif name == "any-other":
            measured = sum(count for failure, count in counts if failure.word not in named)
        else:
            measured = evidence.count(FailureClass.from_word(name))
        checks.append(
            Check(
                name=f"failures: {name}", condition=condition, measured=measured, unit="", ok=expression.holds(measured)
            )
        )
    return checks


def judge_condition(
    grounds: Grounds, selector: MetricSelector, expression: Expression, seconds_of: Callable[[str | None], float]
) -> Check:
    """Return a condition with its measured value; `seconds_of` says what a rate of a load is over, None being all."""
    try:
        population = select(grounds, selector)
        measured, unit = measure(population, expression, seconds_of(load_of(selector)))
    except NotMeasurableError as error:
        return Check(name=selector.text, condition=expression.text, measured=None, unit="", ok=False, reason=str(error))
    shown, shown_unit = in_shown_unit(measured, unit)
    return Check(
        name=selector.text, condition=expression.text, measured=shown, unit=shown_unit, ok=expression.holds(measured)
    )


def in_shown_unit(measured: float, unit: str) -> tuple[float, str]:
    """Return a measured value in the unit that people read: durations in ms, all else as it is."""
    return (measured / NS_PER_MS, "ms") if unit == "ns" else (measured, unit)


def select(grounds: Grounds, selector: MetricSelector) -> Population:
    """Return what a metric with its tags selects of `grounds`. Raises NotMeasurableError for tags that name nothing."""
    return _SELECT.get(selector.name, _latency(selector.name))(grounds, dict(selector.tags))


def load_of(selector: MetricSelector) -> str | None:
    """Return the load that a metric is of, None where it is of all."""
    return dict(selector.tags).get("load")


def add(one: Population, other: Population) -> Population:
    """Return the population of two batches of records."""
    values = one.values
    if values is not None and other.values is not None:
        values = np.concatenate((values, other.values)) if len(other.values) else values
    return Population(values, one.count + other.count, one.of + other.of)


def measure(population: Population, expression: Expression, load_s: float) -> tuple[float, str]:
    """Return the value that a condition is about, and its unit (ns, /s or ""); `load_s` is what a rate is over.

    Raises NotMeasurableError, of a rate also where `load_s` is 0: the load has not begun.
    """
    if population.values is None:
        return _of_events(population, expression, load_s)
    return _of_values(population, expression, load_s)


def _of_events(population: Population, expression: Expression, load_s: float) -> tuple[float, str]:
    match expression.aggregation:
        case "count" | "value":
            value, unit = float(population.count), ""
        case "rate":
            if not load_s:
                raise NotMeasurableError("the load had not begun: it has no rate")
            value, unit = population.count / load_s, "/s"
        case "share":
            if not population.of:
                raise NotMeasurableError("there is nothing to take a share of")
            value, unit = population.count / population.of, ""
        case other:
            raise NotMeasurableError(f"{other} needs a duration; this metric has count, rate and share")
    _same_unit(expression, unit)
    return value, unit


def _of_values(population: Population, expression: Expression, load_s: float) -> tuple[float, str]:
    if expression.aggregation in ("count", "rate", "share"):
        return _of_events(population, expression, load_s)
    values = population.values
    assert values is not None
    if not len(values):
        raise NotMeasurableError("nothing completed this phase")
    _same_unit(expression, "ns")
    if expression.aggregation == "avg":
        return float(values.mean()), "ns"
    percents = {"med": 50.0, "min": 0.0, "max": 100.0, "p": expression.percentile}
    percent = percents.get(expression.aggregation)
    if percent is None:
        raise NotMeasurableError(f"{expression.aggregation} says nothing of a duration; use avg, med, min, max or p(N)")
    found = aggregate.percentile(values, percent)
    assert found is not None
    return found, "ns"


def _same_unit(expression: Expression, unit: str) -> None:
    if expression.unit != unit:
        wanted = {"ns": "a duration such as 50ms", "/s": "a rate such as 97/s", "": "a plain number"}[unit]
        raise NotMeasurableError(f"{expression.text}: compare this with {wanted}")


def _loads(grounds: Grounds, rows: Array, tags: dict[str, str]) -> Array:
    if "load" not in tags:
        return rows
    if tags["load"] not in grounds.loads:
        raise NotMeasurableError(f"no load is named {tags['load']!r}; loads: {', '.join(grounds.loads)}")
    chosen: Array = rows[rows["load"] == list(grounds.loads).index(tags["load"])]
    return chosen


def _with(rows: Array, tags: dict[str, str]) -> Array:
    try:
        if "class" in tags:
            rows = rows[rows["class"] == FailureClass.from_word(tags["class"])]
        if "outcome" in tags:
            rows = rows[rows["outcome"] == Outcome.from_word(tags["outcome"])]
    except KeyError as error:
        raise NotMeasurableError(f"no such class or outcome: {error.args[0]}") from None
    return rows


def _select_sessions(grounds: Grounds, tags: dict[str, str]) -> Population:
    rows = _loads(grounds, grounds.started, tags)
    return Population(None, len(_with(rows, tags)), len(rows))


def _select_dropped(grounds: Grounds, tags: dict[str, str]) -> Population:
    rows = _loads(grounds, grounds.sessions, tags)
    return Population(None, int(np.count_nonzero(rows["outcome"] == Outcome.DROPPED)), len(rows))


def _select_transfers(grounds: Grounds, tags: dict[str, str]) -> Population:
    rows = _loads(grounds, aggregate.transfers(grounds.operations), tags)
    implied = {} if "class" in tags else {"outcome": "succeeded"}
    return Population(None, len(_with(rows, implied | tags)), len(rows))


def _select_failures(grounds: Grounds, tags: dict[str, str]) -> Population:
    if "outcome" in tags:
        raise NotMeasurableError("failures have no outcome")
    rows = _loads(grounds, grounds.failures, tags)
    return Population(None, len(_with(rows, tags)), len(_loads(grounds, grounds.started, tags)))


def _select_lateness(grounds: Grounds, tags: dict[str, str]) -> Population:
    rows = _with(_loads(grounds, grounds.started, tags), tags)
    values = aggregate.lateness(rows).astype(np.float64)
    return Population(values, len(values), len(rows))


def _latency(name: str) -> Callable[[Grounds, dict[str, str]], Population]:
    def select_phase(grounds: Grounds, tags: dict[str, str]) -> Population:
        if name not in LATENCY_PHASES:
            raise NotMeasurableError(f"{name} is not measured")
        sessions = _with(_loads(grounds, grounds.sessions, tags), tags)
        operations = _with(_loads(grounds, grounds.operations, tags), tags)
        found = aggregate.phase_durations(sessions, operations)[name]
        return Population(found.ns.astype(np.float64), len(found.ns), len(found.ns) + found.excluded)

    return select_phase


_SELECT: Final[dict[str, Callable[[Grounds, dict[str, str]], Population]]] = {
    "sessions": _select_sessions,
    "transfers": _select_transfers,
    "failures": _select_failures,
    "dropped": _select_dropped,
    "lateness": _select_lateness,
}
