"""The picture of latency: percentiles of each phase beside each other, and over time."""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.plots import BLUE, GREY, INK, ORANGE, SKY, VERMILLION, Drawing, figure, log_scale, time_axis
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import milliseconds

LABELS: Final = {
    "control_connect": "connect",
    "tls": "TLS handshake",
    "greeting": "greeting (220)",
    "login": "login",
    "passive": "passive reply",
    "data_connect": "data connect",
    "first_byte": "first byte",
    "transfer": "transfer",
    "final_reply": "final reply (226)",
    "session": "whole session,\nfrom when it was due",
    "session_actual": "whole session,\nfrom its actual start",
}
_MARKS: Final = (("p50", "o", BLUE), ("p90", "D", SKY), ("p99", "s", ORANGE), ("max", "|", VERMILLION))
SHORTEST_MS: Final = 0.001


def latency(evidence: Evidence, summary: Summary) -> Drawing | None:
    """p50, p90, p99 and the maximum of each phase on a logarithmic axis, in the order of a session."""
    rows = [(name, summary.latency_ms[name]) for name in LABELS if summary.latency_ms[name].n]
    if not rows:
        return None
    made, (axes,) = figure(1, 1.3 + 0.42 * len(rows))
    axes.set_xscale("log")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    for place, (_, values) in enumerate(rows):
        points = [max(getattr(values, mark) or 0, SHORTEST_MS) for mark, _, _ in _MARKS]
        axes.plot([points[0], points[-1]], [place, place], color=GREY, linewidth=1.4, zorder=1)
        for (mark, shape, colour), point in zip(_MARKS, points, strict=True):
            thick = {"markeredgewidth": 2.2} if shape == "|" else {"markeredgewidth": 0}
            axes.plot(
                [point], [place], shape, color=colour, markersize=11 if shape == "|" else 7, zorder=2,
                label=mark if place == 0 else None, **thick,
            )  # fmt: skip
        text = f"  p50 {milliseconds(values.p50)}, p99 {milliseconds(values.p99)} ms  (n = {values.n:,})"
        axes.annotate(
            text,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8.5,
            color=INK,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(rows)), [LABELS[name] for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.9)
    axes.tick_params(axis="y", length=0)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    # Within less than two powers of ten the powers alone would leave the axis bare.
    axes.xaxis.set_minor_formatter((lambda value, _: _leading_2_or_5(value)) if high < 100 * low else "")
    axes.set_xlabel("milliseconds (log scale); only what succeeded")
    made.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=4, fontsize=9)
    slowest = max(
        (row for row in rows if not row[0].startswith("session")), key=lambda row: row[1].p99 or 0, default=rows[0]
    )
    name = LABELS[slowest[0]].replace("\n", " ")
    title = f"Slowest phase: {name}, 99 % within {milliseconds(slowest[1].p99)} ms"
    axes.set_title(title)
    return Drawing(made, title, f"Latency percentiles by phase in milliseconds. {title}.")


def _leading_2_or_5(value: float) -> str:
    text = f"{value:.0e}"
    return f"{value:g}" if text[0] in "25" else ""


def latency_time(evidence: Evidence, summary: Summary) -> Drawing | None:
    """Percentiles over time of sessions, from when they were due; of connects where no session succeeded."""
    from ftpstorm.report.graphs_latency import latency_over_time

    graph = latency_over_time(evidence, summary)
    if graph is None:
        return None
    view = graph.views[0]
    panel = view.panels[0]
    made, (axes,) = figure(1, 3.8)
    looks = ((BLUE, "o"), (SKY, "D"), (ORANGE, "s"), (VERMILLION, "_"))
    for line, (colour, shape) in zip(panel.lines, looks, strict=True):
        values = np.maximum(line.values, SHORTEST_MS)
        axes.plot(panel.x, values, color=colour, marker=shape, markersize=4, linewidth=1.2, label=line.label)
    log_scale(axes, "y")
    axes.set_ylabel("milliseconds (log scale)")
    axes.legend(loc="upper right", ncols=4, fontsize=9)
    time_axis(axes, evidence)
    title = f"Latency over time: {view.name}"
    axes.set_title(title)
    return Drawing(made, title, graph.alt)
