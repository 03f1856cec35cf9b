"""Is this host fit to make load? Each check reads or tries the real thing and says what to do about it.

A check never guesses: what the host does not say is `unknown`, with the reason. What only the lab needs is looked at in
`ftpstorm.conduct.lab_checkup`; showing all of it is `ftpstorm.conduct.doctor`'s.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from ftpstorm.clock import monotonic_ns
from ftpstorm.conduct.preflight import read_available_memory
from ftpstorm.engine.sockets import IP_LOCAL_PORT_RANGE, pack_port_range
from ftpstorm.sampler.hostfacts import CpuFile, read_host_facts
from ftpstorm.sampler.sockdiag import SockDiag
from ftpstorm.units import format_size

Status = Literal["ok", "warn", "fail", "unknown"]

PROC: Final = Path("/proc")
FILES_FAIL: Final = 256
"""Open files below which hardly a load can be made: a session takes two."""
FILES_WARN: Final = 8192
PORTS_WARN: Final = 10_000
BACKLOG_WARN: Final = 4096
MEMORY_WARN: Final = 512 << 20
STEAL_WARN: Final = 0.05
CLOCK_WARN_NS: Final = 1000
"""A reading of the clock that costs more is a system call; a session reads it some thirty times."""
CONNTRACK_WARN: Final = 0.5
FAST_CLOCKS: Final = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"})
"""Clock sources that are read without a system call."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `mend` is None where nothing is to be done."""

    name: str
    status: Status
    seen: str
    why: str
    """Why it matters to a run."""
    mend: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


def host_checks(proc: Path = PROC) -> list[Check]:
    """Look at everything that making load needs. `proc` is where procfs is mounted."""
    checks: Sequence[Callable[[], Check]] = (
        check_system,
        lambda: check_cores(proc),
        check_files,
        lambda: check_memory(proc),
        lambda: check_port_range(proc),
        lambda: check_time_wait_reuse(proc),
        lambda: check_timestamps(proc),
        lambda: check_time_wait_buckets(proc),
        lambda: check_backlog(proc),
        lambda: check_conntrack(proc),
        check_inet_diag,
        check_own_port_range,
        check_clock,
        check_uvloop,
    )
    return [each() for each in checks]


def check_system() -> Check:
    """The engine's event loop is epoll: Linux, or the slower driver."""
    why = "the engine needs epoll and timerfd; what is watched is the Linux kernel"
    seen = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if sys.platform != "linux":
        return Check("system", "fail", seen, why, "use Linux (a virtual machine will do), or client.driver: aioftp")
    return Check("system", "ok", seen, why)


def check_cores(proc: Path = PROC) -> Check:
    """How many cores, how busy, and how much of them goes to other virtual machines."""
    why = "each worker fills a core; the server and the sampler want another"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    file = CpuFile(proc / "stat")
    times = file.read()
    file.close()
    stolen = None
    if times is not None and times.steal_s is not None and times.busy_s + times.steal_s > 0:
        stolen = times.steal_s / (times.busy_s + times.steal_s)
    steal = "steal unknown" if stolen is None else f"{stolen:.1%} of the wanted CPU stolen since boot"
    seen = f"{usable} usable, load average {load:.2f}, {steal}"
    if usable < 2:
        return Check("cores", "warn", seen, why, "with one core, generator and local server slow each other: add one")
    if load > usable:
        return Check("cores", "warn", seen, why, "others use this machine now: wait, or take the figures with care")
    if stolen is not None and stolen > STEAL_WARN:
        return Check("cores", "warn", seen, why, "this virtual machine's host is overbooked: use another for figures")
    return Check("cores", "ok", seen, why)


def check_files() -> Check:
    """RLIMIT_NOFILE, soft and hard; a run raises its soft limit to the hard one."""
    why = "each session takes two descriptors; without more, sessions fail as local-files-exhausted"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    words = ["unlimited" if value == resource.RLIM_INFINITY else str(value) for value in (soft, hard)]
    seen = f"soft {words[0]}, hard {words[1]} (a run raises the soft limit itself)"
    mend = (
        "raise the hard limit: `nofile` in /etc/security/limits.conf, LimitNOFILE= of a unit, --ulimit of a container"
    )
    if hard != resource.RLIM_INFINITY and hard < FILES_WARN:
        return Check("open files", "fail" if hard < FILES_FAIL else "warn", seen, why, mend)
    return Check("open files", "ok", seen, why)


def check_memory(proc: Path = PROC) -> Check:
    """MemAvailable."""
    why = "a session takes some 12 KiB of the generator's and the kernel's memory, 76 KiB with TLS"
    available = read_available_memory(proc / "meminfo")
    if available is None:
        return Check("memory", "unknown", f"{proc}/meminfo says nothing", why)
    seen = f"{format_size(available)} available"
    if available < MEMORY_WARN:
        return Check("memory", "warn", seen, why, "end what else runs here, or keep to a few thousand sessions")
    return Check("memory", "ok", seen, why)


