"""Loads that ramp: the rate of arrivals, or the number of sessions, in straight lines from stage to stage.

All of it in exact integers: an arrival's instant is the root of a quadratic, taken with `math.isqrt`, so every shard on
every machine finds the same one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt, lcm

from ftpstorm.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class _Segment:
    """One stage. t ns after its begin the integral of the rate is ``(square t^2 + linear t + constant) / scale``."""

    begin_ns: int
    first: int
    """The first arrival that may fall into it: ceil of the integral at its begin."""
    square: int
    linear: int
    constant: int
    scale: int

    def instant_ns(self, k: int) -> int:
        """Return the last whole ns at which the integral is not above k."""
        a, b, c = self.square, self.linear, k * self.scale - self.constant
        if a > 0:
            return self.begin_ns + (isqrt(b * b + 4 * a * c) - b) // (2 * a)
        if a < 0:  # the rising branch of a parabola that opens downwards; rounding the root up rounds t down
            inner = b * b + 4 * a * c
            root = isqrt(inner)
            return self.begin_ns + (b - root - (root * root < inner)) // (-2 * a)
        return self.begin_ns + c // b


class RampSchedule:
    """Arrivals at a rate that changes linearly within each stage.

    With R(t) the integral of the rate, arrival k is due at the last instant at which R is not above k,
    ``instant(k) = max{t : R(t) <= k}``, floored to ns; the arrivals are those with k < R(end). At a constant rate r
    this is ``floor(k / r)``, as in an even schedule; while the rate is 0 nobody arrives.

    Worked numbers: from 0/s to 10/s in 2 s is R = 10 arrivals; R(t) = 2.5 t^2, so arrival 9 is due at sqrt(3.6) s =
    1.897366596 s.
    """

    __slots__ = ("_firsts", "_segments", "count", "end_ns")

    def __init__(self, start_per_s: Fraction, stages: Sequence[tuple[int, Fraction]]) -> None:
        """Take the rate at the begin and (duration in ns, rate at its end) of each stage; rates >= 0, a second."""
        segments: list[_Segment] = []
        begin, rate, total = 0, start_per_s / NS_PER_S, Fraction(0)
        for duration, target_per_s in stages:
            target = target_per_s / NS_PER_S
            if duration:
                square, linear = (target - rate) / (2 * duration), rate
                scale = lcm(square.denominator, linear.denominator, total.denominator)
                first = -(-total.numerator // total.denominator)
                segments.append(
                    _Segment(begin, first, int(square * scale), int(linear * scale), int(total * scale), scale)
                )
                total += (rate + target) * duration / 2
                begin += duration
            rate = target
        self._segments = tuple(segments)
        self._firsts = [segment.first for segment in segments]
        self.count: int = -(-total.numerator // total.denominator)
        self.end_ns = begin

    def instant_ns(self, k: int) -> int:
        """Return when arrival k (0 <= k < count) is due, in ns after the load's start."""
        return self._segments[bisect_right(self._firsts, k) - 1].instant_ns(k)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, ``[from_ns, to_ns)`` after the load's start."""

    from_ns: int
    to_ns: int


def slot_spans(start: int, stages: Sequence[tuple[int, int]], slot: int) -> tuple[Span, ...]:
    """Return when slot `slot` (0-based) of a ramping number of sessions is in use.

    `stages` are (duration in ns, target). The wanted number is a straight line in each stage; slot s is in use while it
    is at least s + 1, so that at a target of n exactly the slots 0 to n - 1 are. Spans are in order and apart.
    """
    level = slot + 1
    spans: list[Span] = []
    opened: int | None = 0 if start >= level else None
    begin, now = 0, start
    for duration, target in stages:
        if opened is None and target >= level:
            opened = begin + (-(-(level - now) * duration // (target - now)) if target > now else 0)
        elif opened is not None and target < level:
            closed = begin + (now - level) * duration // (now - target) + (1 if duration else 0)
            closed = min(closed, begin + duration)
            if closed > opened:
                spans.append(Span(opened, closed))
            opened = None
        begin += duration
        now = target
    if opened is not None and begin > opened:
        spans.append(Span(opened, begin))
    return tuple(spans)
