"""Deadlines on a grid: no drift, no piling up, a budget for what is dear."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.sampler.pace import COST_SHARE, Pace

MS = 1_000_000


def test_the_first_deadline_is_the_next_point_of_the_grid_also_before_the_origin() -> None:
    assert Pace(1000, 100, 0).due_ns == 100
    assert Pace(1000, 100, 650).due_ns == 700
    assert Pace(1000, 100, 1000).due_ns == 1100
    assert Pace(1030, 100, 650).due_ns == 730


@given(st.lists(st.integers(0, 99), min_size=1, max_size=50))
def test_lateness_below_an_interval_never_moves_the_grid(lateness: list[int]) -> None:
    pace = Pace(0, 100, 0)
    for number, late in enumerate(lateness, start=1):
        assert pace.due_ns == 100 * number
        assert pace.take(pace.due_ns + late) == late
    assert pace.skipped == 0


def test_deadlines_that_were_missed_are_passed_over_and_counted() -> None:
    pace = Pace(0, 100, 0)
    assert pace.take(450) == 350
    assert pace.due_ns == 500
    assert pace.skipped == 3
    assert pace.taken == 1


@given(
    st.integers(1, 10**9), st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**10)), min_size=1, max_size=30)
)
def test_the_next_deadline_is_ahead_on_the_grid_and_within_budget(every: int, passes: list[tuple[int, int]]) -> None:
    pace = Pace(0, every, 0)
    for late, cost in passes:
        due = pace.due_ns
        now = due + late
        pace.take(now, cost)
        assert pace.due_ns > now
        assert pace.due_ns % every == 0
        assert pace.due_ns - due >= min(COST_SHARE * cost, pace.longest_ns)
        assert pace.longest_ns >= COST_SHARE * cost


def test_a_dear_pass_comes_less_often_until_it_is_cheap_again() -> None:
    pace = Pace(0, 1000 * MS, 0)
    pace.take(1000 * MS, cost_ns=99 * MS)
    assert pace.due_ns == 2000 * MS
    assert pace.stretched_to_ns is None
    pace.take(2000 * MS, cost_ns=250 * MS)
    assert pace.due_ns == 5000 * MS
    assert pace.stretched_to_ns == 3000 * MS
    pace.take(5000 * MS, cost_ns=1 * MS)
    assert pace.due_ns == 6000 * MS
    assert pace.stretched_to_ns == 3000 * MS
    assert pace.skipped == 0
