"""Labs that nobody lets finish: whatever is killed, whenever, the kernel takes everything away with it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import EnvironmentUnavailableError, ExitCode
from ftpstorm.lab.servers import find_program
from support.lab_run import lab_refusal
from support.short_run import RunningCommand, scenario_of, wait_for, write_scenario

Require = Callable[[str, bool, str], None]

TIMES = 50
AT_ONE_TIME = 3
STARTED, BUILDING, LOADED = ("", 0.5), ("*", 0.6), ("*/spool/worker-0.operations.spool", 0.4)
"""What must be there under results/, and the longest wait from then on in s: the folder comes before the lab, the spool
with the first arrival."""
MOMENTS = (STARTED, BUILDING, LOADED, STARTED, BUILDING)
SEED = 3
MARK = "LAB_TEST_MARK"
LAB = {"topology": "routed", "nat": {"ports": "40000-40999"}, "time_wait": "1s"}
LONG = {"steady": scenario_of()["load"]["steady"] | {"rate": "20/s", "duration": "60s", "graceful_stop": "2s"}}
TIMEOUTS = {"timeouts": {"connect": "1s", "greeting": "1s", "reply": "1s", "data": "1s"}}


@pytest.fixture(scope="module", autouse=True)
def namespaces(require: Require) -> None:
    reason = lab_refusal()
    require("lab", reason is None, reason or "")


@pytest.fixture(scope="module")
def target() -> dict[str, Any]:
    """A real server where there is one: it brings mounts, children and files of its own."""
    try:
        find_program("vsftpd")
    except EnvironmentUnavailableError:
        return {"emulator": {"passive_ports": 50}}
    return {"server": {"name": "vsftpd", "passive_ports": 50}}


def marked(mark: str) -> list[int]:
    """Return the pids of all processes that inherited `mark` in their environment, zombies left out."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what a lab could leave on this machine outside its namespaces."""
    ipv4 = Path("/proc/sys/net/ipv4")
    return {
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "ftpstorm" in line],
        "servers": sorted(str(path) for place in ("/run", "/srv", "/mnt") for path in Path(place).glob("server-*")),
        "sysctls": {name: (ipv4 / name).read_text() for name in ("tcp_rfc1337", "ip_forward", "ip_local_port_range")},
    }


class MarkedRun(RunningCommand):
    """A run whose processes can be told from all others, and whose temporary files have a folder of their own."""

    def __init__(self, folder: Path, name: str, **sections: object) -> None:
        folder = folder / name
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.mark = f"{os.getpid()}-{name}"
        scenario = write_scenario(folder, **({"lab": LAB, "load": LONG, "client": TIMEOUTS} | sections))
        environment = {MARK: self.mark, "TMPDIR": str(self.temporary)}
        super().__init__(folder, "run", str(scenario), "-q", "--no-plots", environment=environment)

    def processes(self) -> list[int]:
        return marked(self.mark)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_int_and_term_end_a_lab_in_order(tmp_path: Path, target: dict[str, Any], number: signal.Signals) -> None:
    before = machine()
    with MarkedRun(tmp_path, "stopped", target=target) as run:
        run.wait_for_load()
        run.request_stop(number)
        assert run.end() == ExitCode.INTERRUPTED, run.stderr
        summary, manifest = run.summary(), run.manifest()
        assert run.processes() == []
    assert summary["status"] == manifest["status"] == "interrupted"
    assert summary["sessions"]["interrupted"] == 0
    assert [line for line in summary["accounting"] if line["ok"] is False] == []
    assert all(process["counts"] is not None for process in manifest["processes"])
    assert list(run.temporary.iterdir()) == []
    assert machine() == before


def test_kill_9_of_any_process_at_any_moment_leaves_nothing(tmp_path: Path, target: dict[str, Any]) -> None:
    """Each run has namespaces of its own, so several may be killed at one time; none may find what another left."""
    before = machine()
    with ThreadPoolExecutor(AT_ONE_TIME) as pool:
        turns = [pool.submit(_kill_one, tmp_path, target, turn, before) for turn in range(TIMES)]
        try:
            told = [turn.result() for turn in turns]
        finally:
            pool.shutdown(cancel_futures=True)
    of_server = "lab.keeper" if "server" in target else "ftpstorm.emulator"
    for role in ("ftpstorm run", "conduct", "engine", of_server, "lab.reaper", "sampler"):
        assert any(role in line for line in told), f"nothing killed {role}: {told}"


def _kill_one(folder: Path, target: dict[str, Any], turn: int, before: dict[str, Any]) -> str:
    """Kill one process of one run and look at what is left; return the command line of the victim."""
    chance = random.Random(f"{SEED} {turn}")
    place, (fact, longest_s) = turn // len(MOMENTS), MOMENTS[turn % len(MOMENTS)]
    with MarkedRun(folder, f"turn-{turn}", target=target) as run:
        wait_for(lambda: not fact or any(run.out.glob(fact)) or run.process.poll() is not None, f"results/{fact}")
        assert run.process.poll() is None, run.stderr
        time.sleep(chance.uniform(0, longest_s))  # the moment is the point: no fact tells it
        there = sorted(run.processes())
        victim = there[place % len(there)]  # each in its turn
        line = Path(f"/proc/{victim}/cmdline")
        told = line.read_bytes().replace(b"\0", b" ").decode(errors="replace") if line.exists() else "gone"
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            told = "gone"
        if not any(above in told for above in ("-m ftpstorm run", "ftpstorm.conduct")):
            run.process.kill()  # a dead worker is survived: the run would drain and report
        run.process.wait(60)
        wait_for(lambda: not run.processes(), f"turn {turn}: all gone after kill -9 of {victim}: {told}")
    assert list(run.temporary.iterdir()) == [], told
    assert machine() == before, told
    return told


@pytest.mark.parametrize("module", ["ftpstorm.lab.reaper", "ftpstorm.sampler", "ftpstorm.engine"])
def test_kill_9_of_a_child_cuts_the_run_short_and_the_lab_ends_with_it(
    tmp_path: Path, target: dict[str, Any], module: str
) -> None:
    before = machine()
    with MarkedRun(tmp_path, "child", target=target) as run:
        run.wait_for_load()
        os.kill(run.find(module), signal.SIGKILL)
        assert run.end() == ExitCode.INVALID_RUN, run.stderr
        manifest = run.manifest()
        assert run.processes() == []
    assert manifest["status"] == "cut-short"
    assert "SIGKILL" in manifest["stop_reason"]
    assert machine() == before
