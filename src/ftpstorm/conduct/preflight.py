"""What must hold before a run may begin: file descriptors, bounds of the guard, the password, facts of the host.

Each check refuses with what to do about it, before anything is written or connected.
"""

from __future__ import annotations

import csv
import os
import platform
import resource
import socket
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Final

from ftpstorm.arrivals.schedules import schedule_of
from ftpstorm.errors import EnvironmentUnavailableError, TargetRefusedError
from ftpstorm.plan.plan import HostFacts, load_end_ns, reserved_within
from ftpstorm.scenario.client import Client, parse_port_range
from ftpstorm.scenario.load import (
    AnyLoad,
    Burst,
    ConstantArrivalRate,
    ConstantSessions,
    HoldSessions,
    PoissonArrivalRate,
    ProbeUntilSuccess,
    RampingArrivalRate,
    RampingSessions,
    Replay,
    SharedIterations,
)
from ftpstorm.scenario.schema import Scenario, Users
from ftpstorm.scenario.target import Emulator, Target
from ftpstorm.units import NS_PER_S, format_duration, format_size
from ftpstorm.vocabulary import Cause

FILES_OF_A_PROCESS: Final = 64
"""Descriptors that a process of ours has open beside its sessions: interpreter, epoll, spools, channel."""
BYTES_OF_A_PROCESS: Final = 96 << 20
"""Memory of a worker or of the emulator before its first session: interpreter, models, buffers."""
BYTES_OF_A_SESSION: Final = 12 << 10
"""Memory of an open session, generously: some 2 KiB of ours, the rest the kernel's for two sockets."""
BYTES_OF_TLS: Final = 64 << 10
"""What TLS adds to a session with a data connection."""
BYTES_OF_A_SERVED_SESSION: Final = 96 << 10
"""Memory of a session on the emulator's side, generously: tasks, streams, the kernel's sockets."""
FILES_OF_A_SESSION: Final = 2
"""Control and data connection; a server's session has the listener of its passive port besides."""

CLIENT_PORT_CAUSES: Final = frozenset({Cause.CLIENT_EPHEMERAL_PORTS, Cause.CLIENT_BIND_HABIT})

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
    certain, possible = sure_sessions(scenario), possible_sessions(scenario)
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


def check_memory(scenario: Scenario, workers: int, available_bytes: int | None) -> list[str]:
    """Compare the memory that the sessions need with what this machine has left; return warnings.

    `available_bytes` None: not known, and nothing is said. Raises EnvironmentUnavailableError where the sessions that
    are sure to be open at once need more.
    """
    if available_bytes is None:
        return []
    each = BYTES_OF_A_SESSION + (BYTES_OF_TLS if scenario.target.tls.mode != "none" else 0)
    processes = workers
    if scenario.target.emulator is not None:
        each += BYTES_OF_A_SERVED_SESSION
        processes += 1
    for sessions, sure in ((sure_sessions(scenario), True), (possible_sessions(scenario), False)):
        need = processes * BYTES_OF_A_PROCESS + each * sessions
        if need <= available_bytes:
            continue
        where = f"{sessions} sessions need about {format_size(need)} of memory, and {format_size(available_bytes)} are"
        if sure:
            raise EnvironmentUnavailableError(f"{where} available: lower the sessions or use another machine")
        return [f"{where} available: should all of them be open at once, this machine will swap or kill"]
    return []


def check_ports(scenario: Scenario, host: HostFacts) -> list[str]:
    """Compare the sessions that are sure to be open at once with the client's ephemeral ports; return warnings.

    A warning and no refusal: running out of ports may be what the run is for. Unless the scenario expects it, such a
    run is invalid.
    """
    own = scenario.client.port_range
    found = host.port_range if own is None else parse_port_range(own)
    if found is None:
        return []
    first, last = found
    sources = len(scenario.client.addresses) or (scenario.lab.clients if scenario.lab is not None else 1)
    ports = (last - first + 1 - reserved_within(host, own)) * sources
    sessions = sure_sessions(scenario)
    if sessions <= ports or (scenario.expect is not None and scenario.expect.cause in CLIENT_PORT_CAUSES):
        return []
    return [
        f"{sessions} sessions will be open at once, and the client's ephemeral range {first}-{last} has {ports} ports "
        f"to one server address: give more client.source_addresses, widen net.ipv4.ip_local_port_range, or expect "
        f"{Cause.CLIENT_EPHEMERAL_PORTS}"
    ]


def sure_sessions(scenario: Scenario) -> int:
    """Return how many sessions the loads are sure to have open at one time, if the server serves them."""
    return sum(_certain_sessions(load) for load in scenario.load.values())


