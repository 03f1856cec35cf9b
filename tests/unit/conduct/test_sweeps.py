"""`ftpstorm sweep`: every combination once a round, an index that grows, and what the runs came to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.conduct.sweeps import SweepOptions, headings, sweep
from ftpstorm.errors import ExitCode, ScenarioError, UsageError
from support.results_folder import Story
from support.short_run import write_scenario
from support.story_runs import StoryRunner, section

PORTS, HOLD = "target.emulator.passive_ports", "target.emulator.hold.for"
GRID = {"grid": {PORTS: [10, 20], HOLD: ["1s", "2s"]}}
LOAD = {"steady": {"executor": "constant-arrival-rate", "rate": "97/s", "duration": "8s", "flow": "download"}}


def carry_out(folder: Path, runner: StoryRunner, /, asked: dict[str, Any] | None = None, **options: Any) -> int:
    scenario = write_scenario(folder, load=LOAD, sweep=asked or GRID)
    keys: dict[str, Any] = {"out": str(folder / "out"), "quiet": True, "plots": False} | options
    return sweep(SweepOptions(scenario=str(scenario), **keys), runner)


def index_of(folder: Path) -> tuple[Path, dict[str, Any]]:
    (made,) = (folder / "out").iterdir()
    return made, json.loads((made / "sweep.json").read_text())


def test_every_combination_runs_alone_and_the_index_holds_its_figure(tmp_path: Path) -> None:
    runner = StoryRunner()
    assert carry_out(tmp_path, runner) == ExitCode.PASS
    made, index = index_of(tmp_path)
    asked = {(section(r, "target", "emulator", "passive_ports"), section(r, "target", "emulator", "hold", "for"))
             for r in runner.requests}  # fmt: skip
    assert asked == {(10, "1s"), (10, "2s"), (20, "1s"), (20, "2s")}
    assert len(runner.requests) == 4
    assert all(request.scenario["sweep"] is None and request.scenario["expect"] is None for request in runner.requests)
    # N / H, as the stories' pool has it
    values = [cell["value"] for cell in index["cells"]]
    assert values == pytest.approx([10, 5, 20, 10], rel=0.05)
    assert [list(cell["settings"].values()) for cell in index["cells"]] == [
        [10, "1s"],
        [10, "2s"],
        [20, "1s"],
        [20, "2s"],
    ]
    assert (index["status"], index["metric_key"]) == ("completed", "transfers.sustained.rate_per_s")
    assert sorted(cell["runs"][0]["order"] for cell in index["cells"]) == [1, 2, 3, 4]
    assert all((made / cell["runs"][0]["folder"] / "report.html").is_file() for cell in index["cells"])
    assert {cell["runs"][0]["cause"] for cell in index["cells"]} == {"server-passive-pool"}


def test_quiet_prints_nothing_but_what_ended_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    carry_out(tmp_path, StoryRunner(), asked={"grid": {PORTS: [10]}})
    assert capfd.readouterr() == ("", "")
    (tmp_path / "ended").mkdir()
    carry_out(tmp_path / "ended", StoryRunner(lambda *_: int(ExitCode.INTERRUPTED)), asked={"grid": {PORTS: [10]}})
    assert capfd.readouterr().out == "run 1 of 1 ended with exit code 105\n"
    (tmp_path / "loud").mkdir()
    carry_out(tmp_path / "loud", StoryRunner(), asked={"grid": {PORTS: [10]}}, quiet=False)
    assert "page: " in capfd.readouterr().out


def test_repeats_are_averaged_and_their_spread_is_an_interval(tmp_path: Path) -> None:
    def wider(story: Story, number: int) -> Story:
        return replace(story, ports=story.ports + number % 2)

    runner = StoryRunner(wider)
    assert carry_out(tmp_path, runner, asked={"grid": {PORTS: [10]}}, repeats=3, metric="transfers") == ExitCode.PASS
    _, index = index_of(tmp_path)
    (cell,) = index["cells"]
    each = [run["value"] for run in cell["runs"]]
    assert len(each) == 3
    assert cell["value"] == pytest.approx(sum(each) / 3)
    assert min(each) <= cell["low"] <= cell["value"] <= cell["high"] <= max(each)


def test_an_invalid_run_has_no_value_and_makes_the_sweep_121(tmp_path: Path) -> None:
    def unbalanced(story: Story, number: int) -> Story:
        return replace(story, counts_off={"connects": 1}) if number == 2 else story

    assert carry_out(tmp_path, StoryRunner(unbalanced)) == ExitCode.INVALID_RUN
    _, index = index_of(tmp_path)
    (invalid,) = (cell for cell in index["cells"] if cell["runs"][0]["verdict"] == "invalid")
    assert invalid["value"] is None
    assert invalid["runs"][0]["order"] == 2
    assert index["status"] == "completed"


@pytest.mark.parametrize(("code", "status"), [(ExitCode.INTERRUPTED, "interrupted"), (ExitCode.ENVIRONMENT, "failed")])
def test_a_run_that_comes_to_nothing_ends_the_sweep_and_what_there_is_stays(
    tmp_path: Path, code: ExitCode, status: str
) -> None:
    runner = StoryRunner(lambda story, number: story if number < 3 else int(code))
    assert carry_out(tmp_path, runner) == code
    made, index = index_of(tmp_path)
    assert (index["status"], len(runner.requests)) == (status, 3)
    assert sum(bool(cell["runs"]) for cell in index["cells"]) == 2
    assert "run 3 of 4" in (made / "sweep.html").read_text()


def test_a_combination_that_cannot_be_is_refused_before_the_first_run(tmp_path: Path) -> None:
    runner = StoryRunner()
    grid = {"target.server": [None, {"name": "vsftpd"}], "target.emulator": [None, {"passive_ports": 4}]}
    with pytest.raises(ScenarioError):
        carry_out(tmp_path, runner, asked={"grid": grid})
    assert runner.requests == []


@pytest.mark.parametrize(
    ("options", "said"),
    [({"metric": "transfers.speed"}, "no 'transfers.speed'"), ({"metric": "nosuch.key"}, "no 'nosuch'")],
)
def test_a_metric_that_no_summary_has_is_refused_before_the_first_run(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    runner = StoryRunner()
    with pytest.raises(UsageError, match=said):
        carry_out(tmp_path, runner, **options)
    assert runner.requests == []


def test_a_scenario_without_a_sweep_is_told_how_to_give_one(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path)
    with pytest.raises(UsageError, match=r"--set 'sweep\.grid\."):
        sweep(SweepOptions(scenario=str(scenario)))


@pytest.mark.parametrize(
    ("keys", "told"),
    [(["a.backlog", "a.rate"], ["backlog", "rate"]), (["load.a.rate", "load.b.rate"], ["load.a.rate", "load.b.rate"])],
)
def test_columns_of_the_table_have_short_names_where_these_tell_them_apart(keys: list[str], told: list[str]) -> None:
    assert headings(keys) == told


def test_the_heat_map_says_where_the_best_and_the_worst_cell_are(tmp_path: Path) -> None:
    assert carry_out(tmp_path, StoryRunner(), plots=True) == ExitCode.PASS
    made, _ = index_of(tmp_path)
    page = (made / "sweep.html").read_text()
    assert "passive_ports 10, for 2s" in page
    assert "passive_ports 20, for 1s" in page
    assert "one run each" in page
    assert (made / "heatmap.png").stat().st_size > 10_000


def test_an_end_asked_for_while_a_report_is_made_ends_the_sweep_and_keeps_its_runs(tmp_path: Path) -> None:
    runner = StoryRunner()
    code = carry_out(tmp_path, lambda request: replace(runner(request), stop=True))
    _, index = index_of(tmp_path)
    assert (code, index["status"]) == (ExitCode.INTERRUPTED, "interrupted")
    assert sum(len(cell["runs"]) for cell in index["cells"]) == len(runner.requests) == 1
