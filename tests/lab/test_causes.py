"""Each cause made for real: whole runs, mostly in labs, and the report must name what ran out before all else."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import EnvironmentUnavailableError, ExitCode
from ftpstorm.lab.servers import find_program
from ftpstorm.vocabulary import Cause
from support.causes import CAUSES, HEALTHY, MIXED, QUICK, Situation, burst, emulator, flow, steady
from support.lab_run import lab_refusal
from support.short_run import RunningCommand, wait_for, write_scenario

Require = Callable[[str, bool, str], None]
Outcome = tuple[int, dict[str, Any] | None, str]
"""Exit code, summary.json (None where none was written), stderr."""
Outcomes = Callable[[str], Outcome]

SITUATIONS = CAUSES | MIXED | HEALTHY
PORT_CAUSES = frozenset(set(Cause) - {Cause.NONE, Cause.UNKNOWN})
AT_ONE_TIME = 2
"""Runs beside each other: each has namespaces of its own, and counts decide, so they do not disturb one another."""


@pytest.fixture(scope="module", autouse=True)
def namespaces(require: Require) -> None:
    reason = lab_refusal()
    require("lab", reason is None, reason or "")


def run(name: str, folder: Path) -> Outcome:
    situation = SITUATIONS[name]
    lab = {} if situation.lab is None else {"lab": situation.lab}
    scenario = write_scenario(folder, **(situation.sections | lab | {"sampling": QUICK}))
    with RunningCommand(folder, "run", str(scenario), "-q", "--no-plots") as command:
        if situation.files is not None:
            limits = (situation.files, situation.files)
            resource.prlimit(command.process.pid, resource.RLIMIT_NOFILE, limits)  # it has yet to import anything
        code = command.end(120)
        return code, command.summary() if list(command.out.glob("*/summary.json")) else None, command.stderr


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Give ``outcomes(name)``. All situations that were asked for run in the background, a few at one time."""
    asked = [item.callspec.params["name"] for item in request.session.items if _named(item)]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(AT_ONE_TIME) as pool:
        runs: dict[str, Future[Outcome]] = {
            name: pool.submit(run, name, tmp_path_factory.mktemp(name))
            for name in dict.fromkeys(asked)
            if missing(SITUATIONS[name]) is None
        }
        yield lambda name: runs[name].result()
        pool.shutdown(cancel_futures=True)


def _named(item: pytest.Item) -> bool:
    spec = getattr(item, "callspec", None)
    return item.path == Path(__file__) and spec is not None and "name" in spec.params


def missing(situation: Situation) -> str | None:
    """Say what is missing of the server that the situation needs; None where it is there, or none is needed."""
    if situation.needs in (None, "netem"):
        return None
    try:
        find_program(situation.needs)
    except EnvironmentUnavailableError as error:
        return str(error)
    return None


def judged(name: str, outcomes: Outcomes, require: Require) -> dict[str, Any]:
    """Return the summary of a situation, or skip where this machine lacks what it needs."""
    situation = SITUATIONS[name]
    reason = missing(situation)
    require(situation.needs or "lab", reason is None, reason or "")
    code, summary, stderr = outcomes(name)
    if situation.needs == "netem":
        lacks = code == ExitCode.ENVIRONMENT
        require("netem", not lacks, stderr.strip())
    assert summary is not None, f"exit code {code}: {stderr}"
    return summary


def story(summary: dict[str, Any]) -> str:
    """Return what the diagnosis rests on, for a failed assertion."""
    kinds = [(row["class"], row["phase"], row["count"]) for row in summary["failures"]]
    return f"{summary['headline']}\n{summary['diagnosis']}\n{summary['others']}\n{kinds}"


@pytest.mark.parametrize("name", CAUSES)
def test_what_ran_out_is_named_first(name: str, outcomes: Outcomes, require: Require) -> None:
    summary = judged(name, outcomes, require)
    situation, diagnosis = CAUSES[name], summary["diagnosis"]
    assert diagnosis["cause"] == situation.cause, story(summary)
    if situation.confidence is not None:
        assert diagnosis["confidence"] == situation.confidence, story(summary)
    assert diagnosis["evidence"], story(summary)
    assert diagnosis["fixes"], story(summary)
    assert situation.cause not in [out["cause"] for out in diagnosis["ruled_out"]]
    if diagnosis["confidence"] != "certain":
        assert diagnosis["would_settle"], story(summary)


@pytest.mark.parametrize("name", MIXED)
def test_of_two_things_that_run_out_the_binding_one_comes_first(
    name: str, outcomes: Outcomes, require: Require
) -> None:
    summary = judged(name, outcomes, require)
    assert summary["diagnosis"]["cause"] == MIXED[name].cause, story(summary)
    assert set(MIXED[name].others) <= {other["cause"] for other in summary["others"]}, story(summary)


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_only_slow_has_no_cause(name: str, outcomes: Outcomes, require: Require) -> None:
    summary = judged(name, outcomes, require)
    assert summary["diagnosis"]["cause"] == "none", story(summary)
    assert not PORT_CAUSES & {other["cause"] for other in summary["others"]}, story(summary)
    assert summary["failures"] == []


def test_a_generator_that_was_held_up_is_named_before_all_else(tmp_path: Path) -> None:
    """Stop the worker for a second: what was due meanwhile starts late, and its failures say nothing of the server."""
    scenario = write_scenario(
        tmp_path,
        target=emulator(passive_ports=2, hold={"for": "5s"}),
        flows=flow({"retr": "small.bin"}),
        load=steady(50, "2s"),
    )
    with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots", "--workers", "1") as command:
        command.wait_for_load()
        worker = command.find("ftpstorm.engine")
        os.kill(worker, signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            wait_for(lambda: time.monotonic() - stopped > 1.0, "a second to pass")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert command.end() == ExitCode.INVALID_RUN, command.stderr
        summary = command.summary()
    assert summary["diagnosis"]["cause"] == "generator", story(summary)
    assert "server-passive-pool" in [other["cause"] for other in summary["others"]]


def test_the_evidence_says_when_it_began_and_what_the_other_side_had_left(tmp_path: Path) -> None:
    scenario = write_scenario(
        tmp_path,
        target=emulator(passive_ports=20, hold={"for": "10s"}),
        flows=flow({"retr": "small.bin"}),
        load=burst(40),
        sampling=QUICK,
    )
    with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots") as command:
        command.end()
        evidence = command.summary()["diagnosis"]["evidence"]
    began = next(line for line in evidence if line.startswith("425 began"))
    assert re.fullmatch(
        r"425 began (at once|\d+\.\d+ s) after the \d+(st|nd|rd|th) port was given out, at \d+\.\d+ s", began
    )
    assert "the server's pool had no free port: 20 of 20 were taken at one time" in evidence
    assert any(re.fullmatch(r"server ListenOverflows \+0; client ports \d+ % used", line) for line in evidence)
