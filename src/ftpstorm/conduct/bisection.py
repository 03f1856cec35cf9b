"""Which load a search tries next, from what the loads so far came to. Pure.

The load doubles from the lowest until one fails, then the gap between the highest that passes and the lowest that does
not is halved (in ratio) until it is small enough, and both ends are run again. A load passes only if every run of it
passed; it fails if one did. A load that the generator could not offer is an upper end too, which says nothing of the
server.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from ftpstorm.scenario.search import Quantity, Search

NEAR: Final = Fraction(5, 4)
"""A search that the generator bounds stops when the load below is so near: more runs tell nothing of the server."""


class Fate(StrEnum):
    """What one step came to."""

    PASSED = "passed"
    FAILED = "failed"
    UNFIT = "generator"
    """The run proves nothing: the generator was the limit."""


class Ending(StrEnum):
    """Why a search stopped."""

    FOUND = "found"
    BELOW = "below the range"
    """The lowest load fails already."""
    ABOVE = "above the range"
    """The highest load passes."""
    GENERATOR = "generator"
    """The generator is the limit; the server bears more than was tried."""
    OUT_OF_STEPS = "out of steps"


@dataclass(frozen=True, slots=True)
class Step:
    """One load and what it came to."""

    load: Quantity
    fate: Fate


@dataclass(frozen=True, slots=True)
class Bracket:
    """What the steps so far say: the highest load that passes and the lowest that does not; None where none did."""

    passing: Quantity | None
    above: Quantity | None
    unfit: bool
    """Whether `above` is a load that the generator could not offer."""


def bracket(steps: Sequence[Step]) -> Bracket:
    """Return what `steps` say. A load that passed above one that failed does not count: the conditions do not hold."""
    fates: dict[Fraction, set[Fate]] = {}
    loads = {step.load.value: step.load for step in steps}
    for step in steps:
        fates.setdefault(step.load.value, set()).add(step.fate)
    not_passed = [value for value, seen in fates.items() if seen != {Fate.PASSED}]
    above = min(not_passed, default=None)
    passed = [value for value, seen in fates.items() if seen == {Fate.PASSED} and (above is None or value < above)]
    return Bracket(
        passing=loads[max(passed)] if passed else None,
        above=None if above is None else loads[above],
        unfit=above is not None and Fate.FAILED not in fates[above],
    )


def next_load(search: Search, steps: Sequence[Step]) -> Quantity | Ending:
    """Return the load of the next step, or why there is none."""
    low, high = search.between
    found = bracket(steps)
    ending = _ending(search, steps, found)
    if ending is not None:
        return ending
    if len(steps) >= search.max_steps:
        return Ending.OUT_OF_STEPS
    if not steps:
        return low
    passing, above = found.passing, found.above
    if passing is None:
        return above or low  # the lowest load failed: once more
    if above is None:
        if passing.value == high.value:
            return high
        doubled = passing.with_value(float(min(passing.value * 2, high.value)))
        return high if doubled.value >= high.value or doubled.value <= passing.value else doubled
    middle = _middle(search, passing, above)
    if middle is not None:
        return middle
    return passing if _runs(steps, passing) < search.confirm else above


def _ending(search: Search, steps: Sequence[Step], found: Bracket) -> Ending | None:
    passing, above = found.passing, found.above
    if above is None:
        done = passing is not None and passing.value == search.between[1].value
        return Ending.ABOVE if passing is not None and done and _runs(steps, passing) >= search.confirm else None
    if found.unfit:
        near = passing is None or above.value <= passing.value * NEAR or _middle(search, passing, above) is None
        return Ending.GENERATOR if near else None
    if passing is None:
        return Ending.BELOW if _runs(steps, above) >= search.confirm else None
    closed = _middle(search, passing, above) is None
    confirmed = min(_runs(steps, passing), _runs(steps, above)) >= search.confirm
    return Ending.FOUND if closed and confirmed else None


def _middle(search: Search, passing: Quantity, above: Quantity) -> Quantity | None:
    """Return the load between the two, None where they are as near as asked for or nothing lies between."""
    if above.value - passing.value <= Fraction(search.precision) * passing.value:
        return None
    middle = passing.with_value(math.sqrt(float(passing.value) * float(above.value)))
    if passing.value < middle.value < above.value:
        return middle
    if passing.kind == "count" and above.value - passing.value > 1:
        return passing.with_value(float(passing.value) + 1)
    return None


def _runs(steps: Sequence[Step], load: Quantity) -> int:
    return sum(step.load.value == load.value for step in steps)
