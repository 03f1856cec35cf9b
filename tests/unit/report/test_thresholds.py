"""A threshold holds, does not hold, or cannot be measured, and then it does not hold either."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftpstorm.errors import ExitCode
from ftpstorm.report.summary import Check, Summary, exit_code
from ftpstorm.vocabulary import Verdict
from support.results_folder import Story

Judge = Callable[[Story], Summary]


def check(judge: Judge, metric: str, condition: str) -> Check:
    (found,) = judge(Story(duration_s=2, expect=None, thresholds={metric: condition})).thresholds
    return found


@pytest.mark.parametrize(
    ("metric", "condition", "measured", "unit", "ok"),
    [
        ("data_connect", "p(99)<50ms", 0.06, "ms", True),
        ("data_connect{load:steady}", "max<50us", 0.06, "ms", False),
        ("login", "avg<=400us", 0.4, "ms", True),
        ("sessions", "count==194", 194, "", True),
        ("sessions{outcome:failed}", "share<0.5", 174 / 194, "", False),
        ("transfers", "count==20", 20, "", True),
        ("transfers", "rate>=10/s", 10, "/s", True),
        ("transfers", "rate>=10.5/s", 10, "/s", False),
        ("failures", "share<0.01", 174 / 194, "", False),
        ("failures{class:passive-exhausted}", "count>0", 174, "", True),
        ("failures{class:auth-failed}", "count==0", 0, "", True),
        ("dropped", "count==0", 0, "", True),
        ("transfers{class:passive-exhausted}", "count==0", 174, "", False),
        ("lateness", "p(50)<1ms", 0.11, "ms", True),
    ],
)
def test_a_metric_is_measured(judge: Judge, metric: str, condition: str, measured: float, unit: str, ok: bool) -> None:
    found = check(judge, metric, condition)
    assert found.measured == pytest.approx(measured)
    assert (found.unit, found.ok, found.reason) == (unit, ok, None)


@pytest.mark.parametrize(
    ("metric", "condition", "reason"),
    [
        ("tls", "p(99)<50ms", "nothing completed"),
        ("sessions", "p(99)<50ms", "needs a duration"),
        ("sessions{load:nosuch}", "count>0", "no load is named 'nosuch'"),
        ("failures{class:nosuch}", "count>0", "no such class"),
        ("data_connect", "value<5", "compare this with a duration"),
    ],
)
def test_what_cannot_be_measured_does_not_hold_and_says_why(
    judge: Judge, metric: str, condition: str, reason: str
) -> None:
    found = check(judge, metric, condition)
    assert (found.ok, found.measured) == (False, None)
    assert reason in (found.reason or "")


def test_a_threshold_that_does_not_hold_fails_the_run_with_99(judge: Judge) -> None:
    summary = judge(Story(duration_s=2, thresholds={"login": "max<1us"}))
    assert summary.verdict is Verdict.FAIL
    assert exit_code(summary) is ExitCode.EXPECTATION_FAILED


def test_expectations_on_cause_and_failures(judge: Judge) -> None:
    good = judge(Story(duration_s=2))
    assert [item.ok for item in good.expectations] == [True, True, True]
    bad = judge(Story(duration_s=2, expect={"cause": "none", "failures": {"any": "count==0"}}))
    assert [(item.name, item.measured, item.ok) for item in bad.expectations] == [
        ("cause", "server-passive-pool", False),
        ("failures: any", 174, False),
    ]


def test_any_other_leaves_out_what_is_named(judge: Judge) -> None:
    expect = {"failures": {"auth-failed": "count==0", "any-other": "count==0"}}
    assert [item.ok for item in judge(Story(duration_s=2, expect=expect)).expectations] == [True, False]
