"""The machine: which cores take part, what a reader must know of it, and how quiet it was meanwhile."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from bench.programs import compiler_version

CORES_FOR_SCALING: Final = 4
"""Server, two workers, and one for everything else."""

KTHREADD: Final = 2
"""The parent of the kernel's own threads."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the server has, and which the client; `second` is a client's second core where the host has one."""

    server: int
    client: int
    second: int | None

    def of(self, *, workers: int) -> list[int]:
        """Return the cores of a client with so many workers: two get two where the host has them."""
        return [self.client] if workers == 1 or self.second is None else [self.client, self.second]


def choose_cores() -> Cores:
    """Return cores as far apart as this process may use; the same one twice where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[-1], allowed[0], allowed[1] if len(allowed) >= CORES_FOR_SCALING else None)


def host_facts(cores: Cores) -> dict[str, Any]:
    """Return what a reader must know of the machine to judge the figures."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpu": models[0] if models else None,
        "cores": os.cpu_count(),
        "server_core": cores.server,
        "client_core": cores.client,
        "compiler": compiler_version(),
        "load_average_before": os.getloadavg()[0],
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


class Quiet:
    """How quiet the machine was from the making of this until `facts`: what others used, what the hypervisor took.

    Others are processes outside this one's tree, and those that they waited for meanwhile. What is busy and nobody's
    (softirqs of the load itself, the kernel's threads that take namespaces down) is no other's doing.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._stolen_s = self._read_stolen_s()
        self._used_s = self._read_used_s()

    @staticmethod
    def _read_stolen_s() -> float:
        """Return the seconds that the hypervisor took since boot, over all cores (proc_stat(5))."""
        steal = int(Path("/proc/stat").read_text().split("\n")[0].split()[8])
        return steal / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _read_used_s() -> float:
        """Return the CPU seconds of all other processes, and of the children that they have waited for."""
        this = psutil.Process()
        own = {this.pid, *(child.pid for child in this.children(recursive=True))}
        used = 0.0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid not in own and (process.ppid() != KTHREADD or process.cmdline()):
                    used += sum(process.cpu_times()[:4])
        return used

    def facts(self) -> dict[str, float]:
        """Return duration, steal and the share of one core that processes other than the bench's used."""
        duration = time.monotonic() - self._began
        # What a process used before all this and its parent has got since by waiting for it counts on both sides.
        others = max(0.0, self._read_used_s() - self._used_s)
        return {
            "duration_s": duration,
            "steal_s": self._read_stolen_s() - self._stolen_s,
            "others_cpu_share": others / duration,
        }
