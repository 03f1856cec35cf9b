"""The pictures of docs/theory/measured.md, drawn from what was measured: small SVG with text as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

from validation.curves import Comparison
from validation.judging import Row

POINTS: Final = 250
"""Points of a curve: more cannot be told apart at its size."""
COLUMNS: Final = 3
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ftpstorm",
    "font.size": 7,
    "font.family": "sans-serif",
}
SIMULATED, SAMPLED, BAD = "#1f77b4", "#d95f02", "#c00000"


def draw_curves(named: Sequence[tuple[str, Comparison]], path: Path) -> None:
    """Draw each (situation, curve) as a small panel: simulated as a line, sampled as steps over it."""
    rows = max(1, -(-len(named) // COLUMNS))
    with rc_context(STYLE):
        figure = Figure(figsize=(3.2 * COLUMNS, 1.7 * rows))
        axes = figure.subplots(rows, COLUMNS, squeeze=False)
        for panel in axes.flat[len(named) :]:
            panel.set_visible(False)
        for panel, (name, curve) in zip(axes.flat, named, strict=False):
            assert curve.t_s is not None
            assert curve.simulated is not None
            assert curve.measured is not None
            thin = slice(None, None, max(1, len(curve.t_s) // POINTS))
            panel.plot(curve.t_s[thin], curve.simulated[thin], color=SIMULATED, linewidth=2.2, alpha=0.5)
            panel.step(curve.t_s[thin], curve.measured[thin], color=SAMPLED, linewidth=0.8, where="post")
            panel.set_title(shorten(name, 46, placeholder=" ..."), fontsize=7, loc="left")
            panel.set_ylabel(curve.name, fontsize=6)
            panel.set_ylim(bottom=0)
            panel.annotate(
                f"{curve.distance:.1%}", (0.97, 0.06), xycoords="axes fraction", ha="right", fontsize=7, color="#444444"
            )
            panel.spines[["top", "right"]].set_visible(False)
        for panel in axes[-1]:
            panel.set_xlabel("seconds after the start", fontsize=6)
        figure.legend(["simulated", "sampled"], loc="upper right", ncols=2, frameon=False)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.25 / (1.7 * rows)))
        _save(figure, path)


def draw_ratios(rows: Sequence[Row], path: Path) -> None:
    """Draw measured over predicted, a dot for each quantity that both are known of, grouped by situation."""
    known = [row for row in rows if row.ratio is not None]
    names = list(dict.fromkeys(row.name for row in known))
    with rc_context(STYLE):
        figure = Figure(figsize=(7.5, 0.6 + 0.15 * max(1, len(names))))
        axis = figure.subplots()
        axis.axvspan(0.95, 1.05, color="#e8e8e8", zorder=0)
        axis.axvline(1, color="#999999", linewidth=0.8, zorder=1)
        places = [len(names) - 1 - names.index(row.name) for row in known]
        colours = [BAD if row.verdict == "disagrees" else SIMULATED for row in known]
        axis.scatter([row.ratio or 0.0 for row in known], places, s=9, c=colours, alpha=0.7, zorder=2, linewidths=0)
        axis.set_yticks(range(len(names)), [shorten(name, 60, placeholder=" ...") for name in reversed(names)])
        furthest = max((abs((row.ratio or 1) - 1) for row in known), default=0)
        axis.set_xlim(1 - max(0.12, furthest * 1.1), 1 + max(0.12, furthest * 1.1))
        axis.set_xlabel("measured / predicted (grey: within 5 %)")
        axis.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
