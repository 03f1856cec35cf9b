"""What many operations leave behind: bytes on disk for each, how long Parquet takes and how long their report takes."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ftpstorm.plan.plan import Plan
from ftpstorm.records.manifest import PLAN, SPOOL, Manifest, ProcessRecord, write_json_atomically, write_manifest
from ftpstorm.records.parquet import convert
from ftpstorm.vocabulary import Status

BYTES_MOST: Final = 60
"""Bytes of Parquet wanted for an operation at most."""

REPORT_MOST_S: Final = 10
"""Seconds that a report of a million operations may take."""

REPORT_FOR: Final = 1_000_000


def complete_folder(folder: Path, plan: Plan, start_at_ns: int, wall_s: float, counts: list[dict[str, Any]]) -> None:
    """Make a results folder of `folder`, whose spools the workers with these `counts` have written."""
    write_json_atomically(folder / PLAN, plan.to_json())
    write_manifest(
        folder,
        Manifest(
            run_id=plan.run_id,
            name=plan.scenario.name,
            started_at=datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            start_at_ns=start_at_ns,
            clock={"monotonic_ns": time.monotonic_ns(), "realtime_ns": time.time_ns()},
            ended_ns=int(wall_s * 1e9),
            status=Status.COMPLETED.value,
            target={"kind": "host", "addresses": [[plan.scenario.target.host, plan.scenario.target.port]]},
            processes=[
                ProcessRecord(role=f"worker-{number}", pid=0, counts=each) for number, each in enumerate(counts)
            ],
        ),
    )


def measure_records(folder: Path, *, pictures: bool = True) -> dict[str, Any]:
    """Turn the spools of a results folder into Parquet and make its report; return what both took."""
    began = time.perf_counter()
    rows = convert(folder)
    parquet_s = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ftpstorm", "report", str(folder), "--quiet", *(() if pictures else ("--no-plots",))],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    report_s = time.perf_counter() - began
    operations = rows["operations"]
    spools = sum(path.stat().st_size for path in (folder / SPOOL).iterdir())
    parquet = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    made = (folder / "summary.json").exists()
    ok = None
    if operations >= REPORT_FOR and made:
        ok = parquet <= BYTES_MOST * operations and report_s <= REPORT_MOST_S
    extent = "with its pictures" if pictures else "without pictures"
    says = (
        f"{operations:,} operations leave {parquet / 1e6:.1f} MB of Parquet ({parquet / operations:.1f} bytes each; at "
        f"most {BYTES_MOST} wanted) beside {spools / 1e6:.1f} MB of spools; Parquet took {parquet_s:.1f} s, the report "
        f"{extent} {report_s:.1f} s (at most {REPORT_MOST_S} s wanted for a million)"
    )
    return {
        "says": says if made else "the report was not made",
        "ok": ok,
        "operations": operations,
        "spool_bytes": spools,
        "parquet_bytes": parquet,
        "parquet_bytes_per_op": parquet / operations,
        "parquet_s": parquet_s,
        "report_s": report_s if made else None,
    }
