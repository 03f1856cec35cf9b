"""manifest.json: what ran, where and how it ended. Written before the first packet, rewritten when the run is over.

A manifest whose status is still null belongs to a run that was cut short.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from ftpstorm.records.calibration import Calibration

MANIFEST: Final = "manifest.json"
PREDICTION: Final = "prediction.json"
PLAN: Final = "plan.json"
SCENARIO: Final = "scenario.yaml"
SPOOL: Final = "spool"


class ManifestModel(BaseModel):
    """Base: later versions may add keys."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


class ProcessRecord(ManifestModel):
    """One process of the run. `counts` is what it counted itself, null when it never said `done`."""

    role: str
    """Such as ``worker-0``, ``sampler`` or ``emulator``; also the writer name of its spools."""
    pid: int
    counts: dict[str, Any] | None = None
    exit_code: int | None = None
    error: str | None = None


class NamespaceRecord(ManifestModel):
    """Whether the run had a network namespace of its own, and why not."""

    private: bool
    reason: str | None = None


class Manifest(ManifestModel):
    """All of manifest.json, schema 1."""

    schema_version: int = 1
    run_id: str
    name: str
    source: str | None = None
    """What `ftpstorm run` takes for this scenario: the path as the user gave it, or the name in the gallery. Null where
    it was no file (a URL, a model of the Python API), and in folders of an older ftpstorm."""
    variant: str | None = None
    label: str | None = None
    notes: str | None = None
    started_at: str
    """UTC of start_at, ISO 8601 with microseconds and Z."""
    start_at_ns: int
    """start_at on CLOCK_MONOTONIC of this host."""
    clock: dict[str, int]
    """One (monotonic_ns, realtime_ns) pair of the conductor."""
    started_later_ns: dict[str, int] = {}
    """Of shards that were merged: by how much later than `started_at`, on their own machine's clock, the instants of a
    writer (such as ``worker-3``) count from; it is 0 of one that is not named."""
    ended_ns: int | None = None
    """When the last worker was done, in ns after start_at."""
    status: str | None = None
    stop_reason: str | None = None
    command: list[str] = []
    versions: dict[str, str] = {}
    host: dict[str, Any] = {}
    namespace: NamespaceRecord = NamespaceRecord(private=False)
    target: dict[str, Any] = {}
    """kind (emulator, server or host), addresses [[host, port], ...], passive_ports (list) or passive_range ([first,
    last]); of a server in the lab also name, version and user."""
    lab: dict[str, Any] | None = None
    """topology, hosts [{name, side, addresses, settings (sysctls as read back), time_wait_s}, ...], server (what of its
    settings the scenario chose, and its version); null without a lab."""
    processes: list[ProcessRecord] = []
    prediction_sha256: str | None = None
    calibration: Calibration | None = None
    """What one worker can do on this host; null where nobody measured it with this kernel, Python and ftpstorm."""
    warnings: list[str] = []


def write_json_atomically(path: Path, value: Any) -> None:
    """Write `value` as JSON to a temporary file beside `path` and rename it: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json of a results folder."""
    write_json_atomically(folder / MANIFEST, manifest.model_dump(mode="json"))


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json. Raises FileNotFoundError or pydantic.ValidationError."""
    return Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
