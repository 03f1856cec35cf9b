"""The picture of latency over time: values can be read off its axis, however narrow the range."""

from __future__ import annotations

from collections.abc import Callable

from ftpstorm.report.charts_latency import latency_time
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Summary
from support.results_folder import Story


def test_an_axis_of_less_than_a_power_of_ten_has_more_than_one_number(
    evidence: Callable[[Story], Evidence], judge: Callable[[Story], Summary]
) -> None:
    story = Story(duration_s=2)
    drawing = latency_time(evidence(story), judge(story))
    assert drawing is not None
    axes = drawing.figure.axes[0]
    axes.set_ylim(2, 15)
    labels = [text for text in axes.yaxis.get_major_formatter().format_ticks(axes.yaxis.get_majorticklocs()) if text]
    assert {"2", "5", "10"} <= set(labels)
