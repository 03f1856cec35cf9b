"""What the page's script draws: graphs of lines over time or over percentiles, as data, with a table for who sees none.

Which graphs a run has is `graphs_*`'s business; how they are drawn, assets/page.js's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ftpstorm.records.reader import Readings
from ftpstorm.report.downsample import extreme_instants, grid_instants, on_grid
from ftpstorm.report.wording import DASH, number
from ftpstorm.units import NS_PER_S

Instants = npt.NDArray[np.int64]

BUCKETS: Final = 720
"""A series of more than twice as many readings is reduced to lowest and highest of so many stretches."""
TABLE_ROWS: Final = 20

Colour = Literal["ink", "blue", "sky", "orange", "green", "vermillion", "purple", "grey"]
LINE_COLOURS: Final[tuple[Colour, ...]] = ("blue", "orange", "green", "purple", "vermillion", "sky", "grey")


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `values` has the length of the panel's `x`; NaN leaves a gap."""

    label: str
    values: npt.NDArray[Any]
    colour: Colour
    filled: bool = False
    dashed: bool = False
    step: bool = True
    """Hold each value until the next one; else draw straight from point to point."""
    marked: bool = False
    """Mark each value: lines with gaps would hide those that stand alone."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines on one pair of axes. `x` is in seconds after start_at, or for a distribution -log10(1 - share)."""

    label: str
    """What the vertical axis counts."""
    x: npt.NDArray[Any]
    lines: Sequence[Line]
    unit: str = ""
    floor: float | None = None
    """Given: the axis is logarithmic, and lower values are drawn here."""
    stacked: bool = False
    height: int = 220


@dataclass(frozen=True, slots=True)
class View:
    """One choice of a graph that has several; `name` stands in the menu."""

    name: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class PortMap:
    """Ports over time, one character a cell. Rows are ports, or `ports_each` neighbours together.

    `cells[row][column]` is a digit: the state that lasted longest in that stretch of time (an index into `states`),
    plus 4 where a data connection used the port then, however shortly.
    """

    labels: Sequence[str]
    states: Sequence[str]
    cells: Sequence[str]
    from_s: float
    to_s: float
    ports_each: int
    ports: int
    """How many there are in all rows."""
    source: str
    """Where the states come from, in a sentence."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One figure of the page. `alt` says in words what there is to see."""

    name: str
    title: str
    alt: str
    views: Sequence[View] = ()
    axis: Literal["time", "share"] = "time"
    note: str = ""
    menu: str = ""
    """What is chosen among the views, such as ``phase``."""
    port_map: PortMap | None = None


def sampled_panel(
    label: str, readings: Sequence[tuple[str, Readings]], to_ns: int, *, limit: tuple[str, float] | None = None,
    stacked: bool = False, colours: Sequence[Colour] = LINE_COLOURS, unit: str = "", height: int = 220,
) -> Panel:  # fmt: skip
    """Return a panel of sampled series on common instants, each with its extremes kept.

    Between two readings of a series the earlier one holds. `readings` pairs labels with series. `limit` is drawn as a
    dashed line. Readings outside [0, to_ns] are left out.
    """
    kept = [(name, _within(series, to_ns)) for name, series in readings]
    t_ns = np.unique(np.concatenate([series.t_ns for _, series in kept])) if kept else np.zeros(0, np.int64)
    if stacked or len(t_ns) <= 2 * BUCKETS:
        columns = [_held(_on(series, t_ns)) for _, series in kept]
    else:
        edges = np.linspace(0, to_ns + 1, BUCKETS + 1).astype(np.int64)
        columns = [_held(on_grid(series.t_ns, series.value, edges)) for _, series in kept]
        t_ns = grid_instants(edges)
    if len(t_ns) > 2 * BUCKETS:
        # What is stacked must have been so at one instant: of each stretch the lowest and the highest sum.
        chosen = extreme_instants(np.nansum(columns, axis=0), BUCKETS)
        t_ns, columns = t_ns[chosen], [column[chosen] for column in columns]
    lines = [
        Line(name, column, colours[place % len(colours)], filled=stacked)
        for place, ((name, _), column) in enumerate(zip(kept, columns, strict=True))
    ]
    if limit is not None:
        lines.append(Line(limit[0], np.full(len(t_ns), float(limit[1])), "vermillion", dashed=True))
    return Panel(label, t_ns / NS_PER_S, lines, unit=unit, stacked=stacked, height=height)


