"""One monotonic scale, and its pairing with wall time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm import clock
from ftpstorm.clock import ClockPair, monotonic_ns, read_clock_pair

INSTANTS = st.integers(min_value=-(1 << 62), max_value=1 << 62)


def test_the_clock_is_the_scale_of_clock_monotonic() -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    now = monotonic_ns()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= now <= after


@given(INSTANTS, INSTANTS, INSTANTS)
def test_there_and_back_between_the_clocks_is_exact(monotonic: int, realtime: int, instant: int) -> None:
    pair = ClockPair(monotonic, realtime)
    assert pair.to_monotonic_ns(pair.to_realtime_ns(instant)) == instant


def test_a_pair_moves_an_instant_by_the_distance_of_the_clocks() -> None:
    assert ClockPair(1_000, 50_000).to_realtime_ns(1_250) == 50_250


def test_the_tightest_of_five_readings_is_the_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    # Before and after of five readings: spans of 100, 40, 2, 60 and 90 ns. The third is the one to trust.
    readings = iter([0, 100, 200, 240, 300, 302, 400, 460, 500, 590])
    wall = iter([1, 2, 3, 4, 5])
    monkeypatch.setattr(clock, "monotonic_ns", lambda: next(readings))
    monkeypatch.setattr(time, "time_ns", lambda: next(wall))
    assert read_clock_pair() == ClockPair(301, 3)
