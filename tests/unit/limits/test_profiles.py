"""What is documented of platforms, and the arithmetic that users know."""

from __future__ import annotations

import re

import pytest

from ftpstorm.limits.platform import Platform, lineage
from ftpstorm.limits.profiles import PROFILES, Ports, profile_as_given, profile_of


@pytest.mark.parametrize(
    ("name", "per_s"),
    [
        ("linux", 462.8),
        ("windows-2000", 16.57),
        ("windows-2003", 33.13),
        ("windows-2003-ms08-037", 136.5),
        ("windows-2003-tuned", 2150.3),
        ("windows", 136.5),
        ("macos", 546.1),
        ("gcp-nat", 0.533),
        ("azure-nat", 992.5),
        ("passive-20", 1 / 6),
    ],
)
def test_the_rate_of_a_platform_is_ports_over_time_wait(name: str, per_s: float) -> None:
    assert PROFILES[name].per_s == pytest.approx(per_s, rel=1e-3)


def test_4000_ports_and_120_seconds_are_33_a_second_and_20_are_10_a_minute() -> None:
    many, few = profile_as_given(4_000, 120).per_s, profile_as_given(20, 120).per_s
    assert many is not None
    assert few is not None
    assert many == pytest.approx(33.3, abs=0.05)
    assert few * 60 == pytest.approx(10)
    with pytest.raises(ValueError, match="above 0"):
        profile_as_given(20, 0)


def test_conflicting_sources_are_an_interval() -> None:
    assert PROFILES["windows-2003"].per_s_interval == pytest.approx((16.57, 33.13), abs=0.01)
    assert PROFILES["windows-2000"].per_s_interval is None


def test_what_nobody_says_is_none_with_the_reason() -> None:
    for profile in PROFILES.values():
        assert (profile.time_wait is None) == bool(profile.unknown), profile.name
    assert PROFILES["aws-nat"].per_s is None


def test_every_figure_has_a_source_and_no_address_of_a_page() -> None:
    for profile in PROFILES.values():
        sources = [fact.source for fact in profile.facts]
        sources += [profile.ports.source] if profile.ports is not None else []
        sources += [profile.time_wait_source] if profile.time_wait is not None else []
        assert sources, profile.name
        assert all(source and not re.search(r"https?:|www\.", source) for source in sources), profile.name


def test_only_linux_was_measured() -> None:
    assert {name for name, profile in PROFILES.items() if profile.measured} == {"linux", "linux-tuned", "linux-reuse"}


def test_a_range_has_as_many_ports_as_it_says() -> None:
    assert PROFILES["linux"].port_range == (32_768, 60_999)
    assert PROFILES["aws-nat"].port_range is None
    with pytest.raises(ValueError, match="are not"):
        Ports(10, 10, 10, "x", 1, 5)
    with pytest.raises(ValueError, match="low"):
        Ports(10, 11, 12, "x")


def test_iis_6_says_what_the_story_needs() -> None:
    facts = {fact.name: fact.value for fact in PROFILES["iis-6"].facts}
    assert "25" in facts["ListenBacklog"]
    assert {"ServerListenBacklog", "MaxConnections", "MaxPoolThreads"} <= set(facts)


def test_the_four_minute_rule_is_240_seconds() -> None:
    hold = PROFILES["filezilla"].time_wait
    assert hold is not None
    assert hold.effective_s == 240


def test_an_unknown_profile_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="windows-2003"):
        profile_of("windows-95")


def test_a_program_runs_on_a_system_and_all_end_at_any() -> None:
    assert lineage(Platform.IIS_6) == (Platform.IIS_6, Platform.WINDOWS_LEGACY, Platform.ANY)
    assert all(lineage(platform)[-1] is Platform.ANY for platform in Platform)
