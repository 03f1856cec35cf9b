"""ftpstorm from Python: the same run as the command makes, as a subprocess, with its summary as an object.

A run of one's own process would have to share signals, threads and file descriptors with whoever calls; so it is not
offered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftpstorm.errors import (
    EnvironmentUnavailableError,
    ExitCode,
    FtpstormError,
    Problem,
    ScenarioError,
    UsageError,
)
from ftpstorm.report.summary import Summary
from ftpstorm.scenario.loader import dump_scenario
from ftpstorm.scenario.schema import Scenario

_RAN: Final = frozenset({ExitCode.PASS, ExitCode.EXPECTATION_FAILED, ExitCode.INTERRUPTED, ExitCode.INVALID_RUN})
"""Exit codes of runs that left a summary."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run left."""

    folder: Path
    summary: Summary
    exit_code: ExitCode


def run(
    scenario: Scenario | Path | str,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - the name of the option and of the scenario's key
    variant: str | None = None,
    target: str | None = None,
    workers: int = 1,
    label: str | None = None,
    note: str | None = None,
    out: Path | str = "results",
    allow_targets: Sequence[str] = (),
    expect: bool = True,
    plots: bool = True,
) -> Result:
    """Run `scenario` (a model, a file, or a part of a gallery name) to its end and return what it left.

    `set` maps dotted keys to values, such as ``{"load.steady.rate": "50/s"}``. The live view goes to stderr's pipe and
    is dropped. Raises what the command would have printed: ScenarioError, UsageError (its TargetRefusedError included),
    EnvironmentUnavailableError, or FtpstormError for an internal error. A failed expectation is no exception: look at
    `Result.exit_code` or `Result.summary.verdict`.
    """
    out = Path(out).absolute()
    with ExitStack() as stack:
        if isinstance(scenario, Scenario):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftpstorm-")))
            source = folder / f"{scenario.name}.yaml"
            source.write_text(dump_scenario(scenario), encoding="utf-8")
        else:
            source = Path(scenario)
        arguments = ["run", str(source), "--json", "--quiet", "--workers", str(workers), "--out", str(out)]
        for key, value in (set or {}).items():
            arguments += ["--set", f"{key}={json.dumps(value)}"]
        for option, text in (("--variant", variant), ("--target", target), ("--label", label), ("--note", note)):
            if text is not None:
                arguments += [option, text]
        for allowed in allow_targets:
            arguments += ["--allow-target", allowed]
        arguments += [] if expect else ["--no-expect"]
        arguments += [] if plots else ["--no-plots"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ftpstorm", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in _RAN or not done.stdout.strip():
        raise _error(done.returncode, str(source), done.stderr)
    summary = Summary.model_validate_json(done.stdout)
    return Result(out / summary.run_id, summary, ExitCode(done.returncode))


def _error(code: int, source: str, stderr: str) -> FtpstormError:
    """Return the exception whose exit code the command ended with, with the text that it printed."""
    lines = [line.removeprefix("error: ") for line in stderr.strip().splitlines()]
    text = "\n".join(lines) or f"ftpstorm ended with exit code {code} and said nothing"
    match code:
        case ExitCode.BAD_SCENARIO:
            return ScenarioError(source, [Problem(line.removeprefix(f"{source}: ")) for line in lines])
        case ExitCode.USAGE:
            return UsageError(text)
        case ExitCode.ENVIRONMENT:
            return EnvironmentUnavailableError(text)
        case _:
            return FtpstormError(text)
