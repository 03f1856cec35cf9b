"""Shards divide a plan exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.arrivals.shard import shard_count, shard_indexes


@given(count=st.integers(0, 2_000), shards=st.integers(1, 64))
def test_each_index_falls_to_exactly_one_shard(count: int, shards: int) -> None:
    taken = [index for shard in range(shards) for index in shard_indexes(count, shard, shards)]
    assert sorted(taken) == list(range(count))


@given(count=st.integers(0, 2_000), shards=st.integers(1, 64))
def test_shards_differ_by_one_at_most(count: int, shards: int) -> None:
    counts = [shard_count(count, shard, shards) for shard in range(shards)]
    assert sum(counts) == count
    assert max(counts) - min(counts) <= 1


@given(count=st.integers(0, 500), machines=st.integers(1, 5), workers=st.integers(1, 5))
def test_workers_of_machines_divide_like_one_row_of_shards(count: int, machines: int, workers: int) -> None:
    taken = [
        index
        for machine in range(machines)
        for worker in range(workers)
        for index in shard_indexes(count, machine * workers + worker, machines * workers)
    ]
    assert sorted(taken) == list(range(count))


@pytest.mark.parametrize(("shard", "shards"), [(-1, 2), (2, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(shard: int, shards: int) -> None:
    with pytest.raises(ValueError, match="shard"):
        shard_indexes(10, shard, shards)
