"""One benchmark job as every Python client of the bench is given it, and the JSON line in which it answers.

Standard library only: it also runs in the peers' environment, where nothing of ftpstorm is installed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

WORKLOADS: Final = ("retr", "stor", "full", "burst", "hold", "greet")
"""What the C client (bench/client.c) calls its workloads; its header says what each does."""

HOST: Final = "127.0.0.1"
USER: Final = "anonymous"
PASSWORD: Final = "ftpstorm@"  # noqa: S105 - what an anonymous login sends; the sink takes any
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Job:
    """What to do: `operations` of `workload`, `sessions` at a time, files of `size` bytes, `rate` a second (greet)."""

    workload: str
    sessions: int
    operations: int
    size: int
    rate: int
    port: int
    ca_file: str | None
    """PEM file of the server's certificate where the job is FTPS, else None."""
    rest: argparse.Namespace
    """Options of one client alone."""

    @property
    def shares(self) -> list[int]:
        """Operations of each session, where sessions divide them (retr, stor)."""
        whole, more = divmod(self.operations, self.sessions)
        return [whole + (number < more) for number in range(self.sessions)]

    @property
    def file(self) -> str:
        """The file's name: the sink reads its size from it."""
        return f"f{self.size}"


def read_job(supported: tuple[str, ...] = WORKLOADS, **options: dict[str, Any]) -> Job:
    """Parse the command line. `options` are further arguments by name, each with argparse's keywords."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=supported, required=True)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--operations", type=int, default=1)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--ca-file", help="do it over explicit TLS, and trust this certificate")
    parser.add_argument("port", type=int)
    for name, keywords in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **keywords)
    given = parser.parse_args()
    sessions = min(given.sessions, given.operations)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Job(given.workload, sessions, given.operations, given.size, given.rate, given.port, given.ca_file, given)


def rss_bytes(pid: int | str = "self") -> int:
    """Return the resident set of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Measured:
    """CPU (getrusage of this process, all threads) and wall time of the work inside the `with` block."""

    def __enter__(self) -> Self:
        self.rss_before = rss_bytes()
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._wall = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall_s = time.perf_counter() - self._wall
        after = resource.getrusage(resource.RUSAGE_SELF)
        self.user_s = after.ru_utime - self._usage.ru_utime
        self.sys_s = after.ru_stime - self._usage.ru_stime


def answer(job: Job, measured: Measured, *, ops: int, size: int | None, **facts: Any) -> None:
    """Print the result: `ops` operations done, `size` payload bytes counted, None where this client counts none.

    Whether both are what the job asked for, and what the server saw, is checked from outside (bench/books.py).
    """
    print(
        json.dumps(
            {
                "ops": ops,
                "bytes": size,
                "wall_s": round(measured.wall_s, 6),
                "cpu_s": round(measured.user_s + measured.sys_s, 6),
                "user_s": round(measured.user_s, 6),
                "sys_s": round(measured.sys_s, 6),
                **facts,
            }
        ),
        flush=True,
    )
