"""The machine: which cores take part, what a reader must know of it, and how quiet it was meanwhile."""

from __future__ import annotations

import os
import platform
import resource
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.programs import compiler_version

CORES_FOR_SCALING: Final = 4
"""Server, two workers, and one for everything else."""


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
    """How quiet the machine was from the making of this until `facts`: what others used, what the hypervisor took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._host = self._read()
        self._own = self._own_s()

    @staticmethod
    def _read() -> tuple[float, float]:
        """Return seconds busy and seconds stolen since boot, over all cores (proc_stat(5))."""
        ticks = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, steal, *_ = map(
            int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
        )
        return (user + nice + system + irq + softirq) / ticks, steal / ticks

    @staticmethod
    def _own_s() -> float:
        usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    def facts(self) -> dict[str, float]:
        """Return duration, steal and the share of one core that processes other than the bench's used."""
        duration = time.monotonic() - self._began
        busy, stolen = (now - before for now, before in zip(self._read(), self._host, strict=True))
        others = max(0.0, busy - (self._own_s() - self._own))
        return {"duration_s": duration, "steal_s": stolen, "others_cpu_share": others / duration}
