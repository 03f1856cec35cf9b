"""Measure what one worker can do here, inside a private namespace: ``python -m ftpstorm.conduct.ceiling``.

The worker is the one that every run has, over the same channel, with spools and deadlines; only its server is a sink on
another core. Three short loads: downloads on open connections, whole sessions, and a steady rate for its lateness.
The result goes as JSON to the descriptor that stands in FTPSTORM_CEILING. Keeping it is `ftpstorm.conduct.calibrate`'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import ftpstorm
from ftpstorm.clock import monotonic_ns
from ftpstorm.conduct.children import READY_WITHIN_S, Child, ChildError, Crew
from ftpstorm.errors import EnvironmentUnavailableError, FtpstormError
from ftpstorm.lab import kernel
from ftpstorm.plan.plan import Plan
from ftpstorm.records.calibration import Calibration, Ceiling, Lateness
from ftpstorm.sampler.hostfacts import CpuFile, read_host_facts
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S

ENVIRONMENT_KEY: Final = "FTPSTORM_CEILING"
SINK: Final = "ftpstorm.conduct.sink"
SESSIONS: Final = 16
DOWNLOADS_EACH: Final = 100
"""On an open connection before it is replaced: what a login costs is then one part in a hundred."""
STEADY_PER_S: Final = 1000
START_AHEAD_NS: Final = 300_000_000
SETTLED_S: Final = 0.4
"""From when on a rate is measured: connections are open, caches are warm."""
WAIT_S: Final = 30.0
FULL_SHARE: Final = 0.9
"""A process that used so much of a core was what bound the rate."""

SYSCTLS: Final[Mapping[str, str]] = {
    "net/ipv4/ip_local_port_range": "16000 65535",
    "net/ipv4/tcp_tw_reuse": "1",
    "net/ipv4/tcp_max_syn_backlog": "4096",
    "net/core/somaxconn": "4096",
}
"""Of the private namespace: enough ports and backlog that nothing but CPU binds."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """One load at its end."""

    progress: list[dict[str, Any]]
    counts: dict[str, Any]
    worker_share: float
    sink_share: float | None


def scenario_for(port: int, load: Mapping[str, Any], steps: Sequence[Any]) -> Scenario:
    """Return the scenario of one load of `steps` against the sink on `port`."""
    return Scenario.model_validate(
        {
            "version": 1,
            "name": "calibration",
            "target": {"host": "127.0.0.1", "port": port},
            "client": {"mode": "epsv"},
            "flows": {"flow": {"steps": list(steps), "on_failure": "end-session"}},
            "files": {"small.bin": "1KiB"},
            "load": {"load": {"flow": "flow", "graceful_stop": "10s", **load}},
        }
    )


async def measure(seconds: float) -> Calibration:
    """Measure all three loads, each about `seconds` long. Raises EnvironmentUnavailableError where one cannot work."""
    load_average = os.getloadavg()[0]
    cpu = CpuFile()
    before, began_ns = cpu.read(), monotonic_ns()
    facts = read_host_facts()
    duration = f"{round(seconds * 1000)}ms"
    closed = {"executor": "constant-sessions", "sessions": SESSIONS, "duration": duration}
    held = ["login", {"repeat": {"times": DOWNLOADS_EACH, "steps": [{"retr": "small.bin"}]}}, "quit"]
    whole = ["login", {"retr": "small.bin"}, "quit"]
    steady = {
        "executor": "constant-arrival-rate",
        "rate": f"{STEADY_PER_S}/s",
        "duration": duration,
        "max_sessions": 2 * STEADY_PER_S,
    }
    open_connections = _ceiling(await _run(closed, held, seconds), seconds)
    whole_sessions = _ceiling(await _run(closed, whole, seconds), seconds)
    lateness = _lateness(await _run(steady, whole, seconds))
    after, took_s = cpu.read(), (monotonic_ns() - began_ns) / NS_PER_S
    cpu.close()
    steal = None
    if before is not None and after is not None and before.steal_s is not None and after.steal_s is not None:
        steal = round((after.steal_s - before.steal_s) / took_s, 4)
    return Calibration(
        hostname_hash=facts.hostname_hash,
        kernel=facts.kernel,
        python=platform.python_version(),
        ftpstorm=ftpstorm.__version__,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        cores=facts.cpu_count,
        load_average=load_average,
        steal_share=steal,
        open_connections=open_connections,
        whole_sessions=whole_sessions,
        lateness=lateness,
    )


async def _run(load: Mapping[str, Any], steps: Sequence[Any], seconds: float) -> _Measured:
    """Run one load with a fresh worker against a fresh sink."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="ftpstorm-calibration-") as folder, _sink(cores[-1]) as (sink, port):
        plan = Plan(run_id="calibration", scenario=scenario_for(port, load, steps))
        log = Path(folder, "worker.log")
        async with Crew(lambda role: log, os.environ) as crew:
            worker = await crew.start("worker-0", [sys.executable, "-P", "-m", "ftpstorm.engine"])
            os.sched_setaffinity(worker.pid, {cores[0]})
            worker.send(
                "hello",
                role="worker",
                writer="worker-0",
                spool=folder,
                plan=plan.to_json(),
                worker=0,
                targets=[["127.0.0.1", port]],
                password=None,
                accounts=[],
            )
            await _until(crew, worker, lambda: worker.ready is not None, READY_WITHIN_S)
            start_ns = monotonic_ns() + START_AHEAD_NS
            worker.send("start_at", t_ns=start_ns)
            return await _follow(crew, worker, sink, start_ns, seconds)


