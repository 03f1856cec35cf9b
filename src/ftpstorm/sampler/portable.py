"""What psutil can tell on any system: sockets where there is no netlink, and the processes of a run everywhere.

psutil's socket list costs ten times a netlink dump and knows no queue lengths, so it is only the fallback.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # psutil ships no type information

from ftpstorm.sampler.census import Row
from ftpstorm.vocabulary import TcpState

_STATES: Final = {
    psutil.CONN_ESTABLISHED: TcpState.ESTABLISHED,
    psutil.CONN_SYN_SENT: TcpState.SYN_SENT,
    psutil.CONN_SYN_RECV: TcpState.SYN_RECV,
    psutil.CONN_FIN_WAIT1: TcpState.FIN_WAIT1,
    psutil.CONN_FIN_WAIT2: TcpState.FIN_WAIT2,
    psutil.CONN_TIME_WAIT: TcpState.TIME_WAIT,
    psutil.CONN_CLOSE_WAIT: TcpState.CLOSE_WAIT,
    psutil.CONN_LAST_ACK: TcpState.LAST_ACK,
    psutil.CONN_LISTEN: TcpState.LISTEN,
    psutil.CONN_CLOSING: TcpState.CLOSING,
}
"""psutil's words to the kernel's. CLOSE and what only other systems have is no socket that holds a port for TCP."""


def row_of(connection: Any) -> Row | None:
    """Return the row of one `psutil.net_connections` entry, or None for a socket in no TCP state that is counted."""
    state = _STATES.get(connection.status)
    if state is None or not connection.laddr:
        return None
    remote, port = connection.raddr or ("", 0)
    raw = ip_address(remote).packed if remote else b""
    return int(connection.family), int(state), connection.laddr[1], port, raw.ljust(16, b"\0"), b""


def read_rows() -> Iterator[Row]:
    """Yield one row for each TCP socket of this process's network namespace; queue lengths are unknown (b"").

    Raises PermissionError where the system keeps other users' sockets to itself (macOS without root).
    """
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied as denied:
        raise PermissionError("this system does not list other users' sockets to us") from denied
    for connection in connections:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            row = row_of(connection)
            if row is not None:
                yield row


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process at one moment."""

    cpu_s: float
    """User and system CPU seconds since it started, its children not included."""
    rss_bytes: int
    files: int | None
    """Open file descriptors (Windows: handles); None where it may not be seen."""


class ProcessReader:
    """Reads a fixed set of processes. One that is gone, or a zombie, reads None from then on."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """`processes` is role to pid."""
        self._processes: dict[str, Any] = {}
        for role, pid in processes.items():
            try:
                self._processes[role] = psutil.Process(pid)
            except psutil.Error:
                self._processes[role] = None

    def read(self) -> dict[str, ProcessReading | None]:
        """Return a reading for each role."""
        readings = {role: _read_process(process) if process else None for role, process in self._processes.items()}
        for role, reading in readings.items():
            if reading is None:
                self._processes[role] = None
        return readings


def _read_process(process: Any) -> ProcessReading | None:
    try:
        # is_running() compares start times: a pid that was given to another process meanwhile is not ours
        if not process.is_running():
            return None
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            times = process.cpu_times()
            rss_bytes = process.memory_info().rss
            try:
                files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
            except psutil.AccessDenied:
                files = None
    except psutil.Error:
        return None
    return ProcessReading(times.user + times.system, rss_bytes, files)
