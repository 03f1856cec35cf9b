"""Prediction and measurement meet with tolerances that were named before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.records.manifest import PLAN, write_json_atomically
from ftpstorm.records.prediction_file import write_prediction
from ftpstorm.records.reader import group_samples, open_run
from ftpstorm.report.agreement import Tolerance, agreement
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Agreement, Summary
from ftpstorm.simulate.predict import NotPredicted, predict
from support.results_folder import Story, write_results

Judge = Callable[[Story], Summary]


def rows(summary: Summary) -> dict[str, Agreement]:
    return {row.quantity: row for row in summary.agreement}


def test_the_demo_agrees_with_ceiling_and_expected_rate(judge: Judge) -> None:
    found = rows(judge(Story()))
    for quantity in ("ceiling of the passive pool, N/(H + C)", "sustained transfer rate", "first failure"):
        assert found[quantity].verdict == "agrees", found[quantity]
    assert found["sustained transfer rate"].ratio == pytest.approx(1, abs=0.02)
    assert found["failures: passive-exhausted"].verdict == "agrees"


def test_a_pool_of_another_size_than_predicted_disagrees(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(ports=10))
    write_prediction(folder, predict(Story(ports=20).plan()))
    found = {row.quantity: row for row in agreement(Evidence(open_run(folder)))}
    assert found["sustained transfer rate"].verdict == "disagrees"
    assert found["sustained transfer rate"].ratio == pytest.approx(0.5, abs=0.03)
    assert found["passive ports taken, peak"].verdict == "agrees", "10 and 20 ports lie within 10 ports"


@pytest.mark.parametrize(("measured", "holds"), [(105, True), (95, True), (106, False), (94, False)])
def test_a_tolerance_ends_where_it_says(measured: float, holds: bool) -> None:
    assert Tolerance(0.05, 5).holds(100, measured) is holds


def test_a_tolerance_of_a_share_alone_admits_nothing_beside_nothing() -> None:
    assert not Tolerance(0.05).holds(0, 1)
    assert Tolerance(0.05, 5).holds(0, 5)


def test_totals_of_a_part_of_the_plan_are_not_compared(judge: Judge) -> None:
    found = rows(judge(Story(duration_s=20, until_s=12.0, status="interrupted")))
    assert found["sessions failed"].verdict == "not-measurable"
    assert "a part of the plan" in (found["sessions failed"].why or "")
    assert found["sustained transfer rate"].verdict == "agrees", "a rate can be measured on a part"


def test_the_ceiling_of_a_pool_that_never_ran_out_is_not_measurable(judge: Judge) -> None:
    found = rows(judge(Story(duration_s=3, ports=1000, expect=None)))
    assert found["ceiling of the passive pool, N/(H + C)"].verdict == "not-measurable"


def test_without_a_prediction_there_are_no_rows(tmp_path: Path) -> None:
    assert agreement(Evidence(open_run(write_results(tmp_path / "run", Story(duration_s=1))))) == []


def test_occupancy_and_recovery_have_their_rows(judge: Judge) -> None:
    found = rows(judge(Story()))
    for quantity in ("sessions in flight, peak", "ephemeral ports of the client in use, peak", "recovery"):
        assert found[quantity].verdict == "agrees", found[quantity]
        assert found[quantity].measured is not None
    assert found["recovery"].measured == pytest.approx(0.3, abs=0.1)


def test_a_recovery_that_sampling_did_not_wait_for_is_not_measurable(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(ports=20))
    write_prediction(folder, predict(Story(ports=20).plan()))
    run = open_run(folder)
    load_end_ns = Evidence(run).load_end_ns
    data = run.samples.data
    cut = run.samples.data[data["t_ns"] < load_end_ns]
    samples = group_samples(cut, run.samples.series)
    found = {row.quantity: row for row in agreement(Evidence(replace(run, samples=samples)))}
    assert found["recovery"].verdict == "not-measurable"
    assert "cool_down" in (found["recovery"].why or "")


def test_what_was_left_open_says_why(tmp_path: Path) -> None:
    story = Story()
    prediction = predict(story.plan())
    opened = prediction.expected.model_copy(update={"failures": None, "recovery_s": None})
    why = (
        NotPredicted(quantity="expected.failures", why="a race"),
        NotPredicted(quantity="expected.recovery_s", why="x"),
    )
    folder = write_results(tmp_path / "run", story)
    write_prediction(folder, prediction.model_copy(update={"expected": opened, "not_predicted": why}))
    found = {row.quantity: row for row in agreement(Evidence(open_run(folder)))}
    assert (found["failures: passive-exhausted"].verdict, found["failures: passive-exhausted"].why) == (
        "not-measurable",
        "a race",
    )
    assert found["recovery"].why == "x"


def test_a_simulated_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(status="simulated"))
    write_prediction(folder, predict(Story().plan()))
    assert agreement(Evidence(open_run(folder))) == []


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (None, "this is shard 0 of 2, and the prediction is of all together at one server"),
        ({"host": "ftp.example.org:21", "passive_ports": "10000-10019"}, "`ftpstorm report` with all their folders"),
    ],
    ids=["emulator", "host"],
)
def test_a_shard_by_itself_is_not_compared_with_the_whole_plans_prediction(
    tmp_path: Path, target: dict[str, Any] | None, why: str
) -> None:
    story = Story(target=target)
    folder = write_results(tmp_path / "run", story)
    plan = story.plan().model_copy(update={"shard": (0, 2)})
    write_json_atomically(folder / PLAN, plan.to_json())
    write_prediction(folder, predict(plan))
    found = agreement(Evidence(open_run(folder)))
    assert len(found) > 5
    assert {row.verdict for row in found} == {"not-measurable"}
    assert all(why in (row.why or "") for row in found if row.predicted is not None)
