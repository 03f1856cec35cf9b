"""Several machines, one plan: `--shard i/n --start-at T` together offer exactly its arrivals and merge into one."""

from __future__ import annotations

import json
import re
import shutil
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import RecordsError
from ftpstorm.plan.plan import Plan
from ftpstorm.records.reader import open_run
from ftpstorm.report.merge import merge_shards
from ftpstorm.scenario.schema import Scenario
from support.short_run import RunningCommand, scenario_of, wait_for, write_scenario

LOADS = {
    "ramp": {"executor": "ramping-arrival-rate", "stages": [{"duration": "1s", "target": "60/s"}]},
    "random": {"executor": "poisson-arrival-rate", "rate": "40/s", "duration": "1s"},
    "again": {"executor": "replay", "trace": "0.2\n0.4,other\n0.4\n0.9\n"},
    "held": {"executor": "hold", "sessions": 5, "over": "500ms", "duration": "300ms"},
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two shards with two workers each, run at the same time against one server: (scenario, folders, result)."""
    folder = tmp_path_factory.mktemp("shards")
    with ExitStack() as running:
        (folder / "serve").mkdir()
        serve = running.enter_context(RunningCommand(folder / "serve", "serve"))
        port = _port_of(serve)
        flow = {"steps": ["login", {"retr": "small.bin"}, "quit"]}
        loads = {name: {"flow": {"download": 2, "other": 1}, **load} for name, load in LOADS.items()}
        sections = {
            "target": {"host": "127.0.0.1", "port": port},
            "flows": {"download": flow, "other": {"steps": ["login", "list", "quit"]}},
            "load": loads,
        }
        at = datetime.fromtimestamp(int(time.time()) + 15, UTC).isoformat().replace("+00:00", "Z")
        commands = []
        for shard in (0, 1):
            place = folder / str(shard)
            place.mkdir()
            path = write_scenario(place, **sections)
            commands.append(
                running.enter_context(
                    RunningCommand(
                        place, "run", str(path), "--shard", f"{shard}/2", "--start-at", at, "--workers", "2",
                        "--out", "results", "--no-plots",
                    )
                )
            )  # fmt: skip
        for command in commands:
            assert command.end() == 0, command.stdout + command.stderr
        merging = running.enter_context(RunningCommand(folder, "report", *(str(c.results()) for c in commands)))
        code = merging.end()
        yield Scenario.model_validate(scenario_of(**sections)), [c.results() for c in commands], code, merging


def _port_of(serve: RunningCommand) -> int:
    said = wait_for(lambda: re.search(r"ftp://127\.0\.0\.1:(\d+)/", serve.stdout), "the server's address")
    return int(said[1])


def test_shards_together_start_exactly_the_arrivals_of_the_plan(shards: Any) -> None:
    scenario, folders, _, _ = shards
    plan = Plan(run_id="x", scenario=scenario)
    seen: list[tuple[int, int, int]] = []
    for folder in folders:
        rows = open_run(folder).sessions.data
        seen += [(int(row["load"]), int(row["session"]), int(row["intended_ns"])) for row in rows]
    expected = []
    for index, (name, load) in enumerate(plan.loads):
        schedule = plan.schedule(name)
        assert schedule is not None
        expected += [(index, k, load.start_time + schedule.instant_ns(k)) for k in range(schedule.count)]
    assert sorted(seen) == expected


def test_their_report_is_that_of_the_whole_plan(shards: Any) -> None:
    scenario, folders, code, merging = shards
    assert code == 0, merging.stdout + merging.stderr
    merged = folders[0].with_name(folders[0].name + "-merged")
    summary = json.loads((merged / "summary.json").read_text())
    plan = Plan(run_id="x", scenario=scenario)
    planned = sum(plan.planned_sessions(name) or 0 for name, _ in plan.loads)
    offered = sum(plan.offered_transfers(name) or 0 for name, _ in plan.loads)
    assert summary["sessions"]["planned"] == summary["sessions"]["succeeded"] == planned
    assert summary["transfers"]["offered"] == summary["transfers"]["succeeded"] == offered
    assert all(book["ok"] is not False for book in summary["accounting"])
    assert [book["ok"] for book in summary["accounting"]].count(True) >= 3
    manifest = json.loads((merged / "manifest.json").read_text())
    workers = [process["role"] for process in manifest["processes"] if process["role"].startswith("worker")]
    assert workers == [f"worker-{number}" for number in range(4)]
    sessions = open_run(merged).sessions
    told = {(sessions.writers[row["worker"]], f"worker-{row['session'] % 4}") for row in sessions.data}
    assert told == {(name, name) for name in workers}


def test_a_set_that_is_no_whole_is_refused(shards: Any, tmp_path: Path) -> None:
    _, (first, second), _, _ = shards
    assert merge_shards([first]) == [first], "a shard by itself is reported on as it is"
    with pytest.raises(RecordsError, match=r"given twice|missing"):
        merge_shards([first, first])
    other = tmp_path / "other"
    shutil.copytree(second, other)
    plan = json.loads((other / "plan.json").read_text())
    plan["workers"] = 1
    (other / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(RecordsError, match="different numbers of --workers"):
        merge_shards([first, other])
