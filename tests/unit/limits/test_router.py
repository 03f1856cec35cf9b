"""NAT, connection tracking and firewall: the worked numbers."""

from __future__ import annotations

import pytest

from ftpstorm.limits.router import (
    connection_count_limit,
    conntrack_limit,
    nat_hold,
    nat_limit,
    new_connection_rate_limit,
)
from ftpstorm.limits.timewait import exact_hold
from ftpstorm.vocabulary import Cause, Side


def test_nat_is_bound_by_connections_at_one_time_for_each_destination() -> None:
    limit = nat_limit(100, 10)
    assert (limit.name, limit.side) == (Cause.NAT_POOL, Side.ROUTER)
    assert (limit.per_s, limit.concurrent) == (10, 100)
    assert nat_limit(100, 10, addresses=2, destinations=3).concurrent == 600


def test_nat_has_no_rate_where_closed_entries_make_room_and_connections_last_no_time() -> None:
    limit = nat_limit(100, 0, nat_hold((6, 18)))
    assert (limit.per_s, limit.concurrent) == (None, 100)


@pytest.mark.parametrize("kernel", [None, (5, 15)])
def test_before_6_5_the_rate_is_an_interval_that_nobody_measured(kernel: tuple[int, int] | None) -> None:
    hold = nat_hold(kernel)
    assert (hold.low_s, hold.high_s) == (0, 120)
    assert "not measured" in hold.why
    limit = nat_limit(100, 1, hold)
    assert limit.interval == pytest.approx((100 / 121, 100))
    assert nat_limit(100, 0, hold).per_s == pytest.approx(0.833, abs=0.001)


def test_kernels_from_6_5_on_hold_nothing() -> None:
    assert nat_hold((6, 5)).high_s == 0
    assert nat_hold((6, 4)).high_s == 120


def test_a_full_table_drops_closed_entries_early_unless_told_otherwise() -> None:
    assert conntrack_limit(262_144, 1).per_s == 262_144
    kept = conntrack_limit(262_144, 1, closed_make_room=False)
    assert kept.per_s == pytest.approx(2166, abs=1)
    assert kept.concurrent == 262_144


def test_a_firewalls_cap_is_for_each_address() -> None:
    assert connection_count_limit(10, 2.5).per_s == 4
    assert connection_count_limit(10, 2.5, clients=3).per_s == 12
    assert connection_count_limit(10, 2.5).name is Cause.PER_ADDRESS_LIMIT


def test_a_firewalls_rate_is_the_rate() -> None:
    assert new_connection_rate_limit(50).per_s == 50


@pytest.mark.parametrize(
    "call",
    [
        lambda: nat_limit(0, 1),
        lambda: conntrack_limit(0, 1),
        lambda: connection_count_limit(0, 1),
        lambda: new_connection_rate_limit(0),
        lambda: nat_hold(None, -1),
        lambda: nat_limit(1, 1, exact_hold(-1, "x")),
    ],
)
def test_impossible_figures_are_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(ValueError):
        call()
