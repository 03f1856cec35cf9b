"""Runs that belong together: each as if it had been started alone, in namespaces and processes of its own.

What the runs are, and what is made of them, is for whoever asks: sweeps, searches, all variants of a scenario.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftpstorm.conduct.request import RunRequest
from ftpstorm.conduct.supervisor import supervise
from ftpstorm.errors import ExitCode, UsageError

RAN = frozenset({ExitCode.PASS, ExitCode.EXPECTATION_FAILED, ExitCode.INVALID_RUN})
"""Exit codes of runs that went to their end and left a report."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run that is over."""

    code: int
    folder: Path | None
    """Its results folder; None where it never came to one."""
    stop: bool = False
    """Somebody asked for an end while its report was made: no further run is wanted."""

    @property
    def whole(self) -> bool:
        """Whether it ran to its end and has a summary."""
        return self.code in RAN and self.folder is not None


Runner = Callable[[RunRequest], Ran]
"""Carries one request out."""


def run_one(request: RunRequest) -> Ran:
    """Run `request` to its end; the exit code is that of ``ftpstorm run``."""
    ended = supervise(request, private=request.read_scenario().target.emulator is not None)
    return Ran(ended.code, ended.folder, ended.stop)


def setting_text(key: str, value: Any) -> str:
    """Return the ``--set`` text that gives `key` the value; texts keep a `${` that is theirs."""
    import json

    return f"{key}={json.dumps(value).replace('${', '$${')}"


def new_folder(out: str, name: str, kind: str) -> Path:
    """Make ``<UTC>-<name>-<kind>-<id>`` under `out`, for the runs of a sweep or a search and what tells of them.

    Raises UsageError where it cannot be made.
    """
    folder = Path(out).absolute() / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}-{kind}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"cannot write results to {out}: {error.strerror}; choose another place with --out") from None
    return folder


def alone(request: RunRequest, out: Path, *, plots: bool, parts: Sequence[str] = ("sweep", "search")) -> RunRequest:
    """Return `request` as one run of several: quiet, in `out`, without the parts that ask for several runs."""
    scenario = {**request.scenario, **dict.fromkeys(parts)}
    return request.model_copy(update={"scenario": scenario, "out": str(out), "quiet": True, "plots": plots})
