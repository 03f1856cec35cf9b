"""The exception tree and the exit codes.

An exception here means that the *experiment* is broken (a bad scenario, an unfit host, books that do not balance).
A session that failed is data, never an exception that leaves the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the command returns to the shell. 99, 104 and 105 are k6's; where several apply: 105, then 121, 99, 0."""

    PASS = 0
    INTERNAL_ERROR = 1
    USAGE = 2
    EXPECTATION_FAILED = 99
    BAD_SCENARIO = 104
    INTERRUPTED = 105
    ENVIRONMENT = 120
    INVALID_RUN = 121


class FtpstormError(Exception):
    """Base of all errors meant for the user: the message says what, where, the value seen and what to do."""

    exit_code: ExitCode = ExitCode.INTERNAL_ERROR


class UsageError(FtpstormError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class TargetRefusedError(UsageError):
    """Load would leave loopback and the lab, and the user has not allowed that target."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a scenario file; `line` and `column` are 1-based, 0 where the place is unknown."""

    message: str
    path: str = ""
    """Dotted key path as the user wrote it, such as ``load.steady.rate``."""
    line: int = 0
    column: int = 0
    value: str | None = None
    """The value seen, as YAML text."""
    hint: str | None = None
    """What to do, such as ``did you mean 'max_sessions'?``."""
    origin: str | None = None
    """Where it was written when that is not the file, such as ``--set load.steady.rate=5``."""

    def render(self, file: str) -> str:
        """Return ``file:line:column: path: message (saw value); hint``, or with `origin` in the place's stead."""
        if self.origin is not None:
            place = f"{self.origin}: "
        else:
            place = f"{file}:{self.line}:{self.column}: " if self.line else f"{file}: "
        path = f"{self.path}: " if self.path else ""
        seen = f" (saw {self.value})" if self.value is not None else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{path}{self.message}{seen}{hint}"


class ScenarioError(FtpstormError):
    """A scenario that cannot be run. Carries every problem found in the file, in the file's order."""

    exit_code = ExitCode.BAD_SCENARIO

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.render(file) for problem in self.problems))


class EnvironmentUnavailableError(FtpstormError):
    """This host lacks what the run needs (namespaces, a server, file descriptors); says what to enable."""

    exit_code = ExitCode.ENVIRONMENT


class RecordsError(FtpstormError):
    """A results folder or a spool that cannot be read as what it claims to be."""

    exit_code = ExitCode.USAGE
