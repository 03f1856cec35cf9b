"""The arrivals that a `replay` load repeats: lines of seconds, each with a flow of its own where it names one. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Final

from ftpstorm.units import NS_PER_S, parse_duration

_SEPARATOR: Final = re.compile(r"\s*[,;\t]\s*|\s+")
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
ARRIVALS_MAX: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals in the order of time; those of one instant in the order of their lines."""

    instants_ns: tuple[int, ...]
    """After the load's start; at least one."""
    flows: tuple[str | None, ...]
    """What each runs, None for the load's own flow."""

    @property
    def named(self) -> tuple[str, ...]:
        """Flows that lines name, each once, in order of appearance."""
        return tuple(dict.fromkeys(flow for flow in self.flows if flow is not None))


@lru_cache(maxsize=8)
def parse_trace(text: str) -> Trace:
    """Read a trace: on each line an instant, then perhaps a flow, with a comma, a semicolon, a tab or spaces between.

    An instant is a number of seconds after the load's start (finer than a nanosecond is cut off) or a duration such as
    ``250ms``. Empty lines, comments (``#``) and a first line of column names are passed over. Raises ValueError that
    names the line.
    """
    arrivals: list[tuple[int, str | None]] = []
    heading_allowed = True
    for number, line in enumerate(text.splitlines(), 1):
        fields = _SEPARATOR.split(line.partition("#")[0].strip())
        if not fields[0]:
            continue
        heading, heading_allowed = heading_allowed and fields[0][0].isalpha(), False
        if heading:
            continue
        if len(fields) > 2 and any(fields[2:]):
            raise ValueError(f"line {number} of the trace has more than an instant and a flow")
        arrivals.append((_instant_ns(fields[0], number), (fields[1] or None) if len(fields) > 1 else None))
        if len(arrivals) > ARRIVALS_MAX:
            raise ValueError(f"more than {ARRIVALS_MAX} arrivals in the trace")
    if not arrivals:
        raise ValueError("the trace holds no arrival; write one instant in seconds on each line")
    arrivals.sort(key=lambda arrival: arrival[0])
    return Trace(tuple(instant for instant, _ in arrivals), tuple(flow for _, flow in arrivals))


def _instant_ns(text: str, line: int) -> int:
    if _SECONDS.fullmatch(text):
        return int((Decimal(text) * NS_PER_S).to_integral_value(ROUND_FLOOR))
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"line {line} of the trace: {text!r} is no number of seconds >= 0") from None
