"""Graphs of what stood beside the load: kernel counters that moved, and how the load generator itself fared."""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.records.aggregate import Durations
from ftpstorm.records.reader import Readings
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.charts_latency import SHORTEST_MS
from ftpstorm.report.evidence import GAUGES, Evidence
from ftpstorm.report.graph import LINE_COLOURS, Graph, Line, Panel, View, sampled_panel
from ftpstorm.report.graphs_latency import percentiles_over_time
from ftpstorm.report.plots import bin_width_ns
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import milliseconds, number
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Metric

BINS_MAX: Final = 180


def counters(evidence: Evidence, summary: Summary) -> Graph | None:
    """How fast each kernel counter that moved rose over time, by host."""
    found: dict[str, list[tuple[str, Readings]]] = {}
    for series, readings in evidence.run.samples.select(Metric.COUNTER).items():
        if series.key not in GAUGES and len(readings) > 1 and readings.value[-1] != readings.value[0]:
            found.setdefault(series.key, []).append((series.host, readings))
    if not found:
        return None
    width = bin_width_ns(evidence.shown_ns, BINS_MAX)
    last = max(int(readings.t_ns[-1]) for hosts in found.values() for _, readings in hosts)
    edges = np.arange(0, last + width, width, dtype=np.int64)
    views = []
    for name in sorted(found, key=lambda name: (name not in summary.counters, name)):
        lines = [
            Line(f"on {host}", _rates(readings, edges), LINE_COLOURS[place % len(LINE_COLOURS)], filled=len(hosts) == 1)
            for hosts in (found[name],)
            for place, (host, readings) in enumerate(sorted(hosts, key=lambda pair: pair[0]))
        ]
        views.append(View(name, [Panel("a second", edges / NS_PER_S, lines, unit="/s")]))
    return Graph(
        name="counters",
        title=f"{number(len(views))} kernel counters moved",
        alt="How fast a kernel counter rose over time. How far each rose in all stands in the table below.",
        views=views,
        menu="counter",
    )


def _rates(
    readings: Readings, edges: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the rise a second from each edge to the next, from the last reading before each; the last one repeated."""
    index = np.maximum(np.searchsorted(readings.t_ns, edges, side="right") - 1, 0)
    rises = np.diff(readings.value[index]) / np.diff(edges) * NS_PER_S
    return np.append(rises, rises[-1:] if len(rises) else [0.0])


def health(evidence: Evidence, summary: Summary) -> Graph | None:
    """How late sessions started, and how much of a core each process of the run used."""
    panels = []
    began = evidence.started[evidence.started["start_ns"] != ABSENT]
    width = bin_width_ns(evidence.shown_ns, BINS_MAX)
    if summary.generator.lateness_ms.n and len(began):
        late = Durations(began["start_ns"] - began["intended_ns"], began["intended_ns"], 0)
        at_s, columns = percentiles_over_time(late, evidence.shown_ns, width)
        shown = ((0, "p50", LINE_COLOURS[0]), (2, "p99", LINE_COLOURS[1]), (3, "max", LINE_COLOURS[4]))
        lines = [Line(name, columns[row], colour, step=False, marked=True) for row, name, colour in shown]
        panels.append(Panel("started late by, ms", at_s, lines, unit="ms", floor=SHORTEST_MS, height=180))
    used = []
    for series, readings in evidence.run.samples.select(Metric.PROCESS_CPU).items():
        if len(readings) > 1 and series.key.startswith(("worker", "sampler", "emulator", "conductor", "time-wait")):
            share = np.diff(readings.value) / np.maximum(np.diff(readings.t_ns), 1) * NS_PER_S * 100
            used.append((series.key, Readings(readings.t_ns[:-1], share)))
    if used:
        panels.append(sampled_panel("% of a core", used, evidence.shown_ns, unit="%", height=180))
    if not panels:
        return None
    health = summary.generator
    title = "The load generator was the bottleneck" if health.invalid else "The load generator kept up"
    if health.lateness_ms.n:
        title += f": 99 % of the sessions started at most {milliseconds(health.lateness_ms.p99)} ms late"
    return Graph(
        name="health",
        title=title,
        alt=f"How late sessions started and what share of a core each process used, over time. {title}.",
        views=[View("", panels)],
    )
