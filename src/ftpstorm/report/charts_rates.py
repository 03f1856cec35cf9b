"""Pictures of rates: what was asked for and carried beside the limit, and what failed, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ftpstorm.limits.limit import Limit
from ftpstorm.records import aggregate
from ftpstorm.records.aggregate import Instants
from ftpstorm.records.reader import Array
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.limit_told import telling_limit
from ftpstorm.report.offered import AT_ONE_INSTANT, first_filling
from ftpstorm.report.plots import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Drawing,
    bin_width_ns,
    figure,
    time_axis,
)
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import count_of, milliseconds, number, per_second, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ZOOM_FROM: Final = 3.0
"""Where more than this many times the limit is asked for, a second panel shows what was carried at its own scale."""
FAR_ABOVE: Final = 8.0
"""A limit so many times above what there is to see is named, not drawn: its line would squash the rest."""
CLASSES_MAX: Final = 6
_COLOURS: Final = (VERMILLION, BLUE, ORANGE, PURPLE, GREEN, SKY, GREY)
_HATCHES: Final = ("", "///", "...", "\\\\\\", "xxx", "---", "")


def offered_instants(evidence: Evidence) -> Instants:
    """Return when each transfer was offered: the due instants of open loads, the starts of closed ones' sessions."""
    return evidence.offered_ns


def throughput(evidence: Evidence, summary: Summary) -> Drawing | None:
    """Offered and achieved transfers a second, with the limit as a line and its assumptions in the legend."""
    offered = offered_instants(evidence)
    offered = offered[offered < evidence.shown_ns]
    if not len(offered) and not len(evidence.transfers):
        return None
    width = bin_width_ns(evidence.shown_ns)
    edges, asked = aggregate.rate_bins(offered, 0, evidence.load_end_ns, width)
    _, carried = aggregate.rate_bins(evidence.success_ns, 0, evidence.shown_ns, width)
    limit = limit_shown(evidence, summary)
    zoomed = limit is not None and limit.per_s is not None and asked.max() > ZOOM_FROM * limit.per_s
    made, panels = figure(2, 6.0, (1.0, 1.25)) if zoomed else figure(1, 4.6)
    for axes in panels:
        _bars(axes, carried, width)
        axes.set_ylabel("transfers a second")
    first = panels[0]
    first.stairs(asked, _edges(edges, width), color=INK, linewidth=1.8, label="asked for (the schedule)")
    first.set_ylim(0, 1.2 * max(asked.max(), carried.max(), 1))
    last = panels[-1]
    _reference_lines(last, evidence, summary, limit)
    if zoomed:
        if limit is not None and limit.per_s is not None:
            first.axhline(limit.per_s, color=VERMILLION, linestyle=(0, (6, 3)), linewidth=1.4, label="limit")
        last.set_title(_clumps(evidence), fontsize=10, fontweight="normal")
        reach = max(carried.max(), limit.per_s if limit is not None and limit.per_s is not None else 1)
        last.set_ylim(0, 1.75 * reach)
    if zoomed:
        first.legend(loc="upper right", ncols=3)
    last.legend(loc="upper right", fontsize=9)
    time_axis(last, evidence)
    title = throughput_title(evidence, summary, limit)
    first.set_title(title)
    return Drawing(made, title, f"Transfers a second over {seconds(evidence.shown_ns)}. {title}.")


def _clumps(evidence: Evidence) -> str:
    """Explain why what was carried comes in clumps, where it does."""
    title = "The same, at the scale of what was carried"
    if evidence.pool_size is not None and evidence.hold_ns is not None and evidence.hold_ns >= NS_PER_S:
        hold = number(evidence.hold_ns / NS_PER_S)
        title += f": {evidence.pool_size:,} at once, then none until the first ports come free after {hold} s"
    return title


def _edges(edges: Instants, width: int) -> Array:
    return np.append(edges, edges[-1] + width) / NS_PER_S


def _bars(axes: Axes, carried: Array, width: int) -> None:
    left = np.arange(len(carried)) * width / NS_PER_S
    what = f"carried, mean of each {number(width / NS_PER_S)} s"
    axes.bar(left, carried, width / NS_PER_S, align="edge", color=SKY, edgecolor="none", label=what)


def limit_shown(evidence: Evidence, summary: Summary) -> Limit | None:
    """The limit that rates are set beside, where it is one on transfers: of what ran out, else the binding one."""
    limits = () if evidence.prediction is None else evidence.prediction.limits
    return telling_limit(limits, summary.diagnosis.cause)


