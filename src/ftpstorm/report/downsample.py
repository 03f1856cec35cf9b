"""Fewer points that look the same: of each stretch of time the lowest and the highest reading stay.

A mean would hide the one sample at which a pool was empty; what is drawn from here still holds every extreme.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def on_grid(t_ns: npt.NDArray[np.int64], values: npt.NDArray[Any], edges_ns: npt.NDArray[np.int64]) -> Floats:
    """Return the lowest and the highest value of a series between each two of `edges_ns`.

    `t_ns` ascends, shape (n,), as `values`; `edges_ns` ascends, shape (b + 1,). The result has shape (2b,): lowest and
    highest of the first bucket, of the second and so on; NaN where a bucket holds no reading. A reading on an edge
    belongs to the bucket that it begins; readings outside the edges are left out.
    """
    found = np.full((len(edges_ns) - 1, 2), np.nan)
    at = np.searchsorted(t_ns, edges_ns, side="left")
    filled = np.flatnonzero(at[1:] > at[:-1])
    if len(filled):
        inside = values[: at[-1]]
        # Only empty buckets lie between the starts of filled ones, so each stretch is one bucket's readings.
        found[filled, 0] = np.minimum.reduceat(inside, at[filled])
        found[filled, 1] = np.maximum.reduceat(inside, at[filled])
    return found.reshape(-1)


def grid_instants(edges_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the two instants that `on_grid` gives each bucket: its beginning and its middle, shape (2b,)."""
    begin = edges_ns[:-1]
    return np.stack((begin, begin + (edges_ns[1:] - begin) // 2), axis=1).reshape(-1)


def extreme_instants(values: npt.NDArray[Any], buckets: int) -> npt.NDArray[np.int64]:
    """Return, ascending, the indexes of the lowest and the highest value of each of `buckets` equal parts.

    At most 2 x `buckets`; `values` must hold no NaN and at least as many values as there are buckets.
    """
    part = np.arange(len(values)) * buckets // len(values)
    order = np.lexsort((values, part))
    starts = np.searchsorted(part, np.arange(buckets + 1))
    return np.unique(order[np.concatenate((starts[:-1], starts[1:] - 1))])
