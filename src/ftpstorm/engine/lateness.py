"""How late arrivals start: a histogram of fixed size, exact to one part in 32, however many arrivals there are."""

from __future__ import annotations

from typing import Final

_SUB_BITS: Final = 5
_SUB: Final = 1 << _SUB_BITS


class LatencyHistogram:
    """Log-linear histogram of non-negative nanoseconds: 32 buckets for each power of two."""

    __slots__ = ("_buckets", "count", "maximum")

    def __init__(self) -> None:
        self._buckets = [0] * (_SUB * 64)
        self.count = 0
        self.maximum = 0

    def add(self, value_ns: int) -> None:
        """Count one value; a negative one counts as 0."""
        if value_ns < _SUB:
            index = max(0, value_ns)
        else:
            shift = value_ns.bit_length() - 1 - _SUB_BITS
            index = (shift + 1) * _SUB + (value_ns >> shift) - _SUB
        self._buckets[index] += 1
        self.count += 1
        if value_ns > self.maximum:
            self.maximum = value_ns

    def quantile(self, q: float) -> int | None:
        """Return the value in ns at or below which a share `q` (0..1) lies, at most 1/32 too high; None when empty."""
        if not self.count:
            return None
        rank = max(1, -(-int(q * self.count * 1_000_000) // 1_000_000))
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= rank:
                return min(self.maximum, _upper_edge(index))
        return self.maximum


def _upper_edge(index: int) -> int:
    if index < _SUB:
        return index
    shift, position = divmod(index - _SUB, _SUB)
    return ((_SUB + position + 1) << shift) - 1
