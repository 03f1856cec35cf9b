"""``ftpstorm limits`` as its user meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftpstorm.cli import main
from ftpstorm.conduct.limits_asked import answer_limits, platform_at
from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.limits.platform import Platform
from ftpstorm.limits.profiles import PROFILES
from ftpstorm.scenario.target import Target
from ftpstorm.vocabulary import Cause, Side


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["limits", *arguments]) == 0
    return capsys.readouterr().out


def asked_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    answer = json.loads(asked(capsys, *arguments, "--json"))
    assert isinstance(answer, dict)
    return answer


def test_without_a_name_every_profile_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    answer = asked_json(capsys)
    assert [profile["name"] for profile in answer["profiles"]] == list(PROFILES)
    text = asked(capsys)
    assert "33.1" in text
    assert "TIME_WAIT" in text


def test_the_table_fits_into_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = asked(capsys)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert "\n  ms08-037 " in text  # a long name is cut at a hyphen, not in a word
    for profile in PROFILES.values():
        if profile.per_s is not None:
            assert f"{round(profile.per_s * 3600):,}" in text, profile.name


def test_named_profiles_alone_are_shown_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    text = asked(capsys, "--profile", "windows-2003", "--profile", "linux", "--sources")
    assert "windows-2000" not in text
    assert "MaxUserPort" in text
    assert "documented, not measured" in text


def test_figures_of_ones_own_give_the_stories_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    [profile] = asked_json(capsys, "--ports", "4000", "--time-wait", "120s")["profiles"]
    assert profile["per_s"] == pytest.approx(33.33, abs=0.01)
    [profile] = asked_json(capsys, "--ports", "20", "--time-wait", "120s")["profiles"]
    assert profile["per_min"] == pytest.approx(10)


def test_a_rate_is_answered_backwards_for_each_profile(capsys: pytest.CaptureFixture[str]) -> None:
    answer = asked_json(capsys, "--for-rate", "400/s", "--profile", "windows-2003")
    [advice] = answer["advice"]
    assert {option["means"] for option in advice["options"]} == {"time-wait", "range-and-time-wait", "addresses"}
    text = asked(capsys, "--for-rate", "400/s", "--profile", "windows-2003")
    assert "MaxUserPort" in text
    assert "TcpTimedWaitDelay" in text
    assert "[reboot]" in text
    assert "risk: late segments" in " ".join(text.split())


def test_a_scenario_shows_its_paths_limits_in_order_with_the_binding_one_marked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [path] = asked_json(capsys, "try-later-425")["paths"]
    rated = [limit for limit in path["limits"] if limit["applies"] and limit["per_s"] is not None]
    assert [limit["per_s"] for limit in rated] == sorted(limit["per_s"] for limit in rated)
    assert [limit["name"] for limit in path["limits"] if limit["binding"]] == ["server-passive-pool"]
    text = asked(capsys, "try-later-425")
    assert ">  server-passive-pool (server)" in text


def test_a_profile_stands_on_a_scenarios_path() -> None:
    [path] = answer_limits("try-later-425", ["windows-2003"]).paths
    assert path.profile == "windows-2003"
    [control] = [limit for limit in path.limits if limit.name is Cause.CLIENT_EPHEMERAL_PORTS][:1]
    assert control.concurrent == 3_976


def test_a_scenario_and_a_rate_say_what_falls_short_and_how_to_mend_it() -> None:
    [path] = answer_limits("try-later-425", for_rate="97/s").paths
    [entry] = path.wanted
    assert entry.limit.name is Cause.SERVER_PASSIVE_POOL
    assert 194 <= entry.need.needed <= 195
    assert f"passive_ports={entry.need.needed}" in entry.fixes[0].command


def test_a_rate_that_all_bear_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "every limit that is known bears it" in asked(capsys, "try-later-425", "--for-rate", "1/s")


def test_a_variant_and_an_override_change_the_limits() -> None:
    for more in ({"variant": "after"}, {"overrides": ["target.emulator.passive_ports=1000"]}):
        [path] = answer_limits("try-later-425", **more).paths  # type: ignore[arg-type]
        [pool] = [limit for limit in path.limits if limit.name is Cause.SERVER_PASSIVE_POOL]
        assert pool.concurrent == 1_000


def test_fixes_speak_the_words_of_what_stands_there() -> None:
    vsftpd = Target.model_validate({"server": {"name": "vsftpd"}})
    own = Target.model_validate({"server": {"command": ["ftpd"]}})
    windows, gateway = PROFILES["windows"], PROFILES["aws-nat"]
    assert platform_at(Side.SERVER, vsftpd, windows) is Platform.VSFTPD
    assert platform_at(Side.SERVER, own, None) is Platform.ANY
    assert platform_at(Side.CLIENT, vsftpd, windows) is Platform.WINDOWS
    assert platform_at(Side.CLIENT, vsftpd, gateway) is Platform.LINUX
    assert platform_at(Side.ROUTER, vsftpd, gateway) is Platform.AWS_NAT
    assert platform_at(Side.ROUTER, vsftpd, windows) is Platform.LINUX


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--profile", "windows-95"], "windows-2003"),
        (["--for-rate", "400"], "--for-rate 400"),
        (["--for-rate", "0/s"], "above 0"),
        (["--ports", "20"], "--time-wait"),
        (["--ports", "20", "--time-wait", "0s"], "above 0"),
        (["--set", "a=b"], "name one"),
        (["try-later-425", "--profile", "iis-6"], "no ports of its own"),
        (["no-such-scenario"], "no-such-scenario"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["limits", *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err


def test_the_api_of_the_command_raises_the_same_error() -> None:
    with pytest.raises(UsageError, match="windows-95"):
        answer_limits(None, ["windows-95"])


@pytest.mark.parametrize("variant", [None, "pyftpdlib", "proftpd"])
def test_ports_that_are_only_asked_for_bind_where_the_story_says_so(variant: str | None) -> None:
    (path,) = answer_limits("twenty-real-ports", variant=variant).paths
    binding = next(limit for limit in path.limits if limit.binding)
    assert binding.name is (Cause.SERVER_PASSIVE_POOL if variant is None else Cause.SERVER_PASSIVE_POOL_ESCAPED)
    assert binding.per_s == pytest.approx(20 / 9, rel=0.001)  # three sessions of 3 s for each download
