"""A threshold is a condition, or a condition with what happens when it does not hold; it is written back as it was."""

from __future__ import annotations

import pytest

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.gallery import find_scenario
from ftpstorm.scenario.loader import dump_scenario, load_text


def test_the_long_form_reads_and_is_written_back() -> None:
    text = '{session: {threshold: "p(99)<1s", abort_on_fail: true, delay_abort_eval: 10s}, login: [max<1s, avg<2s]}'
    scenario = load_text(_with(text), "x.yaml").scenario
    [aborting] = scenario.thresholds["session"]
    assert (aborting.abort_on_fail, aborting.delay_abort_eval) == (True, 10**10)
    assert [item.threshold for item in scenario.thresholds["login"]] == ["max<1s", "avg<2s"]
    written = dump_scenario(scenario)
    assert "    - max<1s\n" in written
    assert load_text(written, "y.yaml").scenario == scenario


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{session: {threshold: "p(199)<1s", abort_on_fail: true}}', "thresholds.session.threshold: p(199)"),
        ('{session: {threshold: "p(99)<1s", abort_on_fial: true}}', "did you mean 'abort_on_fail'?"),
        ('{session: {threshold: "p(99)<1s", delay_abort_eval: 10s}}', "of no use without `abort_on_fail: true`"),
        ('{failures: "rate<0.01"}', "a part of all, from 0 to 1, is a share: share<0.01"),
        ('{"session{outcome:failed}": "p(95)<1s"}', "`session` is how long sessions took that succeeded"),
        ('{"session{class:auth-failed}": "p(95)<1s"}', "how many there are is sessions{class:auth-failed}"),
        ("{session: {abort_on_fail: true}}", "key 'threshold' is required"),
        ("{login: p(99)<50}", "thresholds.login: 'p(99)<50': p(99) is of durations"),
        ("{failures: [count==0, p(95)<50ms]}", "thresholds.failures.1: `failures` are counted and have no percentiles"),
        ('{sessions: {threshold: "max<50ms", abort_on_fail: true}}', "`sessions` are counted and have no max"),
        ('{"sessions{outcome:dropped}": count==0}', "`sessions` takes no tag outcome:dropped"),
        ('{"lateness{outcome:dropped}": max<1s}', "`lateness` takes no tag outcome:dropped"),
        ('{"dropped{class:auth-failed}": count==0}', "`dropped` takes no tag class:auth-failed"),
        ("{lateness: value<5}", "`lateness` is of many durations and has no one value"),
    ],
)
def test_a_wrong_one_is_told_where_and_what(text: str, told: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        load_text(_with(text), "x.yaml")
    assert told in str(raised.value)


def test_the_metrics_of_a_search_are_held_to_the_same() -> None:
    text = _with("{}") + 'search: {range: [10/s, 20/s], accept: {"session{outcome:failed}": "p(95)<1s"}}\n'
    with pytest.raises(ScenarioError) as raised:
        load_text(text, "x.yaml")
    assert "`session` is how long sessions took that succeeded" in str(raised.value)


def test_sessions_that_succeeded_may_be_named_as_such() -> None:
    load_text(_with('{"session{outcome:succeeded,load:steady}": "p(95)<1s"}'), "x.yaml")


def _with(text: str) -> str:
    """Return the demo with these thresholds in place of its own."""
    lines = find_scenario("try-later-425").read_text(encoding="utf-8").splitlines()
    kept, inside = [], False
    for line in lines:
        inside = line.startswith("thresholds:") or (inside and line.startswith((" ", "#")))
        if not inside:
            kept.append(line)
    return "\n".join([*kept, f"thresholds: {text}", ""])