async def _follow(crew: Crew, worker: Child, sink: subprocess.Popen[str], start_ns: int, seconds: float) -> _Measured:
    """Collect progress until the worker is done; CPU shares are those of the load's own time."""
    progress: list[dict[str, Any]] = []
    pids = (worker.pid, sink.pid)
    first: list[float | None] | None = None
    last: list[float | None] = [None, None]
    first_ns = last_ns = 0

    def look() -> bool:
        nonlocal first, last, first_ns, last_ns
        message = worker.progress
        if message is not None and (not progress or progress[-1] is not message):
            progress.append(message)
            now_ns = monotonic_ns()
            if now_ns - start_ns <= seconds * NS_PER_S:
                last, last_ns = [cpu_s(pid) for pid in pids], now_ns
                if first is None:
                    first, first_ns = last, now_ns
        return worker.counts is not None

    await _until(crew, worker, look, seconds + WAIT_S)
    assert worker.counts is not None
    shares: list[float | None] = [None, None]
    if first is not None and last_ns > first_ns:
        took_s = (last_ns - first_ns) / NS_PER_S
        for index, (one, other) in enumerate(zip(first, last, strict=True)):
            shares[index] = None if one is None or other is None else (other - one) / took_s
    return _Measured(progress, worker.counts, shares[0] or 0.0, shares[1])


async def _until(crew: Crew, worker: Child, fact: Any, within_s: float) -> None:
    deadline_ns = monotonic_ns() + round(within_s * NS_PER_S)
    while not fact():
        if worker.error is not None or (worker.gone.is_set() and worker.counts is None):
            raise worker.failure()
        left_ns = deadline_ns - monotonic_ns()
        if left_ns <= 0:
            raise ChildError(f"the worker of the calibration took longer than {within_s:g} s")
        await crew.wait(left_ns / NS_PER_S)


@contextmanager
def _sink(core: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the sink on `core`; yield its process and port."""
    parent = os.getpid()

    def prepare() -> None:
        kernel.die_with_parent(parent)
        os.sched_setaffinity(0, {core})

    process = subprocess.Popen(
        [sys.executable, "-P", "-m", SINK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise ChildError("the sink of the calibration did not start")
            yield process, int(json.loads(line)["port"])
        finally:
            process.kill()


def cpu_s(pid: int) -> float | None:
    """Return the CPU seconds that process `pid` has used (utime + stime of proc_pid_stat(5)), None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ceiling(measured: _Measured, seconds: float) -> Ceiling:
    """Return the rate between the first settled and the last progress within the load, and the CPU of each download."""
    failed = measured.counts["failed"] + measured.counts["interrupted"]
    within = [each for each in measured.progress if SETTLED_S * NS_PER_S <= each["t_ns"] <= seconds * NS_PER_S]
    total = max((each["transfers"]["succeeded"] for each in measured.progress), default=0)
    if failed or len(within) < 2 or total == 0:
        raise EnvironmentUnavailableError(
            f"the calibration came to nothing: {failed} sessions failed or were cut off and {total} downloads were "
            "done; is this machine busy? Try again, with more --seconds"
        )
    first, last = within[0], within[-1]
    operations = last["transfers"]["succeeded"] - first["transfers"]["succeeded"]
    took_s = (last["t_ns"] - first["t_ns"]) / NS_PER_S
    if measured.worker_share >= FULL_SHARE:
        bound_by = "worker"
    else:
        bound_by = "sink" if (measured.sink_share or 0.0) >= FULL_SHARE else "host"
    return Ceiling(
        sessions=SESSIONS,
        operations=operations,
        seconds=round(took_s, 3),
        per_s=round(operations / took_s, 1),
        cpu_us_each=round(measured.counts["cpu_s"] / total * 1e6, 1),
        worker_cpu_share=round(measured.worker_share, 3),
        sink_cpu_share=None if measured.sink_share is None else round(measured.sink_share, 3),
        bound_by=bound_by,
    )


def _lateness(measured: _Measured) -> Lateness:
    late = measured.counts["lateness_ns"]
    return Lateness(
        rate_per_s=STEADY_PER_S,
        sessions=measured.counts["started"],
        p50_us=round(late["p50"] / 1000, 1),
        p99_us=round(late["p99"] / 1000, 1),
        max_us=round(late["max"] / 1000, 1),
    )


def main() -> None:
    """Widen the namespace, measure for the seconds given as argument, and write the JSON."""
    for name, value in SYSCTLS.items():
        Path("/proc/sys", name).write_text(f"{value}\n", encoding="ascii")
    with os.fdopen(int(os.environ.pop(ENVIRONMENT_KEY)), "w", encoding="utf-8") as out:
        try:
            calibration = asyncio.run(measure(float(sys.argv[1])))
        except FtpstormError as error:
            json.dump({"error": str(error)}, out)
        else:
            json.dump({"calibration": calibration.model_dump(mode="json")}, out)


if __name__ == "__main__":
    main()
