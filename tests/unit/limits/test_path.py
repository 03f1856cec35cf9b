"""The path's limit is the least of all, in one unit."""

from __future__ import annotations

import pytest

from ftpstorm.limits.connections import accept_rate_limit, connection_cap_limit
from ftpstorm.limits.limit import not_applicable
from ftpstorm.limits.passive import passive_pool_limit
from ftpstorm.limits.path import least, mark_binding, rescale
from ftpstorm.limits.ports import client_ports_limit
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, NO_HOLD, exact_hold
from ftpstorm.vocabulary import Cause, Side

POOL = passive_pool_limit(20, exact_hold(2, "held"), 0)
ABSENT_CAP = not_applicable(Cause.SERVER_CONNECTION_CAP, Side.SERVER, "sessions", "R = K/L", "-", "no cap")


def test_fifty_sessions_a_second_of_five_transfers_are_250_transfers() -> None:
    limit = rescale(accept_rate_limit(50, 100), "transfers", 1 / 5)
    assert limit.per_s == pytest.approx(250)
    assert limit.counts == "transfers"
    assert limit.symbols["u"].value == pytest.approx(0.2)


def test_rescaling_takes_the_interval_along_and_keeps_the_count() -> None:
    ports = client_ports_limit(subject="x", ports=1_000, life_s=0, hold=LINUX_TIME_WAIT)
    limit = rescale(ports, "sessions", 2)
    assert ports.interval is not None
    assert limit.interval == pytest.approx((ports.interval[0] / 2, ports.interval[1] / 2))
    assert limit.concurrent == 1_000


def test_the_lowest_rate_binds_and_comes_first() -> None:
    slow = rescale(accept_rate_limit(50, 100), "transfers", 1 / 5)
    ports = rescale(client_ports_limit(subject="x", ports=28_232, life_s=0, hold=LINUX_TIME_WAIT), "transfers", 1)
    ordered = mark_binding([ports, ABSENT_CAP, slow, POOL])
    assert [limit.name for limit in ordered] == [
        Cause.SERVER_PASSIVE_POOL,
        Cause.SLOW_ACCEPT,
        Cause.CLIENT_EPHEMERAL_PORTS,
        Cause.SERVER_CONNECTION_CAP,
    ]
    assert [limit.binding for limit in ordered] == [True, False, False, False]


def test_a_count_without_a_rate_never_binds() -> None:
    count_only = rescale(connection_cap_limit(10, 0), "transfers", 1)
    assert least([count_only, ABSENT_CAP]) is None
    assert not any(limit.binding for limit in mark_binding([count_only, ABSENT_CAP]))
    assert passive_pool_limit(3, NO_HOLD, 0).per_s is None


def test_rates_of_different_things_are_not_compared() -> None:
    with pytest.raises(ValueError, match="one unit"):
        least([POOL, accept_rate_limit(50, 100)])
