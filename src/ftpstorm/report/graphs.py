"""The graphs of the page, in its order: each a title that says the finding, and its lines as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records import aggregate
from ftpstorm.report.charts_rates import CLASSES_MAX, failures_title, limit_shown, offered_instants, throughput_title
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graph import Colour, Graph, Line, Panel, View
from ftpstorm.report.graphs_health import counters, health
from ftpstorm.report.graphs_latency import distribution, latency_over_time
from ftpstorm.report.graphs_sockets import pool, ports, sockets
from ftpstorm.report.offered import first_filling
from ftpstorm.report.plots import bin_width_ns
from ftpstorm.report.portmap import port_map
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import count_of, number, per_second, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass

BINS_MAX: Final = 720
_CLASS_COLOURS: Final[tuple[Colour, ...]] = ("vermillion", "blue", "orange", "purple", "green", "sky", "grey")


def draw_graphs(evidence: Evidence, summary: Summary) -> list[Graph]:
    """Return every graph that the run has something to show in."""
    makers: Sequence[Callable[[Evidence, Summary], Graph | None]] = (
        throughput, failures, pool, ports_in_time, ports, sockets, latency_over_time, distribution, counters, health,
    )  # fmt: skip
    return [graph for maker in makers if (graph := maker(evidence, summary)) is not None]


def time_to_ns(evidence: Evidence) -> int:
    """Return where the common time axis ends: with the last session, the load or the last sample."""
    sampled = evidence.run.samples.data["t_ns"]
    return max(evidence.shown_ns, int(sampled.max()) if len(sampled) else 0, 1)


def throughput(evidence: Evidence, summary: Summary) -> Graph | None:
    """Offered and carried transfers a second beside the limit and the sustained rate."""
    offered = offered_instants(evidence)
    offered = offered[offered < evidence.shown_ns]
    if not len(offered) and not len(evidence.transfers):
        return None
    width = bin_width_ns(evidence.shown_ns, BINS_MAX)
    edges, carried = aggregate.rate_bins(evidence.success_ns, 0, evidence.shown_ns, width)
    _, asked = aggregate.rate_bins(offered, 0, evidence.load_end_ns, width)
    x = np.append(edges, edges[-1] + width) / NS_PER_S
    mean = f"mean of each {number(width / NS_PER_S)} s"
    lines = [
        Line(f"carried ({mean})", _bins(carried, len(x)), "sky", filled=True),
        Line("asked for", _bins(asked, len(x)), "ink"),
    ]
    sustained = summary.transfers.sustained
    if sustained.rate_per_s is not None and sustained.periods:
        inside = (x >= sustained.window_from_s - width / NS_PER_S) & (x <= sustained.window_to_s)
        lines.append(Line("sustained", np.where(inside, sustained.rate_per_s, np.nan), "blue"))
    limit = limit_shown(evidence, summary)
    if limit is not None and limit.per_s is not None:
        lines.append(Line("limit", np.full(len(x), limit.per_s), "vermillion", dashed=True))
    title = throughput_title(evidence, summary, limit)
    note = "" if limit is None else f"The limit ({limit.name}): {per_second(limit.per_s)}, {limit.equation}."
    if limit is not None and (filling := first_filling(summary)) is not None:
        most = f"within t no more than N + R x t, here {number(filling.places)} + {number(filling.limit_per_s)} x t"
        note += f" {filling.words[:1].upper()}{filling.words[1:]}: {most}."
    return Graph(
        name="throughput",
        title=title,
        alt=f"Transfers a second over {seconds(evidence.shown_ns)}. {title}.",
        views=[View("", [Panel("transfers a second", x, lines, unit="/s", height=300)])],
        note=note,
    )


def failures(evidence: Evidence, summary: Summary) -> Graph | None:
    """Failures a second, stacked by class; the rarest classes together."""
    found = evidence.failures
    if not len(found):
        return None
    width = bin_width_ns(evidence.shown_ns, BINS_MAX)
    ranked = list(evidence.failure_counts)
    groups: list[tuple[str, tuple[FailureClass, ...]]] = [(kind.word, (kind,)) for kind in ranked[:CLASSES_MAX]]
    if len(ranked) > CLASSES_MAX:
        groups.append((f"{len(ranked) - CLASSES_MAX} other classes", tuple(ranked[CLASSES_MAX:])))
    lines = []
    for (word, kinds), colour in zip(groups, _CLASS_COLOURS, strict=False):
        edges, rates = aggregate.rate_bins(found.of(*kinds)["t_ns"], 0, max(evidence.shown_ns, width), width)
        x = np.append(edges, edges[-1] + width) / NS_PER_S
        lines.append(Line(word, _bins(rates, len(x)), colour, filled=True))
    title = failures_title(evidence)
    return Graph(
        name="failures",
        title=title,
        alt=f"Failures a second by class over {seconds(evidence.shown_ns)}. {title}.",
        views=[View("", [Panel("failures a second", x, lines, unit="/s", stacked=True)])],
    )


def _bins(rates: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Return the rates of bins as a stepwise line: the last one holds to its end, and nothing is drawn after it."""
    made = np.full(length, np.nan)
    made[: len(rates)] = rates
    if len(rates) < length:
        made[len(rates)] = rates[-1]
    return made


def ports_in_time(evidence: Evidence, summary: Summary) -> Graph | None:
    """Which passive port was listening, in use or waiting when."""
    made = port_map(evidence)
    if made is None:
        return None
    each = f", {made.ports_each} neighbours in one row" if made.ports_each > 1 else ""
    order = f", given out in {summary.passive_ports.order} order" if summary.passive_ports.order else ""
    title = f"{count_of(made.ports, 'passive port')} over time{order}{each}"
    return Graph(
        name="portmap",
        title=title,
        alt=f"A row for each passive port, a column for each stretch of time. {title}.",
        port_map=made,
        note="Each cell shows the state that lasted longest in it; a tick marks a data connection, however short. "
        + made.source,
    )
