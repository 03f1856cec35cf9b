"""Metrics of a run while it goes on, read as a scraper reads them, and thresholds that end a run."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ftpstorm.errors import ExitCode
from support.short_run import RunningCommand, wait_for, write_scenario

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
LONG = {"steady": {"executor": "constant-arrival-rate", "rate": "50/s", "duration": "60s", "flow": "download"}}


def scrape(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    request = urllib.request.Request(url, headers={"Accept": OPEN_METRICS})  # noqa: S310 - our own http address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        text = answer.read().decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def metrics_url(command: RunningCommand) -> str:
    def told() -> Iterator[str]:
        return (line.removeprefix("metrics: ") for line in command.stderr.splitlines() if line.startswith("metrics: "))

    wait_for(lambda: list(told()), "the address of the metrics on stderr")
    return next(told())


def test_a_scraper_outside_reads_counts_by_load_and_class_while_the_run_goes_on(tmp_path: Path) -> None:
    write_scenario(tmp_path, load=LONG)
    with RunningCommand(tmp_path, "run", "short.yaml", "--quiet", "--no-plots", "--metrics", "0") as command:
        url = metrics_url(command)
        assert url.startswith("http://127.0.0.1:")
        command.wait_for_load()
        refused = (
            "ftpstorm_failures_total",
            (("class", "passive-exhausted"), ("load", "steady"), ("phase", "passive")),
        )
        wait_for(lambda: scrape(url).get(refused, 0) >= 20, "refusals among the metrics")
        found = scrape(url)
        command.request_stop()
        assert command.end() == ExitCode.INTERRUPTED
        summary = command.summary()
    failed = found["ftpstorm_sessions_total", (("load", "steady"), ("outcome", "failed"))]
    assert found[refused] == failed, "each refusal fails its session, and both are of one look at the records"
    assert 0 < found["ftpstorm_sessions_started_total", ()] <= summary["sessions"]["started"]
    assert found[refused] <= summary["sessions"]["failed"]
    assert found["ftpstorm_run_planned_seconds", ()] == 60
    pool = {labels[0][1]: value for (name, labels), value in found.items() if name == "ftpstorm_passive_pool_ports"}
    assert sum(pool.values()) == 4
    moved = found["ftpstorm_transfers_total", (("load", "steady"), ("outcome", "succeeded"))]
    phase = (("load", "steady"), ("phase", "transfer"))
    assert found["ftpstorm_phase_duration_seconds_count", phase] == moved
    assert found["ftpstorm_phase_duration_seconds_bucket", (("le", "+Inf"), *phase)] == moved
    [info] = [dict(labels) for name, labels in found if name == "ftpstorm_run_info"]
    assert (info["scenario"], info["run_id"]) == ("short", summary["run_id"])


def test_a_port_in_use_is_told_before_anything_is_made(tmp_path: Path) -> None:
    write_scenario(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with RunningCommand(tmp_path, "run", "short.yaml", "--metrics", str(port)) as command:
            assert command.end() == ExitCode.USAGE
            assert f"error: --metrics {port}: Address already in use" in command.stderr
            assert not command.out.exists()


def abort_of(condition: str, **more: Any) -> dict[str, Any]:
    return {"threshold": condition, "abort_on_fail": True, **more}


def test_a_threshold_with_abort_on_fail_ends_the_run_with_99_after_its_delay(tmp_path: Path) -> None:
    thresholds = {
        "failures{class:passive-exhausted}": abort_of("count<5", delay_abort_eval="2s"),
        "sessions": abort_of("count<1000000"),
    }
    write_scenario(tmp_path, load=LONG, thresholds=thresholds)
    with RunningCommand(tmp_path, "run", "short.yaml", "--quiet", "--no-plots") as command:
        assert command.end() == ExitCode.EXPECTATION_FAILED
        summary = command.summary()
        abort = json.loads((command.results() / "abort.json").read_text())
    assert summary["status"] == "stopped-early"
    assert "failures{class:passive-exhausted}: count<5 does not hold" in summary["stop_reason"]
    assert abort["t_s"] >= 2
    first, second = summary["thresholds"]
    assert (first["ok"], second["ok"]) == (False, True)
    assert "which ended it" in first["reason"]
    assert summary["sessions"]["not_due"] > 0
