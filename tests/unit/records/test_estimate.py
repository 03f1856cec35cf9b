"""The estimator of the sustained rate: its worked numbers, what it refuses, and that phase does not move it."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.records.estimate import PERIODS_MIN, sustained_rate
from ftpstorm.units import NS_PER_S

MS = NS_PER_S // 1000


def pooled(rate: float, pool: int, hold_ns: int, duration_s: float, life_ns: int = MS) -> tuple[list[int], int | None]:
    """Return the success instants of even arrivals at a pool, and when the first arrival found it empty."""
    free = [0] * pool
    successes: list[int] = []
    first: int | None = None
    for k in range(math.ceil(rate * duration_s)):
        now = round(k * NS_PER_S / rate)
        place = min(range(pool), key=free.__getitem__)
        if free[place] <= now:
            free[place] = now + life_ns + hold_ns
            successes.append(now + life_ns)
        elif first is None:
            first = now
    return successes, first


@pytest.mark.parametrize(("rate", "share"), [(97, 0.995), (40, 0.988)])
def test_a_pool_of_20_held_2_s_comes_out_within_a_half_percent_of_what_phase_allows(rate: float, share: float) -> None:
    successes, first = pooled(rate, 20, 2 * NS_PER_S, 20)
    found = sustained_rate(successes, 20 * NS_PER_S, 20, 2 * NS_PER_S, first)
    assert found.rate_per_s is not None
    assert found.rate_per_s / 10 == pytest.approx(share, abs=0.0006)
    assert found.method == "pool rounds"
    assert found.periods == 9
    assert found.reason is None


def test_the_rate_is_n_over_the_mean_round_of_each_place() -> None:
    successes = [0, 1, 5, 6, 10, 12, 15, 17]  # two places, rounds of 5 5 5 6 5 5 s
    found = sustained_rate([s * NS_PER_S for s in successes], 20 * NS_PER_S, 2, None, 2 * NS_PER_S)
    assert found.rate_per_s == pytest.approx(2 / (31 / 6))


def test_lists_and_numpy_arrays_give_the_same() -> None:
    successes, first = pooled(97, 20, 2 * NS_PER_S, 20)
    from_list = sustained_rate(successes, 20 * NS_PER_S, 20, None, first)
    from_array = sustained_rate(np.array(successes, dtype=np.int64), 20 * NS_PER_S, 20, None, first)
    assert from_array == from_list


def test_what_succeeds_after_the_load_ended_does_not_count() -> None:
    successes, first = pooled(97, 20, 2 * NS_PER_S, 20)
    late = [*successes, 30 * NS_PER_S, 90 * NS_PER_S]
    assert sustained_rate(late, 20 * NS_PER_S, 20, None, first) == sustained_rate(
        successes, 20 * NS_PER_S, 20, None, first
    )


def test_a_calm_start_does_not_count_either() -> None:
    """Ten minutes that the pool bears, then overload: rounds begin with the places taken at the exhaustion."""
    successes, first = pooled(97, 20, 2 * NS_PER_S, 20)
    assert first is not None
    calm = [k * NS_PER_S for k in range(600)]
    shift = 600 * NS_PER_S
    both = calm + [instant + shift for instant in successes]
    found = sustained_rate(both, 620 * NS_PER_S, 20, None, first + shift)
    assert found.rate_per_s == pytest.approx(9.949, abs=0.005)


@pytest.mark.parametrize(("duration_s", "periods", "said"), [(2, 0, "not once"), (4, 1, "once"), (6, 2, "twice")])
def test_fewer_than_three_rounds_give_no_rate_but_a_reason(duration_s: float, periods: int, said: str) -> None:
    successes, first = pooled(97, 20, 2 * NS_PER_S, duration_s)
    found = sustained_rate(successes, round(duration_s * NS_PER_S), 20, 2 * NS_PER_S, first)
    assert found.rate_per_s is None
    assert found.periods == periods
    assert found.reason is not None
    assert found.reason == f"the pool of 20 came round {said} before the load ended; a rate needs {PERIODS_MIN} rounds"


def test_without_a_known_pool_whole_hold_periods_after_the_first_exhaustion_count() -> None:
    successes, first = pooled(97, 20, 2 * NS_PER_S, 20)
    assert first is not None
    found = sustained_rate(successes, 20 * NS_PER_S, None, 2 * NS_PER_S, first)
    assert found.method == "whole hold periods"
    assert found.periods == 9
    assert found.window_from_ns == first
    assert found.window_to_ns == first + 9 * 2 * NS_PER_S
    # The last clump slipped past the window's edge by half: what this method can be off by, and the other is not.
    assert found.rate_per_s == pytest.approx(10, rel=1 / found.periods)


def test_without_a_known_pool_three_hold_periods_are_needed() -> None:
    successes, first = pooled(97, 20, 2 * NS_PER_S, 6)
    found = sustained_rate(successes, 6 * NS_PER_S, None, 2 * NS_PER_S, first)
    assert found.rate_per_s is None
    assert found.reason is not None


def test_clumps_of_a_kernel_do_not_mislead_where_a_run_mean_would() -> None:
    """200 ports, 61 s: means of 60, 65 and 125 s would be 3.33, 6.15 and 4.80 a second; the truth is 3.28."""
    clumps = [clump * 61 * NS_PER_S + k * MS for clump in range(6) for k in range(200)]
    found = sustained_rate(clumps, 350 * NS_PER_S, 200, 61 * NS_PER_S, 200 * MS)
    assert found.rate_per_s == pytest.approx(200 / 61, rel=1e-9)
    short = sustained_rate(clumps, 125 * NS_PER_S, 200, 61 * NS_PER_S, 200 * MS)
    assert short.rate_per_s is None


def test_with_neither_pool_nor_hold_nothing_is_claimed() -> None:
    found = sustained_rate([1, 2, 3], 10, None, None, 2)
    assert (found.rate_per_s, found.method) == (None, "none")
    assert found.reason is not None


def test_where_nothing_ran_out_it_is_the_mean_over_the_load() -> None:
    found = sustained_rate([k * NS_PER_S // 10 for k in range(100)], 10 * NS_PER_S, 20, 2 * NS_PER_S, None)
    assert found.rate_per_s == 10
    assert found.method == "achieved, nothing ran out"
    assert found.periods == 0


def test_a_load_that_begins_late_is_measured_from_its_own_start() -> None:
    instants = [5 * NS_PER_S + k * NS_PER_S // 10 for k in range(50)]
    found = sustained_rate(instants, 10 * NS_PER_S, load_start_ns=5 * NS_PER_S)
    assert found.rate_per_s == 10


def test_a_load_of_one_instant_has_no_rate() -> None:
    found = sustained_rate([5, 6], 0)
    assert found.rate_per_s is None
    assert found.reason is not None


def test_a_load_that_was_over_before_its_first_transfer_has_no_rate() -> None:
    found = sustained_rate([3 * NS_PER_S, 4 * NS_PER_S], 2 * NS_PER_S)
    assert found.rate_per_s is None
    assert found.reason is not None
    assert sustained_rate([NS_PER_S, 4 * NS_PER_S], 2 * NS_PER_S).rate_per_s == 0.5


def test_no_success_at_all_gives_no_rate_after_an_exhaustion_and_0_without() -> None:
    assert sustained_rate([], NS_PER_S, 20, NS_PER_S, 5).rate_per_s is None
    assert sustained_rate([], NS_PER_S).rate_per_s == 0


@pytest.mark.parametrize(
    "arguments", [{"pool_size": 0}, {"hold_ns": -1}, {"load_start_ns": 2 * NS_PER_S}], ids=["pool", "hold", "load"]
)
def test_impossible_inputs_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        sustained_rate([], NS_PER_S, **arguments)


@given(
    rate=st.integers(30, 400),
    pool=st.integers(1, 40),
    hold_ms=st.integers(200, 4_000),
    cut_ms=st.integers(0, 4_000),
)
def test_wherever_a_run_is_cut_the_rate_stays_within_one_arrival_of_the_ceiling(
    rate: int, pool: int, hold_ms: int, cut_ms: int
) -> None:
    """A freed place waits for the next arrival, at most 1/r (and 1 ns of rounding): the phase error has a bound."""
    hold_s = hold_ms / 1000
    if rate * hold_s < 2 * pool:
        return  # hardly overloaded
    duration_s = hold_s * 5 + cut_ms / 1000
    successes, first = pooled(rate, pool, hold_ms * MS, duration_s)
    found = sustained_rate(successes, math.ceil(duration_s * NS_PER_S), pool, hold_ms * MS, first)
    if found.rate_per_s is None:
        return
    assert found.rate_per_s <= pool / (hold_s + 0.001) * (1 + 1e-6)
    assert found.rate_per_s >= pool / (hold_s + 0.001 + 1 / rate) * (1 - 1e-6)


@given(shift=st.integers(0, 10**12), seed=st.integers(0, 1000))
def test_the_rate_does_not_depend_on_when_the_load_began(shift: int, seed: int) -> None:
    generator = random.Random(seed)
    instants = sorted(generator.randrange(60 * NS_PER_S) for _ in range(80))
    here = sustained_rate(instants, 60 * NS_PER_S, 7, None, instants[10])
    there = sustained_rate([i + shift for i in instants], 60 * NS_PER_S + shift, 7, None, instants[10] + shift)
    assert there.rate_per_s == pytest.approx(here.rate_per_s)
