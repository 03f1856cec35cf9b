"""The generator invalidates a run by medians and shares of many sessions, never by a few late ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from ftpstorm.records.calibration import Calibration
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.generator import generator_health
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


def test_only_the_expectation_of_what_ran_out_excuses_it(judge: Judge) -> None:
    def no_file(k: int, at_s: float) -> Fault | None:
        return Fault(FailureClass.LOCAL_FILES_EXHAUSTED, Phase.CONTROL_CONNECT, errno=24) if at_s > 1 else None

    def verdict(cause: str) -> Verdict:
        return judge(Story(duration_s=2, ports=500, fault=no_file, expect={"cause": cause})).verdict

    assert verdict("client-files") is Verdict.PASS
    assert verdict("client-ephemeral-ports") is Verdict.INVALID


@pytest.mark.parametrize(
    ("stall_ms", "duration_s", "invalid"), [(900, 4, False), (1100, 4, True), (1100, 30, False), (5100, 200, True)]
)
def test_a_worker_may_stand_still_for_five_per_cent_of_the_time_but_no_longer_than_a_timeout(
    evidence: Callable[[Story], Evidence], stall_ms: int, duration_s: int, invalid: bool
) -> None:
    """A second is allowed in any case; the shortest timeout is 5 s."""
    reasons = generator_health(evidence(Story(duration_s=duration_s, rate=5, stall_ms=stall_ms))).invalid
    assert [f"stood still for {stall_ms:,} ms" in reason for reason in reasons] == [True] * invalid


def test_a_worker_that_stood_still_is_the_diagnosis(judge: Judge) -> None:
    summary = judge(Story(duration_s=1, expect=None, stall_ms=1100))
    assert summary.verdict is Verdict.INVALID
    assert summary.diagnosis.cause == "generator"
    assert "a worker stood still for 1,100 ms" in summary.headline


def test_a_scenario_may_want_its_generator_to_be_the_bottleneck(judge: Judge) -> None:
    summary = judge(Story(duration_s=2, lateness_ns=lambda k: 120 * NS_PER_MS, expect={"cause": "generator"}))
    assert summary.generator.invalid
    assert summary.verdict is Verdict.PASS


def test_cpu_and_headroom_come_from_counts_and_samples(judge: Judge) -> None:
    health = judge(Story(duration_s=4)).generator
    assert health.cpu_s == pytest.approx(3.2)
    assert health.headroom == pytest.approx(1 - 1.2 / 4, abs=0.01)
    assert health.saturated is False
    assert health.loop_stall_ms == 3


def calibration(cpu_us_session: float, cpu_us_transfer: float) -> Calibration:
    ceiling = {
        "sessions": 16,
        "operations": 1000,
        "seconds": 1.0,
        "per_s": 1000.0,
        "worker_cpu_share": 1.0,
        "sink_cpu_share": 0.2,
        "bound_by": "worker",
    }
    return Calibration.model_validate(
        {
            "hostname_hash": "h",
            "kernel": "k",
            "python": "3.11.7",
            "ftpstorm": "0.1.0",
            "measured_at": "2031-05-01T12:00:00Z",
            "cores": 2,
            "load_average": 0.1,
            "steal_share": 0.0,
            "open_connections": {**ceiling, "cpu_us_each": cpu_us_transfer},
            "whole_sessions": {**ceiling, "cpu_us_each": cpu_us_session},
            "lateness": {"rate_per_s": 1000, "sessions": 2000, "p50_us": 40, "p99_us": 200, "max_us": 900},
        }
    )


def test_headroom_states_its_basis(evidence: Callable[[Story], Evidence]) -> None:
    seen = evidence(Story(duration_s=4))
    assert generator_health(seen).headroom_basis == "CPU of the busiest worker in its busiest second, as sampled"
    seen.manifest = seen.manifest.model_copy(update={"calibration": calibration(300, 100)})
    told = generator_health(seen)
    assert "calibration of 2031-05-01T12:00:00Z (300 us of CPU for a session" in (told.headroom_basis or "")
    assert told.headroom == pytest.approx(1 - 1.2 / 4, abs=0.01), "what was sampled goes before what was calibrated"


def test_where_no_cpu_was_sampled_headroom_comes_from_the_calibration(
    evidence: Callable[[Story], Evidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = evidence(Story(duration_s=4))
    monkeypatch.setattr("ftpstorm.report.generator._worker_cpu", lambda evidence: [])
    assert generator_health(seen).headroom is None
    seen.manifest = seen.manifest.model_copy(update={"calibration": calibration(1000, 1000)})
    busiest = Counter(int(at) // NS_PER_S for at in seen.started["start_ns"])
    each_once = len(seen.transfers) <= len(seen.started)
    assert each_once, "the story has one transfer a session"
    expected = 1 - max(busiest.values()) / 1000 / len(seen.workers)
    assert generator_health(seen).headroom == pytest.approx(expected, abs=0.002)


def test_the_share_of_a_core_by_calibration_counts_sessions_and_their_further_transfers() -> None:
    assert calibration(300, 150).worker_share(1000, 3000) == pytest.approx(0.6)
    assert calibration(300, 150).worker_share(1000, 0) == pytest.approx(0.3)
