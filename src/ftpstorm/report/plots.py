"""The pictures of a run: style, saving, and which there are. What each shows is in `charts_*`.

PNG and SVG go into plots/; the page gets the SVG text with ids of its own and colours that follow light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np

from ftpstorm.records.aggregate import Instants
from ftpstorm.records.reader import Array
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.marks import marks, stamp
from ftpstorm.report.summary import Summary
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by all common kinds of colour vision, and on white as well as on near-black.
BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8A8F98"

INK: Final = "#23272E"
GRID: Final = "#D8DCE2"
PAPER: Final = "#FFFFFE"

BINS_MAX: Final = 240
POINTS_MAX: Final = 2000
_WIDTHS_S: Final = (0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as the page shows it. `svg` is the markup, `alt` its text alternative."""

    name: str
    title: str
    alt: str
    svg: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished figure. `title` says the finding, `alt` what there is to see."""

    figure: Figure
    title: str
    alt: str


Chart = Callable[[Evidence, Summary], "Drawing | None"]
"""Draws one picture; None where the run has nothing to show in it."""


def style() -> dict[str, Any]:
    """Return the rcParams of all pictures."""
    return {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "text.parse_math": False,  # a server's reply may hold a dollar sign
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.facecolor": "none",
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 12,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.facecolor": PAPER,
        "legend.frameon": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "ftpstorm",
    }


def charts() -> dict[str, Chart]:
    """Return every picture by its file name, in the order of the page."""
    from ftpstorm.report.charts_latency import latency, latency_time
    from ftpstorm.report.charts_map import portmap
    from ftpstorm.report.charts_ports import pool, ports
    from ftpstorm.report.charts_rates import failures, throughput

    return {
        "throughput": throughput,
        "failures": failures,
        "pool": pool,
        "portmap": portmap,
        "ports": ports,
        "latency-time": latency_time,
        "latency": latency,
    }


def draw_all(evidence: Evidence, summary: Summary, folder: Path) -> list[Picture]:
    """Draw every picture that the run has something to show in, as <folder>/<name>.png and .svg; return them.

    Pictures of an earlier report that this one does not draw are removed.
    """
    import matplotlib as mpl

    folder.mkdir(exist_ok=True)
    pictures = []
    said = marks(evidence.plan.scenario, evidence.status)
    with mpl.rc_context(cast("Any", style())):
        for name, chart in charts().items():
            drawing = chart(evidence, summary)
            if drawing is None:
                for suffix in ("png", "svg"):
                    (folder / f"{name}.{suffix}").unlink(missing_ok=True)
                continue
            stamp(drawing.figure, said, INK)
            pictures.append(save(drawing, name, folder))
    return pictures


def save(drawing: Drawing, name: str, folder: Path) -> Picture:
    """Write a drawing as PNG and SVG; return it as the page shows it."""
    drawing.figure.savefig(
        folder / f"{name}.png", dpi=130, metadata={"Software": None}, pil_kwargs={"compress_level": 3}
    )
    drawing.figure.set_layout_engine("none")  # laid out once, for both formats
    text = io.StringIO()
    drawing.figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    return Picture(name, drawing.title, drawing.alt, inline_svg(svg, name, drawing.alt))


def inline_svg(svg: str, name: str, alt: str) -> str:
    """Return SVG for inlining: no XML prologue, ids made unique by `name`, ink and grid in the page's own colours."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    for colour, variable in ((INK, "--ink"), (GRID, "--grid"), (PAPER, "--paper")):
        body = re.sub(colour, f"var({variable})", body, flags=re.IGNORECASE)
    label = escape(alt, quote=True)
    opening, rest = body.split(">", 1)
    opening = re.sub(r'\s(width|height)="[^"]*"', "", opening).replace("<svg", f'<svg role="img" aria-label="{label}"')
    return f"{opening}>{rest}"


# --- what charts share ------------------------------------------------------------------------------------------------


def figure(rows: int = 1, height: float = 4.4, ratios: tuple[float, ...] | None = None) -> tuple[Figure, list[Axes]]:
    """Return a figure with `rows` axes above each other that share the time axis."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(9.2, height), layout="constrained")
    axes = made.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    return made, list(axes)


def bin_width_ns(length_ns: int, bins_max: int = BINS_MAX) -> int:
    """Return a bin width for a run of that length: at least a quarter of a second, at most `bins_max` bins."""
    wanted = next((width for width in _WIDTHS_S if length_ns / NS_PER_S / width <= bins_max), _WIDTHS_S[-1])
    if wanted < 1 and length_ns > 8 * NS_PER_S:
        wanted = 1
    return round(wanted * NS_PER_S)


def thin(t_ns: Instants, values: Array) -> tuple[Array, Array]:
    """Return seconds and values with at most about POINTS_MAX points; each bucket keeps its lowest and highest."""
    at_s = t_ns / NS_PER_S
    if len(values) <= POINTS_MAX:
        return at_s, values
    buckets = np.array_split(np.arange(len(values)), POINTS_MAX // 2)
    kept = np.unique([part[pick(values[part])] for part in buckets for pick in (np.argmin, np.argmax)])
    return at_s[kept], values[kept]


def time_axis(axes: Axes, evidence: Evidence, *, to_ns: int | None = None) -> None:
    """Label and bound the shared time axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=11, steps=[1, 2, 5, 10]))
    axes.set_xlim(0, max(to_ns if to_ns is not None else evidence.shown_ns, 1) / NS_PER_S)
    simulated = evidence.status is Status.SIMULATED
    axes.set_xlabel(f"seconds after the start of the {'simulated ' if simulated else ''}load")


def log_scale(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def end_label(axes: Axes, x: float, y: float, text: str, colour: str, **more: Any) -> None:
    """Write a label beside the end of a line, in the line's colour, on a ground that keeps it readable."""
    ground = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    axes.annotate(
        text, (x, y), (0, 5), textcoords="offset points", color=colour, ha="right", va="bottom", fontweight="bold",
        bbox=ground, **more,
    )  # fmt: skip
