"""What a plan says of the kernels at both ends, and what a documented platform puts in their place."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.limits.profiles import profile_of
from ftpstorm.limits.timewait import exact_hold
from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.simulate.kernels import LINUX, Kernels, Suppose, TimeWait, kernels_of
from ftpstorm.units import NS_PER_S
from support.plans import make_plan


def lab_plan(lab: dict[str, Any], **changes: Any) -> Plan:
    plan = make_plan(**changes)
    raw = plan.scenario.model_dump(by_alias=True, mode="json")
    return plan.model_copy(update={"scenario": type(plan.scenario).model_validate({**raw, "lab": lab})})


def kernels(lab: dict[str, Any], **changes: Any) -> Kernels:
    return kernels_of(lab_plan(lab, **changes))


def test_linux_ends_time_wait_in_clumps_of_two_seconds() -> None:
    assert LINUX.end_ns(0) == 61_440_000_000
    ends = [LINUX.end_ns(second * NS_PER_S // 10) - second * NS_PER_S // 10 for second in range(2_048)]
    assert min(ends) >= 60.02 * NS_PER_S
    assert max(ends) <= 62.07 * NS_PER_S
    assert sum(ends) / len(ends) == pytest.approx(61 * NS_PER_S, rel=0.002)


def test_a_time_wait_without_clumps_lasts_exactly_its_time() -> None:
    assert TimeWait(exact_hold(240, "documented")).end_ns(7) == 240 * NS_PER_S + 7


def test_sysctls_of_a_lab_come_before_what_the_host_said() -> None:
    settings = {
        "ip_local_port_range": "40000\t40199",
        "net.ipv4.ip_local_reserved_ports": "40000,40010-40019,50000",
        "net.core.somaxconn": "25",
        "tcp_syncookies": 0,
        "tcp_abort_on_overflow": 1,
        "tcp_max_tw_buckets": 50,
    }
    found = kernels({"sysctls": {"client": settings}}, host=HostFacts(port_range=(32_768, 60_999), somaxconn=4096))
    assert (found.client.first, found.client.last, found.client.ports) == (40_000, 40_199, 189)
    assert found.client.somaxconn == 25
    assert found.client.syncookies == 0
    assert found.client.abort_on_overflow
    assert found.client.time_wait_max == 50
    assert (found.server.ports, found.server.somaxconn) == (28_232, 4096)
    assert not found.one_host


@pytest.mark.parametrize(
    ("lab", "hold_s"),
    [
        ({"topology": "pair"}, 61),
        ({"topology": "loopback"}, 1),
        ({"topology": "loopback", "own_address": True}, 61),
        ({"topology": "pair", "sysctls": {"client": {"tcp_tw_reuse": 1}}}, 1),
        ({"topology": "pair", "sysctls": {"client": {"tcp_tw_reuse": 1, "tcp_tw_reuse_delay": 5000}}}, 5),
        ({"topology": "pair", "sysctls": {"client": {"tcp_tw_reuse": 1, "tcp_timestamps": 0}}}, 61),
        ({"topology": "pair", "time_wait": "3s"}, 3),
    ],
)
def test_how_long_a_client_waits_for_a_port_of_its_own(lab: dict[str, Any], hold_s: float) -> None:
    assert kernels(lab).client.outgoing_hold.effective_s == hold_s


def test_a_shortened_time_wait_is_that_of_the_host_it_names() -> None:
    found = kernels({"time_wait": {"server": "2s"}})
    assert found.server.time_wait.end_ns(0) == 2 * NS_PER_S
    assert found.client.time_wait == LINUX


def test_a_documented_platform_brings_its_range_and_its_time_wait() -> None:
    windows = profile_of("windows-2003")
    found = kernels_of(make_plan(), Suppose(client=windows))
    assert windows.ports is not None
    assert windows.time_wait is not None
    assert found.client.ports == windows.ports.count
    assert found.client.time_wait.hold == windows.time_wait
    assert not found.client.reuse.possible
    assert found.server.platform is None


@pytest.mark.parametrize(
    ("release", "settings", "repeats_s"),
    [
        ("6.18.44", {}, (1, 2, 3, 4, 5, 7, 11, 19, 35, 67)),
        ("6.1.0-18-amd64", {}, (1, 3, 7, 15, 31, 63)),
        ("6.18.44", {"tcp_syn_linear_timeouts": "0", "tcp_syn_retries": "2"}, (1, 3)),
        ("6.18.44", {"tcp_syn_retries": "1"}, (1, 2, 3, 4, 5)),
    ],
)
def test_when_a_client_repeats_its_syn_is_as_its_kernel_and_its_settings_say(
    release: str, settings: dict[str, str], repeats_s: tuple[int, ...]
) -> None:
    found = kernels({"sysctls": {"client": settings}}, host=HostFacts(kernel=release))
    assert found.client.syn_repeats_ns == tuple(after * NS_PER_S for after in repeats_s)
