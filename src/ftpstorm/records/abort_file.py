"""abort.json: which threshold with `abort_on_fail` ended a run, and what it saw. Only such a run has the file.

The report reads it, since what is recorded while sessions drain may put the condition right again.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ftpstorm.errors import RecordsError
from ftpstorm.records.manifest import write_json_atomically

ABORT: Final = "abort.json"


@dataclass(frozen=True, slots=True)
class Abort:
    """A condition that did not hold while the run went on."""

    metric: str
    """As the scenario has it, with its tags."""
    condition: str
    measured: float
    unit: str
    """Of `measured`: ms, /s or ""."""
    t_s: float
    """When it was looked at, in seconds after start_at."""


def write_abort(folder: Path, abort: Abort) -> None:
    """Write abort.json into a results folder."""
    write_json_atomically(folder / ABORT, dataclasses.asdict(abort))


def read_abort(folder: Path) -> Abort | None:
    """Read abort.json of a results folder, None where there is none. Raises RecordsError for a file that is none."""
    try:
        return Abort(**json.loads((folder / ABORT).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RecordsError(f"{folder / ABORT}: not what an aborted run leaves: {error}") from None
