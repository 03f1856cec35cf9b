"""The condition language of `thresholds` and `expect`: k6's, with units. Pure parsing; the report evaluates.

metric      data_connect   data_connect{load:steady}   failures{class:passive-exhausted}
condition   p(99)<50ms     count==0     rate>=97/s     share<0.01
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ftpstorm.units import parse_duration, parse_rate, parse_size
from ftpstorm.vocabulary import LATENCY_PHASES

AGGREGATIONS: Final = ("avg", "count", "max", "med", "min", "rate", "share", "value")
DURATIONS: Final = frozenset({"avg", "max", "med", "min", "p"})
"""Aggregations of durations; `p` is a percentile."""
EVENTS: Final = ("sessions", "transfers", "failures", "dropped")
"""Metrics that are counted: they have a count, a rate and a share, and no durations."""
METRICS: Final = (*LATENCY_PHASES, *EVENTS, "lateness")
TAGS: Final = ("load", "class", "outcome")

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*(?P<what>p\((?P<p>\d+(?:\.\d+)?)\)|[a-z]+)\s*(?P<op><=|>=|==|!=|<|>)\s*(?P<value>\S+)\s*")
_METRIC = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<tags>[^{}]*)\})?")


@dataclass(frozen=True, slots=True)
class Expression:
    """One condition. `value` is in ns, bytes, events a second, or a plain number, as `unit` says (ns, B, /s or "")."""

    text: str
    aggregation: str
    """One of AGGREGATIONS, or ``p``."""
    percentile: float | None
    comparison: str
    value: float
    unit: str

    def holds(self, measured: float) -> bool:
        """Tell whether `measured`, in the same unit as `value`, satisfies the condition."""
        return _OPERATORS[self.comparison](measured, self.value)


@dataclass(frozen=True, slots=True)
class MetricSelector:
    """A metric name and the tags that narrow it."""

    text: str
    name: str
    tags: tuple[tuple[str, str], ...]


def _value(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        pass
    for parse, unit in ((parse_duration, "ns"), (parse_size, "B")):
        try:
            return float(parse(text)), unit
        except ValueError:
            continue
    try:
        return float(parse_rate(text).per_s), "/s"
    except ValueError:
        raise ValueError(f"{text!r} is no number, duration, size or rate") from None


def parse_expression(text: str) -> Expression:
    """Parse one condition. Raises ValueError that says what a condition looks like."""
    match = _CONDITION.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no condition; write one such as p(99)<50ms, count==0 or rate>=97/s")
    percentile = float(match["p"]) if match["p"] else None
    if percentile is not None and not 0 <= percentile <= 100:
        raise ValueError(f"p({match['p']}): a percentile lies between 0 and 100")
    if percentile is None and match["what"] not in AGGREGATIONS:
        raise ValueError(f"{match['what']!r} is no aggregation; use p(N), {', '.join(AGGREGATIONS)}")
    value, unit = _value(match["value"])
    if match["what"] == "rate" and unit != "/s":
        raise ValueError(
            f"{text!r}: a rate is events in a time and needs its unit, such as {match['what']}{match['op']}97/s; "
            f"a part of all, from 0 to 1, is a share: share{match['op']}{match['value'] if not unit else '0.01'}"
        )
    if match["what"] in ("count", "share", "value") and unit:
        raise ValueError(f"{text!r}: compare a {match['what']} with a plain number")
    aggregation = match["what"] if percentile is None else "p"
    if aggregation in DURATIONS and unit != "ns":
        suggested = f"{match['what']}{match['op']}{'50' if unit else match['value']}ms"
        raise ValueError(f"{text!r}: {match['what']} is of durations, so compare it with one, such as {suggested}")
    return Expression(text, aggregation, percentile, match["op"], value, unit)


def parse_metric(text: str) -> MetricSelector:
    """Parse a metric with optional tags. Raises ValueError that lists the metrics or tags there are."""
    match = _METRIC.fullmatch(text.strip())
    if not match or match["name"] not in METRICS:
        raise ValueError(f"{text!r} is no metric; metrics: {', '.join(METRICS)}")
    tags: list[tuple[str, str]] = []
    for part in filter(None, (piece.strip() for piece in (match["tags"] or "").split(","))):
        key, colon, value = part.partition(":")
        if not colon or key.strip() not in TAGS:
            raise ValueError(f"{part!r} is no tag; write one of {', '.join(TAGS)} as load:steady")
        tags.append((key.strip(), value.strip()))
    return MetricSelector(text, match["name"], tuple(tags))
