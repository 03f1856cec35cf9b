"""The picture of a sweep: a line for one axis, a heat map for two, one heat map for each combination of all others."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ftpstorm.report.marks import stamp
from ftpstorm.report.plots import BLUE, GREY, INK, Drawing, Picture, save, style
from ftpstorm.report.sweep import SweepIndex, SweptCell, setting_words, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS_MAX: Final = 12
"""Heat maps in one picture; the page's table has all cells."""
DARK: Final = 0.55
"""Part of the scale above which a cell is dark and its text light."""


def draw_sweep(index: SweepIndex, folder: Path) -> Picture | None:
    """Draw heatmap.png and .svg into `folder`; None where no cell has a value."""
    import matplotlib as mpl

    if all(cell.value is None for cell in index.cells):
        return None
    with mpl.rc_context(cast("Any", style())):
        drawing = _line(index) if len(index.axes) == 1 else _maps(index)
        return save(drawing, "heatmap", folder)


def _title(index: SweepIndex) -> str:
    known = [cell for cell in index.cells if cell.value is not None]
    low, high = (pick(known, key=lambda cell: cast("float", cell.value)) for pick in (min, max))
    show = shown(index)
    return f"{index.metric}: from {show(low.value)} ({_where(low)}) to {show(high.value)} ({_where(high)})"


def _where(cell: SweptCell) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {setting_words(value)}" for key, value in cell.settings.items())


def _line(index: SweepIndex) -> Drawing:
    from matplotlib.figure import Figure

    made = Figure(figsize=(9.2, 4.4), layout="constrained")
    axes = made.subplots()
    (axis,) = index.axes
    places = np.arange(len(axis.values))
    scale = 100 if index.share else 1
    values = [None if cell.value is None else cell.value * scale for cell in index.cells]
    line = [np.nan if value is None else value for value in values]
    axes.plot(places, line, color=BLUE, linewidth=2.2, marker="o")
    for place, cell in zip(places, index.cells, strict=True):
        if cell.low is not None and cell.high is not None:
            axes.vlines(place, cell.low * scale, cell.high * scale, color=BLUE, linewidth=1.2)
        each = [run.value * scale for run in cell.runs if run.value is not None]
        if len(each) > 1:
            axes.scatter([place] * len(each), each, color=GREY, s=16, zorder=3)
    axes.set_xticks(places, [setting_words(value) for value in axis.values])
    axes.set_xlabel(axis.key)
    axes.set_ylabel(index.metric + (", %" if index.share else ""))
    axes.set_ylim(bottom=0)
    title = _title(index)
    axes.set_title(fill(title, 88))
    stamp(made, index.marks, INK)
    return Drawing(made, title, f"{index.metric} by {axis.key}. {title}.")


def _maps(index: SweepIndex) -> Drawing:
    from matplotlib.figure import Figure

    down, across = index.axes[-2], index.axes[-1]
    others = index.axes[:-2]
    combinations = list(product(*(range(len(axis.values)) for axis in others)))[:MAPS_MAX]
    rows, columns = len(down.values), len(across.values)
    values = np.array([np.nan if cell.value is None else cell.value for cell in index.cells])
    grid = values.reshape([len(axis.values) for axis in index.axes])
    cells = np.array(range(len(index.cells))).reshape(grid.shape)
    wide = min(len(combinations), 2)
    high = -(-len(combinations) // wide)
    made = Figure(figsize=(max(9.2, 1.1 * columns * wide + 2), max(2.2, 0.55 * rows + 1.6) * high + 0.4),
                  layout="constrained")  # fmt: skip
    panels = made.subplots(high, wide, squeeze=False).ravel()
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    image = None
    for panel, chosen in zip(panels, combinations, strict=False):
        image = panel.imshow(grid[chosen], cmap="cividis_r", vmin=lowest, vmax=highest, aspect="auto")
        _label(panel, index, cells[chosen], (lowest, highest))
        panel.set_xticks(range(columns), [setting_words(value) for value in across.values])
        panel.set_yticks(range(rows), [setting_words(value) for value in down.values])
        panel.set_xlabel(across.key)
        panel.set_ylabel(down.key)
        panel.grid(visible=False)
        if others:
            told = (f"{axis.key} = {setting_words(axis.values[at])}" for axis, at in zip(others, chosen, strict=True))
            panel.set_title(", ".join(told), fontsize=10)
    for panel in panels[len(combinations) :]:
        panel.set_axis_off()
    assert image is not None
    show = shown(index)
    made.colorbar(image, ax=list(panels), label=index.metric, format=lambda value, _: show(value))
    title = _title(index)
    made.suptitle(fill(title, 88), x=0.01, ha="left", fontweight="bold", fontsize=11)
    stamp(made, index.marks, INK)
    alt = f"Heat map of {index.metric} over {' and '.join(axis.key for axis in index.axes)}. {title}."
    return Drawing(made, title, alt)


def _why_empty(cell: SweptCell) -> str:
    if not cell.runs:
        return "not run"
    return "invalid" if all(run.verdict == "invalid" for run in cell.runs) else "not measured"


def _label(panel: Axes, index: SweepIndex, cells: np.ndarray[Any, Any], scale: tuple[float, float]) -> None:
    """Write each cell's value into it: the colour alone would leave out who cannot tell it."""
    show, (lowest, highest) = shown(index), scale
    for (row, column), number in np.ndenumerate(cells):
        cell = index.cells[int(number)]
        if cell.value is None:
            text = _why_empty(cell)
            colour = INK
        else:
            text = show(cell.value)
            colour = "#FFFFFF" if (cell.value - lowest) > DARK * (highest - lowest) else "#101418"
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