def _reference_lines(axes: Axes, evidence: Evidence, summary: Summary, limit: Limit | None) -> None:
    sustained = summary.transfers.sustained
    if sustained.rate_per_s is not None and sustained.periods:
        axes.hlines(
            sustained.rate_per_s, sustained.window_from_s, sustained.window_to_s, color=BLUE, linewidth=3.4,
            label=f"sustained, measured: {per_second(sustained.rate_per_s)}",
        )  # fmt: skip
    if limit is None or limit.per_s is None:
        return
    top = axes.get_ylim()[1]
    dashes: dict[str, Any] = {"color": VERMILLION, "linestyle": (0, (6, 3)), "linewidth": 1.8}
    if limit.per_s > FAR_ABOVE * top:
        axes.plot([], [], label=f"{_assumptions(limit)}\n(above this picture)", **dashes)
        return
    axes.axhline(limit.per_s, label=_assumptions(limit), **dashes)
    axes.set_ylim(0, max(top, 1.45 * limit.per_s))


def _assumptions(limit: Limit) -> str:
    values = ", ".join(
        f"{name} = {_readable(symbol.value, symbol.unit)}"
        for name, symbol in limit.symbols.items()
        if symbol.value is not None
    )
    return f"limit {per_second(limit.per_s)}: {limit.equation}, {values}"


def _readable(value: float, unit: str) -> str:
    """Return a value with its unit, a time below 0.1 s in ms: nobody reads ``0.000652 s`` at a glance."""
    if unit == "s" and 0 < value < 0.1:
        return f"{milliseconds(1000 * value)} ms"
    return f"{number(value)} {unit}".strip()


def throughput_title(evidence: Evidence, summary: Summary, limit: Limit | None) -> str:
    """Return what the picture of rates shows, in a sentence without its full stop."""
    transfers, sustained = summary.transfers, summary.transfers.sustained
    if transfers.offered_per_s is None:
        asked = f"{count_of(transfers.offered, 'transfer')} asked for {AT_ONE_INSTANT}"
        if not len(evidence.failures):
            return f"All {asked} were carried" if transfers.offered > 1 else f"{asked} was carried"
        return f"{asked}, {number(transfers.succeeded)} carried"
    asked = per_second(transfers.offered_per_s)
    if limit is not None and limit.per_s and sustained.rate_per_s is not None and sustained.periods:
        share = sustained.rate_per_s / limit.per_s
        return f"{asked} asked for, {per_second(sustained.rate_per_s)} carried: {share:.1%} of the limit"
    if not len(evidence.failures):
        return f"All that was asked for was carried: {per_second(transfers.rate_per_s)}"
    filling = first_filling(summary)
    above = "" if filling is None else f": above the limit while the first {number(filling.places)} places fill"
    return f"{asked} asked for, {per_second(transfers.rate_per_s)} carried on average{above}"


def failures(evidence: Evidence, summary: Summary) -> Drawing | None:
    """Failures a second, stacked by class; the rarest classes together."""
    found = evidence.failures
    if not len(found):
        return None
    width = bin_width_ns(evidence.shown_ns)
    made, (axes,) = figure(1, 4.2)
    ranked = list(evidence.failure_counts)
    shown, rest = ranked[:CLASSES_MAX], ranked[CLASSES_MAX:]
    groups: list[tuple[str, tuple[FailureClass, ...]]] = [(failure.word, (failure,)) for failure in shown]
    if rest:
        groups.append((f"{len(rest)} other classes", tuple(rest)))
    bottom: Array | None = None
    for (word, classes), colour, hatch in zip(groups, _COLOURS, _HATCHES, strict=False):
        instants = found.of(*classes)["t_ns"]
        _, rates = aggregate.rate_bins(instants, 0, max(evidence.shown_ns, width), width)
        left = np.arange(len(rates)) * width / NS_PER_S
        base = np.zeros(len(rates)) if bottom is None else bottom
        axes.bar(
            left, rates, width / NS_PER_S, base, align="edge", color=colour, hatch=hatch, edgecolor="#FFFFFF80",
            linewidth=0, label=f"{word} ({len(instants):,})",
        )  # fmt: skip
        bottom = base + rates
    assert bottom is not None
    axes.set_ylim(0, 1.2 * max(bottom.max(), 1))
    axes.set_ylabel("failures a second")
    axes.legend(loc="upper right", ncols=2)
    time_axis(axes, evidence)
    title = failures_title(evidence)
    axes.set_title(title if len(title) <= 90 else title[:88] + "…")
    return Drawing(made, title, f"Failures a second by class over {seconds(evidence.shown_ns)}. {title}.")


def failures_title(evidence: Evidence) -> str:
    """Return what failed from when on, for a run in which something did."""
    found, ranked = evidence.failures, list(evidence.failure_counts)
    first = int(found.data["t_ns"][0])
    if len(ranked) > 1:
        return f"{count_of(len(found), 'failure')} in {len(ranked)} classes, the first after {seconds(first)}"
    reply = evidence.quoted_reply(ranked[0])
    return f"From {seconds(first)} on: {ranked[0].word}{f', {reply}' if reply else ''}"
