"""Shards of one plan as one folder: each one's clock says when its records were made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ftpstorm.records.manifest import MANIFEST, PLAN, write_json_atomically
from ftpstorm.records.reader import open_run
from ftpstorm.records.schema import OPERATIONS, SESSIONS
from ftpstorm.report.build import summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.export import exported_batches
from ftpstorm.report.merge import merge_shards
from ftpstorm.vocabulary import FailureClass, Phase
from support.results_folder import Fault, Story, write_results

LATER_NS = 900_000_000
STARTS = ("2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05.900000Z")
REFUSED = Fault(FailureClass.BUSY_AT_LOGIN, Phase.LOGIN, 530, text="530 Not today.")
STORY = Story(
    target={"host": "ftp.example.org:21"}, workers=1, rate=20, duration_s=2, hold_s=0, expect=None, thresholds={}
)


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """Two shards of one worker each; in the second one, which started 0.9 s later, session 21 fails."""
    folders = []
    for index, start in enumerate(STARTS):
        story = replace(STORY, fault=lambda k, at_s, index=index: REFUSED if k == 21 and index == 1 else None)  # type: ignore[misc]
        folder = write_results(tmp_path / f"shard-{index}", story)
        write_json_atomically(folder / PLAN, story.plan().model_copy(update={"shard": (index, 2)}).to_json())
        manifest = json.loads((folder / MANIFEST).read_text())
        clock = {"monotonic_ns": manifest["start_at_ns"], "realtime_ns": 1_767_323_045_000_000_000 + index * LATER_NS}
        write_json_atomically(folder / MANIFEST, manifest | {"started_at": start, "clock": clock})
        folders.append(folder)
    (found,) = merge_shards(folders)
    return found


def test_an_example_has_the_instant_that_its_own_shards_clock_gave_it(merged: Path) -> None:
    (failure,) = summarise(Evidence(open_run(merged))).failures
    assert failure.first_at_s == pytest.approx(1.0518, abs=0.01)
    assert failure.example.utc.startswith("2026-01-02T03:04:06.95")


def test_exported_records_have_theirs_too(merged: Path) -> None:
    for table in (SESSIONS, OPERATIONS):
        first: dict[str, str] = {}
        for batch in exported_batches(merged, table):
            for row in batch.to_pylist():
                first.setdefault(row["worker"], row["utc"])
        assert first["worker-0"].startswith("2026-01-02T03:04:05.00")
        assert first["worker-1"].startswith("2026-01-02T03:04:05.90")
