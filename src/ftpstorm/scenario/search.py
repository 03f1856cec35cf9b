"""A search: which load a server bears, found by runs of which each asks for one load alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ftpstorm.scenario.expressions import parse_metric
from ftpstorm.scenario.threshold import Condition
from ftpstorm.scenario.types import DurationNs, Frozen, PositiveCount
from ftpstorm.units import NS_PER_S, parse_duration, parse_rate

Kind = Literal["rate", "count", "duration"]

_DIGITS: Final = 4
"""Significant digits of a rate or a duration that a search tries."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A load, above 0: events a second, a whole number, or seconds."""

    value: Fraction
    kind: Kind

    def __str__(self) -> str:
        """Return the text that a scenario has for it."""
        if self.kind == "count":
            return str(int(self.value))
        return f"{float(self.value):.15g}" + ("/s" if self.kind == "rate" else "s")

    def setting(self) -> int | str:
        """Return the value that a scenario has for it."""
        return int(self.value) if self.kind == "count" else str(self)

    def with_value(self, value: float) -> Quantity:
        """Return the quantity of this kind nearest to `value` that a search tries: counts whole, others rounded."""
        if self.kind == "count":
            return Quantity(Fraction(max(round(value), 1)), "count")
        return Quantity(Fraction(f"{value:.{_DIGITS}g}"), self.kind)


def _quantity(value: Any) -> Quantity:
    if isinstance(value, Quantity):
        return value
    found: Quantity | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        found = Quantity(Fraction(value), "count")
    elif isinstance(value, str):
        try:
            found = Quantity(parse_rate(value).per_s, "rate")
        except ValueError:
            try:
                found = Quantity(Fraction(parse_duration(value), NS_PER_S), "duration")
            except ValueError:
                found = None
    if found is None:
        raise ValueError("not a load; write a rate such as 97/s, a whole number, or a duration such as 2s")
    if found.value <= 0:
        raise ValueError("must be above 0")
    return found


def _share(value: Any) -> float:
    if isinstance(value, float) and 0 < value < 1:
        return value
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            share = float(value.strip()[:-1]) / 100
        except ValueError:
            share = 0.0
        if 0 < share < 1:
            return share
    raise ValueError("not a share; write a percentage above 0% and below 100%, such as 2%")


def _metric(text: str) -> str:
    parse_metric(text)
    return text


Bound = Annotated[
    Quantity,
    BeforeValidator(_quantity),
    PlainSerializer(Quantity.setting),
    WithJsonSchema(
        {
            "title": "Quantity",
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {
                    "type": "string",
                    "pattern": r"^\d+(\.\d+)?(/(s|min|m|h|d)|ns|us|ms|min|s|m|h|d)$",
                    "examples": ["97/s", "2s"],
                },
            ],
            "examples": ["97/s", 400],
        }
    ),
]
Share = Annotated[
    float,
    BeforeValidator(_share),
    PlainSerializer(lambda value: f"{100 * value:.10g}%", return_type=str),
    WithJsonSchema({"title": "Share", "type": "string", "pattern": r"^\d+(\.\d+)?%$", "examples": ["2%"]}),
]


class Search(Frozen):
    """Find the highest load that the conditions hold for. Each step is a run of its own, with one load from its start
    to its end: ports remember, so a load that rises during a run is never believed."""

    vary: Annotated[str, Field(min_length=1)]
    """Dotted key of the load, such as `load.steady.rate`."""
    between: tuple[Bound, Bound]
    """Lowest and highest load to try."""
    accept: dict[Annotated[str, AfterValidator(_metric)], tuple[Condition, ...]] = Field(
        {"failures": ("count==0",), "dropped": ("count==0",)}
    )
    """What must hold for a load to pass: metric, such as `session`, to conditions, such as `p(99)<1s`."""
    settle: DurationNs = "0s"  # type: ignore[assignment]
    """How long at the beginning of a step nothing is judged."""
    step: DurationNs | None = None
    """How long the load of each step lasts; null: as long as the scenario says. Never less than `settle` and 1.1 times
    what a port is remembered for."""
    precision: Share = "2%"  # type: ignore[assignment]
    """How close the highest load that passes and the lowest that fails must come."""
    confirm: PositiveCount = 2
    """Runs of either of the two. A load passes only if it does so each time."""
    max_steps: PositiveCount = 40

    @field_validator("accept", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: [item] if isinstance(item, str) else item for key, item in value.items()}
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Search:
        low, high = self.between
        if low.kind != high.kind:
            raise ValueError("`between` needs two of a kind: two rates, two whole numbers or two durations")
        if not low.value < high.value:
            raise ValueError("`between` needs the lower load first")
        if not self.accept:
            raise ValueError("`accept` needs a condition: without one every load passes")
        return self
