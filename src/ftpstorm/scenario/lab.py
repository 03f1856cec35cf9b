"""The disposable network that a run can build on this machine: hosts, kernel settings, router, TIME_WAIT."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ftpstorm.scenario.client import PortRange
from ftpstorm.scenario.types import NOT_BOOL, DurationNs, Frozen, PositiveCount, PositiveRate
from ftpstorm.units import Rate

HOSTS_MAX: Final = 16
ADDRESSES_MAX: Final = 250
TIME_WAIT_MAX_NS: Final = 60_000_000_000
"""A kernel's own TIME_WAIT: a lab can end it earlier, never later."""

_SYSCTL: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_-]+)*")
_CORE: Final = frozenset({"somaxconn"})


def _sysctl_name(name: str) -> str:
    if not _SYSCTL.fullmatch(name):
        raise ValueError(f"{name!r} is no sysctl; write tcp_tw_reuse, or net.ipv4.tcp_tw_reuse")
    if "." in name and not name.startswith("net."):
        raise ValueError(f"{name!r} is the whole machine's; a lab sets only what each network has of its own, net.*")
    return name


def sysctl_full_name(name: str) -> str:
    """Return the sysctl that `name` means: without a dot it is one of net.ipv4, `somaxconn` one of net.core."""
    if "." in name:
        return name
    return f"net.core.{name}" if name in _CORE else f"net.ipv4.{name}"


def _each_once(sysctls: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name in sysctls:
        if (other := seen.setdefault(sysctl_full_name(name), name)) != name:
            raise ValueError(f"`{other}` and `{name}` are the same setting; give it once")
    return sysctls


def _sysctl_value(value: Any) -> Any:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int) else value


