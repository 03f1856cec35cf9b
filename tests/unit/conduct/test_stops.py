from __future__ import annotations

import pytest

from ftpstorm.conduct.progress import Totals
from ftpstorm.conduct.stops import StopRequests, StopRules
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S
from support.short_run import scenario_of


def rules(**sections: object) -> StopRules:
    return StopRules(Scenario.model_validate(scenario_of(**sections)))


def test_a_run_goes_on_while_no_rule_is_met() -> None:
    assert rules(stop={"max_duration": "10s"}).check(9 * NS_PER_S, Totals(unreachable_streak=10_000)) is None


def test_max_duration_ends_the_run_at_once() -> None:
    stop = rules(stop={"max_duration": "10s"}).check(10 * NS_PER_S, Totals())
    assert stop is not None
    assert stop.how == "now"
    assert "max_duration of 10s" in stop.reason


def test_a_streak_of_unreachable_sessions_drains() -> None:
    checked = rules(stop={"unreachable_sessions": 5})
    assert checked.check(1, Totals(unreachable_streak=4)) is None
    stop = checked.check(2, Totals(unreachable_streak=5))
    assert stop is not None
    assert stop.how == "drain"


CLOSED = {"steady": {"executor": "constant-sessions", "sessions": 5, "duration": "20s", "flow": "download"}}


def guarded(rate: str = "100/s", **sections: object) -> StopRules:
    return rules(guard={"max_sessions": 10, "max_rate": rate, "stop_after": "30s"}, **sections)


def test_more_sessions_in_flight_than_the_guard_allows_stop_the_run() -> None:
    assert guarded().check(1, Totals(in_flight=10)) is None
    stop = guarded().check(1, Totals(in_flight=11))
    assert stop is not None
    assert "guard.max_sessions" in stop.reason


def test_a_measured_rate_above_the_guard_stops_the_run() -> None:
    checked = guarded(load=CLOSED)
    for quarter in range(9):
        assert checked.check(quarter * NS_PER_S // 4, Totals(started=25 * quarter)) is None
    stop = checked.check(3 * NS_PER_S, Totals(started=200 + 300))
    assert stop is not None
    assert "guard.max_rate" in stop.reason


@pytest.mark.parametrize("stale", [0, 1])
def test_a_rate_that_is_just_the_guard_s_goes_on_however_its_counts_are_read(stale: int) -> None:
    checked = guarded("10/s", load=CLOSED)
    for quarter in range(80):
        # Every other report lacks what its worker has started since its last one.
        known = max(0, quarter - stale * (quarter % 2))
        started = -(-known * 10 // 4)
        assert checked.check(quarter * NS_PER_S // 4, Totals(started=started)) is None, quarter


def test_arrivals_that_the_plan_names_are_no_matter_of_measuring() -> None:
    load = {"steady": {"executor": "constant-arrival-rate", "rate": "10/s", "duration": "20s", "flow": "download"}}
    checked = guarded("10/s", load=load)
    for quarter in range(20):
        assert checked.check(quarter * NS_PER_S // 4, Totals(started=2 * quarter)) is None
    assert checked.check(6 * NS_PER_S, Totals(started=60)) is None, "caught up after a stall"


def test_the_guard_ends_the_run_after_its_time() -> None:
    stop = guarded().check(30 * NS_PER_S, Totals())
    assert stop is not None
    assert "guard.stop_after of 30s" in stop.reason


async def test_the_first_request_drains_and_the_second_stops_at_once() -> None:
    requests = StopRequests()
    assert requests.how is None
    requests.request()
    assert requests.how == "drain"
    assert not requests.insisted.is_set()
    requests.request()
    assert requests.how == "now"
    assert requests.insisted.is_set()


async def test_a_drain_asked_for_later_does_not_weaken_now() -> None:
    requests = StopRequests()
    requests.request("now")
    requests.request("drain")
    assert requests.how == "now"
