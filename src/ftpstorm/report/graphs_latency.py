"""Graphs of latency: percentiles of each phase over time, and the whole distribution of every phase."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records.aggregate import Durations, percentiles
from ftpstorm.report.charts_latency import LABELS, SHORTEST_MS
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graph import LINE_COLOURS, Colour, Graph, Line, Panel, View
from ftpstorm.report.plots import bin_width_ns
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import milliseconds, number
from ftpstorm.units import NS_PER_MS, NS_PER_S

BINS_MAX: Final = 180
SHOWN: Final[tuple[tuple[int, str, Colour], ...]] = (
    (50, "p50", "blue"),
    (90, "p90", "sky"),
    (99, "p99", "orange"),
    (100, "max", "vermillion"),
)
SHARES: Final = (0, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 98.5, 99, 99.3, 99.5, 99.7, 99.8,
                 99.9, 99.95, 99.98, 99.99, 99.995, 99.999)  # fmt: skip
"""Percentiles of the distribution; the last point of each phase is its maximum."""


def name_of(phase: str) -> str:
    """Return a latency phase as the page names it, in one line."""
    return LABELS[phase].replace("\n", " ")


def latency_over_time(evidence: Evidence, summary: Summary) -> Graph | None:
    """Percentiles of each phase over time, by when it began; sessions on both bases."""
    order = sorted(LABELS, key=lambda phase: not phase.startswith("session"))
    views = []
    width = bin_width_ns(evidence.shown_ns, BINS_MAX)
    for phase in order:
        durations = evidence.durations[phase]
        if len(durations.ns):
            at_s, columns = percentiles_over_time(durations, evidence.shown_ns, width)
            lines = [
                Line(label, columns[place], colour, step=False, marked=True)
                for place, (_, label, colour) in enumerate(SHOWN)
            ]
            views.append(
                View(name_of(phase), [Panel("milliseconds", at_s, lines, unit="ms", floor=SHORTEST_MS, height=240)])
            )
    if not views:
        return None
    session = summary.latency_ms["session"]
    title = "No session succeeded: phases alone"
    if session.n:
        p50, p99 = milliseconds(session.p50), milliseconds(session.p99)
        title = f"A session took {p50} ms at the median from when it was due, 99 % took at most {p99} ms"
    return Graph(
        name="latency-time",
        title=title,
        alt=f"Latency percentiles over time, in stretches of {number(width / NS_PER_S)} s. {title}.",
        views=views,
        menu="phase",
        note=f"Percentiles of what began in each {number(width / NS_PER_S)} s and succeeded. From when it was due: "
        "waiting for a late start counts. From its actual start: it does not.",
    )


def percentiles_over_time(
    durations: Durations, to_ns: int, width_ns: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the middles of bins in s, shape (b,), and p50, p90, p99 and maximum in ms, shape (4, b).

    Nearest-rank within each bin of `width_ns` by when a duration began, over [0, to); NaN in a bin without any.
    """
    bins = max(-(-to_ns // width_ns), 1)
    number = np.clip(durations.start_ns // width_ns, 0, bins - 1).astype(np.uint16)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(bins + 1))
    spans = durations.ns[order]
    columns = np.full((len(SHOWN), bins), np.nan)
    ranks = np.array([percent for percent, _, _ in SHOWN])
    for place in range(bins):
        part = np.sort(spans[bounds[place] : bounds[place + 1]])
        if len(part):
            columns[:, place] = part[np.maximum(-(-ranks * len(part) // 100) - 1, 0)] / NS_PER_MS
    return (np.arange(bins) + 0.5) * width_ns / NS_PER_S, columns


def distribution(evidence: Evidence, summary: Summary) -> Graph | None:
    """The distribution of every phase: what share took at most how long, with the tail stretched out."""
    phases = [phase for phase in LABELS if len(evidence.durations[phase].ns)]
    if not phases:
        return None
    most = max(len(evidence.durations[phase].ns) for phase in phases)
    x = np.array([-np.log10(1 - share / 100) for share in SHARES if share == 0 or 100 / (100 - share) <= most])
    ends = np.array([np.log10(max(len(evidence.durations[phase].ns), 1)) for phase in phases])
    points = np.unique(np.round(np.concatenate((x, ends)), 6))
    lines = []
    for place, phase in enumerate(phases):
        spans = evidence.durations[phase].ns
        known = points <= np.round(np.log10(len(spans)), 6)
        found = percentiles(spans / NS_PER_MS, [100 * (1 - 10**-point) for point in points[known]]) or []
        values = np.full(len(points), np.nan)
        values[known] = found
        values[np.flatnonzero(known)[-1]] = float(spans.max()) / NS_PER_MS
        colour = LINE_COLOURS[place % len(LINE_COLOURS)]
        lines.append(Line(name_of(phase), values, colour, dashed=place >= len(LINE_COLOURS), step=False))
    title = "How latency is spread: the share that took at most so long"
    return Graph(
        name="distribution",
        title=title,
        alt="Latency at each percentile for every phase, in milliseconds; the maximum stands at the end of each line.",
        views=[View("", [Panel("milliseconds", points, lines, unit="ms", floor=SHORTEST_MS, height=280)])],
        axis="share",
        note="The horizontal axis stretches the tail: 90 %, 99 % and 99.9 % are equally far apart.",
    )