def possible_sessions(scenario: Scenario) -> int:
    """Return how many sessions the loads may have open at one time at most."""
    return sum(_sessions_limit(load) for load in scenario.load.values())


def read_available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that processes can still get without swapping (MemAvailable, proc(5)); None where unknown."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return None if kib is None else kib << 10


def read_accounts(users: Users | None) -> tuple[tuple[str, str], ...]:
    """Return user and password of each line of the users' file; empty where the scenario names none.

    Raises EnvironmentUnavailableError that names the place and never the content.
    """
    if users is None:
        return ()
    where = f"users.from: {users.from_}"
    try:
        with Path(users.from_).open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row and not row[0].lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "is no CSV text in UTF-8"
        raise EnvironmentUnavailableError(f"{where}: {why}") from None
    if rows and [cell.strip().lower() for cell in rows[0]][:2] == ["user", "password"]:
        del rows[0]
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not row[0].strip():
            raise EnvironmentUnavailableError(f"{where}: account {number} is not `user,password`")
        if any("\n" in cell or "\r" in cell for cell in row):
            raise EnvironmentUnavailableError(f"{where}: account {number} has a line break in it")
    if not rows:
        raise EnvironmentUnavailableError(f"{where}: holds no account")
    return tuple((row[0].strip(), row[1]) for row in rows)


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


def check_sources(
    client: Client, targets: Sequence[tuple[str, int]], emulator: Emulator | None, client_hosts: int = 1
) -> None:
    """Try the source addresses and the port range, of several `client_hosts` in the first's place.

    Raises EnvironmentUnavailableError where workers could not. An emulator names its own address where `targets` is
    empty.
    """
    from ftpstorm.engine.sources import make_sources

    if client.source_addresses or client.port_range is not None:
        address = targets[0][0] if targets or emulator is None else emulator.address
        hosts = client_hosts if len(client.addresses) > 1 else 1
        make_sources(client, socket.AF_INET6 if ":" in address else socket.AF_INET, 0, hosts)


def check_tls(target: Target) -> None:
    """Try what the workers will do with `target.tls`. Raises EnvironmentUnavailableError where they could not."""
    from ftpstorm.engine.tls import make_tls

    tls = target.tls
    try:
        make_tls(target)
    except ValueError as error:
        name = tls.server_name or target.host
        raise EnvironmentUnavailableError(
            f"target.tls.server_name: {name}: can be no server's name ({error})"
        ) from None
    except OSError as error:
        why = error.strerror or str(error)
        if tls.ca_file is not None and Path(tls.ca_file).is_file() and os.access(tls.ca_file, os.R_OK):
            why = "holds no certificate in PEM format"
        raise EnvironmentUnavailableError(f"target.tls.ca_file: {tls.ca_file}: {why}") from None


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
        case ConstantSessions() | RampingSessions() | HoldSessions():
            return load.sessions
        case SharedIterations():
            return min(load.sessions, load.iterations)
        case ProbeUntilSuccess():
            return 1
        case ConstantArrivalRate() | RampingArrivalRate() | PoissonArrivalRate() | Replay():
            return 0


def _sessions_limit(load: AnyLoad) -> int:
    match load:
        case SharedIterations():
            return min(load.sessions, load.iterations)
        case ConstantSessions() | RampingSessions() | HoldSessions():
            return load.sessions
        case ProbeUntilSuccess():
            return 1
        case PoissonArrivalRate():
            return load.max_sessions
        case _:
            schedule = schedule_of(load)
            assert schedule is not None
            return schedule.count if load.max_sessions is None else min(schedule.count, load.max_sessions)


def _peak_rate(load: AnyLoad) -> Fraction:
    """Return the sessions that a load starts in its busiest second; closed loads are bounded as the run goes on.

    Of a Poisson load it is the mean rate: single seconds may hold more.
    """
    match load:
        case ConstantArrivalRate() | PoissonArrivalRate():
            return load.rate.per_s
        case RampingArrivalRate():
            return max(load.start_rate.per_s, *(stage.target.per_s for stage in load.stages))
        case Burst() | HoldSessions():
            return Fraction(load.sessions * NS_PER_S, max(load.over, NS_PER_S))
        case Replay():
            instants = load.arrivals.instants_ns
            return Fraction(max(bisect_left(instants, at + NS_PER_S) - k for k, at in enumerate(instants)))
        case ProbeUntilSuccess():
            return Fraction(NS_PER_S, load.every)
        case _:
            return Fraction(0)