def _within(series: Readings, to_ns: int) -> Readings:
    first, last = np.searchsorted(series.t_ns, [0, to_ns + 1])
    return Readings(series.t_ns[first:last], series.value[first:last])


def _held(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `values` with each NaN between two known ones replaced by the one before it."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return values
    latest = np.searchsorted(known, np.arange(len(values)), side="right") - 1
    inside = (latest >= 0) & (np.arange(len(values)) <= known[-1])
    return np.where(inside, values[known[np.maximum(latest, 0)]], np.nan)


def _on(series: Readings, t_ns: Instants) -> npt.NDArray[np.float64]:
    """Bring a series onto instants that hold its own; NaN at the others."""
    column = np.full(len(t_ns), np.nan)
    column[np.searchsorted(t_ns, series.t_ns)] = series.value
    return column


def to_json(graphs: Sequence[Graph], to_ns: int) -> dict[str, Any]:
    """Return what page.js reads. `to_ns` is where the common time axis ends."""
    return {"to": rounded(to_ns / NS_PER_S), "graphs": [_graph(graph) for graph in graphs]}


def _graph(graph: Graph) -> dict[str, Any]:
    made: dict[str, Any] = {"name": graph.name, "alt": graph.alt, "axis": graph.axis}
    if graph.port_map is not None:
        ports = graph.port_map
        return made | {
            "map": {
                "labels": list(ports.labels), "states": list(ports.states), "cells": list(ports.cells),
                "from": rounded(ports.from_s), "to": rounded(ports.to_s), "each": ports.ports_each,
            }
        }  # fmt: skip
    made["views"] = [{"name": view.name, "panels": [_panel(panel) for panel in view.panels]} for view in graph.views]
    return made


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "label": panel.label, "unit": panel.unit, "floor": panel.floor, "stacked": panel.stacked,
        "height": panel.height,
        "x": [rounded(x, 7) for x in panel.x.tolist()],
        "lines": [
            {
                "label": line.label, "colour": line.colour, "filled": line.filled, "dashed": line.dashed,
                "step": line.step, "marked": line.marked,
                "values": [rounded(value) for value in line.values.tolist()],
            }
            for line in panel.lines
        ],
    }  # fmt: skip


def rounded(value: float, digits: int = 5) -> float | int | None:
    """Return `value` with `digits` significant ones, a whole number as an int; None for NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return float(f"{value:.{digits}g}")


@dataclass(frozen=True, slots=True)
class Table:
    """A graph's view in at most TABLE_ROWS rows of text."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(graph: Graph) -> list[Table]:
    """Return the tables that say what a graph shows, one a panel; a port map's is the figures beside it."""
    return [
        _table(f"{view.name}: {panel.label}" if view.name else panel.label, panel, graph.axis)
        for view in graph.views
        for panel in view.panels
        if len(panel.x)
    ]


def _table(caption: str, panel: Panel, axis: str) -> Table:
    heads = [f"{line.label}{f', {panel.unit}' if panel.unit else ''}" for line in panel.lines]
    parts = np.array_split(np.arange(len(panel.x)), min(TABLE_ROWS, len(panel.x)))
    rows = []
    for part in parts:
        first = panel.x[part[0]]
        begin = share_text(panel.x[part[-1]]) if axis == "share" else f"{number(rounded(first, 4))} s"
        rows.append([begin, *(_highest(line.values[part]) for line in panel.lines)])
    return Table(caption, ["share" if axis == "share" else "from", *heads], rows)


def _highest(values: npt.NDArray[Any]) -> str:
    known = values[~np.isnan(values)]
    return number(float(known.max())) if len(known) else DASH


def share_text(x: float) -> str:
    """Return the share that stands at `x` = -log10(1 - share), such as ``99.9 %``."""
    return f"{100 * (1 - 10**-x):.6g} %"
