"""The load phase over scripted workers: real processes that obey, dawdle, or do not answer."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ftpstorm.clock import monotonic_ns
from ftpstorm.conduct.children import Child, Crew
from ftpstorm.conduct.dashboard import Dashboard
from ftpstorm.conduct.live import View, new_console
from ftpstorm.conduct.load_phase import LoadPhase, ask_to_finish, cool_down
from ftpstorm.conduct.stops import StopRequests
from ftpstorm.plan.plan import Plan
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Status
from support.short_run import scenario_of

PROLOGUE = """
import json, os, signal, socket, sys
channel = socket.socket(fileno=int(os.environ["FTPSTORM_CHANNEL"]))
lines = channel.makefile("r")
def say(kind, **fields):
    channel.sendall(json.dumps({"type": kind, **fields}).encode() + b"\\n")
def hear():
    return json.loads(lines.readline() or "{}")
say("ready", pid=os.getpid())
"""
OBEDIENT = 'how = hear()["how"]; say("done", counts={"how": how}); lines.read()'
DRAINS_FOR_EVER = 'hear(); how = hear()["how"]; say("done", counts={"how": how}); lines.read()'
DEAF = "signal.pause()"
DONE = 'say("done", counts={}); lines.read()'

LONG = {"steady": scenario_of()["load"]["steady"] | {"duration": "300s", "graceful_stop": "0s"}}


def plan_of(**sections: object) -> Plan:
    return Plan(run_id="r", scenario=Scenario.model_validate(scenario_of(load=LONG) | sections))


@pytest.fixture
def requests() -> StopRequests:
    return StopRequests()


@pytest.fixture(autouse=True)
def _short_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpstorm.conduct.load_phase.STOP_WITHIN_S", 1)


async def run_phase(
    folder: Path,
    requests: StopRequests,
    plan: Plan,
    *scripts: str,
    act: Callable[[list[Child]], Awaitable[None]] | None = None,
) -> tuple[LoadPhase, list[Child]]:
    """Run a phase over one worker for each script; `act` is done once all of them are ready."""
    async with Crew(lambda role: folder / f"{role}.log", os.environ) as crew:
        requests.changed = crew.changed
        workers = [
            await crew.start(f"worker-{index}", [sys.executable, "-c", PROLOGUE + textwrap.dedent(script)])
            for index, script in enumerate(scripts)
        ]
        while any(worker.ready is None for worker in workers):
            await crew.wait(0.1)
        dashboard = Dashboard(plan, View(new_console(), quiet=True), None)
        dashboard.workers = workers
        phase = LoadPhase(plan, crew, workers, monotonic_ns(), requests, dashboard)
        if act is not None:
            await act(workers)
        await phase.run()
    return phase, workers


async def test_a_load_that_ends_by_itself_is_completed(tmp_path: Path, requests: StopRequests) -> None:
    phase, _ = await run_phase(tmp_path, requests, plan_of(), DONE, DONE)
    assert (phase.status, phase.reason) == (Status.COMPLETED, None)


async def test_a_request_reaches_every_worker_and_interrupts(tmp_path: Path, requests: StopRequests) -> None:
    requests.request("drain")
    phase, workers = await run_phase(tmp_path, requests, plan_of(), OBEDIENT, OBEDIENT)
    assert phase.status is Status.INTERRUPTED
    assert [worker.counts for worker in workers] == [{"how": "drain"}] * 2


async def test_a_drain_without_end_becomes_a_stop(tmp_path: Path, requests: StopRequests) -> None:
    requests.request("drain")
    phase, [worker] = await run_phase(tmp_path, requests, plan_of(), DRAINS_FOR_EVER)
    assert phase.status is Status.INTERRUPTED
    assert worker.counts == {"how": "now"}


async def test_a_worker_that_does_not_answer_is_killed(tmp_path: Path, requests: StopRequests) -> None:
    requests.request("now")
    phase, [worker] = await run_phase(tmp_path, requests, plan_of(), DEAF)
    assert worker.exit_code == -signal.SIGKILL
    assert worker.error == "did not answer `stop` within 1 s"
    assert phase.status is Status.CUT_SHORT


async def test_a_dead_worker_drains_the_others(tmp_path: Path, requests: StopRequests) -> None:
    async def kill_the_first(workers: list[Child]) -> None:
        os.kill(workers[0].pid, signal.SIGKILL)

    phase, [_, other] = await run_phase(tmp_path, requests, plan_of(), DEAF, OBEDIENT, act=kill_the_first)
    assert phase.status is Status.CUT_SHORT
    assert phase.reason == "worker-0 was ended by SIGKILL without having finished"
    assert other.counts == {"how": "drain"}


async def test_a_stop_rule_ends_the_run_early(tmp_path: Path, requests: StopRequests) -> None:
    plan = plan_of(stop={"unreachable_sessions": 5})
    script = 'say("progress", t_ns=1, unreachable_streak=5);' + OBEDIENT
    phase, [worker] = await run_phase(tmp_path, requests, plan, script)
    assert phase.status is Status.STOPPED_EARLY
    assert phase.reason == "5 sessions in a row got no greeting"
    assert worker.counts == {"how": "drain"}


async def test_a_load_past_its_planned_end_is_stopped(
    tmp_path: Path, requests: StopRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftpstorm.conduct.load_phase.OVERDUE_S", 0)
    load = {"steady": LONG["steady"] | {"duration": "100ms"}}
    phase, [worker] = await run_phase(tmp_path, requests, plan_of(load=load), OBEDIENT)
    assert worker.counts == {"how": "now"}
    assert phase.status is Status.CUT_SHORT
    assert phase.reason == "the load went on past its planned end"


async def test_a_request_ends_the_cool_down(tmp_path: Path, requests: StopRequests) -> None:
    async with Crew(lambda role: tmp_path / role, {}) as crew:
        requests.changed = crew.changed
        before_ns = monotonic_ns()
        await cool_down(crew, requests, 20_000_000)
        assert monotonic_ns() - before_ns >= 20_000_000
        requests.request()
        await cool_down(crew, requests, 3600 * NS_PER_S)


async def test_a_child_that_does_not_finish_is_killed(tmp_path: Path) -> None:
    async with Crew(lambda role: tmp_path / role, os.environ) as crew:
        child = await crew.start("sampler", [sys.executable, "-c", PROLOGUE + DEAF])
        await ask_to_finish(crew, child, 0.2)
    assert child.error == "did not answer `finish` within 0.2 s"
