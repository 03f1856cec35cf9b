"""``--fail-on``: a condition on how a figure of summary.json changed from one run to another."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Any, Final

from ftpstorm.errors import UsageError
from ftpstorm.report.summary import Summary, SummaryModel


class FailOn(SummaryModel):
    """One ``--fail-on`` expression, evaluated on the last run against the first."""

    expression: str
    before: float | None
    after: float | None
    change: float | None
    failed: bool
    reason: str | None = None


_CONDITION: Final = re.compile(
    r"\s*(?P<path>[\w-]+(?:\.[\w-]+)*)\s*(?P<op><=|>=|<|>)\s*(?P<value>[+-]?\d+(?:\.\d+)?)\s*(?P<percent>%?)\s*"
)
_OPERATORS: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Condition:
    """``path op value``: the change of a figure of summary.json, in per cent of the first run or absolute."""

    text: str
    path: tuple[str, ...]
    comparison: str
    value: float
    relative: bool

    def evaluate(self, before: Summary, after: Summary) -> FailOn:
        """Return whether the change from `before` to `after` meets the condition; what is not measured fails."""
        old, new = _at(before.to_json(), self.path), _at(after.to_json(), self.path)
        if old is None or new is None:
            reason = f"{'.'.join(self.path)} is not a number in {'both runs' if old is new else 'one run'}"
            return FailOn(expression=self.text, before=old, after=new, change=None, failed=True, reason=reason)
        change = new - old
        if self.relative:
            if not old and change:
                reason = "the first run's value is 0: no change in per cent can be given"
                return FailOn(expression=self.text, before=old, after=new, change=None, failed=True, reason=reason)
            change = 100 * change / old if old else 0.0
        failed = bool(_OPERATORS[self.comparison](change, self.value))
        return FailOn(expression=self.text, before=old, after=new, change=change, failed=failed)


def parse_fail_on(text: str) -> Condition:
    """Parse ``transfers.sustained.rate_per_s<-5%``. Raises UsageError that says what an expression looks like."""
    match = _CONDITION.fullmatch(text)
    if not match:
        raise UsageError(
            f"--fail-on {text!r}: write a key of summary.json, <, <=, > or >=, and a change, "
            "such as transfers.sustained.rate_per_s<-5% or sessions.failed>0"
        )
    path = tuple(match["path"].split("."))
    return Condition(text, path, match["op"], float(match["value"]), bool(match["percent"]))


def _at(value: Any, path: tuple[str, ...]) -> float | None:
    for step in path:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
