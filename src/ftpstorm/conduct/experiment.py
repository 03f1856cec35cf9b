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
from ftpstorm.conduct.abort import AbortWatch
from ftpstorm.conduct.children import READY_WITHIN_S, Child, ChildError, Crew
from ftpstorm.conduct.dashboard import RUNNING, Dashboard
from ftpstorm.conduct.folder import RunFolder
from ftpstorm.conduct.laboratory import Laboratory
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
TIME_WAIT: Final = "ftpstorm.lab.reaper"
CAPTURE: Final = "ftpstorm.sampler.capture"


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
    """Module to execute by role: engine, sampler, emulator, time-wait, capture."""
    laboratory: Laboratory | None = None
    """The network that the run has of its own, its server started; None without `lab`."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The children of one run. `emulator`, `time_wait` and `captures` are there only where the run needs them."""

    emulator: Child | None
    workers: Sequence[Child]
    sampler: Child
    time_wait: Child | None
    captures: Sequence[Child] = ()
    """One for each client host."""

    @property
    def finishers(self) -> tuple[Child, ...]:
        """Those that go on until they are asked to finish, in that order."""
        maybe = (self.sampler, self.emulator, self.time_wait, *self.captures)
        return tuple(child for child in maybe if child is not None)


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
    abort = AbortWatch(plan, experiment.folder.path)
    async with Crew(experiment.folder.log_of, experiment.environment) as crew:
        requests.changed = crew.changed
        drawing = asyncio.create_task(dashboard.run())
        try:
            cast = await _start_children(crew, experiment)
            dashboard.workers, dashboard.sampler, dashboard.emulator = cast.workers, cast.sampler, cast.emulator
            target = await _greet(crew, experiment, requests, cast)
            start_at_ns = await _agree_on_start(crew, experiment, requests, dashboard, target, on_start)
            phase = LoadPhase(plan, crew, cast.workers, start_at_ns, requests, dashboard, abort)
            ended_ns = await phase.run()
            dashboard.state = "cooling down"
            await cool_down(crew, requests, plan.scenario.sampling.cool_down)
            dashboard.state = "finishing"
            for child in cast.finishers:
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


async def _start_children(crew: Crew, experiment: Experiment) -> Cast:
    """Start all interpreters at once, each on its host: each takes a while to import what it needs."""
    lab = experiment.laboratory

    def module(role: str) -> Sequence[str]:
        return [sys.executable, "-P", "-m", experiment.modules[role]]

    emulator = time_wait = None
    if experiment.plan.scenario.target.emulator is not None:
        emulator = await crew.start("emulator", module("emulator"), host=lab.network.server if lab else None)
    workers = [
        await crew.start(f"worker-{index}", module("engine"), host=lab.client_of(index) if lab else None)
        for index in range(experiment.plan.workers)
    ]
    descriptors = lab.descriptors if lab else ()
    if lab is not None and lab.reaped_hosts():
        time_wait = await crew.start("time-wait", module("time-wait"), descriptors=descriptors)
    sampler = await crew.start("sampler", module("sampler"), descriptors=descriptors)
    captures = []
    if experiment.plan.scenario.capture is not None:
        hosts = lab.network.clients if lab is not None else (None,)
        for number, host in enumerate(hosts):
            role = "capture" if len(hosts) == 1 else f"capture-{number}"
            captures.append(await crew.start(role, module("capture"), host=host))
    return Cast(emulator, workers, sampler, time_wait, captures)


async def _greet(crew: Crew, experiment: Experiment, requests: StopRequests, cast: Cast) -> dict[str, Any]:
    """Tell each child its part and wait until all are ready; return the manifest's description of the target."""
    lab = experiment.laboratory
    spool = str(experiment.folder.spool)
    if cast.time_wait is not None and lab is not None:
        cast.time_wait.send("hello", role="time-wait", writer=cast.time_wait.role, hosts=lab.reaped_hosts())
    if cast.emulator is not None:
        await _greet_emulator(crew, experiment, requests, cast.emulator)
    target = _target(experiment, cast.emulator)
    server = lab.server if lab is not None else None
    plan = lab.worker_plan(experiment.plan) if lab is not None else experiment.plan.to_json()
    for index, worker in enumerate(cast.workers):
        hosts = len(lab.network.clients) if lab is not None else 1
        worker.send(
            "hello",
            role="worker",
            writer=worker.role,
            spool=spool,
            plan=plan,
            worker=index,
            targets=target["addresses"],
            password=server.password if server is not None else experiment.password,
            accounts=[list(account) for account in experiment.accounts],
            client_host=[index % hosts, hosts],
        )
    if experiment.plan.scenario.capture is not None:
        for capture in cast.captures:
            capture.send(
                "hello",
                role="capture",
                writer=capture.role,
                capture=experiment.plan.scenario.capture.model_dump(mode="json"),
                file=str(experiment.folder.path / f"{capture.role}.pcap"),
                server_ports=sorted({port for _, port in target["addresses"]}),
            )
    processes = {child.role: child.pid for child in crew.children} | {"conductor": os.getpid()}
    if server is not None:
        processes["server"] = server.pid
    cast.sampler.send(
        "hello",
        role="sampler",
        writer=cast.sampler.role,
        spool=spool,
        sampling=experiment.plan.scenario.sampling.model_dump(mode="json"),
        processes=processes,
        **_watched(experiment, target),
    )
    await _wait_ready(crew, [child for child in crew.children if child is not cast.emulator], requests)
    return target


async def _greet_emulator(crew: Crew, experiment: Experiment, requests: StopRequests, emulator: Child) -> None:
    scenario, lab = experiment.plan.scenario, experiment.laboratory
    assert scenario.target.emulator is not None
    emulator.send(
        "hello",
        role="emulator",
        writer=emulator.role,
        spool=str(experiment.folder.spool),
        emulator=scenario.target.emulator.model_dump(mode="json", by_alias=True),
        files=dict(scenario.files),
        host=scenario.target.emulator.address if lab is None else lab.listen_on,
        log=str(experiment.folder.logs / "aioftp.log"),
    )
    await _wait_ready(crew, [emulator], requests)


def _watched(experiment: Experiment, target: dict[str, Any]) -> dict[str, Any]:
    """Return what of the sampler's hello says which namespaces to watch, and what their ports mean."""
    port_range = experiment.plan.port_range
    if experiment.laboratory is not None:
        return {"hosts": experiment.laboratory.watched_hosts(target, port_range)}
    local = all(is_loopback(host) for host, _ in target["addresses"])
    first, last = target["passive_range"] or (0, -1)
    return {
        "host": "host" if local else "client",
        "server_ports": [port for _, port in target["addresses"]] if local else [],
        "passive_ports": (target["passive_ports"] or list(range(first, last + 1))) if local else [],
        "port_range": port_range,
    }


def _target(experiment: Experiment, emulator: Child | None) -> dict[str, Any]:
    lab = experiment.laboratory
    if emulator is not None:
        assert emulator.ready is not None
        address = [emulator.ready["host"], emulator.ready["port"]]
        return {
            "kind": "emulator",
            "addresses": [address] if lab is None else [[host, address[1]] for host, _ in lab.addresses],
            "passive_ports": emulator.ready["passive_ports"],
            "passive_range": None,
        }
    if lab is not None:
        return lab.describe_target()
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
