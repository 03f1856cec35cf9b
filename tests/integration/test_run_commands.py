"""The commands around `run`, each as a process: compare, serve, sample; the Python API; a terminal's Ctrl-C."""

from __future__ import annotations

import ftplib
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ftpstorm import api
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode, ScenarioError, TargetRefusedError, UsageError
from ftpstorm.records.reader import open_run
from ftpstorm.scenario.schema import Scenario
from ftpstorm.vocabulary import Status
from support.short_run import RunningCommand, alive, scenario_of, tree, wait_for, write_scenario

WIDE = {"wide": {"set": {"target.emulator.passive_ports": 200}}}


def test_all_variants_run_one_after_the_other_and_compare_tells_them_apart(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path, variants=WIDE)
    with RunningCommand(tmp_path, "run", str(scenario), "--all-variants", "--json", "--no-plots") as runs:
        assert runs.end() == ExitCode.PASS, runs.stderr
        before, after = (json.loads(line) for line in runs.stdout.splitlines())
    assert (before["variant"], after["variant"]) == (None, "wide")
    arguments = ("compare", before["run_id"], after["run_id"], "--json", "--no-plots")
    with RunningCommand(tmp_path, *arguments, "--fail-on", "sessions.failed<-5%") as compared:
        assert compared.end() == ExitCode.EXPECTATION_FAILED, compared.stderr
        comparison = json.loads(compared.stdout)
        assert "better" in compared.stderr
    assert [setting["key"] for setting in comparison["settings"]] == ["target.emulator.passive_ports"]
    assert (tmp_path / "results" / after["run_id"] / "compare.html").is_file()


def test_compare_needs_two_runs(tmp_path: Path) -> None:
    with RunningCommand(tmp_path, "compare", "latest") as compared:
        assert compared.end() == ExitCode.USAGE
        assert compared.stderr.startswith("error: ")


def test_serve_says_where_it_listens_and_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with RunningCommand(tmp_path, "serve", str(scenario), "--port", str(port)) as served:
        wait_for(lambda: "small.bin" in served.stdout, "the announcement")
        assert f"ftp://127.0.0.1:{port}/" in served.stdout
        with ftplib.FTP() as client:  # noqa: S321 - the emulator is what is tested
            client.connect("127.0.0.1", port, timeout=30)
            client.login()
            content = io.BytesIO()
            client.retrbinary("RETR small.bin", content.write)
        assert len(content.getvalue()) == 1024
        served.request_stop(signal.SIGTERM)
        assert served.end() == ExitCode.PASS, served.stderr


def test_sample_leaves_a_folder_that_reads_back(tmp_path: Path) -> None:
    with RunningCommand(tmp_path, "sample", "--out", str(tmp_path / "samples"), "--every", "50ms") as sampled:
        spool = tmp_path / "samples" / "spool" / "sampler.samples.spool"
        wait_for(lambda: spool.exists() and spool.stat().st_size > 4096, "samples")
        sampled.request_stop(signal.SIGINT)
        assert sampled.end() == ExitCode.PASS, sampled.stderr
        assert json.loads(sampled.stdout)["ticks"] > 0
    assert len(open_run(tmp_path / "samples").samples) > 0


def test_ctrl_c_at_a_terminal_is_one_request_and_the_picture_is_redrawn(tmp_path: Path) -> None:
    load = {"steady": scenario_of()["load"]["steady"] | {"duration": "300s"}}
    scenario = write_scenario(tmp_path, load=load)
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read(until: bytes) -> bool:
        shown.extend(os.read(ours, 65536))
        return until in shown

    process = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, runpy, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
         "sys.argv = ['ftpstorm', *sys.argv[1:]]; runpy.run_module('ftpstorm', run_name='__main__')",
         "run", str(scenario), "--no-plots"],
        cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=os.environ | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    try:
        wait_for(lambda: read(b"running"), "the load")
        wait_for(lambda: read(b"passive-exhausted"), "failures")
        below = tree(process.pid)
        os.write(ours, b"\x03")  # the terminal turns it into SIGINT for its foreground process group
        wait_for(lambda: read(b"interrupted: stopped by request"), "the end")
        assert process.wait(60) == ExitCode.INTERRUPTED
        assert not alive(below)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"\x1b[1A" in shown
    [folder] = (tmp_path / "results").iterdir()
    assert json.loads((folder / "summary.json").read_text())["sessions"]["interrupted"] == 0


def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path)
    command = f"{sys.executable} -m ftpstorm run {scenario} --no-plots | head -c 10"
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=120, check=True)
    [folder] = (tmp_path / "results").iterdir()
    wait_for((folder / "report.html").exists, "the report")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "completed"


def test_the_api_returns_what_the_run_left(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(scenario_of(variants=WIDE))
    result = api.run(
        scenario, set={"load.steady.rate": "40/s"}, variant="wide", out=tmp_path, label="mine", plots=False
    )
    assert result.exit_code is ExitCode.PASS
    assert (result.summary.status, result.summary.label, result.summary.variant) == (Status.COMPLETED, "mine", "wide")
    assert result.summary.sessions.succeeded == 40
    assert (result.folder / "report.html").is_file()


def test_the_api_raises_what_the_command_would_print(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 2\n")
    with pytest.raises(ScenarioError, match=r"bad\.yaml"):
        api.run(bad, out=tmp_path)
    with pytest.raises(UsageError, match="no-such-scenario"):
        api.run("no-such-scenario", out=tmp_path)
    with pytest.raises(UsageError, match="--allow-target") as refused:
        api.run(Scenario.model_validate(scenario_of()), target="ftp://192.0.2.1", out=tmp_path)
    assert not isinstance(refused.value, TargetRefusedError)  # the exit code tells no more than usage
    scenario = Scenario.model_validate(scenario_of(target={"host": "127.0.0.1", "password_env": "NOT_SET_ANYWHERE"}))
    with pytest.raises(EnvironmentUnavailableError, match="NOT_SET_ANYWHERE is not set"):
        api.run(scenario, out=tmp_path)
