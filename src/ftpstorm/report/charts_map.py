"""The heat map of passive ports as a picture."""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.plots import BLUE, GREEN, INK, ORANGE, PAPER, Drawing, figure, time_axis
from ftpstorm.report.portmap import USED, port_map
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import count_of

_COLOURS: Final = (PAPER, GREEN, BLUE, ORANGE)


def portmap(evidence: Evidence, summary: Summary) -> Drawing | None:
    """A row for each passive port, coloured by its state over time; a tick where a data connection used it."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    made = port_map(evidence)
    if made is None:
        return None
    cells = np.array([[int(cell) for cell in row] for row in made.cells])
    drawn, (axes,) = figure(1, min(1.6 + 0.16 * len(cells), 7.0))
    axes.imshow(
        cells % USED, aspect="auto", interpolation="nearest", cmap=ListedColormap(_COLOURS), vmin=0, vmax=3,
        extent=(made.from_s, made.to_s, len(cells), 0),
    )  # fmt: skip
    row, column = np.nonzero(cells >= USED)
    at_s = made.from_s + column * (made.to_s - made.from_s) / cells.shape[1]
    ticks = np.stack((np.stack((at_s, row), axis=1), np.stack((at_s, row + 0.45), axis=1)), axis=1)
    axes.add_collection(LineCollection(list(ticks), colors=INK, linewidths=0.7, rasterized=len(ticks) > 4000))
    axes.grid(visible=False)
    step = -(-len(cells) // 20)
    axes.set_yticks(np.arange(0, len(cells), step) + 0.5, [label.split(" ")[0] for label in made.labels[::step]])
    axes.set_ylabel("passive port")
    patches = [
        Patch(facecolor=colour, edgecolor=INK, linewidth=0.5, label=state)
        for colour, state in zip(_COLOURS, made.states, strict=True)
    ]
    drawn.legend(handles=patches, loc="outside lower right", ncols=4, fontsize=9)
    time_axis(axes, evidence)
    title = f"{count_of(made.ports, 'passive port')} over time; a tick is a data connection"
    axes.set_title(title)
    return Drawing(drawn, title, f"A row for each passive port, a column for each stretch of time. {title}.")
