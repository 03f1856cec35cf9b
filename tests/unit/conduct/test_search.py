"""`ftpstorm search`: how long a step lasts, what it waits for, and what a search of stories finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.conduct.search import SearchOptions, search, step_length, wait_for_baseline
from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.scenario.loader import load_text
from ftpstorm.scenario.search import Search
from ftpstorm.units import NS_PER_S, parse_duration
from ftpstorm.vocabulary import FailureClass, Phase
from support.results_folder import Fault, Story
from support.short_run import scenario_of, write_scenario
from support.story_runs import StoryRunner, section

RATE = "load.steady.rate"


def carry_out(folder: Path, runner: StoryRunner, **keys: Any) -> tuple[int, dict[str, Any]]:
    emulator = {"emulator": {"passive_ports": 40, "hold": {"for": "2s"}}}
    asked = {"vary": RATE, "between": ["4/s", "90/s"], "precision": "10%"} | keys
    scenario = write_scenario(folder, target=emulator, search=asked)
    code = search(SearchOptions(scenario=str(scenario), out=str(folder / "out"), quiet=True, plots=False), runner)
    (made,) = (folder / "out").iterdir()
    return code, json.loads((made / "search.json").read_text())


def test_it_finds_what_the_pool_bears_and_names_what_ran_out_beyond(tmp_path: Path) -> None:
    code, found = carry_out(tmp_path, StoryRunner())
    assert code == ExitCode.PASS
    assert found["status"] == "found"
    assert found["highest_passing"]["value"] <= 20.5  # the story's rates are whole numbers
    assert found["lowest_failing"]["value"] >= 20
    assert found["highest_passing"]["passed"] == found["highest_passing"]["runs"] == 2
    assert found["lowest_failing"]["passed"] == 0
    assert found["cause"] == "server-passive-pool"
    assert found["limit"] == "server-passive-pool"
    assert found["ratio"] == pytest.approx(1, abs=0.1)
    assert found["headline"].startswith("load.steady.rate = ")
    assert "server-passive-pool" in found["headline"]
    assert [step["number"] for step in found["steps"]] == list(range(1, len(found["steps"]) + 1))


def test_quiet_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    carry_out(tmp_path, StoryRunner())
    assert capfd.readouterr() == ("", "")


def test_each_step_is_a_run_with_one_load_that_lasts_longer_than_a_port_is_remembered(tmp_path: Path) -> None:
    runner = StoryRunner()
    carry_out(tmp_path, runner)
    for request in runner.requests:
        assert section(request, "load", "steady", "executor") == "constant-arrival-rate"
        assert parse_duration(section(request, "load", "steady", "duration")) >= 1.1 * 2 * NS_PER_S
        assert request.scenario["search"] is None
        assert request.scenario["thresholds"] == {"failures": ["count==0"], "dropped": ["count==0"]}


def test_what_fails_while_a_step_settles_is_not_judged(tmp_path: Path) -> None:
    def early(story: Story, _: int) -> Story:
        fault = Fault(FailureClass.GREETING_EOF, Phase.GREETING)
        return replace(story, fault=lambda k, at_s: fault if at_s < 0.9 else None)

    code, found = carry_out(tmp_path, StoryRunner(early), settle="1s", between=["4/s", "8/s"])
    assert (code, found["status"]) == (ExitCode.PASS, "above the range")
    (tmp_path / "other").mkdir()
    _, found = carry_out(tmp_path / "other", StoryRunner(early), between=["4/s", "8/s"])
    assert found["status"] == "below the range"


def test_a_generator_that_is_late_stops_the_search_and_is_named(tmp_path: Path) -> None:
    def late(story: Story, _: int) -> Story:
        return replace(story, ports=1000, lateness_ns=lambda k: 300_000_000) if story.rate > 30 else story

    code, found = carry_out(tmp_path, StoryRunner(lambda s, n: late(replace(s, ports=1000), n)))
    assert code == ExitCode.INVALID_RUN
    assert found["status"] == "generator"
    assert found["lowest_failing"] is None
    assert found["highest_passing"]["value"] <= 30.5
    assert found["headline"].startswith("The load generator is the limit")


def test_runs_whose_books_do_not_balance_are_void_and_end_the_search_at_the_third(tmp_path: Path) -> None:
    runner = StoryRunner(lambda story, _: replace(story, counts_off={"connects": 1}))
    code, found = carry_out(tmp_path, runner)
    assert (code, found["status"]) == (ExitCode.INVALID_RUN, "failed")
    assert [step["fate"] for step in found["steps"]] == ["void"] * 3
    assert found["highest_passing"] is None


def test_an_interrupted_search_keeps_its_steps(tmp_path: Path) -> None:
    runner = StoryRunner(lambda story, number: story if number < 4 else int(ExitCode.INTERRUPTED))
    code, found = carry_out(tmp_path, runner)
    assert (code, found["status"], len(found["steps"])) == (ExitCode.INTERRUPTED, "interrupted", 3)


def test_a_scenario_without_a_search_is_told_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"search: \{vary:"):
        search(SearchOptions(scenario=str(write_scenario(tmp_path))))


def length_of(wanted: dict[str, Any], **sections: Any) -> Any:
    scenario = load_text(json.dumps(scenario_of(**sections)), "s.yaml", environment={}).scenario
    return step_length(Search.model_validate({"vary": RATE, "between": ["4/s", "50/s"]} | wanted), scenario)


def test_a_step_is_made_as_long_as_ports_are_remembered_and_as_long_as_asked_for_if_that_is_longer() -> None:
    emulator = {"emulator": {"passive_ports": 4, "hold": {"for": "3s"}}}
    short = length_of({}, target=emulator)
    assert short.remembered_s == pytest.approx(3, rel=0.01)
    assert short.duration_ns == pytest.approx(3.3e9, rel=0.01)
    assert "a buffer of free ports" in short.why
    assert length_of({"step": "20s"}, target=emulator).duration_ns == 20 * NS_PER_S
    assert length_of({"settle": "2s"}, target=emulator).duration_ns == pytest.approx(5.3e9, rel=0.01)


@pytest.mark.parametrize(("highest", "waited_s"), [("50/s", 0.5), ("400/s", 61)])
def test_limits_far_beyond_every_load_are_not_waited_for(highest: str, waited_s: float) -> None:
    # a client that binds first has 28,232 ports for 61 s, 462 connections a second: that matters to 400/s, not to 50/s
    found = length_of(
        {"between": ["4/s", highest]},
        lab={"topology": "pair"},
        client={"bind": "port", "source_addresses": ["lab"]},
        flows={"download": {"steps": ["login", {"stor": {"file": "{session}.bin", "size": "1KiB"}}, "quit"]}},
        load={"steady": {"executor": "constant-arrival-rate", "rate": highest, "duration": "1s", "flow": "download"}},
    )
    assert found.remembered_s == pytest.approx(waited_s, rel=0.01)


def test_of_a_server_that_is_not_ours_a_kernels_time_wait_is_supposed() -> None:
    assert length_of({}, target={"host": "127.0.0.1"}).remembered_s >= 60


class Readings:
    """A clock that a pause moves, and what stands in TIME_WAIT at each reading."""

    def __init__(self, taken: list[int | None]) -> None:
        self._taken = taken
        self.now = 0.0

    def read(self) -> int | None:
        return self._taken.pop(0) if len(self._taken) > 1 else self._taken[0]

    def wait(self, baseline: int | None, noise: int = 0, at_least_s: float = 0.0) -> tuple[float, bool]:
        pause: Callable[[float], None] = lambda s: setattr(self, "now", self.now + s)  # noqa: E731
        return wait_for_baseline(
            baseline, noise, at_least_s=at_least_s, within_s=10, read=self.read, clock=lambda: self.now, pause=pause
        )


def test_a_step_waits_until_the_ports_of_the_last_one_are_free() -> None:
    assert Readings([90, 50, 5]).wait(5) == (0.5, True)


def test_it_waits_at_least_as_long_as_a_server_that_nobody_sees_may_remember() -> None:
    waited, back = Readings([0]).wait(0, at_least_s=3)
    assert back
    assert waited == pytest.approx(3)


def test_it_gives_up_and_says_so_where_others_use_the_network_too() -> None:
    waited, back = Readings([90]).wait(5)
    assert not back
    assert waited == pytest.approx(10)


def test_a_few_sockets_of_others_do_not_hold_it_up() -> None:
    assert Readings([12]).wait(5, noise=10) == (0.0, True)