SysctlName = Annotated[str, AfterValidator(_sysctl_name)]
SysctlValue = Annotated[
    str,
    BeforeValidator(_sysctl_value),
    WithJsonSchema({"title": "Setting", "anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]}),
]
Sysctls = Annotated[dict[SysctlName, SysctlValue], AfterValidator(_each_once)]


class HostSysctls(Frozen):
    """Kernel settings by host. A name without a dot is one of net.ipv4 (`tcp_tw_reuse`), `somaxconn` is net.core's.

    Each is set, read back and recorded; a value that the kernel refuses or changes ends the run before its start.
    Unless given here, tcp_rfc1337 is 1 on all hosts: a TIME_WAIT ends with its time, never by the peer's RST.
    """

    client: Sysctls = {}
    """Of every client host."""
    server: Sysctls = {}
    router: Sysctls = {}


class TimeWait(Frozen):
    """Length of TIME_WAIT by host, at most 60s; null leaves the kernel's own 60 to 62 s.

    The lab ends TIME_WAIT sockets that are old enough (SOCK_DESTROY): what TcpTimedWaitDelay does on Windows.
    """

    client: DurationNs | None = None
    server: DurationNs | None = None

    @model_validator(mode="after")
    def _within_bounds(self) -> TimeWait:
        for value in (self.client, self.server):
            if value is not None and not 100_000_000 <= value <= TIME_WAIT_MAX_NS:
                raise ValueError("must be from 100ms to 60s: a lab can shorten the kernel's TIME_WAIT, not lengthen it")
        return self


class Link(Frozen):
    """What the way between client and server does to packets: each client's wire, or, with a router, the one wire
    between it and the server, which all clients share. Each direction for itself."""

    delay: DurationNs | None = None
    """One-way delay (netem, each direction)."""
    loss: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the packets that are lost, 0.01 for one in a hundred (netem)."""
    rate: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[kmg]?bit$")] | None = None
    """Bits a second, such as `100mbit` (tbf)."""

    @model_validator(mode="after")
    def _does_something(self) -> Link:
        if not (self.delay or self.loss or self.rate):
            raise ValueError("give at least one of `delay`, `loss` and `rate`")
        if self.rate is not None and not any(digit in "123456789" for digit in self.rate):
            raise ValueError("`rate` must be above 0")
        return self


class Nat(Frozen):
    """Source NAT on the router, as a home router or a cloud gateway does it."""

    ports: PortRange | None = None
    """Ports that translated connections may use; null: the kernel's choice. They all come from 10.79.0.1."""


def _ports_in_order(value: str) -> str:
    first, _, last = value.partition("-")
    if not 1 <= int(first) <= int(last or first) <= 65_535:
        raise ValueError("must be a port, or first-last with 1 <= first <= last <= 65535")
    return value


PortOrRange = Annotated[
    str,
    Field(pattern=r"^\d+(-\d+)?$"),
    AfterValidator(_ports_in_order),
    BeforeValidator(lambda v: str(v) if type(v) is int else v),
]

_UNITS: Final = (("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400))


def whole_rate(rate: Rate) -> tuple[int, str]:
    """Return `rate` as a whole number and its unit, ``second`` to ``day``: packet filters know no others.

    Raises ValueError for a rate that has none, such as 0.3/d.
    """
    for unit, seconds in _UNITS:
        number = rate.per_s * seconds
        if number.denominator == 1:
            return number.numerator, unit
    raise ValueError("must be a whole number a second, minute, hour or day")


def _whole(rate: Rate) -> Rate:
    whole_rate(rate)
    return rate


class Firewall(Frozen):
    """Filter on the router. Connections from clients to the allowed ports pass, and what belongs to one or, with the
    `helper`, was agreed on by one; all else is refused, in both directions: active mode needs the helper."""

    allow: tuple[PortOrRange, ...] = ()
    """Ports of the server that new connections may go to, such as [21, 10000-10019]; the control port always."""
    refuse: Literal["drop", "reject", "admin-prohibited"] = "drop"
    """`drop`: no answer; `reject`: TCP RST; `admin-prohibited`: ICMP, which connect(2) reports as EHOSTUNREACH, or as
    EACCES with IPv6."""
    helper: bool = False
    """Let the kernel's FTP helper read control connections and allow the data connections that they agree on. TLS
    blinds it."""
    connection_limit: PositiveCount | None = None
    """Control connections that one client address may have open; the next are answered with RST."""
    rate_limit: Annotated[PositiveRate, AfterValidator(_whole)] | None = None
    """New connections a second that pass, five at once at most; the others are refused. A whole number a second,
    minute, hour or day."""


def _conntrack_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"{name!r} is no setting of connection tracking; write tcp_timeout_time_wait")
    if name.startswith("nf_conntrack_"):
        raise ValueError(f"write {name.removeprefix('nf_conntrack_')!r}: nf_conntrack_ goes without saying")
    return name


ConntrackName = Annotated[str, AfterValidator(_conntrack_name)]


Topology = Literal["loopback", "pair", "routed"]


class Lab(Frozen):
    """A network of namespaces on this machine, made for one run and gone with it."""

    topology: Topology = "pair"
    """`loopback`: one host that is client and server; `pair`: two joined by a wire; `routed`: a router between them."""
    clients: Annotated[PositiveCount, Field(le=HOSTS_MAX)] = 1
    """Client hosts; the run's workers are spread over them, so give at least as many workers (`--workers`)."""
    client_addresses: Annotated[PositiveCount, Field(le=ADDRESSES_MAX)] = 1
    """Addresses of each client host: 10.77.h.1, 10.77.h.2 ... of host h from 0, 10.77.h.250 at most."""
    server_addresses: Annotated[PositiveCount, Field(le=ADDRESSES_MAX)] = 1
    """Addresses of the server: 10.78.0.1, 10.78.0.2 ... Sessions are spread evenly over them."""
    ipv6: bool = False
    """Use IPv6 addresses, fd77::h:1 and fd78::1 on, in place of the IPv4 ones."""
    own_address: bool = False
    """`loopback` only: use 10.78.0.1 (fd78::1) instead of 127.0.0.1 (::1), at both ends. Where tcp_tw_reuse is 2, the
    default, 127.0.0.0/8 hides that ports run out; an address of one's own shows it."""
    sysctls: HostSysctls = HostSysctls()
    time_wait: TimeWait = TimeWait()
    """A duration alone is that of client and server."""
    link: Link | None = None
    nat: Nat | None = None
    firewall: Firewall | None = None
    conntrack: dict[ConntrackName, Annotated[int, Field(ge=1), NOT_BOOL] | str] = {}
    """The router's connection tracking: nf_conntrack_* sysctls without that prefix, such as `tcp_timeout_time_wait: 10`
    (seconds)."""

    @model_validator(mode="before")
    @classmethod
    def _one_time_wait(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(length := value.get("time_wait"), str):
            return {**value, "time_wait": {"client": length, "server": length}}
        return value

    @model_validator(mode="after")
    def _topology_has_it(self) -> Lab:
        if self.topology != "routed":
            for name in ("nat", "firewall", "conntrack"):
                if getattr(self, name):
                    raise ValueError(f"`{name}` needs `topology: routed`: it works on the router")
            if self.sysctls.router:
                raise ValueError("`sysctls.router` needs `topology: routed`")
        if self.topology == "loopback":
            if self.clients > 1 or self.client_addresses > 1 or self.link is not None:
                raise ValueError("`clients`, `client_addresses` and `link` need `topology: pair` or `routed`")
            if self.server_addresses > 1 and not self.own_address:
                raise ValueError("`server_addresses` needs `own_address: true` here, or `topology: pair` or `routed`")
            if self.sysctls.client and self.sysctls.server and self.sysctls.client != self.sysctls.server:
                raise ValueError("with `topology: loopback` client and server are one host: give `sysctls` once")
            if self.time_wait.client != self.time_wait.server:
                raise ValueError("with `topology: loopback` client and server share TIME_WAIT: give one duration")
        elif self.own_address:
            raise ValueError("`own_address` belongs to `topology: loopback`")
        if self.nat is not None and self.ipv6:
            raise ValueError("`nat` translates IPv4 addresses")
        return self
