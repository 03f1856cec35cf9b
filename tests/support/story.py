"""The gallery's scenarios in short forms, run as a user runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.servers import find_program
from support.lab_run import lab_refusal
from support.short_run import RunningCommand

Require = Callable[[str, bool, str], None]

GALLERY = Path(__file__).parents[2] / "scenarios"


@dataclass(frozen=True)
class Short:
    """One scenario or variant, with settings that make it short and leave its expectation as it is."""

    scenario: str
    variant: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    server: str | None = None
    """The real server that it needs."""

    def __str__(self) -> str:
        return self.scenario if self.variant is None else f"{self.scenario}, {self.variant}"


def run_short(short: Short, folder: Path, require: Require) -> tuple[RunningCommand, dict[str, Any]]:
    """Run it and return what is left to look at and its summary. Fails unless its own expectation was met."""
    refused = lab_refusal()
    require("lab", refused is None, refused or "")
    if short.server is not None:
        try:
            find_program(short.server)
        except EnvironmentUnavailableError as missing:
            require(short.server, False, str(missing))
    words = ["run", str(GALLERY / f"{short.scenario}.yaml"), "-q", "--no-plots"]
    if short.variant is not None:
        words += ["--variant", short.variant]
    for key, value in short.settings.items():
        words += ["--set", f"{key}={value}"]
    with RunningCommand(folder, *words) as run:
        code = run.end(within_s=120)
        summary = run.summary()
    told = (summary["headline"], summary["expectations"], summary["thresholds"], summary["generator"]["invalid"])
    assert code == 0, (told, run.stderr)
    assert summary["verdict"] == "pass"
    assert [line for line in summary["accounting"] if line["ok"] is False] == []
    return run, summary
