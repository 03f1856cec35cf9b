"""Evaluate what the scenario demands: `thresholds` on any metric, `expect` on cause and failures.

What cannot be measured does not hold, and says why: a threshold that nobody could check must not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records import aggregate
from ftpstorm.records.reader import Array
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Check
from ftpstorm.scenario.expressions import Expression, MetricSelector, parse_expression, parse_metric
from ftpstorm.vocabulary import LATENCY_PHASES, FailureClass, Outcome

NS_PER_MS: Final = 1_000_000


class NotMeasurableError(Exception):
    """The metric, so narrowed and aggregated, has no value; the message says why."""


@dataclass(frozen=True, slots=True)
class Population:
    """What a metric with its tags selects: values (ns) of a latency metric, or a number of events out of all."""

    values: npt.NDArray[np.float64] | None
    count: int
    of: int


def thresholds(evidence: Evidence) -> list[Check]:
    """Return every threshold of the scenario with its measured value, in the file's order."""
    checks: list[Check] = []
    for metric, conditions in evidence.plan.scenario.thresholds.items():
        selector = parse_metric(metric)
        checks.extend(_threshold(evidence, selector, parse_expression(condition)) for condition in conditions)
    return checks


def expectations(evidence: Evidence, cause: str) -> list[Check]:
    """Return every expectation of the scenario: `cause` is the diagnosed one."""
    expect = evidence.plan.scenario.expect
    if expect is None:
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


def _threshold(evidence: Evidence, selector: MetricSelector, expression: Expression) -> Check:
    try:
        measured, unit = _measure(evidence, selector, expression)
    except NotMeasurableError as error:
        return Check(name=selector.text, condition=expression.text, measured=None, unit="", ok=False, reason=str(error))
    shown, shown_unit = (measured / NS_PER_MS, "ms") if unit == "ns" else (measured, unit)
    return Check(
        name=selector.text, condition=expression.text, measured=shown, unit=shown_unit, ok=expression.holds(measured)
    )


def _measure(evidence: Evidence, selector: MetricSelector, expression: Expression) -> tuple[float, str]:
    """Return the measured value and its unit (ns, /s or ""). Raises NotMeasurableError."""
    if selector.name == "dropped":
        rows = _sessions(evidence, dict(selector.tags), started=False)
        dropped = evidence.outcome(Outcome.DROPPED, rows)
        return _of_events(evidence, Population(None, dropped, len(rows)), expression)
    population = _SELECT.get(selector.name, _latency(selector.name))(evidence, dict(selector.tags))
    if population.values is None:
        return _of_events(evidence, population, expression)
    return _of_values(evidence, population, expression)


def _of_events(evidence: Evidence, population: Population, expression: Expression) -> tuple[float, str]:
    match expression.aggregation:
        case "count" | "value":
            value, unit = float(population.count), ""
        case "rate":
            value, unit = population.count / evidence.load_s, "/s"
        case "share":
            if not population.of:
                raise NotMeasurableError("there is nothing to take a share of")
            value, unit = population.count / population.of, ""
        case other:
            raise NotMeasurableError(f"{other} needs a duration; this metric has count, rate and share")
    _same_unit(expression, unit)
    return value, unit


def _of_values(evidence: Evidence, population: Population, expression: Expression) -> tuple[float, str]:
    if expression.aggregation in ("count", "rate", "share"):
        return _of_events(evidence, population, expression)
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
    # A rate may be compared with a plain number: `rate>=97` can mean nothing but a second.
    if expression.unit != unit and not (unit == "/s" and expression.unit == ""):
        wanted = {"ns": "a duration such as 50ms", "/s": "a rate such as 97/s", "": "a plain number"}[unit]
        raise NotMeasurableError(f"{expression.text}: compare this with {wanted}")


def _loads(evidence: Evidence, rows: Array, tags: dict[str, str]) -> Array:
    if "load" not in tags:
        return rows
    names = [name for name, _ in evidence.plan.loads]
    if tags["load"] not in names:
        raise NotMeasurableError(f"no load is named {tags['load']!r}; loads: {', '.join(names)}")
    chosen: Array = rows[rows["load"] == names.index(tags["load"])]
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


def _sessions(evidence: Evidence, tags: dict[str, str], *, started: bool = True) -> Array:
    return _loads(evidence, evidence.started if started else evidence.sessions, tags)


def _select_sessions(evidence: Evidence, tags: dict[str, str]) -> Population:
    rows = _sessions(evidence, tags)
    return Population(None, len(_with(rows, tags)), len(rows))


def _select_transfers(evidence: Evidence, tags: dict[str, str]) -> Population:
    rows = _loads(evidence, evidence.transfers, tags)
    return Population(None, len(_with(rows, {"outcome": "succeeded", **tags})), len(rows))


def _select_failures(evidence: Evidence, tags: dict[str, str]) -> Population:
    if "outcome" in tags:
        raise NotMeasurableError("failures have no outcome")
    rows = _loads(evidence, evidence.failures.data, tags)
    started = len(_sessions(evidence, {key: value for key, value in tags.items() if key == "load"}))
    return Population(None, len(_with(rows, tags)), started)


def _select_lateness(evidence: Evidence, tags: dict[str, str]) -> Population:
    rows = _with(_sessions(evidence, tags), tags)
    values = aggregate.lateness(rows).astype(np.float64)
    return Population(values, len(values), len(rows))


def _latency(name: str) -> Callable[[Evidence, dict[str, str]], Population]:
    def select(evidence: Evidence, tags: dict[str, str]) -> Population:
        if name not in LATENCY_PHASES:
            raise NotMeasurableError(f"{name} is not measured")
        sessions = _with(_sessions(evidence, tags, started=False), tags)
        operations = _with(_loads(evidence, evidence.operations, tags), tags)
        found = aggregate.phase_durations(sessions, operations)[name]
        return Population(found.ns.astype(np.float64), len(found.ns), len(found.ns) + found.excluded)

    return select


_SELECT: Final[dict[str, Callable[[Evidence, dict[str, str]], Population]]] = {
    "sessions": _select_sessions,
    "transfers": _select_transfers,
    "failures": _select_failures,
    "lateness": _select_lateness,
}
