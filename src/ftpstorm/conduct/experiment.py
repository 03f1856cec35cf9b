"""The measured part of a run: children up, all ready, one start_at, the load, cool-down, children down.

It decides nothing about files other than where children write; manifest, prediction and report are the conductor's.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ftpstorm.clock import ClockPair, monotonic_ns, read_clock_pair
from ftpstorm.conduct.children import READY_WITHIN_S, Child, ChildError, Crew
from ftpstorm.conduct.dashboard import RUNNING, Dashboard
from ftpstorm.conduct.folder import RunFolder
from ftpstorm.conduct.load_phase import LoadPhase, ask_to_finish, cool_down, wait_for_start
from ftpstorm.conduct.stops import StopRequests
from ftpstorm.conduct.target import is_loopback
from ftpstorm.errors import ExitCode, FtpstormError, UsageError
from ftpstorm.plan.plan import Plan
from ftpstorm.records.manifest import ProcessRecord
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import Status

START_AHEAD_NS: Final = 300 * NS_PER_MS
"""From `start_at` leaving the conductor to the instant it names: every child has its spools open and its timer set."""
ANNOUNCE_AT_LEAST_NS: Final = 200 * NS_PER_MS
"""What ARCHITECTURE.md promises to the children."""
ANNOUNCE_AHEAD_NS: Final = NS_PER_S
"""A later start is announced only so long before it: the sampler records from the announcement on."""
FINISH_WITHIN_S: Final = 15.0

ENGINE: Final = "ftpstorm.engine"
SAMPLER: Final = "ftpstorm.sampler"
EMULATOR: Final = "ftpstorm.emulator"


class StoppedBeforeStartError(FtpstormError):
    """The user stopped the run before its first packet."""

    exit_code = ExitCode.INTERRUPTED


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is to be measured, and with what."""

    plan: Plan
    folder: RunFolder
    targets: tuple[tuple[str, int], ...]
    """Checked addresses; empty where the emulator will name its own."""
    password: str | None
    accounts: tuple[tuple[str, str], ...]
    """User and password of each account of the scenario's `users`."""
    environment: Mapping[str, str]
    """What the children get; without the password."""
    start_at_realtime_ns: int | None
    modules: Mapping[str, str]
    """Module to execute by role: engine, sampler, emulator."""


@dataclass(frozen=True, slots=True)
class Started:
    """What is known once everything is ready, before the first packet."""

    start_at_ns: int
    clock: ClockPair
    target: dict[str, Any]
    """As the manifest holds it."""
    processes: list[ProcessRecord]


@dataclass(frozen=True, slots=True)
class Measured:
    """How the measured part ended."""

    status: Status
    reason: str | None
    ended_ns: int
    """When the last worker was done, in ns after start_at."""
    processes: list[ProcessRecord]


async def measure(
    experiment: Experiment, requests: StopRequests, dashboard: Dashboard, on_start: Callable[[Started], None]
) -> Measured:
    """Run the experiment to its end. `on_start` is called once, before anything connects.

    Raises ChildError or EnvironmentUnavailableError where a child cannot get ready, StoppedBeforeStartError where the
    user asked to stop before the start. However it ends, no child is left.
    """
    plan = experiment.plan
    async with Crew(experiment.folder.log_of, experiment.environment) as crew:
        requests.changed = crew.changed
        drawing = asyncio.create_task(dashboard.run())
        try:
            emulator, workers, sampler = await _start_children(crew, experiment)
            dashboard.workers, dashboard.sampler, dashboard.emulator = workers, sampler, emulator
            target = await _greet(crew, experiment, requests, emulator, workers, sampler)
            start_at_ns = await _agree_on_start(crew, experiment, requests, dashboard, target, on_start)
            phase = LoadPhase(plan, crew, workers, start_at_ns, requests, dashboard)
            ended_ns = await phase.run()
            dashboard.state = "cooling down"
            await cool_down(crew, requests, plan.scenario.sampling.cool_down)
            dashboard.state = "finishing"
            for child in (sampler, emulator):
                if child is not None:
                    await ask_to_finish(crew, child, FINISH_WITHIN_S)
            dashboard.draw()
        finally:
            drawing.cancel()
    status, reason = phase.status, phase.reason
    broken = next((child for child in crew.children if child.error is not None), None)
    if broken is not None and status is not Status.CUT_SHORT:
        status, reason = Status.CUT_SHORT, f"{broken.role} {broken.error}"
    if status is Status.INTERRUPTED and reason is None:
        reason = "stopped by request"
    return Measured(status, reason, ended_ns, [child.record() for child in crew.children])


async def _start_children(crew: Crew, experiment: Experiment) -> tuple[Child | None, list[Child], Child]:
    """Start all interpreters at once: each takes a while to import what it needs."""

    def module(role: str) -> Sequence[str]:
        return [sys.executable, "-P", "-m", experiment.modules[role]]

    emulator = None
    if experiment.plan.scenario.target.emulator is not None:
        emulator = await crew.start("emulator", module("emulator"))
    workers = [await crew.start(f"worker-{index}", module("engine")) for index in range(experiment.plan.workers)]
    return emulator, workers, await crew.start("sampler", module("sampler"))


