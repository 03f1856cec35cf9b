"""What each step is to the model: who closes first, and whether the emulator holds its port."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.scenario.target import Target
from ftpstorm.simulate.kernels import on_loopback
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.stages import Stage, stages_of
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import DataMode, Side
from support.plans import make_plan


def stage_of(step: Any, after: str = "any-close", **plan: Any) -> Stage:
    made = make_plan(steps=["login", step], emulator={"hold": {"for": "2s", "after": after}}, **plan)
    return stages_of(made.scenario.flows["flow"], made.scenario, ServiceTimes())[1]


@pytest.mark.parametrize(
    ("step", "keeper"),
    [
        ({"retr": "small.bin"}, Side.SERVER),
        ("list", Side.SERVER),
        ("mlsd", Side.SERVER),
        ({"stor": "1KiB"}, Side.CLIENT),
        ({"retr": {"file": "small.bin", "close": {"first": "client"}}}, Side.CLIENT),
        ({"retr": {"file": "small.bin", "close": {"with": "rst"}}}, None),
        ({"stor": {"size": "1KiB", "close": {"with": "rst"}}}, None),
    ],
)
def test_the_side_that_closes_first_keeps_time_wait(step: Any, keeper: Side | None) -> None:
    assert stage_of(step).keeper is keeper


@pytest.mark.parametrize(("after", "retr_s", "stor_s"), [("any-close", 2, 2), ("server-close", 2, 0), ("none", 0, 0)])
def test_the_hold_rule_looks_at_who_closed_first(after: str, retr_s: int, stor_s: int) -> None:
    assert stage_of({"retr": "small.bin"}, after).hold_ns == retr_s * NS_PER_S
    assert stage_of({"stor": "1KiB"}, after).hold_ns == stor_s * NS_PER_S


def test_sizes_come_from_the_files_and_the_steps() -> None:
    assert stage_of({"retr": "small.bin"}).size_bytes == 1024
    assert stage_of({"stor": "3KiB"}).size_bytes == 3072


def test_auto_asks_for_epsv_and_a_step_overrides_the_client() -> None:
    assert stage_of({"retr": "small.bin"}).mode is DataMode.EPSV
    assert stage_of({"retr": {"file": "small.bin", "mode": "pasv"}}).mode is DataMode.PASV
    assert stage_of({"retr": "small.bin"}, client={"mode": "pasv"}).mode is DataMode.PASV
    assert stage_of("noop").mode is DataMode.NONE


def test_repeated_steps_share_one_stage() -> None:
    made = make_plan(steps=["login", {"repeat": {"times": 1000, "steps": [{"retr": "small.bin"}]}}])
    stages = stages_of(made.scenario.flows["flow"], made.scenario, ServiceTimes())
    assert len(stages) == 1001
    assert len({id(stage) for stage in stages}) == 2


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("ftp.x", False),
    ],
)
def test_loopback_is_known_by_its_address(host: str, expected: bool) -> None:
    assert on_loopback(Target(host=host)) is expected
