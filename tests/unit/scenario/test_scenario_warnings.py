"""Remarks on scenarios that are allowed but probably not meant."""

from __future__ import annotations

import pytest

from ftpstorm.scenario.loader import load_text
from ftpstorm.scenario.schema import Expect
from ftpstorm.scenario.warnings import expects_failure

TEXT = """\
version: 1
name: sample
target: {emulator: {passive_ports: 20, hold: {for: 2s}}}
flows:
  download: {steps: [login, list, quit]}
load:
  steady: {executor: constant-arrival-rate, rate: 97/s, duration: 20s, flow: download}
expect: {cause: server-passive-pool, failures: {passive-exhausted: "count>0"}}
"""


def remarks(text: str, *overrides: str) -> list[str]:
    return [problem.render("f.yaml") for problem in load_text(text, "f.yaml", overrides=overrides).warnings]


def test_a_load_of_less_than_three_hold_periods_cannot_measure_a_rate() -> None:
    assert remarks(TEXT.replace("duration: 20s", "duration: 6s")) == []
    assert remarks(TEXT.replace("duration: 20s", "duration: 5999ms")) == [
        "f.yaml:7:67: load.steady.duration: too short to measure a sustained rate: less than 3 hold periods of 2s "
        "(saw 5999ms); make it at least 6s"
    ]


def test_a_setting_that_makes_a_load_too_short_is_named_as_the_place() -> None:
    assert remarks(TEXT, "load.steady.duration=5s")[0].startswith("--set load.steady.duration=5s: load.steady.duration")


@pytest.mark.parametrize("hold", ["{for: 0s}", "{for: 30s, after: none}"])
def test_without_a_hold_down_no_load_is_too_short(hold: str) -> None:
    assert remarks(TEXT.replace("{for: 2s}", hold).replace("20s", "1s")) == []


@pytest.mark.parametrize("setting", ["target.emulator.passive_ports=1000", "target.emulator={passive_ports: 1000}"])
def test_an_expected_failure_no_longer_fits_a_server_that_was_changed(setting: str) -> None:
    found = remarks(TEXT, setting)
    assert len(found) == 1
    assert found[0].startswith("f.yaml:8:1: expect: expects a failure of the server as the file describes it")
    assert "--no-expect" in found[0]


@pytest.mark.parametrize(
    "settings",
    [
        ("load.steady.rate=90/s",),
        ("target.emulator.passive_ports=1000", "expect=null"),
        ("target.emulator.passive_ports=1000", "expect.cause=none"),
    ],
)
def test_other_settings_and_a_restated_expectation_bring_no_remark(settings: tuple[str, ...]) -> None:
    assert remarks(TEXT, *settings) == []


def test_an_expectation_without_failures_fits_any_server() -> None:
    text = TEXT.replace('{cause: server-passive-pool, failures: {passive-exhausted: "count>0"}}', "{cause: none}")
    assert remarks(text, "target.emulator.passive_ports=1000") == []


def test_a_flow_that_no_load_uses_is_pointed_out() -> None:
    found = remarks(TEXT.replace("load:\n", "  spare: {steps: [login, quit]}\nload:\n"))
    assert found == ["f.yaml:6:3: flows.spare: no load uses this flow"]


@pytest.mark.parametrize(
    ("expect", "needs"),
    [
        ({"cause": "none"}, False),
        ({"cause": "server-passive-pool"}, True),
        ({"failures": {"any": "count==0"}}, False),
        ({"failures": {"any": "count<5"}}, False),
        ({"failures": {"passive-exhausted": "count>=1"}}, True),
        ({"failures": {"passive-exhausted": "count!=0"}}, True),
        ({}, False),
    ],
)
def test_an_expectation_needs_failures_if_none_would_break_it(expect: dict[str, object], needs: bool) -> None:
    assert expects_failure(Expect.model_validate(expect)) is needs
