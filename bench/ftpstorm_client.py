"""Our engine on a benchmark job: real worker processes over a real channel, spools, deadlines and progress all on.

It plays the conductor's part and nothing more: it says `hello` and `start_at`, reads progress, and adds up what the
workers counted. CPU is the workers' own getrusage (`cpu_s` of `done`) less what they spent before start_at on creating
spools and freezing the collector (`setup_cpu_s`, from the scheduler's account): the work, as with every other client.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.job import HOST, PASSWORD, USER, Job, read_job, rss_bytes
from ftpstorm.channel import ENVIRONMENT_KEY
from ftpstorm.plan.plan import Plan
from ftpstorm.records.manifest import SPOOL
from ftpstorm.records.schema import HEADER_BYTES, OPERATIONS, SESSIONS, Table
from ftpstorm.records.spool import spool_path
from ftpstorm.scenario.schema import Scenario

START_AHEAD_NS: Final = 400_000_000
SETUP_LOOK_NS: Final = 20_000_000
"""How long before start_at the setup's cost is read: a worker has then long been waiting for its first timer."""

HOLD_RATE: Final = 2_500
"""Sessions a second that come in before they are held together."""

HOLD_RATE_TLS: Final = 250
"""The same where each needs a full handshake of the server."""

HOLD_SLACK_S: Final = 3
END_NS: Final = next(i for i, column in enumerate(SESSIONS.columns) if column.name == "end_ns")


