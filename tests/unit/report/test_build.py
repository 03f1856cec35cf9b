"""A report from a folder alone: all keys, all nulls explained, runs that were cut short, and finding a run by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftpstorm.errors import ExitCode, RecordsError, UsageError
from ftpstorm.records.parquet import convert
from ftpstorm.records.reader import open_run
from ftpstorm.report.build import build_report, build_summary, resolve_run, summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Summary, exit_code, read_summary
from ftpstorm.vocabulary import DataMode, FailureClass, Phase, Status, Verdict
from support.results_folder import Fault, Story, write_results

Judge = Callable[[Story], Summary]


def nulls(value: Any, path: str = "") -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from nulls(inner, f"{path}.{key}" if path else key)


def test_the_demo_summary_is_as_it_always_was(judge: Judge, golden: Callable[[str, str], None]) -> None:
    golden("try-later-425.summary.json", json.dumps(judge(Story(duration_s=8)).to_json(), indent=1) + "\n")


def test_the_keys_that_scripts_rely_on_are_there(judge: Judge) -> None:
    summary = judge(Story(duration_s=2)).to_json()
    assert summary["schema"] == 1
    assert set(summary) >= {
        "schema",
        "run_id",
        "label",
        "scenario",
        "variant",
        "notes",
        "status",
        "verdict",
        "started_at",
        "duration_s",
        "sessions",
        "transfers",
        "failures",
        "latency_ms",
        "ports",
        "passive_ports",
        "limits",
        "diagnosis",
        "others",
        "accounting",
        "generator",
        "by_load",
        "windows",
        "thresholds",
        "expectations",
    }
    assert set(summary["sessions"]) == {
        "planned",
        "started",
        "succeeded",
        "failed",
        "interrupted",
        "dropped",
        "not_due",
    }
    assert {"class", "phase", "code", "errno", "count", "control_survived", "limit_scope"} <= set(
        summary["failures"][0]
    )
    assert set(summary["failures"][0]["example"]) == {"reply", "four_tuple", "utc", "display_filter"}
    assert set(summary["limits"][0]) >= {
        "name",
        "side",
        "applies",
        "per_s",
        "concurrent",
        "interval",
        "measured_per_s",
        "ratio",
        "utilisation",
        "binding",
        "equation",
        "assumptions",
    }


@pytest.mark.parametrize(
    "story",
    [
        Story(duration_s=2),
        Story(duration_s=2, until_s=0.0, status=None),
        Story(duration_s=2, target={"host": "192.0.2.1"}, expect=None, thresholds={}),
    ],
    ids=["demo", "nothing ran", "remote"],
)
def test_every_null_has_its_reason(judge: Judge, story: Story) -> None:
    summary = judge(story)
    explained = {item.key for item in summary.unknown}
    # These are null by nature (no label was given, a reason that is not needed), not for want of knowing.
    by_nature = re.compile(
        r"label|variant|notes|stop_reason|imitates|cannot_show|host\..*|diagnosis\.first_at_s|.*\.reason"
    )
    left = [
        path
        for path in nulls(summary.to_json())
        if not by_nature.fullmatch(path)
        and path not in explained
        and path.rsplit(".", 1)[0] not in explained
        and not path.startswith("generator.lateness")
    ]
    assert left == []


def test_a_report_is_made_from_the_folder_of_a_killed_run(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(duration_s=8, until_s=5.0, status=None))
    spool = folder / "spool" / "worker-0.operations.spool"
    with spool.open("r+b") as file:
        file.truncate(spool.stat().st_size - 7)
    summary = build_report(folder, plots=False)
    assert (summary.status, summary.verdict) == (Status.CUT_SHORT, Verdict.INVALID)
    assert summary.headline.startswith("The run was cut short after")
    assert exit_code(summary) is ExitCode.INVALID_RUN
    assert summary.transfers.offered_per_s == pytest.approx(97, abs=0.5), "what was due until it was killed"
    assert "and 97" in summary.headline
    assert any("no whole record" in warning for warning in summary.warnings)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The run was cut short." in page
    assert read_summary(folder) == summary


def test_spools_and_parquet_give_the_same_summary(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(duration_s=3))
    before = build_summary(open_run(folder))
    convert(folder)
    for path in (folder / "spool").iterdir():
        path.unlink()
    assert build_summary(open_run(folder)) == before


def test_a_worker_that_died_makes_the_run_invalid(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(duration_s=2, status="cut-short"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["processes"][0] |= {"counts": None, "error": "killed by signal 9"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    summary = build_summary(open_run(folder))
    assert summary.verdict is Verdict.INVALID
    assert any("worker-0 ended before its time: killed by signal 9" in reason for reason in summary.verdict_reasons)


def test_interrupted_comes_before_invalid_in_the_exit_code(judge: Judge) -> None:
    late = judge(Story(duration_s=2, until_s=1.0, status="interrupted", lateness_ns=lambda k: 10**9))
    assert late.verdict is Verdict.INVALID
    assert exit_code(late) is ExitCode.INTERRUPTED


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(duration_s=1))
    (folder / "plan.json").unlink()
    with pytest.raises(RecordsError, match=r"has no plan\.json"):
        build_report(folder, plots=False)


def test_a_burst_has_a_window_of_its_own(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(duration_s=2, expect=None))
    plan = json.loads((folder / "plan.json").read_text())
    plan["scenario"]["load"]["steady"] = {
        "executor": "burst", "flow": "download", "sessions": 97, "over": "1s", "every": "1s", "times": 2,
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    windows = build_summary(open_run(folder)).windows
    assert [(window.name, window.started, window.transfers_succeeded) for window in windows] == [
        ("burst 1 of 2", 97, 20),
        ("burst 2 of 2", 97, 0),
    ]


def test_an_example_names_reply_ports_and_instant(judge: Judge) -> None:
    lost = Fault(FailureClass.DATA_CONNECT_TIMEOUT, Phase.DATA_CONNECT, errno=110, after_ns=5 * 10**9)
    summary = judge(Story(duration_s=1, ports=200, expect=None, fault=lambda k, _: lost if k == 10 else None))
    (failure,) = summary.failures
    assert failure.example.display_filter == "tcp.port == 40010 && tcp.port == 10000"
    assert failure.example.utc == "2026-01-02T03:04:10.103812Z"
    assert failure.limit_scope == "network"


def test_an_active_port_that_nobody_connected_to_is_named_without_the_servers(
    evidence: Callable[[Story], Evidence],
) -> None:
    refused = Fault(FailureClass.DATA_NOT_ESTABLISHED, Phase.FIRST_BYTE, 425, text="425 Try later")
    found = evidence(Story(duration_s=1, ports=200, expect=None, fault=lambda k, _: refused if k == 10 else None))
    rows = found.run.operations.data
    (failed,) = np.flatnonzero(rows["class"] == FailureClass.DATA_NOT_ESTABLISHED)
    rows["mode"][failed], rows["passive_port"][failed], rows["data_port"][failed] = DataMode.PORT, 0, 41_000
    example = summarise(found).failures[0].example
    assert example.display_filter == "tcp.port == 41000"
    assert example.four_tuple == "*:41000 -> 127.0.0.1:*"


def test_a_run_is_found_by_folder_label_beginning_or_latest(tmp_path: Path) -> None:
    first = write_results(tmp_path / "20260101T000000-demo-aaaa", Story(duration_s=1, label="before"))
    second = write_results(tmp_path / "20260102T000000-demo-bbbb", Story(duration_s=1, label="after"))
    assert resolve_run(str(first), tmp_path) == first
    assert resolve_run("before", tmp_path) == first
    assert resolve_run("latest", tmp_path) == second
    assert resolve_run("20260101", tmp_path) == first
    with pytest.raises(UsageError, match="several runs begin so"):
        resolve_run("2026", tmp_path)
    with pytest.raises(UsageError, match="no folder, label or run") as refused:
        resolve_run("nosuch", tmp_path)
    assert str(refused.value).endswith(f"; {tmp_path} has {first.name}, {second.name}")
    with pytest.raises(UsageError, match="holds no runs"):
        resolve_run("latest", tmp_path / "empty")


def test_a_load_lasted_until_its_end_even_where_its_last_session_ended_sooner(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", Story(duration_s=2))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"ended_ns": 1_990_000_000}))
    summary = build_summary(open_run(folder))
    assert (summary.duration_s, summary.transfers.offered_per_s, summary.windows[0].to_s) == (1.99, 97.0, 2.0)
