"""The one estimator of a sustained transfer rate: prediction and report both call it, so that their figures compare.

A resource that hands out N places and holds each for a while after use serves in clumps: N at once, a pause, N again. A
mean over the run or since the first failure then depends on where in a clump it begins and ends. What is estimated here
does not: it asks how long the same place takes to come round again.

Pure. It takes lists as well as numpy arrays and needs no numpy itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict

from ftpstorm.units import NS_PER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERIODS_MIN: Final = 3
"""Whole hold periods (rounds of the pool) below which no sustained rate is given."""

Method = Literal["pool rounds", "whole hold periods", "achieved, nothing ran out", "none"]


class Sustained(BaseModel):
    """A sustained rate and how it came about. `rate_per_s` is None exactly when `reason` says why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_per_s: float | None
    """Successful transfers a second."""
    window_from_ns: int
    """First instant that counts, in ns after start_at."""
    window_to_ns: int
    """Last instant that counts."""
    periods: int
    """Whole rounds of the pool, or whole hold periods, inside the window; 0 where nothing ran out."""
    method: Method
    reason: str | None = None


def sustained_rate(
    success_ns: Sequence[int] | NDArray[np.int64],
    load_end_ns: int,
    pool_size: int | None = None,
    hold_ns: int | None = None,
    first_exhaustion_ns: int | None = None,
    *,
    load_start_ns: int = 0,
) -> Sustained:
    """Estimate the rate of successful transfers that could have gone on for ever.

    Arguments:
        success_ns: when each transfer succeeded, ns after start_at, sorted, shape (n,). Those after `load_end_ns` do
            not count: the load no longer pressed on the pool.
        load_end_ns: when the load stopped starting sessions.
        pool_size: N, the places that the exhausted resource has; None where it is not known.
        hold_ns: how long a place stays taken after use; None where it is not known.
        first_exhaustion_ns: when a request first found nothing left; None when nothing ran out.
        load_start_ns: when the load began.

    With N known::

        R = N / mean over k of (s[k+N] - s[k])

    The k run from the success that took the oldest of the N places taken at the first exhaustion. The differences
    telescope, so R depends only on the mean instant of the first N and of the last N successes.

    Without N: successes in whole hold periods counted from the first exhaustion, divided by their length; an edge of
    that window can cut a clump in two, so it is off by up to one part in `periods`. Where nothing ran out: the mean
    over the load's window, which is what was achieved and no limit of anything.

    Worked numbers: N = 20, H = 2 s, arrivals evenly 97 a second, transfers that take 1 ms: a place freed at 2.001 s
    goes to the arrival at 195/97 s = 2.0103 s, so R = 20/2.0103 = 9.949 a second, 0.995 of N/H. With 40 a second:
    81/40 s = 2.025 s, R = 9.877, 0.988 of N/H.

    Returns a Sustained whose rate is None, with the reason, for fewer than PERIODS_MIN periods. Raises ValueError for a
    pool size below 1, a hold below 0 or a load that ends before it starts.
    """
    if pool_size is not None and pool_size < 1:
        raise ValueError(f"pool_size {pool_size}: a pool has at least one place")
    if hold_ns is not None and hold_ns < 0:
        raise ValueError(f"hold_ns {hold_ns}: a hold lasts 0 or longer")
    if load_end_ns < load_start_ns:
        raise ValueError("the load ends before it starts")
    count = bisect_right(success_ns, load_end_ns)
    if first_exhaustion_ns is None:
        return _achieved(success_ns, count, load_start_ns, load_end_ns)
    if pool_size is not None:
        return _pool_rounds(success_ns, count, pool_size, first_exhaustion_ns, load_end_ns)
    if hold_ns:
        return _hold_periods(success_ns, first_exhaustion_ns, load_end_ns, hold_ns)
    return Sustained(
        rate_per_s=None,
        window_from_ns=first_exhaustion_ns,
        window_to_ns=load_end_ns,
        periods=0,
        method="none",
        reason="something ran out, and neither the size of the pool nor how long it holds a place is known",
    )


def _achieved(success_ns: Sequence[int] | NDArray[np.int64], count: int, start_ns: int, end_ns: int) -> Sustained:
    inside = count - bisect_left(success_ns, start_ns)
    length = end_ns - start_ns
    reason = None
    if not length:
        reason = "the load starts all its sessions at one instant: it has no rate"
    elif not inside and len(success_ns):
        reason = "every transfer that succeeded ended after the load did: it lasted too briefly to have a rate"
    return Sustained(
        rate_per_s=inside * NS_PER_S / length if reason is None else None,
        window_from_ns=start_ns,
        window_to_ns=end_ns,
        periods=0,
        method="achieved, nothing ran out",
        reason=reason,
    )


def _pool_rounds(
    success_ns: Sequence[int] | NDArray[np.int64], count: int, pool_size: int, exhausted_ns: int, end_ns: int
) -> Sustained:
    first = min(max(0, bisect_right(success_ns, exhausted_ns) - pool_size), count)
    differences = count - first - pool_size
    periods = max(0, (count - first - 1) // pool_size)
    if periods < PERIODS_MIN:
        return Sustained(
            rate_per_s=None,
            window_from_ns=int(success_ns[first]) if first < count else exhausted_ns,
            window_to_ns=int(success_ns[count - 1]) if first < count else end_ns,
            periods=periods,
            method="pool rounds",
            reason=f"the pool of {pool_size} came round {('not once', 'once', 'twice')[periods]} before the load "
            f"ended; a rate needs {PERIODS_MIN} rounds",
        )
    edge = min(pool_size, differences)
    lowest = sum(int(instant) for instant in success_ns[first : first + edge])
    highest = sum(int(instant) for instant in success_ns[count - edge : count])
    spread_ns = highest - lowest
    return Sustained(
        rate_per_s=pool_size * differences * NS_PER_S / spread_ns if spread_ns else None,
        window_from_ns=int(success_ns[first]),
        window_to_ns=int(success_ns[count - 1]),
        periods=periods,
        method="pool rounds",
        reason=None if spread_ns else "all successes bear the same instant",
    )


def _hold_periods(
    success_ns: Sequence[int] | NDArray[np.int64], exhausted_ns: int, end_ns: int, hold_ns: int
) -> Sustained:
    periods = max(0, (end_ns - exhausted_ns) // hold_ns)
    to_ns = exhausted_ns + periods * hold_ns
    enough = periods >= PERIODS_MIN
    successes = bisect_right(success_ns, to_ns) - bisect_right(success_ns, exhausted_ns) if enough else 0
    return Sustained(
        rate_per_s=successes * NS_PER_S / (periods * hold_ns) if enough else None,
        window_from_ns=exhausted_ns,
        window_to_ns=to_ns,
        periods=periods,
        method="whole hold periods",
        reason=None
        if enough
        else f"the load lasted {periods} whole hold periods after the first exhaustion; a rate needs {PERIODS_MIN}",
    )
