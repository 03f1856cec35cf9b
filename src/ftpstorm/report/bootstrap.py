"""Intervals by resampling: what a figure might have been, had chance picked other runs, or other stretches of a run.

The percentile bootstrap throughout (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), with a
generator of its own and a fixed seed: the same records give the same interval. Figures of several runs are resampled in
two stages, runs first and then the blocks of time inside each drawn run, so that both kinds of spread are in. What it
cannot know is told by others: a share that never changed gets its interval from Wilson's formula as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

RESAMPLES: Final = 2000
SEED: Final = 1
BLOCKS_MIN: Final = 4
"""Fewer blocks of time than this say nothing of a spread."""

Floats = npt.NDArray[np.float64]


def weights(blocks: Sequence[int], resamples: int = RESAMPLES) -> Floats:
    """Return how often each block is drawn in each resample, shape (resamples, sum of `blocks`).

    `blocks` is the number of blocks of each run. Runs are drawn with replacement, then as many blocks of each drawn run
    as it has.
    """
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(len(blocks), [1 / len(blocks)] * len(blocks), size=resamples)
    parts = [
        random.multinomial(drawn[:, place] * count, [1 / count] * count) for place, count in enumerate(blocks) if count
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def interval(values: Floats) -> tuple[float, float] | tuple[None, None]:
    """Return the middle 95 % of resampled values, those left out that are not finite."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None, None
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of the mean of one value a run; (None, None) below 2 values.

    Worked number: of 1 and 3 every fourth resample holds 1 twice, so the interval is 1 to 3.
    """
    if len(values) < 2:
        return None, None
    picks = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLES, len(values)))
    return interval(np.asarray(values, np.float64)[picks].mean(axis=1))


def ratio_interval(hits: Floats, of: Floats, drawn: Floats) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of sum(hits) / sum(of) over blocks, as `weights` drew them; both of shape (blocks,)."""
    above, below = drawn @ hits, drawn @ of
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(np.where(below > 0, above / below, np.nan))


def percentile_interval(
    blocks: Sequence[Floats], percent: float, drawn: Floats, bins: int = 1000
) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of a percentile (nearest-rank) of the values of all drawn blocks.

    Each value counts at the nearest of at most `bins` values that the blocks hold, taken evenly by rank: the error is
    at most one part in `bins` of the ranks.
    """
    together = np.sort(np.concatenate([np.zeros(0), *blocks]))
    if not len(together):
        return None, None
    ranks = np.unique(np.linspace(0, len(together) - 1, min(bins, len(together))).round().astype(np.int64))
    grid = np.unique(together[ranks])
    counts = np.stack([np.bincount(np.searchsorted(grid, block), minlength=len(grid)) for block in blocks])
    found = np.full(len(drawn), np.nan)
    for begin in range(0, len(drawn), 256):  # a few MB at a time
        cumulated = np.cumsum(drawn[begin : begin + 256] @ counts.astype(np.float64), axis=1)
        total = cumulated[:, -1]
        wanted = np.maximum(np.ceil(total * percent / 100), 1)
        at = np.count_nonzero(cumulated < wanted[:, None] - 1e-6, axis=1)
        found[begin : begin + 256] = np.where(total > 0, grid[np.minimum(at, len(grid) - 1)], np.nan)
    return interval(found)


def difference_interval(before: tuple[float, float, float], after: tuple[float, float, float]) -> tuple[float, float]:
    """Return the 95 % interval of after - before, each given as (value, low, high) of independent figures.

    The method of variance estimates recovery (Zou and Donner, Statistics in Medicine 27, 2008, 1693-1702), which needs
    neither interval to be symmetric; with Wilson's it is Newcombe's method 10 for the difference of two shares.

    Worked number: 10 (8 to 12) and 20 (17 to 23) differ by 10, 6.39 to 13.61.
    """
    (a, a_low, a_high), (b, b_low, b_high) = before, after
    difference = b - a
    return (
        difference - float(np.hypot(b - b_low, a_high - a)),
        difference + float(np.hypot(b_high - b, a - a_low)),
    )
