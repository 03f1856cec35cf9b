"""A sweep's index and page: one figure over a grid of settings, each combination with the spread of its repeats.

Made from the summaries of the runs alone. How the runs came about is `ftpstorm.conduct.sweeps`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from ftpstorm.records.manifest import write_json_atomically
from ftpstorm.report.bootstrap import mean_interval
from ftpstorm.report.summary import Summary, SummaryModel
from ftpstorm.scenario.figure import NAMED, Figure
from ftpstorm.vocabulary import Verdict

SWEEP_JSON: Final = "sweep.json"
SWEEP_PAGE: Final = "sweep.html"


class SweptRun(SummaryModel):
    """One run of a sweep."""

    folder: str
    """Below the sweep's folder."""
    run_id: str
    order: int
    """Which of all runs it was, from 1."""
    repeat: int
    value: float | None
    """The metric; null for an invalid run, and where it has no such figure."""
    verdict: str
    status: str
    cause: str
    headline: str


class SweptCell(SummaryModel):
    """One combination of settings and what its runs gave."""

    settings: dict[str, Any]
    value: float | None
    """Mean over the valid runs."""
    low: float | None
    high: float | None
    """95 % interval of the mean by the percentile bootstrap over repeats; null below 2 of them. Few repeats make it too
    narrow."""
    runs: list[SweptRun]

    @property
    def causes(self) -> list[str]:
        """What ran out, each cause once."""
        return list(dict.fromkeys(run.cause for run in self.runs))


class Axis(SummaryModel):
    """One key of the grid."""

    key: str
    values: list[Any]


class SweepIndex(SummaryModel):
    """All of sweep.json."""

    schema_version: int = Field(default=1, alias="schema")
    name: str
    scenario: str
    description: str = ""
    started_at: str
    status: Literal["running", "completed", "interrupted", "failed"]
    reason: str | None = None
    """Why it did not complete."""
    seed: int
    """Of the order of the runs."""
    repeats: int
    metric: str
    """The figure that cells show, as the scenario names it."""
    metric_key: str
    """The same as a key of summary.json, or one divided by another."""
    axes: list[Axis]
    cells: list[SweptCell]
    """Every combination, the last axis varying fastest; `runs` is empty where none ran yet."""
    marks: list[str] = Field(default_factory=list)
    """What pictures of these runs must say, such as that TIME_WAIT was shortened."""
    cannot_show: str | None = None

    @property
    def share(self) -> bool:
        """Whether values are shares, shown in per cent."""
        return self.metric in NAMED and "/" in NAMED[self.metric]


def figure_value(summary: Summary, figure: Figure) -> float | None:
    """Return the figure of a run, None where it has no such number, or would divide by nothing."""
    values = summary.to_json()
    above = value_at(values, figure.key)
    if figure.over is None:
        return above
    below = value_at(values, figure.over)
    return above / below if above is not None and below else None


def value_at(value: Any, key: Sequence[str]) -> float | None:
    """Return the number under a dotted key of summary.json; None where there is none.

    In a list the entry is found by its number or by its class, name, cause or quantity: ``failures.passive-exhausted``.
    What a list of failures does not name has happened 0 times.
    """
    for place, step in enumerate(key):
        if isinstance(value, list):
            value = _entry(value, step, counted=list(key[place + 1 :]) == ["count"])
        elif isinstance(value, Mapping):
            value = value.get(step)
        else:
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _entry(entries: list[Any], step: str, *, counted: bool) -> Any:
    if step.isdigit():
        return entries[int(step)] if int(step) < len(entries) else None
    named = [
        entry
        for entry in entries
        if isinstance(entry, Mapping) and step in (entry.get(by) for by in ("class", "name", "cause", "quantity"))
    ]
    if counted:
        return {"count": sum(entry.get("count", 0) for entry in named)}
    return named[0] if named else None


def check_figure(figure: Figure) -> str | None:
    """Return what no summary.json has of a figure, None where it may have all: free mappings are taken on trust."""
    for key in filter(None, (figure.key, figure.over)):
        if key[0] not in Summary.model_fields:
            return f"summary.json has no {key[0]!r}; see it with: ftpstorm schema --summary"
        schema: Any = Summary.model_fields[key[0]].annotation
        for step in key[1:]:
            fields = getattr(schema, "model_fields", None)
            if fields is None:
                break
            if step not in fields:
                return f"summary.json has no {'.'.join(key)!r}: there is {', '.join(fields)}"
            schema = fields[step].annotation
    return None


def cell_of(settings: Mapping[str, Any], runs: Iterable[SweptRun]) -> SweptCell:
    """Return a cell with the mean of its runs' values and its interval."""
    listed = sorted(runs, key=lambda run: run.order)
    values = [run.value for run in listed if run.value is not None]
    value = sum(values) / len(values) if values else None
    low, high = mean_interval(values)
    return SweptCell(settings=dict(settings), value=value, low=low, high=high, runs=listed)


def swept_run(summary: Summary, folder: str, figure: Figure, *, order: int, repeat: int) -> SweptRun:
    """Return one run as the index has it; an invalid run has no value."""
    valid = summary.verdict is not Verdict.INVALID
    return SweptRun(
        folder=folder,
        run_id=summary.run_id,
        order=order,
        repeat=repeat,
        value=figure_value(summary, figure) if valid else None,
        verdict=summary.verdict.value,
        status=summary.status.value,
        cause=summary.diagnosis.cause,
        headline=summary.headline,
    )


def write_index(folder: Path, index: SweepIndex) -> None:
    """Write sweep.json."""
    write_json_atomically(folder / SWEEP_JSON, index.model_dump(mode="json", by_alias=True))


def write_page(folder: Path, index: SweepIndex, *, plots: bool = True) -> Path:
    """Write sweep.html, and the heat map as heatmap.png and .svg, into a sweep's folder; return the page."""
    from ftpstorm.report.html import environment

    picture = None
    if plots:
        from ftpstorm.report.charts_sweep import draw_sweep

        picture = draw_sweep(index, folder)
    page = folder / SWEEP_PAGE
    text = environment().get_template("sweep.html.j2").render(s=index, picture=picture, show=shown(index))
    page.write_text(text, encoding="utf-8")
    return page


def shown(index: SweepIndex) -> Any:
    """Return the function that puts a value of the metric into words."""
    from ftpstorm.report.wording import number, percent

    return percent if index.share else number


def setting_words(value: Any) -> str:
    """Return a setting's value as people write it."""
    import json

    return value if isinstance(value, str) else json.dumps(value)