def check_port_range(proc: Path = PROC) -> Check:
    """The ephemeral range less what is reserved within it."""
    why = "each connection to one server address takes one of these ports, and holds it for 60 s after its end"
    facts = read_host_facts(proc)
    if facts.port_range is None:
        return Check("ephemeral ports", "unknown", "net.ipv4.ip_local_port_range cannot be read", why)
    first, last = facts.port_range
    reserved = facts.reserved_ports
    ports = last - first + 1 - (reserved or 0)
    taken = "reserved ones unknown" if reserved is None else f"{reserved} of them reserved"
    seen = f"{first}-{last}: {ports} ports, {taken}; about {ports // 61}/s to one address for ever"
    if ports < PORTS_WARN:
        mend = "widen it (sysctl net.ipv4.ip_local_port_range='16000 65535'), or give client.source_addresses more"
        return Check("ephemeral ports", "warn", seen, why, mend)
    return Check("ephemeral ports", "ok", seen, why)


def check_time_wait_reuse(proc: Path = PROC) -> Check:
    """net.ipv4.tcp_tw_reuse (ip-sysctl): 2, the default, re-uses ports where an end is in 127.0.0.0/8."""
    why = "where ports in TIME_WAIT are taken again, a client's port exhaustion does not show"
    value = read_host_facts(proc).tcp_tw_reuse
    if value is None:
        return Check("tcp_tw_reuse", "unknown", "net.ipv4.tcp_tw_reuse cannot be read", why)
    if value == 2:
        seen = "2: the loopback trap: to and from 127.0.0.0/8 ports are taken again after 1 s, elsewhere not"
        mend = (
            "to see client ports run out, use `lab: {topology: pair}`, or `lab: {topology: loopback, own_address: "
            "true}`; for servers' ports nothing is to be done"
        )
        return Check("tcp_tw_reuse", "warn", seen, why, mend)
    if value == 1:
        mend = "for a true exhaustion let the lab set it: `lab.sysctls.client: {tcp_tw_reuse: 0}`"
        return Check("tcp_tw_reuse", "warn", "1: ports in TIME_WAIT are taken again after 1 s, everywhere", why, mend)
    return Check("tcp_tw_reuse", "ok", f"{value}: TIME_WAIT holds its port to the end", why)


def check_timestamps(proc: Path = PROC) -> Check:
    """net.ipv4.tcp_timestamps."""
    why = "without timestamps TIME_WAIT is never re-used (tcp_tw_reuse), and old segments are not told from new ones"
    value = read_host_facts(proc).tcp_timestamps
    if value is None:
        return Check("tcp_timestamps", "unknown", "net.ipv4.tcp_timestamps cannot be read", why)
    if value == 0:
        mend = "sysctl net.ipv4.tcp_timestamps=1, unless the host under test has it off too"
        return Check("tcp_timestamps", "warn", "0: off", why, mend)
    return Check("tcp_timestamps", "ok", f"{value}: on", why)


def check_time_wait_buckets(proc: Path = PROC) -> Check:
    """net.ipv4.tcp_max_tw_buckets against the ephemeral range."""
    why = "beyond it TIME_WAITs are dropped: exhaustion is hidden, and TCPTimeWaitOverflow counts"
    value = _number(proc / "sys/net/ipv4/tcp_max_tw_buckets")
    if value is None:
        return Check("tcp_max_tw_buckets", "unknown", "cannot be read in this namespace", why)
    found = read_host_facts(proc).port_range
    ports = found[1] - found[0] + 1 if found else 0
    if value < ports:
        mend = f"sysctl net.ipv4.tcp_max_tw_buckets={max(65_536, 2 * ports)}"
        return Check("tcp_max_tw_buckets", "warn", f"{value}, fewer than the {ports} ephemeral ports", why, mend)
    return Check("tcp_max_tw_buckets", "ok", str(value), why)


def check_backlog(proc: Path = PROC) -> Check:
    """net.core.somaxconn."""
    why = "it bounds every listen backlog here: a local server under a burst leaves clients without a greeting"
    value = read_host_facts(proc).somaxconn
    if value is None:
        return Check("somaxconn", "unknown", "net.core.somaxconn cannot be read", why)
    if value < BACKLOG_WARN:
        mend = f"sysctl net.core.somaxconn={BACKLOG_WARN}, or `lab.sysctls.server: {{somaxconn: {BACKLOG_WARN}}}`"
        return Check("somaxconn", "warn", str(value), why, mend)
    return Check("somaxconn", "ok", str(value), why)


