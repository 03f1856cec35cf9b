"""The picture of rates: the limit's legend names what it assumes, in units that people read."""

from __future__ import annotations

from collections.abc import Callable

from ftpstorm.report.charts_rates import throughput
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Summary
from support.results_folder import Story


def test_the_limit_s_legend_has_its_equation_and_short_times_in_milliseconds(
    evidence: Callable[[Story], Evidence], judge: Callable[[Story], Summary]
) -> None:
    story = Story(duration_s=8)
    drawing = throughput(evidence(story), judge(story))
    assert drawing is not None
    labels = [label for axes in drawing.figure.axes for label in axes.get_legend_handles_labels()[1]]
    (legend,) = (label for label in labels if label.startswith("limit 10/s: R = N/(H + C)"))
    values = legend.partition(")")[2]
    assert ", N = 20 ports, H = 2 s, C = " in values
    assert values.endswith(" ms")
