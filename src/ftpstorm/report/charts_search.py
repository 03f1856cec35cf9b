"""The picture of a search: the load of each step in their order, and what it came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

from ftpstorm.report.marks import stamp
from ftpstorm.report.plots import BLUE, GREY, INK, VERMILLION, Drawing, Picture, figure, log_scale, save, style
from ftpstorm.report.search import FAILED, PASSED, UNFIT, VOID, SearchResult

_LOOKS: Final = {
    PASSED: (BLUE, "o", "passed"),
    FAILED: (VERMILLION, "X", "failed"),
    UNFIT: (GREY, "s", "the generator was the limit"),
    VOID: (GREY, "d", "void"),
}


def draw_search(result: SearchResult, folder: Path) -> Picture | None:
    """Draw search.png and .svg into `folder`; None where no step was made."""
    import matplotlib as mpl

    if not result.steps:
        return None
    with mpl.rc_context(cast("Any", style())):
        return save(_drawing(result), "search", folder)


def _drawing(result: SearchResult) -> Drawing:
    from matplotlib.ticker import MaxNLocator

    made, (axes,) = figure(1, 4.4)
    axes.plot([step.number for step in result.steps], [step.value for step in result.steps], color=GREY, linewidth=0.8)
    for fate, (colour, marker, label) in _LOOKS.items():
        chosen = [step for step in result.steps if step.fate == fate]
        if chosen:
            axes.scatter(
                [step.number for step in chosen], [step.value for step in chosen],
                color=colour, marker=marker, s=55, zorder=3, label=label,
            )  # fmt: skip
    passing, failing = result.highest_passing, result.lowest_failing
    if passing is not None and failing is not None:
        axes.axhspan(passing.value, failing.value, color=VERMILLION, alpha=0.15, linewidth=0)
    values = [step.value for step in result.steps]
    if max(values) > 3 * min(values):
        log_scale(axes, "y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel(result.vary)
    axes.legend(loc="best")
    axes.set_title(_title(result))
    stamp(made, result.marks, INK)
    return Drawing(made, _title(result), f"The load of each step of the search. {result.headline}")


def _title(result: SearchResult) -> str:
    passing, failing = result.highest_passing, result.lowest_failing
    told = "none passed" if passing is None else f"{passing.load} passes"
    return told if failing is None else f"{told}, {failing.load} fails"
