"""Conditions judged on the part of a run after it settled: what was due, or began, later than so much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Check
from ftpstorm.report.thresholds import Grounds, judge_condition
from ftpstorm.scenario.expressions import parse_expression, parse_metric
from ftpstorm.units import NS_PER_S


def settled_checks(evidence: Evidence, accept: Mapping[str, Sequence[str]], settle_ns: int) -> list[Check]:
    """Return each condition of `accept` with its measured value over sessions due at `settle_ns` or later.

    Operations and failures count if they began then. A rate is over the rest of the window of the load that it is of.
    """
    sessions, operations, failures = evidence.sessions, evidence.operations, evidence.failures.data
    from_ns = evidence.load_start_ns + settle_ns
    began = failures["start_ns"] != ABSENT
    grounds = Grounds(
        [name for name, _ in evidence.plan.loads],
        sessions[sessions["intended_ns"] >= from_ns],
        operations[operations["start_ns"] >= from_ns],
        failures[began & (failures["start_ns"] >= from_ns)],
    )

    def seconds_of(load: str | None) -> float:
        return max(evidence.spans.seconds(load, from_ns), 1 / NS_PER_S)

    return [
        judge_condition(grounds, parse_metric(metric), parse_expression(condition), seconds_of)
        for metric, conditions in accept.items()
        for condition in conditions
    ]
