"""Division of a plan over n equal shards: shard i takes every n-th arrival, slot and iteration, beginning with i."""

from __future__ import annotations


def shard_indexes(count: int, shard: int, shards: int) -> range:
    """Return the indexes of `range(count)` that shard `shard` of `shards` takes; over all shards each falls once."""
    if not 0 <= shard < shards:
        raise ValueError(f"shard {shard} of {shards}: must be 0 <= shard < shards")
    return range(shard, count, shards)


def shard_count(count: int, shard: int, shards: int) -> int:
    """Return how many of `count` things shard `shard` takes; shards differ by at most one."""
    return len(shard_indexes(count, shard, shards))
