"""The results folder of one run: its name, its parts, and what is written into it before the run."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from ftpstorm.errors import UsageError
from ftpstorm.plan.plan import Plan
from ftpstorm.records.manifest import PLAN, SCENARIO, SPOOL, write_json_atomically

LOGS: Final = "logs"


def new_run_id(name: str, now: datetime) -> str:
    """Return ``<UTC>-<name>-<id>``, such as ``20310501T120000Z-try-later-425-3fa9c1``. `now` is in UTC."""
    return f"{now:%Y%m%dT%H%M%SZ}-{name}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run leaves everything."""

    path: Path

    @property
    def spool(self) -> Path:
        """Folder of the spools."""
        return self.path / SPOOL

    @property
    def logs(self) -> Path:
        """Folder of the children's stderr, a file each."""
        return self.path / LOGS

    def log_of(self, writer: str) -> Path:
        """Return the file that takes the stderr of `writer`."""
        return self.logs / f"{writer}.log"


def create_folder(out: Path, plan: Plan, scenario_text: str) -> RunFolder:
    """Create the folder named after the plan's run_id under `out`, with scenario.yaml and plan.json in it.

    Raises UsageError when `out` cannot be written to.
    """
    folder = RunFolder((out / plan.run_id).absolute())
    try:
        folder.path.mkdir(parents=True)
        folder.spool.mkdir()
        folder.logs.mkdir()
        (folder.path / SCENARIO).write_text(scenario_text, encoding="utf-8")
        write_json_atomically(folder.path / PLAN, plan.to_json())
    except OSError as error:
        raise UsageError(f"cannot write results to {out}: {error.strerror}; choose another place with --out") from None
    return folder
