"""Durations, sizes and rates: their text forms ("30s", "4KiB", "470/s") and the exact integers behind them.

Inside the program a duration is an int of nanoseconds, a size an int of bytes, a rate an exact fraction of events a
second. A bare number is refused everywhere: its unit would be a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_DURATION_NS = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
}
_SIZE_BYTES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_RATE_NS = {"s": NS_PER_S, "min": 60 * NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S, "d": 86_400 * NS_PER_S}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION_PART = re.compile(rf"({_NUMBER})(ns|us|ms|min|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ns|us|ms|min|s|m|h|d))+")
_SIZE = re.compile(rf"({_NUMBER})\s?([kMGT]?B|[KMGT]iB)")
_RATE = re.compile(rf"({_NUMBER})/(s|min|m|h|d)")


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration such as ``"250ms"``, ``"2s"`` or ``"1m30s"``.

    Units: ns, us, ms, s, m (or min), h, d. Raises ValueError that says what to write for all else, a bare number too.
    """
    stripped = text.strip()
    if not _DURATION.fullmatch(stripped):
        raise ValueError("not a duration; write a number with a unit, such as 250ms, 2s or 1m30s")
    total = sum(Fraction(number) * _DURATION_NS[unit] for number, unit in _DURATION_PART.findall(stripped))
    if total.denominator != 1:
        raise ValueError("finer than a nanosecond")
    return int(total)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``"4KiB"`` (1024) or ``"4kB"`` (1000). Raises ValueError otherwise."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError("not a size; write a number with a unit, such as 512B, 4KiB or 1.5MB")
    total = Fraction(match[1]) * _SIZE_BYTES[match[2]]
    if total.denominator != 1:
        raise ValueError("not a whole number of bytes")
    return int(total)


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """An exact rate. `per_s` is events a second, >= 0."""

    per_s: Fraction

    def instant_ns(self, k: int) -> int:
        """Return when event k (0-based) of an even sequence is due: ``floor(k / rate)``, in ns after the first."""
        return k * NS_PER_S * self.per_s.denominator // self.per_s.numerator

    def count_before(self, duration_ns: int) -> int:
        """Return how many evenly spaced events fall in ``[0, duration_ns)``, the first at 0."""
        if self.per_s == 0 or duration_ns <= 0:
            return 0
        exact = self.per_s * duration_ns / NS_PER_S
        return -(-exact.numerator // exact.denominator)

    def __str__(self) -> str:
        return format_rate(float(self.per_s))


def parse_rate(text: str) -> Rate:
    """Return the Rate of ``"97/s"``, ``"10/min"`` or ``"0.5/h"``. A rate without a unit raises ValueError."""
    match = _RATE.fullmatch(text.strip())
    if not match:
        raise ValueError("not a rate; write events for each unit of time, such as 97/s, 10/min or 1200/h")
    return Rate(Fraction(match[1]) * NS_PER_S / _RATE_NS[match[2]])


def format_duration(duration_ns: int) -> str:
    """Return a short exact text that `parse_duration` reads back, such as ``1m30s``; 0 is ``0s``."""
    if duration_ns == 0:
        return "0s"
    parts: list[str] = []
    rest = duration_ns
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _DURATION_NS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _plain(value: float, digits: int) -> str:
    """Return `value` with so many significant digits, whole numbers in full: 12346, never 1.235e+04."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{float(f'{value:.{digits}g}'):.12g}"


def format_seconds(duration_ns: float, digits: int = 3) -> str:
    """Return a duration for people, in the unit that suits it: ``840 us``, ``12.5 ms``, ``2.01 s``, ``3 min 20 s``."""
    for unit, size_ns, most in (("us", NS_PER_US, 1000), ("ms", NS_PER_MS, 1000), ("s", NS_PER_S, 120)):
        text = _plain(duration_ns / size_ns, digits)
        if abs(float(text)) < most:
            return f"{text} {unit}"
    minutes, seconds = divmod(round(duration_ns / NS_PER_S), 60)
    return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"


def format_size(size_bytes: float) -> str:
    """Return a size for people with binary units, such as ``1 KiB`` or ``3.2 GiB``."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{_plain(value, 4)} {unit}"
        value /= 1024
    return f"{_plain(value, 4)} TiB"


def format_rate(per_s: float) -> str:
    """Return a rate for people: a second where it is 0.1 or more, else a minute or an hour, such as ``5/min``."""
    if per_s >= 0.1 or per_s == 0:
        return f"{_plain(per_s, 4)}/s"
    if per_s * 60 >= 0.1:
        return f"{_plain(per_s * 60, 4)}/min"
    return f"{_plain(per_s * 3600, 4)}/h"
