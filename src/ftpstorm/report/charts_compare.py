"""The picture of a comparison: what each run carried over time, on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ftpstorm.records import aggregate
from ftpstorm.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    Drawing,
    Picture,
    bin_width_ns,
    figure,
    save,
    style,
)
from ftpstorm.report.wording import number, per_second
from ftpstorm.units import NS_PER_S

if TYPE_CHECKING:
    from ftpstorm.report.compare import Subject

_LINES: Final = ((BLUE, "-"), (VERMILLION, "--"), (GREEN, "-."), (ORANGE, ":"), (PURPLE, "-"), (GREY, "--"))


def draw_overlay(subjects: Sequence[Subject], folder: Path) -> Picture:
    """Draw compare-throughput.png and .svg into `folder`; return the picture for the page."""
    import matplotlib as mpl

    with mpl.rc_context(cast("Any", style())):
        return save(_overlay(subjects), "compare-throughput", folder)


def _overlay(subjects: Sequence[Subject]) -> Drawing:
    made, (axes,) = figure(1, 4.4)
    longest = max(subject.evidence.shown_ns for subject in subjects)
    # A bin as long as the longest hold evens out the clumps in which a pool serves.
    width = max(bin_width_ns(longest), *(subject.evidence.hold_ns or 0 for subject in subjects))
    top = 1.0
    for place, subject in enumerate(subjects):
        colour, dashes = _LINES[place % len(_LINES)]
        evidence = subject.evidence
        edges, rates = aggregate.rate_bins(evidence.success_ns, 0, max(evidence.load_end_ns, width), width)
        label = f"{subject.name}: {per_second(subject.summary.transfers.rate_per_s)} carried on average"
        at_s = np.append(edges, edges[-1] + width) / NS_PER_S
        axes.stairs(rates, at_s, baseline=None, color=colour, linestyle=dashes, linewidth=2.4, label=label)
        top = max(top, float(rates.max()))
    axes.set_ylim(0, 1.25 * top)
    axes.set_xlim(0, longest / NS_PER_S)
    axes.set_xlabel("seconds after the start of the load")
    axes.set_ylabel(f"transfers carried a second\n(mean of each {number(width / NS_PER_S)} s)")
    axes.legend(loc="upper right")
    rates_text = " against ".join(per_second(subject.summary.transfers.rate_per_s) for subject in subjects)
    title = f"Carried: {rates_text}"
    axes.set_title(title)
    return Drawing(made, title, f"Transfers carried a second in each run, over time. {title}.")
