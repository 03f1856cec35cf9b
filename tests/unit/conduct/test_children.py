"""The conductor's children, with real processes that speak the channel from a script."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ftpstorm.conduct.children import Child, Crew
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode

PROLOGUE = """
import json, os, signal, socket, sys, time
channel = socket.socket(fileno=int(os.environ["FTPSTORM_CHANNEL"]))
lines = channel.makefile("r")
def say(kind, **fields):
    channel.sendall(json.dumps({"type": kind, **fields}).encode() + b"\\n")
"""


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(lambda role: tmp_path / f"{role}.log", os.environ)


async def start(crew: Crew, script: str, role: str = "worker-0") -> Child:
    return await crew.start(role, [sys.executable, "-c", PROLOGUE + textwrap.dedent(script)])


async def until(crew: Crew, fact: Callable[[], bool]) -> None:
    for _ in range(2000):
        if fact():
            return
        await crew.wait(0.05)
    raise AssertionError("not in time")


async def test_a_child_that_does_its_part_is_recorded_with_its_counts(crew: Crew) -> None:
    async with crew:
        child = await start(
            crew,
            """
            say("ready", pid=os.getpid())
            hello = json.loads(lines.readline())
            say("progress", started=1)
            say("done", counts={"started": hello["value"]})
            lines.read()
            """,
        )
        child.send("hello", value=7)
        await until(crew, lambda: child.finished)
        assert child.ready is not None
        assert child.ready["pid"] == child.pid
    record = child.record()
    assert (record.role, record.counts, record.exit_code, record.error) == ("worker-0", {"started": 7}, 0, None)


async def test_counts_sent_right_before_the_end_are_not_lost(crew: Crew) -> None:
    async with crew:
        child = await start(crew, 'say("done", counts={"started": 3})')
        await until(crew, child.gone.is_set)
    assert child.counts == {"started": 3}
    assert child.error is None


async def test_a_child_that_dies_is_finished_with_the_signal_that_ended_it(crew: Crew) -> None:
    async with crew:
        child = await start(crew, 'say("ready", pid=os.getpid()); lines.read()')
        await until(crew, lambda: child.ready is not None)
        os.kill(child.pid, signal.SIGKILL)
        await until(crew, lambda: child.finished)
    assert child.error == "was ended by SIGKILL without having finished"
    assert child.record().exit_code == -signal.SIGKILL


async def test_the_end_of_a_silent_deaths_stderr_is_in_the_error(crew: Crew) -> None:
    async with crew:
        child = await start(crew, 'sys.exit("no such thing here")')
        await until(crew, lambda: child.finished)
        failure = child.failure()
    assert failure.exit_code is ExitCode.INTERNAL_ERROR
    assert "exited with 1" in str(failure)
    assert "no such thing here" in str(failure)


async def test_what_a_child_says_itself_is_about_the_environment(crew: Crew) -> None:
    async with crew:
        child = await start(crew, 'say("error", message="port 10000 is taken"); sys.exit(1)', "emulator")
        await until(crew, child.gone.is_set)
        failure = child.failure()
    assert isinstance(failure, EnvironmentUnavailableError)
    assert str(failure) == "emulator: port 10000 is taken"


async def test_children_are_deaf_to_the_terminals_signals(crew: Crew) -> None:
    async with crew:
        child = await start(crew, 'say("ready", pid=0); lines.readline(); say("done", counts={}); lines.read()')
        await until(crew, lambda: child.ready is not None)
        os.kill(child.pid, signal.SIGINT)
        os.kill(child.pid, signal.SIGTERM)
        child.send("finish")
        await until(crew, lambda: child.finished)
    assert child.counts == {}
    assert child.error is None


async def test_leaving_the_crew_ends_children_by_eof(crew: Crew) -> None:
    async with crew:
        child = await start(crew, 'say("ready", pid=0); lines.read(); sys.exit(3)')
        await until(crew, lambda: child.ready is not None)
    assert child.exit_code == 3


async def test_a_child_that_ignores_eof_is_killed(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpstorm.conduct.children.GONE_WITHIN_S", 0.2)
    async with crew:
        child = await start(crew, 'say("done", counts={}); signal.pause()')
        await until(crew, lambda: child.finished)
    assert child.exit_code == -signal.SIGKILL
    assert child.error == "did not end within 0.2 s after its channel"


async def test_a_child_that_sends_no_json_is_killed(crew: Crew) -> None:
    async with crew:
        child = await start(crew, 'channel.sendall(b"[1]\\n"); signal.pause()')
        await until(crew, child.gone.is_set)
    assert child.error is not None
    assert "no message" in child.error


async def test_an_error_of_the_run_kills_what_is_left(crew: Crew) -> None:
    child: Child | None = None

    async def run() -> None:
        nonlocal child
        async with crew:
            child = await start(crew, 'say("ready", pid=0); signal.pause()')
            await until(crew, lambda: child is not None and child.ready is not None)
            raise RuntimeError("the run failed")

    with pytest.raises(RuntimeError, match="the run failed"):
        await run()
    assert child is not None
    assert child.exit_code == -signal.SIGKILL


async def test_a_childs_environment_is_what_the_crew_gives(tmp_path: Path) -> None:
    crew = Crew(lambda role: tmp_path / f"{role}.log", {"PATH": os.environ["PATH"], "SEEN": "yes"})
    async with crew:
        child = await start(
            crew, 'say("done", counts={"seen": os.environ.get("SEEN"), "home": os.environ.get("HOME")})'
        )
        await until(crew, lambda: child.finished)
    assert child.counts == {"seen": "yes", "home": None}
