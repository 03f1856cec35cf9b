"""What rates are over, where a load is over when its work is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftpstorm.plan.plan import Plan
from ftpstorm.report.spans import Spans
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import Outcome, Status

ROWS = [("load", "u1"), ("session", "u4"), ("outcome", "u1"), ("start_ns", "i8"), ("end_ns", "i8")]


def spans(load: dict[str, Any], rows: list[tuple[int, int]]) -> Spans:
    scenario = Scenario.model_validate(
        {
            "version": 1, "name": "x", "target": {"emulator": {}}, "files": {"a": "1KiB"},
            "flows": {"f": {"steps": ["login", {"retr": "a"}, "quit"]}}, "load": {"only": {"flow": "f", **load}},
        }
    )  # fmt: skip
    done = [(0, k, Outcome.SUCCEEDED, start, end) for k, (start, end) in enumerate(rows)]
    sessions = np.array(done, dtype=ROWS)
    return Spans(Plan(run_id="r", scenario=scenario), sessions, rows[-1][1] + NS_PER_S, Status.COMPLETED)


@pytest.mark.parametrize("name", [None, "only"])
def test_iterations_that_all_begin_at_once_are_over_when_the_last_of_them_is(name: str | None) -> None:
    load = {"executor": "shared-iterations", "sessions": 10, "iterations": 10}
    begun = [(k * NS_PER_MS // 10, 2 * NS_PER_S + k) for k in range(10)]
    assert spans(load, begun).seconds(name) == pytest.approx(2)


def test_a_probe_of_one_try_lasted_as_long_as_that() -> None:
    load = {"executor": "probe-until-success", "every": "500ms"}
    assert spans(load, [(200_000, 300 * NS_PER_MS)]).seconds() == pytest.approx(0.3)


def test_a_load_of_planned_length_is_over_at_its_planned_end() -> None:
    load = {"executor": "constant-arrival-rate", "rate": "10/s", "duration": "1s"}
    assert spans(load, [(k * NS_PER_S // 10, 3 * NS_PER_S) for k in range(10)]).seconds() == 1
