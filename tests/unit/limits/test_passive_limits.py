"""The passive pool's ceiling N/(H + C)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.limits.passive import passive_pool_ceiling, passive_pool_limit
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, NO_HOLD, exact_hold


def test_twenty_ports_held_two_seconds_carry_ten_a_second() -> None:
    assert passive_pool_ceiling(20, 2, 0) == 10


def test_twenty_ports_held_120_seconds_carry_ten_a_minute() -> None:
    assert passive_pool_ceiling(20, 120, 0) * 60 == pytest.approx(10)


def test_the_limit_names_rate_count_and_symbols() -> None:
    limit = passive_pool_limit(20, exact_hold(2, "held"), 0.001)
    assert limit.per_s == pytest.approx(9.995, abs=0.0005)
    assert limit.concurrent == 20
    assert {key: symbol.value for key, symbol in limit.symbols.items()} == {"N": 20, "H": 2, "C": 0.001}
    assert limit.counts == "transfers"


def test_a_kernels_time_wait_gives_an_interval() -> None:
    limit = passive_pool_limit(20, LINUX_TIME_WAIT, 0)
    assert limit.interval == pytest.approx((20 / 62.07, 20 / 60.02))


def test_without_hold_only_ports_in_use_count() -> None:
    assert passive_pool_limit(20, NO_HOLD, 0.01).per_s == pytest.approx(2_000)
    assert passive_pool_limit(20, NO_HOLD, 0).per_s is None


@pytest.mark.parametrize(("ports", "hold", "life"), [(0, 2, 0), (20, -1, 0), (20, 2, -1), (20, 0, 0)])
def test_impossible_pools_are_refused(ports: int, hold: float, life: float) -> None:
    with pytest.raises(ValueError):
        passive_pool_ceiling(ports, hold, life)


@given(ports=st.integers(1, 20_000), hold=st.floats(0.01, 300), life=st.floats(0, 60))
def test_twice_the_ports_carry_twice_as_much_and_a_longer_hold_less(ports: int, hold: float, life: float) -> None:
    one = passive_pool_ceiling(ports, hold, life)
    assert passive_pool_ceiling(2 * ports, hold, life) == pytest.approx(2 * one)
    assert passive_pool_ceiling(ports, hold * 2, life) < one


def test_ports_that_listen_for_nobody_are_places_of_the_pool() -> None:
    assert passive_pool_ceiling(20, 0, 0, 9) == pytest.approx(20 / 9)
    limit = passive_pool_limit(20, exact_hold(2, "held"), 0.5, unused_s=7.5)
    assert limit.per_s == pytest.approx(2)
    assert limit.equation == "R = N/(H + C + W)"
    assert limit.symbols["W"].value == 7.5
    interval = passive_pool_limit(20, LINUX_TIME_WAIT, 0, unused_s=9).interval
    assert interval == pytest.approx((20 / 71.07, 20 / 69.02))


def test_a_pool_of_which_ports_are_only_asked_for_bounds_sessions() -> None:
    limit = passive_pool_limit(20, NO_HOLD, 0, unused_s=4, counts="sessions")
    assert (limit.per_s, limit.counts) == (5, "sessions")
