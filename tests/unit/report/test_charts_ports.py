"""The picture of kernel state: a line for each client host, however many there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ftpstorm.records.reader import Series
from ftpstorm.report.build import summarise
from ftpstorm.report.charts_ports import pool_title, ports
from ftpstorm.report.evidence import Evidence
from ftpstorm.vocabulary import Metric, PoolState
from support.results_folder import Story


def test_each_of_several_client_hosts_has_a_line(evidence: Callable[[Story], Evidence]) -> None:
    told = evidence(Story(duration_s=3, expect=None))
    samples = told.run.samples
    renamed = {  # other series of one client stand for those of a second one
        Series("client", Metric.EPHEMERAL_PORTS, "*"): Series("client-0", Metric.EPHEMERAL_PORTS, "*"),
        Series("client", Metric.TCP_STATE, "established"): Series("client-1", Metric.EPHEMERAL_PORTS, "*"),
        Series("client", Metric.TCP_STATE, "time-wait"): Series("client-1", Metric.TCP_STATE, "time-wait"),
    }
    assert renamed.keys() <= set(samples.series)
    series = tuple(renamed.get(each, each) for each in samples.series)
    run = dataclasses.replace(told.run, samples=dataclasses.replace(samples, series=series))
    drawing = ports(Evidence(run), summarise(told))
    assert drawing is not None
    upper, lower = drawing.figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in upper.lines}
    assert set(lines["client-0"]) == {3.0}
    assert set(lines["client-1"]) == {2.0}
    assert upper.get_legend() is not None
    assert "on the client-1's ports (most: 0)" in [line.get_label() for line in lower.lines]


def test_one_client_needs_no_legend(evidence: Callable[[Story], Evidence]) -> None:
    told = evidence(Story(duration_s=3, expect=None))
    drawing = ports(told, summarise(told))
    assert drawing is not None
    upper, _ = drawing.figure.axes
    assert [list(line.get_ydata()) for line in upper.lines if line.get_label() == "client"]
    assert upper.get_legend() is None


def test_ports_used_between_two_samples_count_as_taken(evidence: Callable[[Story], Evidence]) -> None:
    """Half a millisecond each without a hold: no sample meets one of them, and yet each transfer had a port."""
    told = evidence(Story(hold_s=0.0, rate=7, duration_s=3, lateness_ns=lambda k: 3_000_000, expect=None))
    free = told.pool_series(PoolState.FREE)
    assert free is not None
    assert free.value.min() == 20  # as sampled
    assert told.pool_peak == 1
    assert pool_title(told, free, 20) == "The pool never ran out: at most 1 of 20 ports were taken"
    assert "at most 1 of 20 passive ports were taken" in summarise(told).headline