def scenario_of(job: Job) -> Scenario:
    """Return the scenario that does what the C client does for `job`."""
    steps: list[Any]
    load: dict[str, Any] = {"flow": "flow", "graceful_stop": "60s"}
    retr: dict[str, Any] = {"retr": job.file}
    match job.workload:
        case "retr" | "stor":
            if job.operations % job.sessions:
                raise SystemExit(f"{job.operations} operations do not divide into {job.sessions} sessions")
            step = retr if job.workload == "retr" else {"stor": {"file": job.file, "size": f"{job.size}B"}}
            steps = ["login", {"repeat": {"times": job.operations // job.sessions, "steps": [step]}}, "quit"]
            load |= {"executor": "shared-iterations", "sessions": job.sessions, "iterations": job.sessions}
        case "full":
            steps = ["login", retr, "quit"]
            load |= {"executor": "shared-iterations", "sessions": job.sessions, "iterations": job.operations}
        case "burst":
            steps = ["login", "list", "quit"]
            load |= {"executor": "burst", "sessions": job.operations}
        case "hold":
            over_s = -(-job.operations // (HOLD_RATE if job.ca_file is None else HOLD_RATE_TLS))
            steps = ["login", "quit"]
            load |= {"executor": "hold", "sessions": job.operations, "over": f"{over_s}s"}
            load |= {"duration": f"{HOLD_SLACK_S}s"}
        case "greet":
            steps = [{"think": "0s"}]
            duration = f"{job.operations * 1000 // job.rate}ms"
            load |= {"executor": "constant-arrival-rate", "rate": f"{job.rate}/s", "duration": duration}
            load |= {"max_sessions": 10_000}
        case _:
            raise SystemExit(f"no workload {job.workload!r}")
    tls = {"mode": "none"} if job.ca_file is None else {"mode": "explicit", "ca_file": job.ca_file}
    return Scenario.model_validate(
        {
            "version": 1,
            "name": f"bench-{job.workload}",
            "target": {"host": HOST, "port": job.port, "user": USER, "tls": tls},
            "client": {"mode": "epsv"},
            "flows": {"flow": {"steps": steps, "on_failure": "end-session"}},
            "files": {job.file: f"{job.size}B"},
            "load": {"load": load},
        }
    )


class WorkerProcess:
    """One engine process and our end of its channel."""

    def __init__(self, plan: Plan, number: int, spool: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ftpstorm.engine"],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                pass_fds=[theirs.fileno()],
                env={**os.environ, ENVIRONMENT_KEY: str(theirs.fileno())},
            )
        self.writer = f"worker-{number}"
        self._lines = ours.makefile("rb")
        self._socket = ours
        target = plan.scenario.target
        self.send(
            "hello",
            role=self.writer,
            writer=self.writer,
            spool=str(spool),
            plan=plan.to_json(),
            worker=number,
            targets=[[target.host, target.port]],
            password=PASSWORD,
        )

    def send(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        self._socket.sendall(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """Return the next message. Raises SystemExit when the worker gave up."""
        line = self._lines.readline()
        if not line:
            raise SystemExit(f"{self.writer} ended with {self.process.wait()}")
        message: dict[str, Any] = json.loads(line)
        if message["type"] == "error":
            raise SystemExit(f"{self.writer}: {message['message']}")
        return message

    def cpu_s(self) -> float:
        """Return the CPU time of the worker so far, exact to the nanosecond (/proc/PID/schedstat)."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def close(self) -> None:
        """Close the channel, which ends the worker, and wait for that."""
        self._lines.close()
        self._socket.close()
        self.process.wait()


class Memory:
    """Resident set of a worker against its sessions in flight: two points of a straight line."""

    def __init__(self, pid: int, sessions: int) -> None:
        self._pid = pid
        self._few = sessions // 10
        self._first: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None

    def note(self, in_flight: int) -> None:
        """Look at the memory now that so many sessions are under way."""
        if in_flight >= self._few:
            point = in_flight, rss_bytes(self._pid)
            self._first = self._first or point
            if self._last is None or in_flight > self._last[0]:
                self._last = point

    @property
    def bytes_per_session(self) -> float | None:
        """Slope between the first and the fullest moment; None where they are too close to tell."""
        if self._first is None or self._last is None or self._last[0] < 2 * self._first[0]:
            return None
        return (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])


def follow(workers: list[WorkerProcess], memory: Memory | None) -> list[dict[str, Any]]:
    """Read every worker's progress up to its `done`; return their counts, with `transfers` and `bytes` of the last."""
    counts = []
    for worker in workers:
        progress: dict[str, Any] = {}
        while (message := worker.receive())["type"] != "done":
            if message["type"] == "progress":
                progress = message
                if memory is not None:
                    memory.note(message["in_flight"])
        # The worker sends a last progress after its last session, so these are final.
        counts.append(message["counts"] | {"transfers": progress["transfers"], "bytes": progress["bytes"]})
    return counts


def last_end_ns(spool: Path, writer: str) -> int:
    """Return when the worker's last session ended, in ns after start_at: sessions are recorded as they end."""
    layout = struct.Struct(SESSIONS.struct_format)
    with spool_path(spool, writer, SESSIONS).open("rb") as file:
        file.seek(-layout.size, os.SEEK_END)
        return int(layout.unpack(file.read())[END_NS])


def spool_bytes(spool: Path, writer: str, table: Table) -> int:
    """Return how much a worker recorded of one kind, headers not counted."""
    return spool_path(spool, writer, table).stat().st_size - HEADER_BYTES


def run(job: Job, workers: int, spool: Path, keep: Path | None = None) -> dict[str, Any]:
    """Run `job` on so many workers; return the answer, and make a results folder of `keep`, which holds `spool`."""
    plan = Plan(run_id="bench", scenario=scenario_of(job), workers=workers)
    crew = [WorkerProcess(plan, number, spool) for number in range(workers)]
    try:
        for worker in crew:
            if worker.receive()["type"] != "ready":
                raise SystemExit(f"{worker.writer} is not ready")
        memory = Memory(crew[0].process.pid, job.operations) if job.workload == "hold" and workers == 1 else None
        setup_cpu_s = -sum(worker.cpu_s() for worker in crew)
        start_at = time.monotonic_ns() + START_AHEAD_NS
        for worker in crew:
            worker.send("start_at", t_ns=start_at)
        time.sleep((start_at - SETUP_LOOK_NS - time.monotonic_ns()) / 1e9)
        setup_cpu_s += sum(worker.cpu_s() for worker in crew)
        counts = follow(crew, memory)
    finally:
        for worker in crew:
            worker.close()
    if any(each["failed"] or each["dropped"] or each["interrupted"] for each in counts):
        raise SystemExit(f"sessions failed: {counts}")
    succeeded = sum(each["succeeded"] for each in counts)
    transfers = sum(each["transfers"]["succeeded"] for each in counts)
    recorded = sum(spool_bytes(spool, worker.writer, table) for worker in crew for table in (OPERATIONS, SESSIONS))
    answer: dict[str, Any] = {
        "ops": succeeded if job.workload in ("hold", "greet") else transfers,
        "bytes": sum(each["bytes"] for each in counts),
        "sessions": succeeded,
        "operations": sum(each["operations"] for each in counts),
        "connects": sum(each["connects"] for each in counts),
        "data_handshakes": sum(each["data_handshakes"] for each in counts),
        "data_resumed": sum(each["data_resumed"] for each in counts),
        "wall_s": max(last_end_ns(spool, worker.writer) for worker in crew) / 1e9,
        "cpu_s": sum(each["cpu_s"] for each in counts) - setup_cpu_s,
        "user_s": sum(each["cpu_user_s"] for each in counts) - setup_cpu_s,  # the setup is the interpreter's alone
        "setup_cpu_s": setup_cpu_s,
        "spool_bytes": recorded,
        "max_rss_bytes": max(each["max_rss_bytes"] for each in counts),
        "files_left": sum(each["open_files_left"] for each in counts),
        "lateness_us": {key: counts[0]["lateness_ns"][key] / 1e3 for key in ("p50", "p99", "max")},
    }
    if keep is not None:
        from bench.records import complete_folder

        complete_folder(keep, plan, start_at, answer["wall_s"], counts)
    if memory is not None:
        answer["bytes_per_session"] = memory.bytes_per_session
    return answer


def main() -> None:
    """Run one job and print the answer."""
    job = read_job(
        workers={"type": int, "default": 1},
        keep={"metavar": "FOLDER", "help": "leave a results folder there, which must not exist yet"},
    )
    if job.rest.keep is not None:
        (Path(job.rest.keep) / SPOOL).mkdir(parents=True)
        answer = run(job, job.rest.workers, Path(job.rest.keep) / SPOOL, keep=Path(job.rest.keep))
    else:
        with tempfile.TemporaryDirectory(prefix="ftpstorm-bench-") as folder:
            answer = run(job, job.rest.workers, Path(folder))
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
