"""A sweep's figures by their keys, its maps and its page."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.report.charts_sweep import _why_empty, draw_sweep
from ftpstorm.report.summary import Summary
from ftpstorm.report.sweep import Axis, SweepIndex, SweptRun, cell_of, check_figure, figure_value, value_at, write_page
from ftpstorm.scenario.figure import NAMED, parse_figure
from support.results_folder import Story


def index(axes: dict[str, list[Any]], *, repeats: int = 1, missing: int | None = None) -> SweepIndex:
    cells = []
    for place, values in enumerate(product(*axes.values())):
        runs = [
            SweptRun(folder=f"runs/{place}-{r}", run_id="r", order=place + 1, repeat=r,
                     value=0.1 * (place + 1) + 0.01 * r, verdict="pass", status="completed", cause="none", headline="h")
            for r in range(repeats)
        ]  # fmt: skip
        cells.append(cell_of(dict(zip(axes, values, strict=True)), [] if place == missing else runs))
    return SweepIndex(
        name="s", scenario="s", started_at="2031-01-01T00:00:00Z", status="completed", seed=1, repeats=repeats,
        metric="greeted", metric_key=NAMED["greeted"], axes=[Axis(key=k, values=v) for k, v in axes.items()],
        cells=cells, marks=["simulated: no packet was sent"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "axes",
    [
        {"a.backlog": [5, 50, 500]},
        {"a.backlog": [5, 50], "a.rate": ["1/s", "2/s", "3/s"]},
        {"a.x": [1, 2], "a.backlog": [5, 50], "a.rate": ["1/s", "2/s"]},
        {"a.w": [1, 2], "a.x": [1, 2], "a.y": [5, 50], "a.z": [None, {"name": "vsftpd"}]},
    ],
    ids=len,
)
def test_one_axis_is_a_line_two_are_a_map_and_more_are_maps(axes: dict[str, list[Any]], tmp_path: Path) -> None:
    picture = draw_sweep(index(axes, repeats=2, missing=1), tmp_path)
    assert picture is not None
    assert picture.title.startswith("greeted: from 10.5 % (")
    assert (tmp_path / "heatmap.svg").is_file()


def test_a_sweep_without_a_value_has_a_page_and_no_picture(tmp_path: Path) -> None:
    empty = index({"a.x": [1]}, missing=0)
    assert draw_sweep(empty, tmp_path) is None
    assert "<svg" not in write_page(tmp_path, empty).read_text()


def test_the_page_has_every_cell_its_runs_and_the_marks(tmp_path: Path) -> None:
    text = write_page(tmp_path, index({"a.x": [1, 2], "a.y": [3, 4]}, repeats=3)).read_text()
    assert text.count('/report.html"') == 12
    assert "simulated: no packet was sent" in text
    assert "one run each" not in text


def test_figures_are_read_off_a_summary(judge: Callable[[Story], Summary]) -> None:
    summary = judge(Story(duration_s=8))
    sessions = summary.sessions
    assert figure_value(summary, parse_figure("transfers")) == summary.transfers.succeeded
    assert figure_value(summary, parse_figure("failed")) == pytest.approx(sessions.failed / sessions.started)
    assert figure_value(summary, parse_figure("greeted")) == 1
    assert figure_value(summary, parse_figure("failures.passive-exhausted.count")) == sessions.failed
    assert figure_value(summary, parse_figure("failures.greeting-eof.count")) == 0
    assert figure_value(summary, parse_figure("generator.nosuch")) is None
    assert figure_value(summary, parse_figure("sessions.failed / sessions.dropped")) is None


def test_lists_are_walked_by_number_and_by_name() -> None:
    values = {"limits": [{"name": "nat-pool", "per_s": 5}, {"name": "x", "per_s": True}]}
    assert value_at(values, ("limits", "0", "per_s")) == 5
    assert value_at(values, ("limits", "nat-pool", "per_s")) == 5
    assert value_at(values, ("limits", "7", "per_s")) is None
    assert value_at(values, ("limits", "x", "per_s")) is None  # true is no number


@pytest.mark.parametrize("name", NAMED)
def test_every_named_figure_is_one_that_summaries_have(name: str) -> None:
    assert check_figure(parse_figure(name)) is None


def test_a_key_that_no_summary_has_is_told_with_what_there_is() -> None:
    assert "there is planned, started" in (check_figure(parse_figure("sessions.begun")) or "")


def test_an_empty_cell_says_whether_it_was_not_run_not_valid_or_not_measurable(tmp_path: Path) -> None:
    swept = index({"a.x": [1, 2], "a.y": [3, 4]}, missing=1)
    empty = [
        cell.model_copy(
            update={"value": None, "runs": [run.model_copy(update={"verdict": verdict}) for run in cell.runs]}
        )
        for cell, verdict in zip(swept.cells, ("pass", "pass", "invalid", "pass"), strict=True)
    ]
    swept = swept.model_copy(update={"cells": [empty[0], swept.cells[1], empty[2], swept.cells[3]]})
    assert [_why_empty(cell) for cell in swept.cells[:3]] == ["not measured", "not run", "invalid"]
    assert draw_sweep(swept, tmp_path) is not None
