"""A rate is over the window of the load that it is of, and over that of all loads together where it is of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftpstorm.report.build import build_summary
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.settled import settled_checks
from ftpstorm.units import NS_PER_S

Simulated = Callable[..., Evidence]


def steady(rate: int, duration: str, start_time: str = "0s", flow: str = "download") -> dict[str, Any]:
    rates = {"executor": "constant-arrival-rate", "rate": f"{rate}/s", "duration": duration}
    return {**rates, "start_time": start_time, "flow": flow}


def measured(evidence: Evidence) -> dict[str, float]:
    return {check.name: check.measured for check in build_summary(evidence.run).thresholds}  # type: ignore[misc]


@pytest.mark.parametrize("metric", ["transfers", "sessions"])
def test_a_load_s_rate_is_over_its_own_window(simulated: Simulated, metric: str) -> None:
    loads = {"warm": steady(5, "4s"), "main": steady(20, "4s", "4s"), "tail": steady(2, "2s", "8s")}
    limits = {f"{metric}{{load:main}}": "rate>=19/s", f"{metric}{{load:tail}}": "rate>=2/s", metric: "rate>=10/s"}
    found = measured(simulated(load=loads, thresholds=limits))
    assert found == {f"{metric}{{load:main}}": 20, f"{metric}{{load:tail}}": 2, metric: 10.4}


def test_one_load_that_begins_late_has_its_whole_rate_in_report_and_prediction(simulated: Simulated) -> None:
    evidence = simulated(load={"main": steady(20, "2s", "500ms")}, thresholds={"transfers": "rate>=19/s"})
    assert measured(evidence) == {"transfers": 20}
    assert evidence.prediction is not None
    assert (evidence.offered_per_s, evidence.prediction.offered_per_s) == (20, 20)


def test_report_and_prediction_agree_on_the_rate_of_several_loads(simulated: Simulated) -> None:
    evidence = simulated(load={"one": steady(20, "2s", "1s"), "other": steady(10, "3s", "2s")})
    assert evidence.prediction is not None
    assert (evidence.offered_per_s, evidence.prediction.offered_per_s) == (17.5, 17.5)
    foretold = evidence.prediction.expected.sustained
    assert foretold is not None
    assert foretold.rate_per_s == pytest.approx(evidence.sustained.rate_per_s)


def test_a_load_at_one_instant_lasts_until_its_last_session_is_through(simulated: Simulated) -> None:
    crowd = {"executor": "burst", "sessions": 10, "start_time": "1s", "flow": "download"}
    loads = {"crowd": crowd, "main": steady(1, "10s")}
    evidence = simulated(load=loads, thresholds={"sessions{load:crowd}": "rate>=100/s"})
    rows = evidence.started[evidence.started["load"] == 0]
    through_s = (int(rows["end_ns"].max()) - NS_PER_S) / NS_PER_S
    assert measured(evidence) == {"sessions{load:crowd}": pytest.approx(10 / through_s)}


def test_a_load_that_ended_early_has_its_window_end_then(simulated: Simulated) -> None:
    few = {"executor": "shared-iterations", "sessions": 1, "iterations": 5, "flow": "download"}
    evidence = simulated(load={"few": few, "main": steady(1, "10s")})
    start_ns = int(evidence.started[evidence.started["load"] == 0]["start_ns"].max())
    assert evidence.window("few") == (0, start_ns)
    assert evidence.window("main") == (0, 10 * NS_PER_S)
    assert (evidence.load_start_ns, evidence.load_end_ns) == (0, 10 * NS_PER_S)


def test_the_settled_rate_of_a_load_is_over_the_rest_of_its_own_window(simulated: Simulated) -> None:
    evidence = simulated(load={"warm": steady(5, "10s"), "main": steady(20, "4s", "4s")})
    accept = {"sessions{load:main}": ["rate>=19/s"], "sessions{load:warm}": ["rate>=4/s"]}
    assert [check.measured for check in settled_checks(evidence, accept, 2 * NS_PER_S)] == [20, 5]
    assert [check.measured for check in settled_checks(evidence, accept, 6 * NS_PER_S)] == [20, 5]
