"""The shards of one plan, run on several machines, as one results folder that a report can be made of.

Sessions and operations of all shards become one set of records under the whole plan. What the kernels said does not
add up (each machine has ports and counters of its own), so samples stay in the shards' own reports.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from ftpstorm.errors import RecordsError
from ftpstorm.plan.plan import Plan
from ftpstorm.records.manifest import (
    PLAN,
    PREDICTION,
    SCENARIO,
    SPOOL,
    Manifest,
    NamespaceRecord,
    ProcessRecord,
    write_json_atomically,
    write_manifest,
)
from ftpstorm.records.reader import WORKER, Rows, Run, open_run
from ftpstorm.records.schema import OPERATIONS, SESSIONS

MERGED: Final = "-merged"
"""How the name of a folder made here ends."""

APART_MAX_S: Final = 1.0
"""Shards that started farther apart than this did not make one load."""


@dataclass(frozen=True, slots=True)
class _Shard:
    run: Run
    plan: Plan
    manifest: Manifest

    @property
    def index(self) -> int:
        return self.plan.shard[0]


def merge_shards(folders: Sequence[Path]) -> list[Path]:
    """Return the folders to report on: sets of shards of one plan merged into a new folder each, all others as given.

    The new folder stands beside that of shard 0 and is made anew when it is there already. A single shard by itself is
    reported on as it is. Raises RecordsError for a set that lacks shards, has one twice, or does not fit together.
    """
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        groups.setdefault(_kind(folder), []).append(folder)
    found: list[Path] = []
    for kind, members in groups.items():
        found += [_merge([_open(folder) for folder in members])] if kind and len(members) > 1 else members
    return found


def _kind(folder: Path) -> str:
    """Return what shards of one plan have in common, "" for a run that is no shard."""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        count = plan["shard"][1]
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # whatever is wrong with it, its own report says so
    return json.dumps([plan.get("scenario"), plan.get("variant"), count], sort_keys=True) if count > 1 else ""


def _open(folder: Path) -> _Shard:
    run = open_run(folder)
    if run.manifest is None or run.plan is None:
        raise RecordsError(f"{folder}: has no manifest or no plan, so it cannot be merged")
    return _Shard(run, Plan.model_validate(run.plan), run.manifest)


def _merge(shards: list[_Shard]) -> Path:
    shards.sort(key=lambda shard: shard.index)
    first = shards[0]
    warnings = _check(shards)
    machines, workers = len(shards), first.plan.workers
    try:
        plan = Plan.model_validate(
            first.plan.to_json()
            | {"run_id": first.plan.run_id + MERGED, "shard": (0, 1), "workers": machines * workers}
            | {"private_namespace": False}
        )
    except ValueError as error:
        raise RecordsError(f"{machines} shards of {workers} workers cannot be merged: {error}") from None
    folder = first.run.folder.with_name(first.run.folder.name + MERGED)
    if folder.exists():
        shutil.rmtree(folder)
    (folder / SPOOL).mkdir(parents=True)
    write_json_atomically(folder / PLAN, plan.to_json())
    for name in (SCENARIO, PREDICTION):
        if (first.run.folder / name).exists():
            shutil.copyfile(first.run.folder / name, folder / name)
    _write_rows(folder, shards)
    write_manifest(folder, _manifest(plan, shards, warnings))
    return folder


def _check(shards: Sequence[_Shard]) -> list[str]:
    """Return what is odd about a set of shards. Raises RecordsError for one that is no whole."""
    count = shards[0].plan.shard[1]
    there = [shard.index for shard in shards]
    missing = sorted(set(range(count)) - set(there))
    if missing:
        raise RecordsError(f"shards {_listed(missing)} of {count} are missing: give the folders of all of them")
    if len(there) > count:
        raise RecordsError(f"shard {_listed({i for i in there if there.count(i) > 1})} of {count} is given twice")
    if len({shard.plan.workers for shard in shards}) > 1:
        raise RecordsError("the shards ran with different numbers of --workers, so they did not divide one plan")
    if shards[0].plan.scenario.target.emulator is not None:
        raise RecordsError(
            "each shard ran an emulator of its own, so there is no one server to report on; start one with "
            "`ftpstorm serve` and name it as target.host"
        )
    starts = [_start_us(shard) for shard in shards]
    apart_s = (max(starts) - min(starts)) / 1e6
    warnings = [f"merged from {count} shards; what the kernels said stands in the report of each"]
    if apart_s > APART_MAX_S:
        warnings.append(f"the shards started {apart_s:.1f} s apart: give all of them the same --start-at")
    return warnings


def _start_us(shard: _Shard) -> int:
    """Return the start_at of a shard by its own machine's clock, in us since the epoch."""
    start = datetime.fromisoformat(shard.manifest.started_at.replace("Z", "+00:00"))
    return (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _write_rows(folder: Path, shards: Sequence[_Shard]) -> None:
    from ftpstorm.records.parquet import write_rows

    for table in (SESSIONS, OPERATIONS):
        parts = [(shard, shard.run.sessions if table is SESSIONS else shard.run.operations) for shard in shards]
        texts = ("", *sorted({text for _, rows in parts for text in rows.texts if text}))
        number_of = {text: number for number, text in enumerate(texts)}
        writers: list[str] = []
        arrays = []
        for shard, rows in parts:
            data = rows.data.copy()
            data["text"] = np.array([number_of[text] for text in rows.texts], np.uint32)[data["text"]]
            data[WORKER] += len(writers)
            writers += [_role(shard, writer) for writer in rows.writers]
            arrays.append(data)
        write_rows(folder, Rows(np.concatenate(arrays), texts, tuple(writers)), table)


def _role(shard: _Shard, role: str) -> str:
    """Return a process's role in the whole: workers are numbered through, others belong to their machine."""
    name, _, number = role.partition("-")
    if name == "worker" and number.isdigit():
        return f"worker-{shard.plan.worker_shard(int(number))[0]}"
    return f"shard-{shard.index}-{role}"


def _manifest(plan: Plan, shards: Sequence[_Shard], warnings: list[str]) -> Manifest:
    first = shards[0].manifest
    ends = [shard.manifest.ended_ns for shard in shards]
    known = [end for end in ends if end is not None]
    unlike = next((shard for shard in shards if shard.manifest.status != "completed"), shards[0])
    processes = [
        ProcessRecord(**{**process.model_dump(), "role": _role(shard, process.role)})
        for shard in shards
        for process in shard.manifest.processes
    ]
    later = {
        _role(shard, process.role): 1000 * (_start_us(shard) - _start_us(shards[0]))
        for shard in shards
        for process in shard.manifest.processes
    }
    return first.model_copy(
        update={
            "run_id": plan.run_id,
            "started_later_ns": {role: later_ns for role, later_ns in later.items() if later_ns},
            "ended_ns": max(known) if len(known) == len(ends) else None,
            "status": unlike.manifest.status,
            "stop_reason": unlike.manifest.stop_reason,
            "namespace": NamespaceRecord(private=False, reason="several machines"),
            "processes": processes,
            "warnings": [*warnings, *dict.fromkeys(text for shard in shards for text in shard.manifest.warnings)],
        }
    )
