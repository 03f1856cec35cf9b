"""A scenario at another scale: loads grow, all else stays."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from ftpstorm.simulate.scaling import scale
from support.plans import demo_plan, make_plan


def scaled(load: dict[str, Any], factor: Fraction | int) -> dict[str, Any]:
    made = scale(make_plan(load=load).scenario, Fraction(factor))
    found: dict[str, Any] = made.load["only"].model_dump(mode="json")
    return found


def test_rates_and_sessions_grow_and_durations_stay() -> None:
    plan = demo_plan()
    found = scale(plan.scenario, Fraction(10)).load["only"].model_dump(mode="json")
    assert (found["rate"], found["max_sessions"], found["duration"]) == ("970/s", 4000, "20s")
    assert scale(plan.scenario, Fraction(10)).target == plan.scenario.target


def test_stages_grow_too() -> None:
    stages = [{"duration": "1s", "target": "10/s"}]
    assert scaled({"executor": "ramping-arrival-rate", "stages": stages}, 3)["stages"][0]["target"] == "30/s"
    stages = [{"duration": "1s", "target": 10}]
    assert scaled({"executor": "ramping-sessions", "stages": stages}, 3)["stages"][0]["target"] == 30


def test_a_part_of_a_session_is_one() -> None:
    assert scaled({"executor": "burst", "sessions": 3}, Fraction(1, 100))["sessions"] == 1


@pytest.mark.parametrize("factor", [0, -1])
def test_a_scale_is_above_nothing(factor: int) -> None:
    with pytest.raises(ValueError, match="above 0"):
        scaled({"executor": "burst", "sessions": 3}, factor)


def test_a_trace_has_no_scale() -> None:
    with pytest.raises(ValueError, match="replays a trace"):
        scaled({"executor": "replay", "trace": "0\n1\n"}, 2)
