from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.report.downsample import extreme_instants, grid_instants, on_grid

readings = st.lists(st.integers(-1000, 1000), min_size=1, max_size=300)


@given(readings, st.integers(1, 50))
def test_the_grid_keeps_every_bucket_s_extremes_and_nothing_else(values: list[int], buckets: int) -> None:
    t_ns = np.arange(len(values), dtype=np.int64) * 10
    edges = np.linspace(0, len(values) * 10, buckets + 1).astype(np.int64)
    found = on_grid(t_ns, np.array(values, float), edges)
    for place in range(buckets):
        inside = [v for t, v in zip(t_ns, values, strict=True) if edges[place] <= t < edges[place + 1]]
        low, high = found[2 * place : 2 * place + 2]
        if inside:
            assert (low, high) == (min(inside), max(inside))
        else:
            assert np.isnan(low)
            assert np.isnan(high)


def test_readings_outside_the_edges_are_left_out() -> None:
    t_ns = np.array([-5, 3, 12, 20, 99], np.int64)
    found = on_grid(t_ns, np.array([9.0, 1, 2, 7, 8]), np.array([0, 10, 20], np.int64))
    assert found.tolist() == [1, 1, 2, 2]


def test_a_bucket_has_its_beginning_and_its_middle_as_instants() -> None:
    assert grid_instants(np.array([0, 10, 30], np.int64)).tolist() == [0, 5, 10, 20]


@given(readings, st.integers(1, 50))
def test_the_chosen_instants_hold_the_extremes_of_the_whole_in_order(values: list[int], buckets: int) -> None:
    if len(values) < buckets:
        return
    chosen = extreme_instants(np.array(values), buckets)
    assert len(chosen) <= 2 * buckets
    assert (np.diff(chosen) > 0).all()
    kept = [values[index] for index in chosen]
    assert (min(kept), max(kept)) == (min(values), max(values))