async def _greet(
    crew: Crew,
    experiment: Experiment,
    requests: StopRequests,
    emulator: Child | None,
    workers: Sequence[Child],
    sampler: Child,
) -> dict[str, Any]:
    """Tell each child its part and wait until all are ready; return the manifest's description of the target."""
    scenario = experiment.plan.scenario
    spool = str(experiment.folder.spool)
    if emulator is not None:
        assert scenario.target.emulator is not None
        emulator.send(
            "hello",
            role="emulator",
            writer=emulator.role,
            spool=spool,
            emulator=scenario.target.emulator.model_dump(mode="json", by_alias=True),
            files=dict(scenario.files),
            host=scenario.target.emulator.address,
            log=str(experiment.folder.logs / "aioftp.log"),
        )
        await _wait_ready(crew, [emulator], requests)
    target = _target(experiment, emulator)
    plan = experiment.plan.to_json()
    for index, worker in enumerate(workers):
        worker.send(
            "hello",
            role="worker",
            writer=worker.role,
            spool=spool,
            plan=plan,
            worker=index,
            targets=target["addresses"],
            password=experiment.password,
            accounts=[list(account) for account in experiment.accounts],
        )
    local = all(is_loopback(host) for host, _ in target["addresses"])
    first, last = target["passive_range"] or (0, -1)
    sampler.send(
        "hello",
        role="sampler",
        writer=sampler.role,
        spool=spool,
        sampling=scenario.sampling.model_dump(mode="json"),
        host="host" if local else "client",
        processes={child.role: child.pid for child in crew.children} | {"conductor": os.getpid()},
        server_ports=[port for _, port in target["addresses"]] if local else [],
        passive_ports=(target["passive_ports"] or list(range(first, last + 1))) if local else [],
        port_range=experiment.plan.port_range,
    )
    await _wait_ready(crew, [*workers, sampler], requests)
    return target


def _target(experiment: Experiment, emulator: Child | None) -> dict[str, Any]:
    if emulator is not None:
        assert emulator.ready is not None
        return {
            "kind": "emulator",
            "addresses": [[emulator.ready["host"], emulator.ready["port"]]],
            "passive_ports": emulator.ready["passive_ports"],
            "passive_range": None,
        }
    declared = experiment.plan.scenario.target.passive_ports
    return {
        "kind": "host",
        "addresses": [list(address) for address in experiment.targets],
        "passive_ports": None,
        "passive_range": [int(part) for part in declared.split("-")] if declared else None,
    }


async def _wait_ready(crew: Crew, children: Sequence[Child], requests: StopRequests) -> None:
    deadline_ns = monotonic_ns() + round(READY_WITHIN_S * NS_PER_S)
    while any(child.ready is None for child in children):
        _refuse_broken(crew, requests)
        left_ns = deadline_ns - monotonic_ns()
        if left_ns <= 0:
            late = ", ".join(child.role for child in children if child.ready is None)
            raise ChildError(f"{late}: not ready within {READY_WITHIN_S:g} s")
        await crew.wait(left_ns / NS_PER_S)


def _refuse_broken(crew: Crew, requests: StopRequests) -> None:
    for child in crew.children:
        if child.finished:
            raise child.failure()
    if requests.how is not None:
        raise StoppedBeforeStartError("stopped by request before the start: nothing was sent")


async def _agree_on_start(
    crew: Crew,
    experiment: Experiment,
    requests: StopRequests,
    dashboard: Dashboard,
    target: dict[str, Any],
    on_start: Callable[[Started], None],
) -> int:
    """Choose start_at, have it recorded, and tell all children; return it."""
    wanted_ns: int | None = None
    if experiment.start_at_realtime_ns is not None:
        wanted_ns = read_clock_pair().to_monotonic_ns(experiment.start_at_realtime_ns)
        if wanted_ns < monotonic_ns() + START_AHEAD_NS:
            raise UsageError("--start-at was over before everything was ready; choose a later instant")
        dashboard.start_at_ns, dashboard.state = wanted_ns, "waiting for the start"
        await wait_for_start(crew, requests, wanted_ns - ANNOUNCE_AHEAD_NS)
    _refuse_broken(crew, requests)
    while True:
        start_at_ns = wanted_ns or monotonic_ns() + START_AHEAD_NS
        on_start(Started(start_at_ns, read_clock_pair(), target, [child.record() for child in crew.children]))
        if wanted_ns or start_at_ns - monotonic_ns() >= ANNOUNCE_AT_LEAST_NS:
            break  # else the disk was slow: what it took is not the children's to make up for
    for child in crew.children:
        child.send("start_at", t_ns=start_at_ns)
    dashboard.start_at_ns, dashboard.state = start_at_ns, RUNNING
    return start_at_ns
