"""The generator invalidates a run by medians and shares of many sessions, never by a few late ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftpstorm.report.summary import Summary
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import FailureClass, Phase, Verdict
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]
NO_PORT = Fault(FailureClass.LOCAL_PORTS_EXHAUSTED, Phase.CONTROL_CONNECT, errno=99)


def test_a_late_median_invalidates(judge: Judge) -> None:
    summary = judge(Story(duration_s=2, lateness_ns=lambda k: 120 * NS_PER_MS))
    assert summary.verdict is Verdict.INVALID
    assert summary.diagnosis.cause == "generator"
    assert "late" in summary.generator.invalid[0]
    assert "nothing can be said of the server" in summary.headline


@pytest.mark.parametrize(("late_each", "invalid"), [(10, True), (40, False)])
def test_a_share_of_late_arrivals_above_five_per_cent_invalidates(judge: Judge, late_each: int, invalid: bool) -> None:
    story = Story(duration_s=3, ports=2000, expect=None, lateness_ns=lambda k: 0 if k % late_each else 300 * NS_PER_MS)
    assert bool(judge(story).generator.invalid) is invalid


def test_one_very_late_session_is_no_reason(judge: Judge) -> None:
    summary = judge(Story(duration_s=2, lateness_ns=lambda k: 5 * NS_PER_S if k == 7 else 0))
    assert summary.generator.invalid == []
    assert summary.generator.lateness_ms.max == pytest.approx(5000)


def test_running_out_of_its_own_ports_invalidates_unless_expected(judge: Judge) -> None:
    def ran_out(k: int, at_s: float) -> Fault | None:
        return NO_PORT if at_s > 1 else None

    unexpected = judge(Story(duration_s=2, ports=500, fault=ran_out, expect=None))
    by_cause = judge(Story(duration_s=2, ports=500, fault=ran_out, expect={"cause": "client-ephemeral-ports"}))
    by_class = judge(
        Story(duration_s=2, ports=500, fault=ran_out, expect={"failures": {"local-ports-exhausted": "count>0"}})
    )
    assert unexpected.verdict is Verdict.INVALID
    assert by_cause.verdict is Verdict.PASS
    assert by_class.verdict is Verdict.PASS
    assert unexpected.diagnosis.cause == "client-ephemeral-ports"


def test_cpu_and_headroom_come_from_counts_and_samples(judge: Judge) -> None:
    health = judge(Story(duration_s=4)).generator
    assert health.cpu_s == pytest.approx(3.2)
    assert health.headroom == pytest.approx(1 - 1.2 / 4, abs=0.01)
    assert health.saturated is False
    assert health.loop_stall_ms == 3
