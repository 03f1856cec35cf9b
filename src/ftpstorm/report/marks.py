"""What every picture of a run must say of itself, lest it be taken for what it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import format_duration
from ftpstorm.vocabulary import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def marks(scenario: Scenario, status: Status) -> list[str]:
    """Return the remarks on a run: simulated, or with a TIME_WAIT that the lab ended early."""
    said = []
    if status is Status.SIMULATED:
        said.append("simulated: no packet was sent")
    waits = scenario.lab.time_wait if scenario.lab is not None else None
    told: dict[str, int] = {}
    if waits is not None:
        told = {side: length for side in ("client", "server") if (length := getattr(waits, side)) is not None}
    if len(set(told.values())) == 1 and len(told) == 2:
        said.append(f"TIME_WAIT shortened to {format_duration(told['client'])} on client and server (a kernel's: 60 s)")
    else:
        said += [
            f"TIME_WAIT of the {side} shortened to {format_duration(length)} (a kernel's: 60 s)"
            for side, length in told.items()
        ]
    return said


def stamp(figure: Figure, said: list[str], colour: str) -> None:
    """Write the remarks below the axes of a picture, at its left, where no line is drawn."""
    if said:
        made: Any = figure
        made.supxlabel("; ".join(said), x=0.01, ha="left", fontsize=8.5, style="italic", color=colour)
