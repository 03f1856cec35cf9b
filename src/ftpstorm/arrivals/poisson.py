"""Poisson arrivals that any shard can compute at any index, in integers alone.

A Poisson process on [0, T) is, block of time by block of time, an independent Poisson number of points that are uniform
in the block. So the number of each block and the place of each of its points come from a hash of (stream, block, j), no
generator is run from the start, and no floating-point logarithm can differ between machines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate
from typing import Final

from ftpstorm.units import NS_PER_S, Rate

BLOCK_MEAN: Final = 64
"""Arrivals of a block in the mean: what one random access costs."""
_BITS: Final = 64
_MASK: Final = (1 << _BITS) - 1


def stream_of(seed: int, name: str) -> int:
    """Return the 64-bit stream of random numbers that the load `name` has in a scenario with `seed`."""
    return int.from_bytes(sha256(f"{seed}/{name}".encode()).digest()[:8], "big")


def random_bits(stream: int, index: int) -> int:
    """Return 64 random bits, a pure function of `stream` and `index` (both below 2^64).

    The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), once on the
    index by itself and once more on the result mixed with the stream, so that streams are no shifts of each other.
    """
    return _mixed(_mixed(index * 0x9E3779B97F4A7C15 & _MASK) ^ stream)


def _mixed(bits: int) -> int:
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _MASK
    return bits ^ bits >> 31


@lru_cache(maxsize=16)
def _cumulative(mean: Fraction) -> tuple[int, ...]:
    """Return P(N <= n) x 2^64 for a Poisson N, n = 0, 1, ... until it is 2^64 - 1 or more; 50 decimal digits inside."""
    with localcontext() as context:
        context.prec = 50
        exact = Decimal(mean.numerator) / Decimal(mean.denominator)
        term = total = (-exact).exp()
        table = [int(total * (1 << _BITS))]
        n = 0
        while table[-1] < _MASK and (n < exact or term > Decimal(10) ** -30):
            n += 1
            term = term * exact / n
            total += term
            table.append(int(total * (1 << _BITS)))
    return tuple(table)


class PoissonSchedule:
    """Arrivals of a Poisson process of `rate` over `duration_ns`; `count` of them, itself random, may be 0."""

    __slots__ = ("_begins", "_cached", "_duration_ns", "_stream", "_width_ns", "count")

    def __init__(self, rate: Rate, duration_ns: int, stream: int) -> None:
        self._stream = stream
        self._duration_ns = duration_ns
        self._width_ns = max(1, int(BLOCK_MEAN * NS_PER_S / rate.per_s))
        whole, rest = divmod(duration_ns, self._width_ns)
        full = _cumulative(rate.per_s * self._width_ns / NS_PER_S) if whole else ()
        counts = [bisect_right(full, random_bits(stream, block << 32)) for block in range(whole)]
        if rest:
            last = _cumulative(rate.per_s * rest / NS_PER_S)
            counts.append(bisect_right(last, random_bits(stream, whole << 32)))
        self._begins = [0, *accumulate(counts)]
        self.count: int = self._begins[-1]
        self._cached: tuple[int, list[int]] = (-1, [])

    def instant_ns(self, k: int) -> int:
        """Return when arrival k (0 <= k < count) is due, in ns after the load's start."""
        block = bisect_right(self._begins, k) - 1
        if self._cached[0] != block:
            self._cached = (block, sorted(self._points(block)))
        return self._cached[1][k - self._begins[block]]

    def _points(self, block: int) -> Iterator[int]:
        begin = block * self._width_ns
        width = min(self._width_ns, self._duration_ns - begin)
        for j in range(self._begins[block + 1] - self._begins[block]):
            yield begin + (random_bits(self._stream, (block << 32) + j + 1) * width >> _BITS)


@lru_cache(maxsize=16)
def poisson_schedule(rate: Rate, duration_ns: int, stream: int) -> PoissonSchedule:
    """Return the schedule; the few that a plan has are remembered, since planning asks for them again and again."""
    return PoissonSchedule(rate, duration_ns, stream)
