"""The supervisor as a process, over a scripted conductor that says what it is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftpstorm.conduct.supervisor import noted_signals
from support.short_run import alive, tree, wait_for

DRIVER = """
import sys
from ftpstorm.conduct.request import RunRequest, scenario_fields
from ftpstorm.conduct.supervisor import supervise
from ftpstorm.scenario.schema import Scenario
from support.short_run import scenario_of
request = RunRequest(scenario=scenario_fields(Scenario.model_validate(scenario_of())), notes="told")
private = "private" in sys.argv
if "refused" in sys.argv:
    def refuse(flags):
        raise PermissionError(1, "no")
    from ftpstorm.lab import kernel
    kernel.unshare = refuse
print("exit", supervise(request, private=private, conductor=["-c", sys.argv[1]]).code, flush=True)
"""

CONDUCTOR = """
import json, os, socket, sys
channel = socket.socket(fileno=int(os.environ["FTPSTORM_CHANNEL"]))
lines = channel.makefile("r")
def say(kind, **fields):
    channel.sendall(json.dumps({"type": kind, **fields}).encode() + b"\\n")
request = json.loads(lines.readline())["request"]
"""

OBEY = """
print("up", flush=True)
for line in lines:
    print(json.loads(line)["how"], flush=True)
"""


class Supervised:
    def __init__(self, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, CONDUCTOR + script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests themselves may be under nohup
        )

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def rest(self) -> tuple[str, str]:
        return self.process.communicate(timeout=60)


def pause_for_echo() -> None:
    """Let the time pass in which the same signal would be the same request."""
    time.sleep(0.15)


def test_the_request_reaches_the_conductor_and_its_status_comes_back() -> None:
    with Supervised('print(request["notes"], flush=True); sys.exit(99)') as run:
        assert run.rest()[0].split() == ["told", "exit", "99"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_for_a_drain_and_the_second_for_now(number: signal.Signals) -> None:
    with Supervised(OBEY) as run:
        assert run.line() == "up"
        run.ask(number)
        assert run.line() == "drain"
        pause_for_echo()
        run.ask(number)
        assert run.line() == "now"


def test_int_and_term_are_the_same_request() -> None:
    with Supervised(OBEY) as run:
        assert run.line() == "up"
        run.ask(signal.SIGTERM)
        assert run.line() == "drain"
        run.ask(signal.SIGINT)
        assert run.line() == "now"


def test_a_third_signal_kills_what_does_not_obey() -> None:
    with Supervised(OBEY) as run:
        assert run.line() == "up"
        for number, answer in ((signal.SIGINT, "drain"), (signal.SIGTERM, "now")):
            run.ask(number)
            assert run.line() == answer
        run.ask(signal.SIGINT)
        out, err = run.rest()
    assert out.split() == ["exit", "105"]
    assert "cut short" in err


def test_during_the_report_the_first_signal_is_a_warning_and_the_second_ends_it() -> None:
    with Supervised('say("folder", folder="/some/run"); say("phase", phase="report")' + OBEY) as run:
        assert run.line() == "up"
        run.ask(signal.SIGINT)
        pause_for_echo()
        assert run.process.poll() is None
        run.ask(signal.SIGINT)
        out, err = run.rest()
    assert out.split() == ["exit", "105"]
    assert "the report is being made" in err
    assert "ftpstorm report /some/run" in err


def test_a_killed_conductor_is_told_with_the_folder_that_it_named() -> None:
    with Supervised('say("folder", folder="/some/run"); os.kill(os.getpid(), 9)') as run:
        out, err = run.rest()
    assert out.split() == ["exit", "1"]
    assert "ended by SIGKILL" in err
    assert "ftpstorm report /some/run" in err


def test_the_conductor_dies_with_the_supervisor() -> None:
    with Supervised(OBEY + "import time; time.sleep(600)") as run:
        assert run.line() == "up"
        below = tree(run.process.pid)
        assert len(below) == 1
        run.process.kill()
        wait_for(lambda: not alive(below), "the conductor's end")


def test_a_terminals_ctrl_c_reaches_the_supervisor_alone() -> None:
    with Supervised("print(os.getsid(0) == os.getpid() == os.getpgid(0), flush=True)") as run:
        assert run.line() == "True"


def test_a_refused_namespace_is_told_and_the_run_takes_the_hosts_loopback() -> None:
    with Supervised('print(json.dumps(request["namespace"]), flush=True)', "private", "refused") as run:
        out, err = run.rest()
    namespace, ended = out.splitlines()
    assert json.loads(namespace)["private"] is False
    assert "unshare failed with EPERM" in json.loads(namespace)["reason"]
    assert ended == "exit 0"
    assert "the run uses the host's loopback" in err


def test_a_run_that_was_told_to_survive_its_terminal_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
