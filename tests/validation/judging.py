"""Prediction beside measurement of one situation: rows of the validation table, each with a verdict.

Values come from the run's own report, whose prediction was written and hashed before the first packet. Only the
tolerances are set here, by the kind of quantity and never by situation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ftpstorm.report.summary import Agreement, Summary
from validation.curves import Comparison
from validation.situations import Situation

Verdict = Literal["agrees", "disagrees", "not-measurable"]

RATE: Final = 0.05
"""Part of the predicted rate that a sustained rate may be off."""
INSTANT: Final = 0.10
"""Part of the predicted instant that a first failure may be off."""
INSTANT_FLOOR_S: Final = 0.1
"""Seconds that it may be off in any case: a failure is known to the client when its process gets the CPU, and where
others keep both cores busy that takes some of the scheduler's slices (a few ms each), and more at a run's start."""
CURVE: Final = 0.05
"""Mean distance of two occupancy curves, as a part of the peak."""

FAILURES: Final = "failures: "
FOREIGN: Final = "failures of other classes"
RATES: Final = frozenset({"sustained transfer rate", "ceiling of the passive pool, N/(H + C)"})
INSTANTS: Final = frozenset({"first failure"})


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of one situation, as results/validation.json has it."""

    name: str
    quantity: str
    unit: str
    predicted: float | None
    measured: float | None
    ratio: float | None
    verdict: Verdict
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON's values."""
        return asdict(self)


def judge(situation: Situation, summary: Summary, curves: tuple[Comparison, ...] = ()) -> list[Row]:
    """Return the rows of a situation that was run. A quantity that its report does not have is not measurable."""
    known = {row.quantity: row for row in summary.agreement}
    return [
        *(_scalar(situation, quantity, known.get(quantity)) for quantity in situation.compare),
        *_failures(situation, known),
        *(_curve(situation, curve) for curve in curves),
    ]


def not_run(situation: Situation, why: str) -> list[Row]:
    """Return the rows of a situation that could not be run."""
    quantities = (*situation.compare, *(f"{curve} over time" for curve in situation.curves))
    return [Row(situation.name, quantity, "", None, None, None, "not-measurable", why) for quantity in quantities]


def tolerated(quantity: str, predicted: float) -> tuple[float, str]:
    """Return how far a quantity may be off, and that rule in words."""
    if quantity in RATES:
        return RATE * predicted, f"within {RATE:.0%}"
    if quantity in INSTANTS:
        return max(INSTANT * predicted, INSTANT_FLOOR_S), f"within {INSTANT:.0%} or {INSTANT_FLOOR_S:g} s"
    return 0.0, "exact"


def _scalar(situation: Situation, quantity: str, row: Agreement | None) -> Row:
    if row is None or row.predicted is None or row.measured is None:
        why = "the report has no such quantity" if row is None else (row.why or "")
        predicted, measured = (None, None) if row is None else (row.predicted, row.measured)
        unit = "" if row is None else row.unit
        return Row(situation.name, quantity, unit, predicted, measured, None, "not-measurable", why)
    return compared(situation.name, quantity, row.unit, row.predicted, row.measured)


def compared(name: str, quantity: str, unit: str, predicted: float, measured: float) -> Row:
    """Return the row of a quantity that was predicted and measured."""
    distance, rule = tolerated(quantity, predicted)
    verdict: Verdict = "agrees" if abs(measured - predicted) <= distance else "disagrees"
    return Row(name, quantity, unit, predicted, measured, _ratio(predicted, measured), verdict, rule)


def _ratio(predicted: float, measured: float) -> float | None:
    return measured / predicted if predicted else None


def _failures(situation: Situation, known: dict[str, Agreement]) -> Iterator[Row]:
    """Each class by itself where counts are exact; and in every situation those that nobody foretold."""
    classes = [row for quantity, row in known.items() if quantity.startswith(FAILURES)]
    if situation.kind == "counts":
        yield from (_scalar(situation, row.quantity, row) for row in classes if row.predicted != 0)
    if all(row.predicted is not None for row in classes):
        foreign = sum(row.measured or 0 for row in classes if row.predicted == 0)
        yield compared(situation.name, FOREIGN, "", 0, foreign)


def _curve(situation: Situation, curve: Comparison) -> Row:
    quantity = f"{curve.name} over time"
    if curve.distance is None:
        return Row(situation.name, quantity, curve.unit, None, None, None, "not-measurable", curve.why)
    why = f"mean distance {curve.distance:.1%} of the peak, at most {CURVE:.0%}"
    return Row(
        situation.name, quantity, curve.unit, round(curve.simulated_mean, 3), round(curve.measured_mean, 3),
        _ratio(curve.simulated_mean, curve.measured_mean), "agrees" if curve.distance <= CURVE else "disagrees", why,
    )  # fmt: skip
