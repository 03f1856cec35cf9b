"""What a limit is: a value with its unit, the equation it came from, what was assumed and where that is documented."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from ftpstorm.vocabulary import Cause, Side

Counted = Literal["connections", "sessions", "transfers"]
"""What a rate counts."""


class Symbol(BaseModel):
    """One symbol of an equation. `value` is None where nobody said it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    value: float | None
    unit: str
    """Such as ``s``, ``ports`` or ``1/s``; "" for a plain number."""
    meaning: str


class Limit(BaseModel):
    """One bound of the path between client and server.

    A limit that applies has a rate, a count, or both. One that does not apply says why and has neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: Cause
    """What runs out where this limit is passed."""
    side: Side
    subject: str
    """What it bounds, in words: ``data connections through the passive pool``."""
    applies: bool
    counts: Counted = "connections"
    """What `per_s` and `interval` count."""
    per_s: float | None = None
    """The highest rate that can go on for ever; None where only the number at one time is bounded."""
    concurrent: int | None = None
    """The most that can be taken at one time."""
    interval: tuple[float, float] | None = None
    """Lowest and highest `per_s` where a quantity of the equation is itself an interval, else None."""
    equation: str
    symbols: dict[str, Symbol] = {}
    assumptions: tuple[str, ...] = ()
    source: str
    not_applicable_reason: str | None = None
    unknown: bool = False
    """It does not apply only because what it needs is not known before a run."""
    binding: bool = False
    """The least of its path: set by `ftpstorm.limits.path.mark_binding`."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.applies == (self.not_applicable_reason is not None):
            raise ValueError("a limit that does not apply says why; one that applies does not")
        if self.applies and self.per_s is None and self.concurrent is None:
            raise ValueError("a limit that applies bounds a rate or a count")
        if not self.applies and (self.per_s is not None or self.concurrent is not None or self.binding):
            raise ValueError("a limit that does not apply bounds nothing")
        if self.applies and self.unknown:
            raise ValueError("a limit that applies is known")
        if self.interval is not None and (self.per_s is None or not self.interval[0] <= self.per_s <= self.interval[1]):
            raise ValueError("the interval of a rate contains it")
        return self


def not_applicable(
    name: Cause, side: Side, subject: str, equation: str, source: str, reason: str, *, unknown: bool = False
) -> Limit:
    """Return a limit that was considered and does not apply, with the reason; `unknown` where only a run can tell."""
    return Limit(
        name=name,
        side=side,
        subject=subject,
        applies=False,
        equation=equation,
        source=source,
        not_applicable_reason=reason,
        unknown=unknown,
    )
