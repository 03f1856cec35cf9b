"""`ftpstorm run` with everything real: supervisor, conductor, emulator, engine, sampler, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import ExitCode
from support.short_run import RunningCommand, network_namespace, write_scenario

Require = Callable[[str, bool, str], None]

EXPECT = {"cause": "server-passive-pool", "failures": {"passive-exhausted": "count>0", "any-other": "count==0"}}
WIDE = {
    "set": {"target.emulator.passive_ports": 200},
    "expect": {"cause": "none", "failures": {"any": "count==0"}},
}


def needs_namespace(require: Require, manifest: dict[str, Any]) -> None:
    require("namespaces", manifest["namespace"]["private"], str(manifest["namespace"]["reason"]))


def test_a_run_ends_with_a_report_whose_books_balance(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path, expect=EXPECT)
    with RunningCommand(tmp_path, "run", str(scenario), "--label", "before", "--note", "a test") as run:
        assert run.end() == ExitCode.PASS, run.stdout + run.stderr
        folder, summary, manifest = run.results(), run.summary(), run.manifest()
        assert str(folder / "report.html") in run.stdout
        assert run.stderr == ""
    assert (summary["status"], summary["verdict"]) == ("completed", "pass")
    assert (summary["label"], summary["notes"]) == ("before", "a test")
    assert summary["sessions"]["planned"] == summary["sessions"]["started"] == 50
    assert [line["identity"] for line in summary["accounting"] if line["ok"] is False] == []
    assert manifest["status"] == "completed"
    assert {process["role"] for process in manifest["processes"]} == {"emulator", "worker-0", "sampler"}
    assert all(process["exit_code"] == 0 and process["error"] is None for process in manifest["processes"])
    for name in ("scenario.yaml", "plan.json", "prediction.json", "report.html", "junit.xml", "sessions.parquet"):
        assert (folder / name).is_file(), name


def test_a_private_namespace_makes_the_kernels_count_checkable(tmp_path: Path, require: Require) -> None:
    scenario = write_scenario(tmp_path)
    with RunningCommand(tmp_path, "run", str(scenario), "--quiet", "--no-plots") as run:
        assert run.end() == ExitCode.PASS, run.stdout + run.stderr
        needs_namespace(require, run.manifest())
        assert run.stdout == ""
        kernel = [line for line in run.summary()["accounting"] if "ActiveOpens" in line["identity"]]
    assert [line["ok"] for line in kernel] == [True]


def test_the_prediction_was_hashed_before_the_run(tmp_path: Path) -> None:
    import hashlib

    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path)), "-q", "--no-plots") as run:
        folder = run.wait_for_load()
        while_running = json.loads((folder / "manifest.json").read_text())
        assert run.end() == ExitCode.PASS, run.stdout + run.stderr
        content = (folder / "prediction.json").read_bytes()
    assert while_running["status"] is None
    assert while_running["prediction_sha256"] == hashlib.sha256(content).hexdigest()


def test_a_variant_changes_the_scenario_and_its_expectation(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path, expect=EXPECT, variants={"wide": WIDE})
    with RunningCommand(tmp_path, "run", str(scenario), "--variant", "wide", "-q", "--no-plots") as run:
        assert run.end() == ExitCode.PASS, run.stdout + run.stderr
        summary = run.summary()
    assert summary["variant"] == "wide"
    assert summary["failures"] == []
    assert summary["sessions"]["succeeded"] == 50


def test_an_expectation_that_does_not_hold_is_99_and_no_expect_leaves_it_aside(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    scenario = write_scenario(tmp_path, expect={"failures": {"any": "count==0"}})
    with RunningCommand(first, "run", str(scenario), "-q", "--no-plots") as run:
        assert run.end() == ExitCode.EXPECTATION_FAILED, run.stderr
    with RunningCommand(second, "run", str(scenario), "-q", "--no-plots", "--no-expect") as run:
        assert run.end() == ExitCode.PASS, run.stderr


def test_json_leaves_only_the_summary_on_stdout(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path)
    with RunningCommand(tmp_path, "run", str(scenario), "--json", "--no-plots") as run:
        assert run.end() == ExitCode.PASS, run.stderr
        [line] = run.stdout.splitlines()
        assert json.loads(line) == run.summary()
        assert "running" in run.stderr


def test_workers_share_the_load(tmp_path: Path) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path)), "--workers", "3", "-q", "--no-plots") as run:
        assert run.end() == ExitCode.PASS, run.stderr
        summary, manifest = run.summary(), run.manifest()
    counts = {process["role"]: process["counts"] for process in manifest["processes"]}
    assert [counts[f"worker-{index}"]["planned"] for index in range(3)] == [17, 17, 16]
    assert summary["sessions"]["started"] == 50


def test_a_shard_runs_its_share_alone(tmp_path: Path) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path)), "--shard", "1/3", "-q", "--no-plots") as run:
        assert run.end() == ExitCode.PASS, run.stderr
        manifest = run.manifest()
    [worker] = [process for process in manifest["processes"] if process["role"] == "worker-0"]
    assert worker["counts"]["planned"] == 17


def test_a_run_stays_out_of_the_hosts_network(tmp_path: Path, require: Require) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path)), "-q", "--no-plots") as run:
        folder = run.wait_for_load()
        needs_namespace(require, json.loads((folder / "manifest.json").read_text()))
        inside = network_namespace(run.find("ftpstorm.engine"))
        assert inside not in (None, network_namespace(run.process.pid))
        assert all(network_namespace(run.find(f"ftpstorm.{name}")) == inside for name in ("emulator", "sampler"))
        assert run.end() == ExitCode.PASS, run.stderr


def test_report_makes_the_same_summary_again(tmp_path: Path) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path)), "-q", "--no-plots", "--label", "mine") as run:
        assert run.end() == ExitCode.PASS, run.stderr
        summary = run.summary()
        folder = run.results()
    (folder / "summary.json").unlink()
    with RunningCommand(tmp_path, "report", "mine", "--json", "-q", "--no-plots") as again:
        assert again.end() == ExitCode.PASS, again.stderr
        assert json.loads(again.stdout) == summary
    assert json.loads((folder / "summary.json").read_text()) == summary


@pytest.mark.parametrize("options", [["--target", "ftp://192.0.2.1"], ["--set", "target={host: 192.0.2.1}"]])
def test_load_outside_loopback_is_refused_before_anything_is_written(tmp_path: Path, options: list[str]) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path)), *options) as run:
        assert run.end() == ExitCode.USAGE
        assert "--allow-target" in run.stderr
        assert run.stderr.count("\n") == 1
        assert not run.out.exists()


def test_permission_without_a_guard_is_refused_too(tmp_path: Path) -> None:
    arguments = ("run", str(write_scenario(tmp_path)), "--target", "ftp://192.0.2.1", "--allow-target", "192.0.2.0/24")
    with RunningCommand(tmp_path, *arguments) as run:
        assert run.end() == ExitCode.USAGE
        assert "guard" in run.stderr
        assert not run.out.exists()


def test_set_changes_what_runs(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path)
    with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots", "--set", "load.steady.rate=30/s") as run:
        assert run.end() == ExitCode.PASS, run.stderr
        assert run.summary()["sessions"]["planned"] == 30
        assert "30/s" in (run.results() / "scenario.yaml").read_text()


def test_an_emulator_that_cannot_start_is_told_as_what_the_environment_lacks(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path, files={"small.bin": "1KiB", "..": "1B"})
    with RunningCommand(tmp_path, "run", str(scenario)) as run:
        assert run.end() == ExitCode.ENVIRONMENT, run.stderr
        assert "error: emulator: " in run.stderr
        assert run.manifest()["status"] == "cut-short"
