"""ftpstorm from Python: the same run as the command makes, as a subprocess, with its summary and records as objects.

A run of one's own process would have to share signals, threads and file descriptors with whoever calls; so it is not
offered. `ftpstorm.run`, `ftpstorm.load` and `ftpstorm.Result` are these, imported when they are first used.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.conduct.request import UNNAMED_ENVIRONMENT_KEY
from ftpstorm.errors import (
    EnvironmentUnavailableError,
    ExitCode,
    FtpstormError,
    Problem,
    RecordsError,
    ScenarioError,
    UsageError,
)
from ftpstorm.report.opening import opening
from ftpstorm.report.summary import Failure, Summary, exit_code, read_summary
from ftpstorm.scenario.loader import dump_scenario
from ftpstorm.scenario.schema import FAILURE_WORDS, Scenario

if TYPE_CHECKING:
    import pyarrow

_RAN: Final = frozenset({ExitCode.PASS, ExitCode.EXPECTATION_FAILED, ExitCode.INTERRUPTED, ExitCode.INVALID_RUN})
"""Exit codes of runs that left a summary."""


@dataclass(frozen=True, slots=True)
class Failures:
    """All failures of one class in a run."""

    failure_class: str
    count: int
    kinds: tuple[Failure, ...]
    """As summary.json has them: each with phase, code, errno and an example."""


class FailuresByClass(Mapping[str, Failures]):
    """Failures by class word. Every class has an entry, with a count of 0 where nothing of it happened.

    Iterating and `len` tell only the classes that happened. A word that is no class raises KeyError: a misspelt one
    must not look like a clean run.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        self._failures = tuple(failures)

    def __getitem__(self, failure_class: str) -> Failures:
        if failure_class not in FAILURE_WORDS:
            raise KeyError(f"{failure_class!r} is no failure class; classes: {', '.join(FAILURE_WORDS)}")
        kinds = tuple(failure for failure in self._failures if failure.class_ == failure_class)
        return Failures(failure_class, sum(failure.count for failure in kinds), kinds)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(failure.class_ for failure in self._failures))

    def __len__(self) -> int:
        return len({failure.class_ for failure in self._failures})

    @property
    def total(self) -> int:
        """Failures of all classes."""
        return sum(failure.count for failure in self._failures)

    def __repr__(self) -> str:
        return f"FailuresByClass({{{', '.join(f'{word!r}: {self[word].count}' for word in self)}}})"


@dataclass(frozen=True)
class Result:
    """What a run left: its folder, its summary, and its records as Arrow tables that are read when asked for."""

    folder: Path
    summary: Summary
    exit_code: ExitCode

    @property
    def ok(self) -> bool:
        """Whether the run is valid and every expectation and threshold held."""
        return self.exit_code is ExitCode.PASS

    @cached_property
    def failures(self) -> FailuresByClass:
        """Failures by class: ``result.failures["passive-exhausted"].count``."""
        return FailuresByClass(self.summary.failures)

    @cached_property
    def operations(self) -> pyarrow.Table:
        """One row for each executed step; columns in docs/records.md. `.to_pandas()` is pyarrow's."""
        return self._table("operations")

    @cached_property
    def sessions(self) -> pyarrow.Table:
        """One row for each planned arrival."""
        return self._table("sessions")

    @cached_property
    def samples(self) -> pyarrow.Table:
        """One row for each reading of the kernel's and the emulator's state."""
        return self._table("samples")

    def _table(self, name: str) -> pyarrow.Table:
        import pyarrow.parquet

        return pyarrow.parquet.read_table(self.folder / f"{name}.parquet")

    def __str__(self) -> str:
        return f"{opening(self.summary)}: {self.summary.headline} ({self.folder})"


def load(folder: Path | str) -> Result:
    """Return what the run in `folder` left, without running or reporting anything anew.

    Raises RecordsError where the folder holds no summary; `ftpstorm report FOLDER` makes one.
    """
    path = Path(folder).absolute()
    try:
        summary = read_summary(path)
    except FileNotFoundError:
        raise RecordsError(f"{path}: holds no summary.json; make it with: ftpstorm report {path}") from None
    return Result(path, summary, exit_code(summary))


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
    metrics: str | None = None,
) -> Result:
    """Run `scenario` (a model, a file, or a part of a gallery name) to its end and return what it left.

    Blocks until the run is over; a KeyboardInterrupt ends the run too. `out` is where the run's own folder is made,
    `metrics` an address such as ``127.0.0.1:9464``, and `set` maps dotted keys to values, such as
    ``{"load.steady.rate": "50/s"}``. The live view goes to stderr's pipe and is dropped.

    Raises what the command would have printed: ScenarioError, UsageError (its TargetRefusedError included),
    EnvironmentUnavailableError, or FtpstormError for an internal error. A failed expectation is no exception: look at
    `Result.ok`, `Result.exit_code` or `Result.summary.verdict`.
    """
    out = Path(out).absolute()
    environment = dict(os.environ)
    with ExitStack() as stack:
        if isinstance(scenario, Scenario):
            environment[UNNAMED_ENVIRONMENT_KEY] = "1"
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftpstorm-")))
            source = folder / f"{scenario.name}.yaml"
            source.write_text(dump_scenario(scenario), encoding="utf-8")
        else:
            source = Path(scenario)
        arguments = ["run", str(source), "--json", "--quiet", "--workers", str(workers), "--out", str(out)]
        for key, value in (set or {}).items():
            arguments += ["--set", f"{key}={json.dumps(value)}"]
        for option, text in _given(variant=variant, target=target, label=label, note=note, metrics=metrics):
            arguments += [option, text]
        for allowed in allow_targets:
            arguments += ["--allow-target", allowed]
        arguments += [] if expect else ["--no-expect"]
        arguments += [] if plots else ["--no-plots"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ftpstorm", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            text=True,
            check=False,
        )
    if done.returncode not in _RAN or not done.stdout.strip():
        raise _error(done.returncode, str(source), done.stderr)
    summary = Summary.model_validate_json(done.stdout)
    return Result(out / summary.run_id, summary, ExitCode(done.returncode))


def _given(**options: str | None) -> Iterator[tuple[str, str]]:
    """Yield the options that have a value, as the command line spells them."""
    for name, text in options.items():
        if text is not None:
            yield f"--{name}", text


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
