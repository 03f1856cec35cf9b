"""Little's law: places wanted, first exhaustion, recovery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.limits.occupancy import occupancy, recovery_s, time_to_exhaustion_s


def test_97_a_second_held_two_seconds_want_194_ports() -> None:
    assert occupancy(97, 0, 2) == 194


def test_twenty_ports_at_97_a_second_are_gone_after_0_206_seconds() -> None:
    assert time_to_exhaustion_s(20, 97, 0, 2) == pytest.approx(0.206, abs=0.0005)


def test_a_default_range_at_1000_a_second_is_gone_after_28_seconds_and_never_at_400() -> None:
    assert time_to_exhaustion_s(28_232, 1_000, 0, 61) == pytest.approx(28.232)
    assert time_to_exhaustion_s(28_232, 400, 0, 61) is None


def test_what_comes_back_meanwhile_delays_exhaustion() -> None:
    assert time_to_exhaustion_s(20, 97, 0, 2, released_per_s=47) == pytest.approx(0.4)
    assert time_to_exhaustion_s(20, 97, 0, 2, released_per_s=97) is None


def test_recovery_takes_a_connection_and_its_hold() -> None:
    assert recovery_s(0.001, 2) == pytest.approx(2.001)


def test_negative_values_are_refused() -> None:
    with pytest.raises(ValueError, match="hold_s"):
        occupancy(1, 1, -1)
    with pytest.raises(ValueError, match="budget"):
        time_to_exhaustion_s(0, 1, 1, 1)


@given(budget=st.integers(1, 60_000), rate=st.floats(0.1, 5_000), hold=st.floats(0.1, 240))
def test_exhaustion_comes_before_the_first_release_or_never(budget: int, rate: float, hold: float) -> None:
    first = time_to_exhaustion_s(budget, rate, 0, hold)
    if first is None:
        assert rate * hold <= budget
    else:
        assert first < hold
