"""A rate is over the window of the load that it is of, and over that of all loads together where it is of all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.records.reader import open_run
from ftpstorm.report.build import build_summary
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.settled import settled_checks
from ftpstorm.report.thresholds import thresholds
from ftpstorm.units import NS_PER_S
from support.results_folder import Story

Simulated = Callable[..., Evidence]
Folder = Callable[[Story], Path]


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


@pytest.mark.parametrize(
    ("status", "until_s"), [("interrupted", 4.0), ("stopped-early", 4.0), ("cut-short", 6.0)], ids=str
)
def test_what_a_stopped_run_s_sessions_took_to_end_dilutes_no_rate(folder: Folder, status: str, until_s: float) -> None:
    """The sessions under way at the stop took two seconds: nothing was offered in these. After a kill nobody knows."""
    path = folder(Story(duration_s=10, status=status, until_s=4, ports=2000))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"ended_ns": 6 * NS_PER_S}))
    evidence = Evidence(open_run(path))
    assert evidence.due == 388
    assert evidence.load_end_ns == pytest.approx(until_s * NS_PER_S, abs=NS_PER_S / 97)
    assert evidence.offered_per_s == pytest.approx(388 / until_s, rel=0.01)


def test_a_run_that_was_stopped_before_a_load_began_has_no_rate_of_it(folder: Folder) -> None:
    path = folder(
        Story(duration_s=10, status="interrupted", until_s=2, thresholds={"sessions{load:late}": "rate>=5/s"})
    )
    plan = json.loads((path / "plan.json").read_text())
    loads = plan["scenario"]["load"]
    loads["late"] = {**loads["steady"], "start_time": "5s"}
    (path / "plan.json").write_text(json.dumps(plan))
    (check,) = thresholds(Evidence(open_run(path)))
    assert (check.ok, check.measured, check.reason) == (False, None, "the load had not begun: it has no rate")


def test_a_run_that_was_stopped_before_any_load_began_says_so(folder: Folder) -> None:
    path = folder(Story(duration_s=10, status="interrupted", until_s=0))
    plan = json.loads((path / "plan.json").read_text())
    plan["scenario"]["load"]["steady"]["start_time"] = "5s"
    (path / "plan.json").write_text(json.dumps(plan))
    transfers = build_summary(open_run(path)).transfers
    assert (transfers.due, transfers.offered_per_s) == (0, None)
    assert transfers.sustained.reason == "no load had begun when the run ended"
