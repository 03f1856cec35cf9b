"""Intervals by resampling: they hold the truth as often as they say, and their worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.report.blocks import block_edges
from ftpstorm.report.bootstrap import (
    difference_interval,
    mean_interval,
    percentile_interval,
    ratio_interval,
    weights,
)

S = 1_000_000_000


def test_each_resample_draws_as_many_blocks_as_the_drawn_runs_have() -> None:
    drawn = weights([4, 4, 4])
    assert drawn.shape == (2000, 12)
    assert set(drawn.sum(axis=1)) == {12.0}
    # now and then one run is drawn three times: the runs themselves are resampled
    assert any(row[:4].sum() == 12 for row in drawn)


def test_one_run_has_its_blocks_resampled_alone() -> None:
    drawn = weights([10])
    assert set(drawn.sum(axis=1)) == {10.0}
    assert drawn.std() > 0.5


def test_the_same_records_give_the_same_interval() -> None:
    assert mean_interval([1.0, 2.0, 4.0]) == mean_interval([1.0, 2.0, 4.0])


def test_the_mean_of_one_and_three_lies_between_them() -> None:
    assert mean_interval([1.0, 3.0]) == (1.0, 3.0)


@pytest.mark.parametrize("values", [[], [5.0]])
def test_fewer_than_two_runs_have_no_interval(values: list[float]) -> None:
    assert mean_interval(values) == (None, None)


def test_about_ninety_five_of_a_hundred_intervals_hold_the_mean() -> None:
    # 20 values each: the percentile bootstrap is a little too narrow, 93 % in theory; seeded, so never by luck
    random = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        low, high = mean_interval(list(random.normal(10, 2, 20)))
        assert low is not None
        assert high is not None
        held += low <= 10 <= high
    assert 178 <= held <= 196


def test_a_share_that_clumps_in_time_has_a_wider_interval_than_one_that_does_not() -> None:
    drawn, of = weights([10]), np.full(10, 100.0)
    even = ratio_interval(np.full(10, 50.0), of, drawn)
    clumps = ratio_interval(np.array([100.0, 0] * 5), of, drawn)
    assert even == (0.5, 0.5)
    assert clumps[0] is not None
    assert clumps[1] is not None
    assert clumps[0] < 0.35
    assert clumps[1] > 0.65


def test_a_resample_without_anything_to_share_is_left_out() -> None:
    assert ratio_interval(np.zeros(3), np.zeros(3), weights([3])) == (None, None)


@given(st.lists(st.lists(st.floats(0, 1e4), min_size=0, max_size=40), min_size=2, max_size=8))
def test_the_interval_of_a_percentile_stays_within_the_values(blocks: list[list[float]]) -> None:
    arrays = [np.array(block) for block in blocks]
    low, high = percentile_interval(arrays, 50, weights([len(arrays)], 200))
    values = [value for block in blocks for value in block]
    if not values:
        assert (low, high) == (None, None)
    else:
        assert low is not None
        assert high is not None
        assert min(values) <= low <= high <= max(values)


def test_the_interval_of_a_percentile_is_that_of_plain_resampling() -> None:
    random = np.random.default_rng(3)
    blocks = [random.exponential(10, 50) for _ in range(12)]
    drawn = weights([12])
    low, high = percentile_interval(blocks, 90, drawn)
    plain = []
    for row in drawn:
        values = np.sort(np.concatenate([np.repeat(block, int(n)) for block, n in zip(blocks, row, strict=True)]))
        plain.append(values[int(np.ceil(len(values) * 0.9)) - 1])
    assert (low, high) == pytest.approx(tuple(np.percentile(plain, (2.5, 97.5))), rel=1e-6)


def test_the_interval_of_a_difference_has_its_worked_number() -> None:
    low, high = difference_interval((10, 8, 12), (20, 17, 23))
    assert (low, high) == pytest.approx((6.394, 13.606), abs=0.001)


def test_nothing_apart_from_nothing_is_no_difference() -> None:
    low, high = difference_interval((0, 0, 3.7), (0, 0, 3.7))
    assert low < 0 < high


def test_blocks_are_whole_holds_of_the_pool() -> None:
    edges = block_edges(0, 20 * S, 2 * S)
    assert list(np.diff(edges)) == [2 * S] * 10
    assert list(block_edges(0, 100 * S, 2 * S)[:2]) == [0, 4 * S]  # at most 40 blocks


def test_a_run_too_short_for_four_blocks_is_one() -> None:
    assert list(block_edges(5, 6 * S, 2 * S)) == [5, 6 * S]


def test_what_is_left_over_goes_to_the_last_block() -> None:
    assert list(block_edges(0, 21 * S, 5 * S)) == [0, 5 * S, 10 * S, 15 * S, 21 * S]
