"""The worked numbers of the client's port limits, and what the two spaces do to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.limits.ports import client_ports_limit, ephemeral_ports, four_tuple_budget, port_space_budget
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, NO_HOLD
from ftpstorm.vocabulary import Cause


def test_the_default_range_has_28232_ports() -> None:
    assert ephemeral_ports(32_768, 60_999) == 28_232


def test_reserved_ports_are_subtracted() -> None:
    assert ephemeral_ports(40_000, 40_099, reserved=10) == 90


@pytest.mark.parametrize(
    ("first", "last", "reserved"), [(0, 10, 0), (20, 10, 0), (10, 70_000, 0), (10, 19, 10), (10, 19, -1)]
)
def test_an_impossible_range_is_refused(first: int, last: int, reserved: int) -> None:
    with pytest.raises(ValueError):
        ephemeral_ports(first, last, reserved)


def test_the_four_tuple_space_multiplies_by_sources_and_destinations() -> None:
    assert four_tuple_budget(28_232, sources=1, destinations=2) == 56_464
    assert four_tuple_budget(20, sources=3, destinations=5) == 300


def test_an_odd_range_loses_one_port_except_a_range_of_one() -> None:
    assert four_tuple_budget(21) == 20
    assert four_tuple_budget(1) == 1


def test_the_port_space_knows_no_destinations() -> None:
    assert port_space_budget(20) == 20
    assert four_tuple_budget(20, destinations=5) == 100


def test_ports_of_others_are_gone_from_the_port_space() -> None:
    assert port_space_budget(20, owned=5) == 15
    assert port_space_budget(20, owned=50) == 0


def test_a_client_that_closes_first_gets_ports_over_time_wait() -> None:
    limit = client_ports_limit(subject="control", ports=28_232, life_s=0, hold=LINUX_TIME_WAIT)
    assert limit.name is Cause.CLIENT_EPHEMERAL_PORTS
    assert limit.concurrent == 28_232
    assert limit.per_s == pytest.approx(462.8, abs=0.05)
    assert limit.interval == pytest.approx((454.8, 470.4), abs=0.05)


def test_a_server_that_closes_first_leaves_only_open_connections_to_count() -> None:
    limit = client_ports_limit(subject="control", ports=1_000, life_s=0.5, hold=NO_HOLD)
    assert limit.per_s == 2_000
    assert limit.interval is None


def test_connections_that_last_no_time_have_no_rate_limit_but_a_count() -> None:
    limit = client_ports_limit(subject="control", ports=1_000, life_s=0, hold=NO_HOLD)
    assert limit.per_s is None
    assert limit.concurrent == 1_000


def test_binding_first_is_a_limit_of_another_name() -> None:
    limit = client_ports_limit(subject="all", ports=20, life_s=0, hold=LINUX_TIME_WAIT, destinations=5, space="port")
    assert limit.name is Cause.CLIENT_BIND_HABIT
    assert limit.concurrent == 20
    assert "D" not in limit.symbols


@given(
    ports=st.integers(1, 64_511),
    sources=st.integers(1, 50),
    destinations=st.integers(1, 50),
    life_s=st.floats(0.001, 1000),
)
def test_littles_law_holds_for_every_budget(ports: int, sources: int, destinations: int, life_s: float) -> None:
    limit = client_ports_limit(
        subject="x", ports=ports, life_s=life_s, hold=LINUX_TIME_WAIT, sources=sources, destinations=destinations
    )
    assert limit.per_s is not None
    assert limit.concurrent is not None
    assert limit.per_s * (LINUX_TIME_WAIT.effective_s + life_s) == pytest.approx(limit.concurrent)
