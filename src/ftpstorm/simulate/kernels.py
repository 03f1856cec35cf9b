"""The two kernels at the ends of the path, as far as a plan tells them: port range, TIME_WAIT, reuse, listen backlog.

In a lab the scenario's sysctls say it; what they leave out is a fresh network namespace's default. Elsewhere the host
that makes the load said it, and a server that is not ours has said nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ftpstorm.limits.backlog import linear_syns, syn_repeats_s
from ftpstorm.limits.ports import LINUX_EPHEMERAL_RANGE
from ftpstorm.limits.profile import Profile
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, Hold, Reuse, exact_hold, outgoing_hold, time_wait_reuse
from ftpstorm.plan.plan import HostFacts, Plan, listed_within
from ftpstorm.scenario.lab import Lab
from ftpstorm.scenario.target import Target
from ftpstorm.units import NS_PER_MS, NS_PER_S, format_duration
from ftpstorm.vocabulary import Side

CLUMP_NS: Final = 2_048 * NS_PER_MS
"""Linux ends TIME_WAITs in clumps: one wheel of the kernel's timer turns so often at 250 Hz (kernel/time/timer.c)."""
SOMAXCONN: Final = 4096
"""net.core.somaxconn since Linux 5.4."""


@dataclass(frozen=True, slots=True)
class TimeWait:
    """How long one kernel keeps TIME_WAIT."""

    hold: Hold
    clump_ns: int = 0
    """Ends fall on multiples of this only; 0 where each ends by itself."""
    _least_ns: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        least_s = self.hold.low_s if self.clump_ns else self.hold.effective_s
        object.__setattr__(self, "_least_ns", round(least_s * NS_PER_S))

    def end_ns(self, closed_ns: int) -> int:
        """Return when the TIME_WAIT of a connection that closed at `closed_ns` ends.

        With clumps the phase of the kernel's timer is not known: it is taken to be that of the run's start. Worked
        numbers: closed at 0 on Linux: 61.44 s; closed at 1.5 s: 63.488 s, 61.99 s later.
        """
        clump_ns = self.clump_ns
        return -(-(closed_ns + self._least_ns) // clump_ns) * clump_ns if clump_ns else closed_ns + self._least_ns


NO_REUSE: Final = Reuse(False, 1.0, "never taken over")
LINUX: Final = TimeWait(LINUX_TIME_WAIT, CLUMP_NS)


@dataclass(frozen=True, slots=True)
class Kernel:
    """What bounds the sockets of one host."""

    first: int = LINUX_EPHEMERAL_RANGE[0]
    last: int = LINUX_EPHEMERAL_RANGE[1]
    """The ephemeral range, both ends inclusive."""
    reserved: int = 0
    """Ports of the range that are not given out."""
    time_wait: TimeWait = LINUX
    reuse: Reuse = NO_REUSE
    """Whether connect() may take over a TIME_WAIT of its own."""
    time_wait_max: int | None = None
    """tcp_max_tw_buckets where the scenario sets it: TIME_WAITs beyond are dropped."""
    somaxconn: int = SOMAXCONN
    syncookies: int = 1
    abort_on_overflow: bool = False
    timestamps: bool = True
    syn_repeats_ns: tuple[int, ...] = tuple(after * NS_PER_S for after in syn_repeats_s())
    """When its connect() sends a SYN again that nobody answers, after the first one."""
    said: bool = True
    """The range is known; else it is the default."""
    platform: str | None = None
    """Name of the profile that this stands for; None for this machine's own kernel."""

    @property
    def ports(self) -> int:
        """Ports that may be given out."""
        return max(1, self.last - self.first + 1 - self.reserved)

    def outgoing_end_ns(self, closed_ns: int) -> int:
        """Return when connect() may have the 4-tuple again that this side closed first at `closed_ns`."""
        if self.reuse.possible and self.reuse.delay_s < self.time_wait.hold.effective_s:
            return closed_ns + round(self.reuse.delay_s * NS_PER_S)
        return self.time_wait.end_ns(closed_ns)

    @property
    def outgoing_hold(self) -> Hold:
        """The same in closed form."""
        return outgoing_hold(Side.CLIENT, Side.CLIENT, self.reuse, self.time_wait.hold)


@dataclass(frozen=True, slots=True)
class Kernels:
    """Both ends. On loopback they are one host's."""

    client: Kernel
    server: Kernel
    one_host: bool
    """Client and server share one kernel, and so one ephemeral range."""


@dataclass(frozen=True, slots=True)
class Suppose:
    """Frozen platforms that stand on the path instead of the plan's own; None keeps that."""

    client: Profile | None = None
    server: Profile | None = None
    router: Profile | None = None
    """A gateway whose ports and hold stand for the lab's NAT."""


def as_documented(kernel: Kernel, profile: Profile | None) -> Kernel:
    """Return `kernel` with the range and the TIME_WAIT of a profile; what that leaves out stays. None changes nothing.

    Where only a count of ports is documented, so many up to 65535 are meant.
    """
    if profile is None:
        return kernel
    changed = replace(kernel, platform=profile.name, said=True)
    if profile.ports is not None:
        first, last = profile.port_range or (max(1, 65_536 - profile.ports.count), 65_535)
        changed = replace(changed, first=first, last=last, reserved=0)
    if profile.time_wait is not None:
        reuse = Reuse(False, 1.0, f"{profile.title}: a TIME_WAIT lasts its time")
        waits = TimeWait(profile.time_wait, CLUMP_NS if profile.clumps else 0)
        changed = replace(changed, time_wait=waits, reuse=reuse, time_wait_max=None)
    return changed


def kernels_of(plan: Plan, suppose: Suppose | None = None) -> Kernels:
    """Return both kernels of a plan, `suppose` on top."""
    lab = plan.scenario.lab
    one_host = lab.topology == "loopback" if lab is not None else on_loopback(plan.scenario.target)
    client = _client(plan, lab, one_host)
    server = _server(plan, lab, client, one_host)
    if suppose is not None:
        client, server = as_documented(client, suppose.client), as_documented(server, suppose.server)
    return Kernels(client, server, one_host)


def on_loopback(target: Target) -> bool:
    """Return whether a target outside a lab is known to be on loopback: the emulator, 127/8, ::1 and localhost are."""
    if target.server is not None:
        return False
    return target.host is None or target.host in ("::1", "localhost") or target.host.startswith("127.")


def _client(plan: Plan, lab: Lab | None, one_host: bool) -> Kernel:
    settings = {} if lab is None else settings_of(lab, Side.CLIENT)
    loopback = one_host and not (lab is not None and lab.own_address)
    kernel = _kernel(plan.host, settings, loopback=loopback)
    own = plan.scenario.client.port_range
    if own is not None and plan.port_range is not None:
        first, last = plan.port_range
        listed = settings.get("ip_local_reserved_ports", plan.host.reserved_list or "")
        kernel = replace(kernel, first=first, last=last, reserved=listed_within(listed, first, last), said=True)
    length = None if lab is None else lab.time_wait.client
    return kernel if length is None else replace(kernel, time_wait=_shortened(length))


def _server(plan: Plan, lab: Lab | None, client: Kernel, one_host: bool) -> Kernel:
    if lab is None:
        return client if one_host else Kernel(said=False)
    if one_host:
        settings = settings_of(lab, Side.CLIENT) | settings_of(lab, Side.SERVER)
        kernel = _kernel(plan.host, settings, loopback=not lab.own_address)
    else:
        facts = getattr(plan, "server_host", None) or HostFacts()
        kernel = _kernel(facts, settings_of(lab, Side.SERVER), loopback=False)
    length = lab.time_wait.server
    return kernel if length is None else replace(kernel, time_wait=_shortened(length))


def _shortened(length_ns: int) -> TimeWait:
    return TimeWait(exact_hold(length_ns / NS_PER_S, f"the lab ends each TIME_WAIT after {format_duration(length_ns)}"))


def settings_of(lab: Lab, side: Side) -> dict[str, str]:
    """Return the sysctls that a lab sets on one side's hosts, by short name (`tcp_tw_reuse`, `somaxconn`).

    On `topology: loopback` both sides' settings are the one host's.
    """
    given: dict[str, str] = {}
    sides = ("client", "server") if lab.topology == "loopback" else (side.value,)
    for name in sides:
        values: Mapping[str, str] = getattr(lab.sysctls, name)
        given |= {_short(key): value for key, value in values.items()}
    return given


def _short(name: str) -> str:
    for prefix in ("net.ipv4.", "net.core."):
        name = name.removeprefix(prefix)
    return name


def _kernel(facts: HostFacts, settings: Mapping[str, str], *, loopback: bool) -> Kernel:
    """Settings before facts before the kernel's defaults."""
    given = _range(settings.get("ip_local_port_range"))
    first, last = given or facts.port_range or LINUX_EPHEMERAL_RANGE
    timestamps = _number(settings, "tcp_timestamps", facts.tcp_timestamps)
    delay_ms = _number(settings, "tcp_tw_reuse_delay", None)
    reuse = time_wait_reuse(
        tcp_tw_reuse=_number(settings, "tcp_tw_reuse", facts.tcp_tw_reuse),
        tcp_timestamps=timestamps,
        loopback=loopback,
        reuse_delay_s=1.0 if delay_ms is None else delay_ms / 1000,
    )
    reserved = settings.get("ip_local_reserved_ports")
    somaxconn = _number(settings, "somaxconn", facts.somaxconn)
    cookies = _number(settings, "tcp_syncookies", None)
    return Kernel(
        first=first,
        last=last,
        reserved=(facts.reserved_ports or 0 if given is None else 0)
        if reserved is None
        else listed_within(reserved, first, last),
        reuse=reuse,
        time_wait_max=_number(settings, "tcp_max_tw_buckets", None),
        somaxconn=SOMAXCONN if somaxconn is None else somaxconn,
        syncookies=1 if cookies is None else cookies,
        abort_on_overflow=bool(_number(settings, "tcp_abort_on_overflow", 0)),
        timestamps=timestamps != 0,
        syn_repeats_ns=_syn_repeats_ns(settings, facts.kernel),
        said=given is not None or facts.port_range is not None,
    )


def _syn_repeats_ns(settings: Mapping[str, str], release: str | None) -> tuple[int, ...]:
    linear = _number(settings, "tcp_syn_linear_timeouts", None)
    retries = _number(settings, "tcp_syn_retries", None)
    repeats_s = syn_repeats_s(6 if retries is None else retries, linear_syns(release) if linear is None else linear)
    return tuple(after * NS_PER_S for after in repeats_s)


def _number(settings: Mapping[str, str], name: str, otherwise: int | None) -> int | None:
    text = settings.get(name, "").strip()
    return int(text) if text.lstrip("-").isdigit() else otherwise


def _range(text: str | None) -> tuple[int, int] | None:
    """Read ``40000 40199``, also with a hyphen or a tab between."""
    parts = (text or "").replace("-", " ").split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    first, last = int(parts[0]), int(parts[1])
    return (first, last) if 1 <= first <= last <= 65_535 else None
