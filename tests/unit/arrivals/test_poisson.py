"""Poisson arrivals: pure in (stream, k), and Poisson by tests whose false alarms are bounded by theory.

All seeds are fixed: what passes once passes for ever. The bounds are those that a right generator would miss less often
than once in 10^6 streams, so that another choice of seeds would hardly ever need another bound.
"""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.arrivals.poisson import PoissonSchedule, random_bits, stream_of
from ftpstorm.units import NS_PER_S, Rate

SIGMAS = 5.0
"""P(|Z| > 5) = 5.7e-7."""


def schedule(per_s: int | Fraction, seconds: float, seed: int = 1, name: str = "load") -> PoissonSchedule:
    return PoissonSchedule(Rate(Fraction(per_s)), round(seconds * NS_PER_S), stream_of(seed, name))


@given(st.integers(1, 2000), st.integers(1, 3000), st.integers(0, 1 << 64), st.integers(1, 7))
def test_shards_partition_it_and_agree_in_whatever_order_they_ask(per_s: int, ms: int, seed: int, shards: int) -> None:
    whole = schedule(per_s, ms / 1000, seed)
    instants = [whole.instant_ns(k) for k in range(whole.count)]
    assert all(one <= other for one, other in pairwise(instants))
    assert all(0 <= instant < ms * 1_000_000 for instant in instants)
    seen: list[int] = []
    for shard in range(shards):
        own = schedule(per_s, ms / 1000, seed)
        assert own.count == whole.count
        seen += [own.instant_ns(k) for k in reversed(range(shard, own.count, shards))]
    assert sorted(seen) == instants


def test_the_same_seed_and_name_give_the_same_arrivals_for_ever() -> None:
    found = schedule(100, 10, seed=7, name="steady")
    assert (found.count, found.instant_ns(0), found.instant_ns(500)) == FROZEN


FROZEN = (970, 28_098_263, 5_260_690_856)
"""A change here changes what a scenario's seed means."""


def test_seed_and_name_both_make_another_process() -> None:
    starts = {(seed, name): schedule(100, 1, seed, name).instant_ns(3) for seed in (1, 2) for name in ("a", "b")}
    assert len(set(starts.values())) == 4


def test_random_bits_are_even_and_streams_unrelated() -> None:
    count = 1 << 14
    for bit in (0, 31, 63):
        ones = sum(random_bits(5, k) >> bit & 1 for k in range(count))
        assert abs(ones - count / 2) < SIGMAS * math.sqrt(count) / 2
    equal = sum((random_bits(5, k) ^ random_bits(6, k)).bit_count() for k in range(count))
    assert abs(equal - 32 * count) < SIGMAS * math.sqrt(64 * count) / 2


def test_counts_have_the_mean_and_the_variance_of_a_poisson_law() -> None:
    # 4,000 independent runs of mean 12: their mean has sigma sqrt(12/n); the variance estimate of a Poisson law has
    # variance (mu4 - sigma^4)/n with mu4 = m + 3 m^2, so sigma sqrt((m + 2 m^2)/n).
    runs, mean = 4_000, 12
    counts = [schedule(mean, 1, seed).count for seed in range(runs)]
    average = sum(counts) / runs
    assert abs(average - mean) < SIGMAS * math.sqrt(mean / runs)
    variance = sum((count - average) ** 2 for count in counts) / (runs - 1)
    assert abs(variance - mean) < SIGMAS * math.sqrt((mean + 2 * mean**2) / runs)


def test_counts_in_parts_of_one_run_are_poisson_across_block_borders() -> None:
    # 50,000 arrivals in 25,000 windows of mean 2, which fall across the blocks of 64: chi square over 0..7 and more.
    found = schedule(1000, 50)
    width = NS_PER_S // 500
    per_window = Counter(found.instant_ns(k) // width for k in range(found.count))
    windows = 25_000
    seen = Counter(min(per_window[window], 8) for window in range(windows))
    law = [math.exp(-2) * 2**n / math.factorial(n) for n in range(8)]
    expected = [windows * p for p in [*law, 1 - sum(law)]]
    chi = sum((seen[n] - wanted) ** 2 / wanted for n, wanted in enumerate(expected))
    assert chi < 45, "8 degrees of freedom: P(chi > 45) = 4e-7"


def test_gaps_between_arrivals_are_exponential() -> None:
    # Kolmogorov-Smirnov: P(sqrt(n) D > 2.7) = 2 exp(-2 * 2.7^2) = 9.3e-7.
    found = schedule(1000, 50)
    gaps = sorted(b - a for a, b in pairwise(found.instant_ns(k) for k in range(found.count)))
    n = len(gaps)
    distance = max(
        max(abs((i + 1) / n - law), abs(i / n - law))
        for i, law in enumerate(1 - math.exp(-gap * 1000 / NS_PER_S) for gap in gaps)
    )
    assert math.sqrt(n) * distance < 2.7


@pytest.mark.parametrize(("per_s", "seconds"), [(Fraction(1, 3600), 1), (Fraction(1, 1000), 30)])
def test_a_run_may_have_no_arrival_at_all(per_s: Fraction, seconds: float) -> None:
    assert sum(schedule(per_s, seconds, seed).count for seed in range(20)) <= 3
