"""The pictures of a comparison: what each run carried over time, and its session latencies, on one axis each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ftpstorm.records import aggregate
from ftpstorm.report.marks import marks, stamp
from ftpstorm.report.plots import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    Drawing,
    Picture,
    bin_width_ns,
    figure,
    log_scale,
    save,
    style,
)
from ftpstorm.report.wording import number, per_second
from ftpstorm.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from ftpstorm.report.blocks import Subject
    from ftpstorm.report.evidence import Evidence

_LINES: Final = ((BLUE, "-"), (VERMILLION, "--"), (GREEN, "-."), (ORANGE, ":"), (PURPLE, "-"), (GREY, "--"))
_POINTS: Final = 500
"""Points of a distribution."""


def draw_overlays(subjects: Sequence[Subject], folder: Path) -> list[Picture]:
    """Draw compare-throughput and compare-latency (.png, .svg) into `folder`; return what the page shows.

    Of a column with several runs each is drawn. A baseline without records is in none.
    """
    import matplotlib as mpl

    drawn = [(subject, [member.evidence for member in subject.members if member.evidence is not None])
             for subject in subjects if subject.recorded]  # fmt: skip
    if not drawn:
        return []
    with mpl.rc_context(cast("Any", style())):
        pictures = [save(_throughput(drawn), "compare-throughput", folder)]
        latency = _latency(drawn)
        return pictures if latency is None else [*pictures, save(latency, "compare-latency", folder)]


def _stamp(drawing: Drawing, drawn: Sequence[tuple[Subject, list[Evidence]]]) -> Drawing:
    said = dict.fromkeys(
        f"{subject.name}: {mark}" for subject, runs in drawn for mark in marks(runs[0].plan.scenario, runs[0].status)
    )
    stamp(drawing.figure, list(said), INK)
    return drawing


def _throughput(drawn: Sequence[tuple[Subject, list[Evidence]]]) -> Drawing:
    made, (axes,) = figure(1, 4.4)
    everything = [evidence for _, runs in drawn for evidence in runs]
    longest = max(evidence.shown_ns for evidence in everything)
    # A bin as long as the longest hold evens out the clumps in which a pool serves.
    width = max(bin_width_ns(longest), *(evidence.hold_ns or 0 for evidence in everything))
    top = 1.0
    means = []
    for place, (subject, runs) in enumerate(drawn):
        colour, dashes = _LINES[place % len(_LINES)]
        rates_of = [member.summary.transfers.rate_per_s for member in subject.members]
        means.append(sum(rates_of) / len(rates_of))
        for number_of, evidence in enumerate(runs):
            edges, rates = aggregate.rate_bins(evidence.success_ns, 0, max(evidence.load_end_ns, width), width)
            label = f"{subject.name}: {per_second(means[-1])} carried on average" if not number_of else None
            at_s = np.append(edges, edges[-1] + width) / NS_PER_S
            thick = 2.4 if len(runs) == 1 else 1.3
            axes.stairs(rates, at_s, baseline=None, color=colour, linestyle=dashes, linewidth=thick, label=label)
            top = max(top, float(rates.max()))
    axes.set_ylim(0, 1.25 * top)
    axes.set_xlim(0, longest / NS_PER_S)
    axes.set_xlabel("seconds after the start of the load")
    axes.set_ylabel(f"transfers carried a second\n(mean of each {number(width / NS_PER_S)} s)")
    axes.legend(loc="upper right")
    title = f"Carried: {' against '.join(map(per_second, means))}"
    axes.set_title(title)
    return _stamp(Drawing(made, title, f"Transfers carried a second in each run, over time. {title}."), drawn)


def _latency(drawn: Sequence[tuple[Subject, list[Evidence]]]) -> Drawing | None:
    made, (axes,) = figure(1, 4.4)
    medians = []
    for place, (subject, runs) in enumerate(drawn):
        colour, dashes = _LINES[place % len(_LINES)]
        for number_of, evidence in enumerate(runs):
            spans = np.sort(evidence.durations["session"].ns) / NS_PER_MS
            if not len(spans):
                continue
            ranks = np.unique(np.linspace(0, len(spans) - 1, min(_POINTS, len(spans))).round().astype(np.int64))
            label = None if number_of else f"{subject.name}: half within {number(float(np.median(spans)))} ms"
            axes.plot(np.maximum(spans[ranks], 1e-3), 100 * (ranks + 1) / len(spans), color=colour, linestyle=dashes,
                      linewidth=2.2 if len(runs) == 1 else 1.2, label=label)  # fmt: skip
            if not number_of:
                medians.append(f"{number(float(np.median(spans)))} ms")
    if not medians:
        return None
    log_scale(axes, "x")
    axes.set_ylim(0, 100)
    axes.set_xlabel("ms from the instant a session was due to its end, succeeded sessions alone")
    axes.set_ylabel("per cent of them within")
    axes.legend(loc="lower right")
    title = f"Sessions: half within {' against '.join(medians)}"
    axes.set_title(title)
    return _stamp(Drawing(made, title, f"Distribution of session latencies in each run. {title}."), drawn)
