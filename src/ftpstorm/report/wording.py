"""Numbers as people read them, alike in headline, page, table and pictures."""

from __future__ import annotations

import errno

from ftpstorm.units import NS_PER_S

DASH = "\N{EN DASH}"
"""Stands for a value that is not known."""


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 session``, ``1,940 sessions``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def seconds(t_ns: float) -> str:
    """Return an instant or a duration in seconds with sensible digits: ``0.21 s``, ``12.3 s``, ``340 s``."""
    value = t_ns / NS_PER_S
    return f"{value:.2f} s" if abs(value) < 10 else f"{value:.1f} s" if abs(value) < 100 else f"{value:.0f} s"


def errno_words(code: int) -> str:
    """Return ``errno 111 (ECONNREFUSED)``; the number alone where this system has no name for it."""
    name = errno.errorcode.get(code)
    return f"errno {code} ({name})" if name else f"errno {code}"


def per_second(rate: float | None) -> str:
    """Return a rate with three significant digits: ``9.95/s``, ``97/s``, ``1,230/s``."""
    if rate is None:
        return DASH
    return f"{number(rate)}/s"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant ones, thousands grouped, no exponent for everyday sizes."""
    if value is None:
        return DASH
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share of 1 as ``97.3 %``."""
    return DASH if share is None else f"{100 * share:.{digits}f} %"


def milliseconds(value: float | None) -> str:
    """Return a latency in ms: ``0.21``, ``12.3``, ``1,204``."""
    return number(value)