def check_conntrack(proc: Path = PROC) -> Check:
    """Connection tracking of this host: whether it is there, and how full."""
    why = "where this host tracks connections, a full table drops packets: connects time out for no fault of the server"
    most = _number(proc / "sys/net/netfilter/nf_conntrack_max")
    if most is None:
        return Check("conntrack", "ok", "not loaded here: nothing is tracked", why)
    used = _number(proc / "sys/net/netfilter/nf_conntrack_count")
    if used is None:
        return Check("conntrack", "unknown", f"at most {most} entries, their number cannot be read", why)
    seen = f"{used} of {most} entries"
    if used > CONNTRACK_WARN * most:
        return Check("conntrack", "warn", seen, why, f"sysctl net.netfilter.nf_conntrack_max={most * 4}")
    facts = read_host_facts(proc)
    if facts.port_range and most < facts.port_range[1] - facts.port_range[0]:
        mend = f"sysctl net.netfilter.nf_conntrack_max={most * 8}, or untrack the test's traffic (nft notrack)"
        return Check("conntrack", "warn", f"{seen}: fewer than ephemeral ports", why, mend)
    return Check("conntrack", "ok", seen, why)


def check_inet_diag() -> Check:
    """A dump over netlink (sock_diag(7))."""
    why = "socket states are read through it; without it from psutil, at ten times the cost"
    try:
        with SockDiag() as diag:
            families = {int(socket.AF_INET): "IPv4", int(socket.AF_INET6): "IPv6"}
            seen = " and ".join(families[family] for family in diag.families)
    except OSError as error:
        mend = "as root: modprobe inet_diag tcp_diag"
        return Check("inet_diag", "warn", f"refused: {error.strerror or error}", why, mend)
    return Check("inet_diag", "ok", seen, why)


def check_own_port_range() -> Check:
    """IP_LOCAL_PORT_RANGE (ip(7), Linux 6.3): set on one socket and read back by binding it."""
    why = "client.port_range gives the load a port range of its own, without root"
    found = read_host_facts().port_range
    if found is None:
        return Check("IP_LOCAL_PORT_RANGE", "unknown", "the ephemeral range is not known to choose a part of", why)
    first = (found[0] + found[1]) // 2
    last = min(first + 63, found[1])
    with contextlib.closing(socket.socket()) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, pack_port_range(first, last))
            sock.bind(("127.0.0.1", 0))
        except OSError as error:
            mend = "a kernel from 6.3 on has it; until then use a lab with `sysctls.client: {ip_local_port_range: ...}`"
            return Check("IP_LOCAL_PORT_RANGE", "warn", f"refused: {error.strerror}", why, mend)
        port = sock.getsockname()[1]
    if not first <= port <= last:
        seen = f"ignored: asked for {first}-{last}, got {port}"
        return Check("IP_LOCAL_PORT_RANGE", "warn", seen, why, "this kernel ignores it: use a lab's sysctls")
    return Check("IP_LOCAL_PORT_RANGE", "ok", f"asked for {first}-{last}, got {port}", why)


def check_clock(source: Path = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")) -> Check:
    """CLOCK_MONOTONIC: what it is read from, and what a reading costs."""
    why = "every event of every session is stamped; a slow clock source makes all figures slow"
    readings = 10_000
    began = time.process_time_ns()
    for _ in range(readings):
        monotonic_ns()
    cost_ns = (time.process_time_ns() - began) / readings
    resolution = time.clock_getres(time.CLOCK_MONOTONIC)
    try:
        name = source.read_text(encoding="ascii").strip()
    except OSError:
        name = ""
    seen = f"{name or 'source unknown'}, {cost_ns:.0f} ns a reading, resolution {resolution * 1e9:g} ns"
    if resolution > 1e-6:
        return Check("clock", "warn", seen, why, "boot with a high resolution clock source (tsc)")
    if cost_ns > CLOCK_WARN_NS or (name and name not in FAST_CLOCKS and cost_ns > CLOCK_WARN_NS / 2):
        mend = "this clock source costs a system call: boot with clocksource=tsc, or ask the machine's provider"
        return Check("clock", "warn", seen, why, mend)
    return Check("clock", "ok", seen, why)


def check_uvloop() -> Check:
    """uvloop, the event loop of workers and emulator."""
    why = "workers and emulator run on it; without it they are slower"
    try:
        import uvloop  # noqa: F401 - only whether it can be

        version = metadata.version("uvloop")
    except ImportError as error:
        return Check("uvloop", "warn", f"cannot be imported: {error}", why, "pip install uvloop")
    return Check("uvloop", "ok", version, why)


def find_programs(needed: Mapping[str, str], why: str) -> list[Check]:
    """Return a check for each program of `needed`, name to Debian package; sbin folders are looked into as well."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = []
    for name, package in needed.items():
        where = shutil.which(name, path=path)
        if where is None:
            found.append(Check(name, "warn", "not found", why, f"apt-get install {package}"))
        else:
            found.append(Check(name, "ok", where, why))
    return found


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
