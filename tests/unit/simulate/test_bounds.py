"""The path's limits of a plan: which apply, what they come to, which binds."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.limits.limit import Limit
from ftpstorm.plan.plan import HostFacts
from ftpstorm.simulate.bounds import path_limits
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.shape import shape_of
from ftpstorm.simulate.world import load_models
from ftpstorm.vocabulary import Cause
from support.plans import make_plan


def limits(**plan: Any) -> tuple[Limit, ...]:
    made = make_plan(**plan)
    return path_limits(made, shape_of(made, load_models(made, ServiceTimes()), ServiceTimes()))


def named(found: tuple[Limit, ...], name: Cause) -> list[Limit]:
    return [limit for limit in found if limit.name is name]


def test_a_held_pool_binds_at_n_over_h_plus_c() -> None:
    found = limits(emulator={"passive_ports": 20, "hold": {"for": "2s"}})
    assert found[0].name is Cause.SERVER_PASSIVE_POOL
    assert found[0].binding
    assert found[0].per_s == pytest.approx(20 / 2.000652048)


def test_a_connection_cap_binds_where_sessions_are_long() -> None:
    steps = ["login", {"think": "2s"}, {"retr": "small.bin"}, "quit"]
    found = limits(steps=steps, emulator={"max_connections": {"count": 10}})
    assert found[0].name is Cause.SERVER_CONNECTION_CAP
    assert found[0].per_s == pytest.approx(5, rel=0.01)


def test_an_accept_rate_counts_in_transfers() -> None:
    steps = ["login", {"repeat": {"times": 4, "steps": [{"retr": "small.bin"}]}}, "quit"]
    (limit,) = named(limits(steps=steps, emulator={"accept_rate": "3/s"}), Cause.SLOW_ACCEPT)
    assert limit.per_s == pytest.approx(12)
    assert limit.counts == "transfers"


def test_uploads_off_loopback_are_bound_by_the_clients_time_wait() -> None:
    host = HostFacts(port_range=(40_000, 40_999), tcp_tw_reuse=0)
    found = named(
        limits(steps=["login", {"stor": "1B"}, "quit"], emulator={"passive_ports": 2}, host=host),
        Cause.CLIENT_EPHEMERAL_PORTS,
    )
    data = next(limit for limit in found if limit.subject.startswith("data"))
    assert data.per_s == pytest.approx(2 * 1000 / 61, rel=0.001)
    assert data.interval == pytest.approx((2000 / 62.07, 2000 / 60.02), rel=0.001)


def test_loopback_reuse_lifts_that_limit_sixtyfold() -> None:
    host = HostFacts(port_range=(40_000, 40_999))
    found = named(limits(steps=["login", {"stor": "1B"}, "quit"], emulator={"passive_ports": 1}, host=host),
                  Cause.CLIENT_EPHEMERAL_PORTS)  # fmt: skip
    data = next(limit for limit in found if limit.subject.startswith("data"))
    assert data.per_s == pytest.approx(1000, rel=0.001)


def test_binding_first_has_one_limit_for_control_and_data() -> None:
    host = HostFacts(port_range=(40_000, 40_999))
    client = {"bind": "port", "source_addresses": ["127.0.0.1"]}
    found = limits(steps=["login", {"stor": "1B"}, "quit"], client=client, host=host)
    (shared,) = named(found, Cause.CLIENT_BIND_HABIT)
    assert shared.concurrent == 1000
    assert shared.per_s == pytest.approx(1000 / 61, rel=0.001)
    (other,) = named(found, Cause.CLIENT_EPHEMERAL_PORTS)
    assert not other.applies


def test_a_remote_servers_limits_are_unknown_not_absent() -> None:
    found = limits(target={"host": "192.0.2.1", "passive_ports": "5000-5019"})
    unknown = {limit.name for limit in found if limit.unknown}
    assert {Cause.SERVER_PASSIVE_POOL, Cause.SERVER_CONNECTION_CAP} <= unknown
    (pool,) = named(found, Cause.SERVER_PASSIVE_POOL)
    assert "5000-5019" in (pool.not_applicable_reason or "")


def test_files_bound_sessions_over_all_workers() -> None:
    (limit,) = named(limits(host=HostFacts(nofile_hard=1_024), workers=2), Cause.CLIENT_FILES)
    assert limit.concurrent == 1_024 - 32


def test_without_transfers_there_is_no_pool_limit_and_rates_are_of_sessions() -> None:
    found = limits(steps=["login", "quit"])
    assert not named(found, Cause.SERVER_PASSIVE_POOL)
    assert {limit.counts for limit in found} == {"sessions"}


def test_services_that_take_no_time_leave_counts() -> None:
    made = make_plan()
    service = ServiceTimes(0, 0, 0, 0, 10**15, 0, 0)
    found = path_limits(made, shape_of(made, load_models(made, service), service))
    assert not any(limit.binding for limit in found)
    assert all(limit.concurrent is not None for limit in found if limit.applies)


def test_ports_that_are_asked_for_and_never_used_bind_the_pool() -> None:
    found = limits(steps=["login", "pasv-only", {"think": "3s"}, "quit"], emulator={"passive_ports": 20})
    assert found[0].name is Cause.SERVER_PASSIVE_POOL
    assert found[0].counts == "sessions"
    assert found[0].per_s == pytest.approx(20 / 3.0003)


def test_they_share_the_pool_with_transfers() -> None:
    steps = ["login", "pasv-only", {"think": "3s"}, {"retr": "small.bin"}, "quit"]
    (pool,) = named(
        limits(steps=steps, emulator={"passive_ports": 20, "hold": {"for": "2s"}}), Cause.SERVER_PASSIVE_POOL
    )
    assert pool.counts == "transfers"
    assert pool.per_s == pytest.approx(20 / (2 + 0.000652048 + 3.0002))
