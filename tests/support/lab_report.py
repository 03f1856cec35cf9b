"""The table that `make lab-report` prints: what the theory says of each situation, and what a kernel did."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

WIDTH = 130


class Row(NamedTuple):
    """One line of it."""

    situation: str
    quantity: str
    predicted: object
    measured: object


Shows = Callable[[str, str, object, object], None]
"""``shows(situation, quantity, predicted, measured)``: adds a row, asserts nothing."""


def show(rows: list[Row]) -> None:
    """Print the table, its rows in order."""
    table = Table("situation", "quantity", "predicted", "measured", title="The lab: predicted and measured")
    for row in sorted(rows, key=lambda row: row[:2]):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=WIDTH).print(table)
