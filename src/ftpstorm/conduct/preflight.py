"""What must hold before a run may begin: file descriptors, bounds of the guard, the password, facts of the host.

Each check refuses with what to do about it, before anything is written or connected.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Mapping
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError, TargetRefusedError
from ftpstorm.plan.plan import AnyLoad, load_end_ns, planned_sessions
from ftpstorm.scenario.load import Burst, ConstantArrivalRate, ConstantSessions, SharedIterations
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.target import Target
from ftpstorm.units import NS_PER_S, format_duration

FILES_OF_A_PROCESS: Final = 64
"""Descriptors that a process of ours has open beside its sessions: interpreter, epoll, spools, channel."""
FILES_OF_A_SESSION: Final = 2
"""Control and data connection; a server's session has the listener of its passive port besides."""

UNLIMITED: Final = 1 << 30
"""What `raise_file_limit` returns where the hard limit is infinite."""

PACKAGES: Final = ("ftpstorm", "aioftp", "uvloop", "pydantic", "numpy", "pyarrow", "psutil", "matplotlib")


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one, for this process and its children; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else UNLIMITED


def check_files(scenario: Scenario, workers: int, limit: int) -> list[str]:
    """Compare the sessions that the plan may have open with `limit` open files a process; return warnings.

    Raises EnvironmentUnavailableError where the plan is sure to pass it: a burst at one instant and a closed load open
    all their sessions.
    """
    loads = scenario.load.values()
    certain = sum(_certain_sessions(load) for load in loads)
    possible = sum(_sessions_limit(load) for load in loads)
    emulator = scenario.target.emulator
    warnings: list[str] = []
    for sessions, sure in ((certain, True), (possible, False)):
        need = FILES_OF_A_PROCESS + FILES_OF_A_SESSION * -(-sessions // workers)
        where = f"a worker needs {need} open files for its share of {sessions} sessions"
        if emulator is not None:
            serving = FILES_OF_A_PROCESS + FILES_OF_A_SESSION * sessions + min(sessions, emulator.passive_count)
            if serving > need:
                need, where = serving, f"the emulator needs {serving} open files for {sessions} sessions"
        if need > limit:
            remedy = "raise it with `ulimit -Hn` or lower the sessions"
            if sure:
                raise EnvironmentUnavailableError(f"{where}, and the limit is {limit}: {remedy}, or use more --workers")
            warnings.append(f"{where} if all of them are open at once, and the limit is {limit}: {remedy}")
            break
    return warnings


def check_guard(scenario: Scenario) -> None:
    """Compare the plan with the scenario's `guard`. Raises TargetRefusedError for what the guard does not allow."""
    guard = scenario.guard
    if guard is None:
        return
    loads = scenario.load.values()
    sessions = sum(_sessions_limit(load) for load in loads)
    if sessions > guard.max_sessions:
        raise TargetRefusedError(
            f"the load may have {sessions} sessions open at once, guard.max_sessions allows {guard.max_sessions}"
        )
    rate = sum((_peak_rate(load) for load in loads), Fraction(0))
    if rate > guard.max_rate.per_s:
        raise TargetRefusedError(
            f"the load may start {float(rate):g} sessions a second, guard.max_rate allows {guard.max_rate}"
        )
    end_ns = max(load_end_ns(load) for load in loads)
    if end_ns > guard.stop_after:
        raise TargetRefusedError(
            f"the load lasts {format_duration(end_ns)}, guard.stop_after allows {format_duration(guard.stop_after)}"
        )


def read_password(target: Target, environment: Mapping[str, str]) -> str | None:
    """Return the password of the target, None where it names none. Errors name the place, never the content.

    Raises EnvironmentUnavailableError when the variable is not set or the file cannot be read.
    """
    if target.password_env is not None:
        if target.password_env not in environment:
            raise EnvironmentUnavailableError(f"target.password_env: {target.password_env} is not set")
        return environment[target.password_env]
    if target.password_file is not None:
        try:
            lines = Path(target.password_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
            raise EnvironmentUnavailableError(f"target.password_file: {target.password_file}: {why}") from None
        if not lines:
            raise EnvironmentUnavailableError(f"target.password_file: {target.password_file} is empty")
        return lines[0]
    return None


def children_environment(target: Target, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` without the password: the children that need it get it over their channel."""
    return {key: value for key, value in environment.items() if key != target.password_env}


def read_versions() -> dict[str, str]:
    """Return the versions of the interpreter, the kernel and the packages that a run depends on."""
    system = os.uname()
    versions = {"python": platform.python_version(), system.sysname.lower(): system.release}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _certain_sessions(load: AnyLoad) -> int:
    match load:
        case Burst():
            # spread bursts may end sessions while others begin; a burst at one instant opens them all
            return min(load.sessions, load.max_sessions or load.sessions) if load.over == 0 else 0
        case ConstantSessions():
            return load.sessions
        case SharedIterations():
            return min(load.sessions, load.iterations)
        case ConstantArrivalRate():
            return 0


def _sessions_limit(load: AnyLoad) -> int:
    planned = planned_sessions(load)
    most = load.sessions if isinstance(load, ConstantSessions | SharedIterations) else load.max_sessions
    known = [number for number in (planned, most) if number is not None]
    return min(known)


def _peak_rate(load: AnyLoad) -> Fraction:
    """Return the sessions that a load starts in its busiest second; closed loads are bounded as the run goes on."""
    match load:
        case ConstantArrivalRate():
            return load.rate.per_s
        case Burst():
            return Fraction(load.sessions * NS_PER_S, max(load.over, NS_PER_S))
        case _:
            return Fraction(0)
