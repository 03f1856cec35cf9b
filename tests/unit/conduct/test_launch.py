from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftpstorm.conduct.launch import RunOptions, plan_requests, url_scenario, worse
from ftpstorm.conduct.request import UNNAMED_ENVIRONMENT_KEY
from ftpstorm.errors import ScenarioError, UsageError
from ftpstorm.scenario.loader import load_text
from support.short_run import write_scenario

VARIANTS = {
    "wide": {"set": {"target.emulator.passive_ports": 1000}},
    "slow": {"set": {"load.steady.rate": "5/s"}},
}


def test_set_changes_the_effective_scenario(tmp_path: Path) -> None:
    file = write_scenario(tmp_path)
    [request] = plan_requests(RunOptions(str(file), overrides=["load.steady.rate=7/s"]))
    assert request.scenario["load"]["steady"]["rate"] == "7/s"


def test_a_scenario_is_named_as_it_was_given_and_one_of_the_gallery_by_its_whole_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_scenario(tmp_path)
    for given, named in (
        (str(file), str(file)),
        (file.name, file.name),
        (f"./{file.name}", f"./{file.name}"),
        ("try-later", "try-later-425"),
    ):
        [request] = plan_requests(RunOptions(given))
        assert request.source == named
    [request] = plan_requests(RunOptions("ftp://127.0.0.1:2121/small.bin", rate="1/s", duration="1s"))
    assert request.source is None
    monkeypatch.setenv(UNNAMED_ENVIRONMENT_KEY, "1")
    assert plan_requests(RunOptions(file.name))[0].source is None


def test_a_variant_is_applied_and_named(tmp_path: Path) -> None:
    file = write_scenario(tmp_path, variants=VARIANTS)
    [request] = plan_requests(RunOptions(str(file), variant="wide"))
    assert request.variant == "wide"
    assert request.scenario["target"]["emulator"]["passive_ports"] == 1000


def test_all_variants_are_the_scenario_itself_and_each_variant(tmp_path: Path) -> None:
    file = write_scenario(tmp_path, variants=VARIANTS)
    requests = plan_requests(RunOptions(str(file), all_variants=True))
    assert [request.variant for request in requests] == [None, "wide", "slow"]


def test_one_variant_and_all_of_them_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exclude"):
        plan_requests(RunOptions(str(write_scenario(tmp_path)), variant="wide", all_variants=True))


def test_no_expect_leaves_the_expectation_aside(tmp_path: Path) -> None:
    file = write_scenario(tmp_path, expect={"cause": "server-passive-pool"})
    [with_it] = plan_requests(RunOptions(str(file)))
    [without] = plan_requests(RunOptions(str(file), expect=False))
    assert with_it.scenario["expect"] is not None
    assert without.scenario["expect"] is None


def test_a_target_replaces_the_emulator(tmp_path: Path) -> None:
    file = write_scenario(tmp_path)
    [request] = plan_requests(RunOptions(str(file), target="ftp://me@127.0.0.1:2121"))
    target = request.scenario["target"]
    assert target["emulator"] is None
    assert (target["host"], target["port"], target["user"]) == ("127.0.0.1", 2121, "me")


def test_a_target_keeps_the_password_source_of_a_scenario_with_a_host(tmp_path: Path) -> None:
    file = write_scenario(tmp_path, target={"host": "files.example", "user": "me", "password_env": "PW"})
    [request] = plan_requests(RunOptions(str(file), target="ftp://127.0.0.1:2121"))
    target = request.scenario["target"]
    assert (target["host"], target["user"], target["password_env"]) == ("127.0.0.1", "me", "PW")


def test_the_password_variable_is_named_but_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTPSTORM_PASSWORD", "hunter2")
    [request] = plan_requests(RunOptions(str(write_scenario(tmp_path)), target="ftp://me@127.0.0.1"))
    assert request.scenario["target"]["password_env"] == "FTPSTORM_PASSWORD"
    assert "hunter2" not in request.model_dump_json()


def test_an_override_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"--set load\.steady\.rate=fast"):
        plan_requests(RunOptions(str(write_scenario(tmp_path)), overrides=["load.steady.rate=fast"]))


@pytest.mark.parametrize("repeats", [0, 101])
def test_repeats_are_bounded(tmp_path: Path, repeats: int) -> None:
    with pytest.raises(UsageError, match="--repeats"):
        plan_requests(RunOptions(str(write_scenario(tmp_path)), repeats=repeats))


@pytest.mark.parametrize("several", [{"repeats": 2}, {"all_variants": True}], ids=str)
def test_several_runs_cannot_start_at_one_instant(tmp_path: Path, several: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--start-at names one instant"):
        plan_requests(RunOptions(str(write_scenario(tmp_path)), start_at="2031-05-01T12:00:00Z", **several))


@pytest.mark.parametrize("workers", [0, 65])
def test_workers_are_bounded(tmp_path: Path, workers: int) -> None:
    with pytest.raises(UsageError, match="--workers"):
        plan_requests(RunOptions(str(write_scenario(tmp_path)), workers=workers))


@pytest.mark.parametrize(
    ("path", "step"), [("pub/a.bin", {"retr": "pub/a.bin"}), ("", {"list": None}), ("pub/", {"list": "pub/"})]
)
def test_a_url_alone_is_a_scenario(path: str, step: dict[str, str | None]) -> None:
    options = RunOptions(f"ftp://me@Files.Example:2121/{path}", rate="10/s", duration="30s")
    scenario = load_text(url_scenario(options), "url").scenario
    assert scenario.name == "ftp-files-example"
    assert (scenario.target.host, scenario.target.port, scenario.target.user) == ("files.example", 2121, "me")
    [(kind, option)] = step.items()
    planned = scenario.flows["session"].steps[1]
    assert planned.kind == kind
    assert (planned.options.file if kind == "retr" else planned.options.path) == option
    assert scenario.guard is not None
    assert str(scenario.guard.max_rate) == "10/s"
    assert scenario.guard.stop_after == 90_000_000_000


@pytest.mark.parametrize(
    ("rate", "duration", "why"),
    [(None, "30s", "needs --rate"), ("10/s", None, "needs --rate"), ("10", "30s", "--rate 10"), ("1/s", "3", "--dur")],
)
def test_a_url_needs_a_rate_and_a_duration_with_units(rate: str | None, duration: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        plan_requests(RunOptions("ftp://files.example/a", rate=rate, duration=duration))


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [(0, 0, 0), (0, 99, 99), (99, 121, 121), (121, 105, 105), (99, 0, 99), (1, 105, 1), (105, 120, 120)],
)
def test_exit_codes_of_several_runs_have_a_precedence(one: int, other: int, both: int) -> None:
    assert worse(one, other) == both
