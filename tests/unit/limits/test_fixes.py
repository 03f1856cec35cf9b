"""Fixes as data: each cause on each platform has one, with host, moment and risk."""

from __future__ import annotations

from typing import get_args

import pytest

from ftpstorm.limits.fixes import FIXES, fixes
from ftpstorm.limits.platform import Platform
from ftpstorm.limits.settings import (
    TakesEffect,
    passive_range_settings,
    range_settings,
    reuse_settings,
    span,
    time_wait_settings,
)
from ftpstorm.vocabulary import Cause, Side


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("platform", Platform)
def test_every_cause_on_every_platform_has_a_fix(cause: Cause, platform: Platform) -> None:
    found = fixes(cause, platform=platform)
    assert bool(found) == (cause is not Cause.NONE)
    for fix in found:
        assert fix.host in ("client", "server", "router")
        assert fix.takes_effect in get_args(TakesEffect)
        assert fix.command
        assert fix.risk


def test_every_cause_has_words_that_fit_everywhere() -> None:
    assert set(FIXES) == set(Cause)
    assert all(Platform.ANY in rows for rows in FIXES.values())


@pytest.mark.parametrize(
    ("cause", "side", "platform", "words"),
    [
        (Cause.CLIENT_EPHEMERAL_PORTS, Side.CLIENT, Platform.LINUX, "ip_local_port_range"),
        (Cause.CLIENT_EPHEMERAL_PORTS, Side.CLIENT, Platform.WINDOWS_LEGACY, "MaxUserPort"),
        (Cause.CLIENT_EPHEMERAL_PORTS, Side.CLIENT, Platform.WINDOWS, "netsh int ipv4 set dynamicport"),
        (Cause.CLIENT_BIND_HABIT, Side.CLIENT, Platform.LINUX, "IP_BIND_ADDRESS_NO_PORT"),
        (Cause.SERVER_PASSIVE_POOL, Side.SERVER, Platform.VSFTPD, "pasv_max_port"),
        (Cause.SERVER_PASSIVE_POOL, Side.SERVER, Platform.PROFTPD, "PassivePorts"),
        (Cause.SERVER_PASSIVE_POOL, Side.SERVER, Platform.PURE_FTPD, "-p 50000:"),
        (Cause.SERVER_PASSIVE_POOL, Side.SERVER, Platform.INETUTILS_FTPD, "ip_local_port_range"),
        (Cause.SERVER_PASSIVE_POOL, Side.SERVER, Platform.IIS_6, "PassivePortRange"),
        (Cause.RESET_AFTER_ACCEPT, Side.SERVER, Platform.IIS_6, "ListenBacklog"),
        (Cause.BACKLOG_GHOST, Side.SERVER, Platform.LINUX, "somaxconn"),
        (Cause.SERVER_CONNECTION_CAP, Side.SERVER, Platform.IIS, "maxConnections"),
        (Cause.NAT_POOL, Side.ROUTER, Platform.GCP_NAT, "min-ports-per-vm"),
        (Cause.PER_ADDRESS_LIMIT, Side.ROUTER, Platform.LINUX, "ct count"),
        (Cause.FIREWALL_NO_HELPER, Side.ROUTER, Platform.LINUX, "ct helper"),
    ],
)
def test_a_fix_speaks_the_words_of_its_platform(cause: Cause, side: Side, platform: Platform, words: str) -> None:
    found = fixes(cause, side, platform)
    assert any(words in fix.command for fix in found)
    assert {fix.host for fix in found} == {side.value}


def test_a_shortened_time_wait_says_its_risk_and_needs_a_reboot() -> None:
    [fix] = time_wait_settings(Platform.WINDOWS_LEGACY, 30)
    assert "late segments" in fix.risk
    assert fix.takes_effect == "reboot"


def test_linux_has_no_setting_for_time_wait_and_others_no_reuse() -> None:
    assert time_wait_settings(Platform.LINUX, 30) == ()
    assert reuse_settings(Platform.WINDOWS) == ()
    assert any("tcp_tw_reuse_delay=500" in fix.command for fix in reuse_settings(Platform.LINUX, 0.5))


def test_max_user_port_means_the_highest_port() -> None:
    assert "/d 65534 " in range_settings(Platform.WINDOWS_LEGACY, 64_510)[0].command  # from 1025 on
    assert "/d 65534 " in range_settings(Platform.WINDOWS_MS08_037, 64_511)[0].command  # from 1024 on


def test_macos_is_told_half_of_it_in_milliseconds() -> None:
    assert time_wait_settings(Platform.MACOS, 30)[0].command == "sysctl net.inet.tcp.msl=15000"


def test_a_range_ends_where_the_default_does_while_it_fits() -> None:
    assert span(28_232, 60_999) == (32_768, 60_999)
    with pytest.raises(ValueError, match="1024"):
        span(64_513)


def test_the_ports_that_are_wanted_stand_in_the_setting() -> None:
    [fix] = fixes(Cause.SERVER_PASSIVE_POOL, Side.SERVER, Platform.EMULATOR, places=195)
    assert fix.command.endswith("target.emulator.passive_ports=195")
    [fix] = fixes(Cause.SERVER_PASSIVE_POOL, Side.SERVER, Platform.VSFTPD, places=1_000)
    assert "pasv_min_port=50000, pasv_max_port=50999" in fix.command


def test_no_server_has_a_passive_range_to_set() -> None:
    assert passive_range_settings(Platform.MACOS, 100) == ()


def test_a_server_that_cannot_connect_from_port_20_is_told_to_share_it() -> None:
    found = fixes(Cause.DATA_CONNECTION_IN_USE, Side.SERVER)
    assert [fix.host for fix in found] == ["server"]
    assert "SO_REUSEADDR" in found[0].command
