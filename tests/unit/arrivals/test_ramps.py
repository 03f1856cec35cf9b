"""Ramps: the integral of the rate decides, exactly, and shards partition what it gives."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.arrivals.ramps import RampSchedule, Span, slot_spans
from ftpstorm.units import NS_PER_S, Rate

RATES = st.fractions(min_value=0, max_value=500, max_denominator=60)
DURATIONS = st.one_of(st.just(0), st.integers(min_value=1, max_value=3 * NS_PER_S))
STAGES = st.lists(st.tuples(DURATIONS, RATES), min_size=1, max_size=5)


def integral(start: Fraction, stages: list[tuple[int, Fraction]], t_ns: int) -> Fraction:
    """R(t), stage by stage, in the plainest way."""
    total, begin, rate = Fraction(0), 0, start
    for duration, target in stages:
        inside = min(max(t_ns - begin, 0), duration)
        if inside:
            at = rate + (target - rate) * Fraction(inside, duration)
            total += (rate + at) / 2 * Fraction(inside, NS_PER_S)
        begin += duration
        rate = target
    return total


@given(RATES, STAGES)
def test_arrivals_are_as_many_as_the_integral_and_each_comes_when_it_is_reached(
    start: Fraction, stages: list[tuple[int, Fraction]]
) -> None:
    schedule = RampSchedule(start, stages)
    whole = integral(start, stages, schedule.end_ns)
    assert schedule.count == -(-whole.numerator // whole.denominator)
    for k in {0, 1, 2, schedule.count // 2, schedule.count - 2, schedule.count - 1} & set(range(schedule.count)):
        instant = schedule.instant_ns(k)
        assert 0 <= instant < schedule.end_ns
        assert integral(start, stages, instant) <= k < integral(start, stages, instant + 1)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_an_instant_is_exact_where_a_nanosecond_holds_many_arrivals(duration: int, first: int, last: int) -> None:
    start, stages = Fraction(first * NS_PER_S), [(duration, Fraction(last * NS_PER_S))]
    schedule = RampSchedule(start, stages)
    for k in range(schedule.count):
        instant = schedule.instant_ns(k)
        assert integral(start, stages, instant) <= k < integral(start, stages, instant + 1)


@given(RATES, STAGES)
def test_arrivals_never_go_back_in_time(start: Fraction, stages: list[tuple[int, Fraction]]) -> None:
    schedule = RampSchedule(start, stages)
    instants = [schedule.instant_ns(k) for k in range(min(schedule.count, 400))]
    assert all(one <= other for one, other in pairwise(instants))


def test_a_ramp_from_nothing_is_a_parabola() -> None:
    schedule = RampSchedule(Fraction(0), [(2 * NS_PER_S, Fraction(10))])
    assert schedule.count == 10
    assert schedule.instant_ns(0) == 0
    assert schedule.instant_ns(9) == 1_897_366_596


@pytest.mark.parametrize("per_s", [Fraction(97), Fraction(1, 7), Fraction(1000, 3)])
def test_a_constant_rate_is_an_even_schedule(per_s: Fraction) -> None:
    rate = Rate(per_s)
    schedule = RampSchedule(per_s, [(NS_PER_S, per_s), (0, per_s), (9 * NS_PER_S, per_s)])
    assert schedule.count == rate.count_before(10 * NS_PER_S)
    assert all(schedule.instant_ns(k) == rate.instant_ns(k) for k in range(schedule.count))


def test_nobody_arrives_while_the_rate_is_zero() -> None:
    pause = [(NS_PER_S, Fraction(0)), (0, Fraction(5)), (NS_PER_S, Fraction(5)), (0, Fraction(0))]
    schedule = RampSchedule(Fraction(0), [*pause, *pause])
    seconds = [schedule.instant_ns(k) / NS_PER_S for k in range(schedule.count)]
    assert seconds == [1.0, 1.2, 1.4, 1.6, 1.8, 3.0, 3.2, 3.4, 3.6, 3.8]


TARGETS = st.integers(min_value=0, max_value=30)


@given(TARGETS, st.lists(st.tuples(DURATIONS, TARGETS), min_size=1, max_size=5), st.data())
def test_as_many_slots_are_in_use_as_the_line_says(
    start: int, stages: list[tuple[int, int]], data: st.DataObject
) -> None:
    end = sum(duration for duration, _ in stages)
    spans = [slot_spans(start, stages, slot) for slot in range(max(start, *(target for _, target in stages)) + 1)]
    for of_slot in spans:
        assert all(0 <= span.from_ns < span.to_ns <= end for span in of_slot)
        assert all(one.to_ns <= other.from_ns for one, other in pairwise(of_slot))
    if not end:
        return
    t_ns = data.draw(st.integers(min_value=0, max_value=end - 1))
    begin, now = 0, start
    for duration, target in stages:
        if begin <= t_ns < begin + duration:
            wanted = now + (target - now) * Fraction(t_ns - begin, duration)
            used = sum(any(span.from_ns <= t_ns < span.to_ns for span in of_slot) for of_slot in spans)
            # a span's ends are whole nanoseconds: within one of them either number is right
            steepness = Fraction(abs(target - now), duration)
            assert wanted - 1 - 2 * steepness <= used <= wanted + 2 * steepness
        begin += duration
        now = target


def test_slots_follow_up_and_down() -> None:
    stages = [(NS_PER_S, 2), (NS_PER_S, 2), (NS_PER_S, 0)]
    assert slot_spans(0, stages, 0) == (Span(NS_PER_S // 2, 2 * NS_PER_S + NS_PER_S // 2 + 1),)
    assert slot_spans(0, stages, 1) == (Span(NS_PER_S, 2 * NS_PER_S + 1),)
    assert slot_spans(0, stages, 2) == ()
    assert slot_spans(1, [(NS_PER_S, 1)], 0) == (Span(0, NS_PER_S),)
