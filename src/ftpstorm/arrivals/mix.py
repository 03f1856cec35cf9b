"""Which flow the session with number k of a load runs: weights kept as closely as whole numbers allow.

The fractional parts of k x phi, phi the golden ratio, are spread more evenly than random numbers, also over every n-th
k, which is what one shard of n has. Session k takes the flow in whose part of [0, 1) its fractional part falls.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

_BITS: Final = 64
_TURN: Final = 1 << _BITS
_STEP: Final = 0x9E3779B97F4A7C15
"""2^64 / phi, odd."""


class Mix:
    """Flows by weight. `flows` are their names in the order of the scenario."""

    __slots__ = ("_edges", "flows")

    def __init__(self, weights: Mapping[str, int]) -> None:
        """Take whole weights >= 1, by flow; at least one."""
        self.flows = tuple(weights)
        whole = sum(weights.values())
        self._edges = [weight * _TURN // whole for weight in accumulate(weights.values())]

    def pick(self, k: int) -> int:
        """Return the index in `flows` of what session k (>= 0) runs."""
        return bisect_right(self._edges, k * _STEP % _TURN) if len(self._edges) > 1 else 0

    def counts(self, count: int, shard: int = 0, shards: int = 1) -> tuple[int, ...]:
        """Return how many of the sessions shard, shard + shards, ... below `count` run each flow, exactly."""
        terms = len(range(shard, count, shards))
        if len(self._edges) == 1:
            return (terms,)
        below = [_count_below(terms, shards * _STEP % _TURN, shard * _STEP % _TURN, edge) for edge in self._edges[:-1]]
        return tuple(high - low for low, high in zip([0, *below], [*below, terms], strict=True))


def _count_below(terms: int, step: int, start: int, edge: int) -> int:
    """Return how many of ``(start + j step) mod 2^64``, 0 <= j < terms, are below `edge`, 0 < edge < 2^64.

    x mod m < e exactly where floor(x/m) - floor((x - e)/m) is 1, and 0 elsewhere.
    """
    return _floor_sum(terms, _TURN, step, start) - _floor_sum(terms, _TURN, step, start - edge)


def _floor_sum(n: int, m: int, a: int, b: int) -> int:
    """Return the sum of floor((a j + b) / m) for 0 <= j < n, in O(log m) steps (Euclid's algorithm on a and m)."""
    total = 0
    while n:
        total += (n * (n - 1) // 2) * (a // m) + n * (b // m)
        a, b = a % m, b % m
        last = a * n + b
        if last < m:
            break
        n, b, m, a = last // m, last % m, a, m
    return total
