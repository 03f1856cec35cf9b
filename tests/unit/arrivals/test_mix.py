"""Weighted flows: counted exactly, close to their weights at any time and on every shard."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.arrivals.mix import Mix

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1, max_size=6)


@given(WEIGHTS, st.integers(0, 3000), st.integers(1, 9), st.data())
def test_counts_are_what_picking_one_by_one_gives(
    weights: dict[str, int], count: int, shards: int, data: st.DataObject
) -> None:
    mix = Mix(weights)
    shard = data.draw(st.integers(0, shards - 1))
    picked = Counter(mix.pick(k) for k in range(shard, count, shards))
    assert mix.counts(count, shard, shards) == tuple(picked[i] for i in range(len(mix.flows)))


@given(WEIGHTS, st.integers(0, 10**9), st.integers(1, 9))
def test_shards_partition_the_counts(weights: dict[str, int], count: int, shards: int) -> None:
    mix = Mix(weights)
    parts = [mix.counts(count, shard, shards) for shard in range(shards)]
    assert tuple(map(sum, zip(*parts, strict=True))) == mix.counts(count)
    assert sum(mix.counts(count)) == count


@given(WEIGHTS, st.integers(1, 10**6))
def test_weights_hold_at_any_time(weights: dict[str, int], count: int) -> None:
    # The partial quotients of the golden ratio phi are all 1, so in any interval n of its multiples deviate from their
    # share by at most 3 + (1/ln phi + 1/ln 2) ln n (Kuipers, Niederreiter: Uniform Distribution of Sequences, ch. 2).
    mix = Mix(weights)
    whole = sum(weights.values())
    for weight, seen in zip(weights.values(), mix.counts(count), strict=True):
        assert abs(seen - count * weight / whole) <= 3 + 3.53 * math.log(count)


def test_four_sessions_of_three_to_one_are_three_and_one() -> None:
    mix = Mix({"download": 3, "upload": 1})
    assert [mix.flows[mix.pick(k)] for k in range(4)] == ["download", "download", "download", "upload"]


def test_two_workers_both_do_both_of_two_equal_flows() -> None:
    mix = Mix({"a": 1, "b": 1})
    for shard in (0, 1):
        first, second = mix.counts(1000, shard, 2)
        assert abs(first - second) <= 10
