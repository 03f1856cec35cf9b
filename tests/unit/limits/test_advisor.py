"""The limits read backwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.limits.advisor import Option, advise, need_for, ports_needed, time_wait_needed
from ftpstorm.limits.connections import accept_rate_limit
from ftpstorm.limits.passive import passive_pool_limit
from ftpstorm.limits.path import rescale
from ftpstorm.limits.ports import client_ports_limit
from ftpstorm.limits.profiles import PROFILES
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, exact_hold


def options(name: str, rate: float) -> dict[str, list[Option]]:
    found: dict[str, list[Option]] = {}
    for option in advise(PROFILES[name], rate).options:
        found.setdefault(option.means, []).append(option)
    return found


def commands(option: Option) -> str:
    return " ".join(fix.command for fix in option.settings)


@pytest.mark.parametrize(
    ("time_wait_s", "ports"), [(240, 96_000), (120, 48_000), (30, 12_000), (LINUX_TIME_WAIT.high_s, 24_828)]
)
def test_400_a_second_need_this_many_ports(time_wait_s: float, ports: int) -> None:
    assert ports_needed(400, time_wait_s) == ports


def test_400_a_second_need_this_time_wait() -> None:
    assert time_wait_needed(3_976, 400) == pytest.approx(9.94)
    assert time_wait_needed(16_384, 400) == pytest.approx(40.96)


@given(rate=st.floats(0.1, 5000), time_wait_s=st.floats(0, 300), life_s=st.floats(0, 10), spread=st.integers(1, 50))
def test_the_ports_that_are_needed_do_bear_the_rate(
    rate: float, time_wait_s: float, life_s: float, spread: int
) -> None:
    ports = ports_needed(rate, time_wait_s, life_s, spread)
    assert ports % 2 == 0
    assert ports * spread >= rate * (time_wait_s + life_s) * (1 - 1e-6)
    if ports > 2:
        assert (ports - 2) * spread < rate * (time_wait_s + life_s) * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.time_wait and profile.ports])
@pytest.mark.parametrize("rate", [0.01, 10, 400, 5_000])
def test_every_option_bears_the_rate_and_can_be_set(name: str, rate: float) -> None:
    profile = PROFILES[name]
    found = advise(profile, rate).options
    assert found
    for option in found:
        assert option.reaches_per_s >= rate * (1 - 1e-9), option
        assert option.means == "nothing" or option.settings, option
        if profile.time_wait_settable is not None and "time-wait" in option.means:
            low, high = profile.time_wait_settable
            assert low <= option.time_wait_s <= high
        if option.means.startswith("range"):
            assert profile.ports_most is not None
            assert option.ports <= profile.ports_most


def test_old_windows_is_told_registry_lines_and_a_reboot() -> None:
    [*both] = options("windows-2003", 400)["range-and-time-wait"]
    assert [(option.ports, option.time_wait_s) for option in both] == [(64_510, 161), (48_000, 120), (12_000, 30)]
    assert "/v MaxUserPort /t REG_DWORD /d 65534 " in commands(both[0])
    assert "/v TcpTimedWaitDelay /t REG_DWORD /d 30 " in commands(both[2])
    assert {fix.takes_effect for fix in both[0].settings} == {"reboot"}
    assert all("late segments" in fix.risk or "service" in fix.risk for fix in both[0].settings)


def test_a_time_wait_that_the_platform_refuses_is_not_advised() -> None:
    assert "time-wait" not in options("windows-2000", 400)  # 9 s: out of range there
    assert options("windows-2003", 400)["time-wait"][0].time_wait_s == 9


def test_later_windows_is_told_netsh() -> None:
    both = options("windows", 400)["range-and-time-wait"]
    assert commands(both[0]).startswith("netsh int ipv4 set dynamicport tcp start=1025 num=64511")


def test_linux_is_told_a_range_or_reuse_and_never_a_shorter_time_wait() -> None:
    found = options("linux", 900)
    assert set(found) == {"range", "reuse", "addresses"}
    assert 'ip_local_port_range="5136 60999"' in commands(found["range"][0])
    assert "tcp_tw_reuse=1" in commands(found["reuse"][0])


def test_a_platform_that_bears_it_is_left_alone() -> None:
    [option] = advise(PROFILES["linux"], 400).options
    assert (option.means, option.settings) == ("nothing", ())


def test_an_unknown_time_wait_is_said_to_be_unknown() -> None:
    advice = advise(PROFILES["aws-nat"], 400)
    assert (advice.now_per_s, advice.options) == (None, ())
    assert "55,000" in advice.why


def test_filezillas_rule_gives_a_range_or_says_that_none_is_wide_enough() -> None:
    [option] = advise(PROFILES["filezilla"], 40).options
    assert option.ports == 9_600
    assert "96,000" in advise(PROFILES["filezilla"], 400).why


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        advise(PROFILES["linux"], 0)


def test_a_pool_needs_more_ports_or_a_shorter_hold() -> None:
    need = need_for(passive_pool_limit(20, exact_hold(2, "held"), 0), 97)
    assert need is not None
    assert (need.symbol, need.now, need.needed, need.hold_symbol) == ("N", 20, 194, "H")
    assert need.hold_needed_s == pytest.approx(20 / 97)


def test_a_need_counts_what_the_limit_counts() -> None:
    ports = client_ports_limit(subject="x", ports=1_000, life_s=0, hold=LINUX_TIME_WAIT)
    need = need_for(rescale(ports, "transfers", 0.2), 1_000)
    assert need is not None
    assert need.needed == 12_414  # 1,000 transfers are 200 connections, and 62.07 s the longest hold
    assert need.hold_needed_s == pytest.approx(5)


def test_a_limit_without_a_hold_has_none_to_shorten() -> None:
    need = need_for(accept_rate_limit(50, 100), 100)
    assert need is not None
    assert (need.needed, need.hold_symbol, need.hold_needed_s) == (100, None, None)


def test_a_limit_that_bears_the_rate_needs_nothing() -> None:
    assert need_for(accept_rate_limit(50, 100), 50) is None
