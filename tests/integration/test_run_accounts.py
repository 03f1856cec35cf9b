"""Accounts from a file: many users log in, and no password is left anywhere."""

from __future__ import annotations

from pathlib import Path

from ftpstorm.errors import ExitCode
from support.short_run import RunningCommand, write_scenario


def test_passwords_of_a_users_file_reach_no_result_and_no_log(tmp_path: Path) -> None:
    secrets = [f"hunter2-{letter}" for letter in "abc"]
    users = "".join(f"user{number},{secret}\n" for number, secret in enumerate(secrets))
    (tmp_path / "users.csv").write_text(f"user,password\n{users}")
    load = {"executor": "shared-iterations", "sessions": 2, "iterations": 6, "flow": {"download": 1, "own": 2}}
    flows = {
        "download": {"steps": ["login", {"retr": "small.bin"}, "quit"]},
        "own": {"steps": ["login", {"stor": {"file": "{user}-{worker}.bin"}}, "quit"]},
    }
    target = {"emulator": {"passive_ports": 100}}
    path = write_scenario(tmp_path, users={"from": "users.csv"}, load={"all": load}, flows=flows, target=target)
    with RunningCommand(tmp_path, "run", str(path), "--workers", "2", "--no-plots") as run:
        assert run.end() == ExitCode.PASS, run.stdout + run.stderr
        results = run.results()
        summary = run.summary()
        said = run.stdout + run.stderr
    assert summary["sessions"]["succeeded"] == 6
    assert summary["by_load"]["all"]["flow"] == "download 1, own 2"
    files = [file for file in results.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert not [file for file in files if b"hunter2" in file.read_bytes()]
    assert "hunter2" not in said


def test_a_users_file_that_is_not_there_ends_the_run_before_anything_is_written(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, users={"from": "nowhere.csv"})
    with RunningCommand(tmp_path, "run", str(path)) as run:
        assert run.end() == ExitCode.ENVIRONMENT
        assert "users.from: nowhere.csv: No such file" in run.stderr
    assert not (tmp_path / "results").exists()
