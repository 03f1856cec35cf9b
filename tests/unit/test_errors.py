"""Errors say where, what was seen and what to do; exit codes are a promise to scripts."""

from __future__ import annotations

import pytest

from ftpstorm.errors import (
    EnvironmentUnavailableError,
    ExitCode,
    FtpstormError,
    Problem,
    RecordsError,
    ScenarioError,
    TargetRefusedError,
    UsageError,
)


def test_exit_codes_are_the_published_ones() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "PASS": 0,
        "INTERNAL_ERROR": 1,
        "USAGE": 2,
        "EXPECTATION_FAILED": 99,
        "BAD_SCENARIO": 104,
        "INTERRUPTED": 105,
        "ENVIRONMENT": 120,
        "INVALID_RUN": 121,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FtpstormError("x"), 1),
        (UsageError("x"), 2),
        (TargetRefusedError("x"), 2),
        (RecordsError("x"), 2),
        (EnvironmentUnavailableError("x"), 120),
        (ScenarioError("f", [Problem("x")]), 104),
    ],
)
def test_each_error_knows_its_exit_code(error: FtpstormError, code: int) -> None:
    assert error.exit_code == code


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem("broken"), "f.yaml: broken"),
        (Problem("broken", line=3, column=7), "f.yaml:3:7: broken"),
        (
            Problem("not a rate", "load.steady.rate", 3, 7, value="97", hint="write 97/s"),
            "f.yaml:3:7: load.steady.rate: not a rate (saw 97); write 97/s",
        ),
        (Problem("broken", "a.b", 3, 7, origin="--set a.b=c"), "--set a.b=c: a.b: broken"),
        (Problem("broken", value=""), "f.yaml: broken (saw )"),
    ],
)
def test_a_problem_renders_place_path_value_and_remedy(problem: Problem, expected: str) -> None:
    assert problem.render("f.yaml") == expected


def test_a_scenario_error_lists_every_problem_on_a_line_of_its_own() -> None:
    error = ScenarioError("f.yaml", [Problem("one", line=1, column=1), Problem("two", line=2, column=5)])
    assert str(error) == "f.yaml:1:1: one\nf.yaml:2:5: two"
    assert [problem.message for problem in error.problems] == ["one", "two"]
