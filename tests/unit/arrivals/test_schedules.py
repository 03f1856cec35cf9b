"""A schedule is a pure function of its index: monotone, exact, and as many arrivals as it says."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.arrivals.schedules import BurstSchedule, EvenSchedule, schedule_of
from ftpstorm.scenario.load import Burst, ConstantArrivalRate, ConstantSessions, SharedIterations
from ftpstorm.units import NS_PER_S, Rate, parse_rate

RATES = st.builds(Rate, st.fractions(min_value=Fraction(1, 3600), max_value=20_000, max_denominator=3_600))
DURATIONS = st.integers(1, 3_600 * NS_PER_S)


def test_97_a_second_for_20_s_is_1940_arrivals_the_last_at_1939_97ths() -> None:
    schedule = EvenSchedule(parse_rate("97/s"), 20 * NS_PER_S)
    assert schedule.count == 1_940
    assert schedule.instant_ns(0) == 0
    assert schedule.instant_ns(1_939) == 19_989_690_721


@given(rate=RATES, duration=DURATIONS)
def test_even_arrivals_are_exactly_those_before_the_end(rate: Rate, duration: int) -> None:
    schedule = EvenSchedule(rate, duration)
    assert schedule.count >= 1
    assert schedule.instant_ns(schedule.count - 1) < duration
    assert schedule.instant_ns(schedule.count) >= duration - 1  # the instant itself is rounded down to a whole ns


@given(rate=RATES, k=st.integers(0, 10**7))
def test_even_arrivals_never_drift(rate: Rate, k: int) -> None:
    exact = k * NS_PER_S / rate.per_s
    assert 0 <= exact - EvenSchedule(rate, NS_PER_S).instant_ns(k) < 1


@given(rate=RATES, k=st.integers(0, 10**6))
def test_even_arrivals_are_in_order(rate: Rate, k: int) -> None:
    schedule = EvenSchedule(rate, NS_PER_S)
    assert schedule.instant_ns(k) <= schedule.instant_ns(k + 1)


@given(
    sessions=st.integers(1, 50),
    over=st.integers(0, 10**9),
    gap=st.integers(0, 10**9),
    times=st.integers(1, 8),
)
def test_bursts_are_in_order_and_each_stays_within_its_own_time(sessions: int, over: int, gap: int, times: int) -> None:
    every = max(1, over + gap)
    schedule = BurstSchedule(sessions, over, every, times)
    instants = [schedule.instant_ns(k) for k in range(schedule.count)]
    assert len(instants) == sessions * times
    assert instants == sorted(instants)
    for burst in range(times):
        own = instants[burst * sessions : (burst + 1) * sessions]
        assert own[0] == burst * every
        assert all(instant - burst * every <= max(0, over - 1) for instant in own)


def test_a_burst_over_nothing_is_all_at_one_instant() -> None:
    schedule = BurstSchedule(5, 0, 0, 1)
    assert {schedule.instant_ns(k) for k in range(5)} == {0}


def test_open_loads_have_a_schedule_and_closed_ones_have_none() -> None:
    open_load = ConstantArrivalRate.model_validate(
        {"executor": "constant-arrival-rate", "flow": "f", "rate": "2/s", "duration": "3s"}
    )
    burst = Burst.model_validate({"executor": "burst", "flow": "f", "sessions": 4, "every": "1s", "times": 2})
    closed = ConstantSessions.model_validate(
        {"executor": "constant-sessions", "flow": "f", "sessions": 2, "duration": "3s"}
    )
    shared = SharedIterations.model_validate(
        {"executor": "shared-iterations", "flow": "f", "sessions": 2, "iterations": 5}
    )
    even = schedule_of(open_load)
    bursts = schedule_of(burst)
    assert even is not None
    assert bursts is not None
    assert (even.count, bursts.count) == (6, 8)
    assert bursts.instant_ns(4) == NS_PER_S
    assert schedule_of(closed) is None
    assert schedule_of(shared) is None


@pytest.mark.parametrize("rate", ["1/h", "0.5/s", "97/s", "20000/s"])
def test_one_arrival_at_least(rate: str) -> None:
    assert EvenSchedule(parse_rate(rate), 1).count == 1
