"""What the supervisor asks of the conductor: one frozen, JSON-able description of the run that the user wants.

It holds the effective scenario, never a password: that is read where it is used, from the environment or its file.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from ftpstorm.errors import UsageError
from ftpstorm.records.manifest import NamespaceRecord
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S

WORKERS_MAX: Final = 64
UNNAMED_ENVIRONMENT_KEY: Final = "FTPSTORM_UNNAMED_SCENARIO"
"""Set by the Python API where the scenario's file is gone once the run is over: then nothing names it."""


class RunRequest(BaseModel):
    """One run. `scenario` is the effective scenario as `Scenario.model_dump(mode="json", by_alias=True)` gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: dict[str, Any]
    source: str | None = None
    """What `ftpstorm run` takes for it: the path as the user gave it, or its name in the gallery; None for neither."""
    variant: str | None = None
    label: str | None = None
    notes: str | None = None
    workers: int = Field(default=1, ge=1, le=WORKERS_MAX)
    shard: tuple[int, int] = (0, 1)
    start_at_realtime_ns: int | None = None
    """When to start, in ns since the Unix epoch (UTC); None: as soon as everything is ready."""
    out: str = "results"
    """Folder that the run's own folder is made in."""
    allow_targets: tuple[str, ...] = ()
    """Hosts and networks outside loopback that the user allows."""
    json_output: bool = False
    """The summary as one line of JSON on stdout, everything else on stderr."""
    quiet: bool = False
    """No live view and no table."""
    plots: bool = True
    """Draw the report's pictures."""
    markdown: str | None = None
    """File that the summary is appended to as Markdown."""
    command: tuple[str, ...] = ()
    """The command line, for the manifest."""
    namespace: NamespaceRecord = NamespaceRecord(private=False)
    warnings: tuple[str, ...] = ()

    @property
    def has_lab(self) -> bool:
        """Whether the run builds its own network, and so must have namespaces of its own."""
        return self.scenario.get("lab") is not None

    def read_scenario(self) -> Scenario:
        """Return the effective scenario."""
        return Scenario.model_validate(self.scenario)


def scenario_fields(scenario: Scenario) -> dict[str, Any]:
    """Return the form of `scenario` that `RunRequest.scenario` holds."""
    return scenario.model_dump(mode="json", by_alias=True)


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) of ``i/n`` with 0 <= i < n. Raises UsageError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not match or not int(match[1]) < int(match[2]):
        raise UsageError(f"--shard {text}: write i/n with 0 <= i < n, such as 0/3, 1/3 and 2/3 on three machines")
    return int(match[1]), int(match[2])


def parse_start_at(text: str, now_realtime_ns: int) -> int:
    """Return the ns since the epoch of a UTC instant such as ``2031-05-01T12:00:00Z``; the zone may be left out.

    Raises UsageError for another form or zone, and for an instant that is over.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"--start-at {text}: write UTC as 2031-05-01T12:00:00Z") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    if instant.utcoffset():
        raise UsageError(f"--start-at {text}: give it in UTC, so that all machines mean the same instant")
    whole = int(instant.replace(microsecond=0).timestamp()) * NS_PER_S
    realtime_ns = whole + instant.microsecond * 1000
    if realtime_ns <= now_realtime_ns:
        raise UsageError(f"--start-at {text}: is over already")
    return realtime_ns
