"""A sweep: the same scenario with every combination of some settings, each in a run of its own."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from ftpstorm.scenario.figure import FigureText
from ftpstorm.scenario.types import Frozen, PositiveCount

RUNS_MAX: Final = 1000

Cell = tuple[tuple[str, Any], ...]
"""One combination: dotted key and value of each axis, in the order of the file."""


class Sweep(Frozen):
    """A grid over any keys. `ftpstorm sweep` runs every combination, each in a fresh lab, in random order."""

    grid: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)]
    """Dotted key to the values that it takes, such as `{target.emulator.backlog: [5, 50, 500]}`."""
    repeats: PositiveCount = 1
    """Runs of each combination. The order is shuffled within each round, so that a drift of the machine meets all."""
    metric: FigureText = "sustained"
    """What the heat map shows: `sustained`, `greeted`, `succeeded`, `failed`, `dropped`, `transfers`, a key of
    summary.json, or one key divided by another."""

    @model_validator(mode="after")
    def _bounded(self) -> Sweep:
        if self.runs > RUNS_MAX:
            raise ValueError(f"makes {self.runs} runs; at most {RUNS_MAX}")
        return self

    @property
    def runs(self) -> int:
        """Runs of the whole sweep."""
        return len(self.cells()) * self.repeats

    def cells(self) -> tuple[Cell, ...]:
        """Return every combination, the last axis varying fastest."""
        keys = tuple(self.grid)
        return tuple(tuple(zip(keys, values, strict=True)) for values in product(*self.grid.values()))

    def order(self, seed: int) -> tuple[tuple[int, int], ...]:
        """Return (number of the cell, repeat) of each run, shuffled by `seed` within each repeat."""
        drawing = Random(seed)  # noqa: S311 - an order of experiments, no secret
        order: list[tuple[int, int]] = []
        for repeat in range(self.repeats):
            numbers = list(range(len(self.cells())))
            drawing.shuffle(numbers)
            order.extend((number, repeat) for number in numbers)
        return tuple(order)
