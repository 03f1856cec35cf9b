"""What this host says of itself: port settings and limits once before a run, busy and stolen CPU time during it.

Reads only. Whatever the host does not say is None.
"""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ftpstorm.plan.plan import HostFacts
from ftpstorm.sampler.procnet import count_within, parse_port_list, parse_port_range

PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU seconds of all cores together since boot."""

    busy_s: float
    """user + nice + system + irq + softirq; guests are part of user."""
    steal_s: float | None
    """Wanted by this virtual machine and given to another; None where the kernel does not say."""


def parse_cpu_times(text: bytes, ticks_per_s: int) -> CpuTimes | None:
    """Return the first line of /proc/stat (proc_stat(5)) in seconds, or None for anything else.

    `ticks_per_s` is sysconf(SC_CLK_TCK), the unit of that file.
    """
    line, newline, _ = text.partition(b"\n")
    words = line.split()
    values = words[1:]
    if not newline or words[:1] != [b"cpu"] or len(values) < 4 or not all(value.isdigit() for value in values):
        return None
    ticks = [int(value) for value in values]
    busy = sum(ticks[:3]) + sum(ticks[5:7])
    return CpuTimes(busy / ticks_per_s, ticks[7] / ticks_per_s if len(ticks) > 7 else None)


class CpuFile:
    """/proc/stat kept open."""

    def __init__(self, path: Path = PROC / "stat") -> None:
        """Open `path`; where that fails every reading is None."""
        self._ticks_per_s = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def read(self) -> CpuTimes | None:
        """Return the CPU times now, or None where the host does not say."""
        if self._fd < 0:
            return None
        return parse_cpu_times(os.pread(self._fd, 4096, 0), self._ticks_per_s)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _read_int(path: Path) -> int | None:
    text = (_read(path) or b"").strip()
    return int(text) if text.isdigit() else None


def read_port_range(proc: Path = PROC) -> tuple[int, int] | None:
    """Return net.ipv4.ip_local_port_range of the calling thread's namespace, both ends inclusive, or None."""
    return parse_port_range(_read(proc / "sys/net/ipv4/ip_local_port_range") or b"")


def _reserved_within(proc: Path, bounds: tuple[int, int] | None) -> int | None:
    text = _read(proc / "sys/net/ipv4/ip_local_reserved_ports")
    ranges = parse_port_list(text) if text is not None else None
    return count_within(ranges, bounds) if ranges is not None and bounds is not None else None


def _reserved_list(proc: Path) -> str | None:
    text = _read(proc / "sys/net/ipv4/ip_local_reserved_ports")
    return text.decode("ascii", "replace").strip() or None if text is not None else None


def _file_limits() -> tuple[int | None, int | None]:
    try:
        import resource
    except ImportError:  # not a Unix
        return None, None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(None if value == resource.RLIM_INFINITY else value for value in (soft, hard))  # type: ignore[return-value]


def _usable_cpus() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count()


def read_host_facts(proc: Path = PROC) -> HostFacts:
    """Return the facts of this host and of the calling thread's network namespace.

    `cpu_count` is the number of CPUs that this process may use; an unlimited number of files is None. `proc` is where
    procfs is mounted.
    """
    ipv4 = proc / "sys/net/ipv4"
    port_range = read_port_range(proc)
    soft, hard = _file_limits()
    name = platform.node()
    return HostFacts(
        port_range=port_range,
        reserved_ports=_reserved_within(proc, port_range),
        reserved_list=_reserved_list(proc),
        tcp_tw_reuse=_read_int(ipv4 / "tcp_tw_reuse"),
        tcp_timestamps=_read_int(ipv4 / "tcp_timestamps"),
        somaxconn=_read_int(proc / "sys/net/core/somaxconn"),
        nofile_soft=soft,
        nofile_hard=hard,
        kernel=platform.release() or None,
        cpu_count=_usable_cpus(),
        hostname_hash=hashlib.sha256(name.encode()).hexdigest()[:16] if name else None,
    )
