"""The disposable network that a run can build on this machine: hosts, kernel settings, router, TIME_WAIT."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ftpstorm.scenario.client import PortRange
from ftpstorm.scenario.types import NOT_BOOL, Documented, DurationNs, PositiveCount, PositiveRate

HOSTS_MAX: Final = 16
ADDRESSES_MAX: Final = 250
TIME_WAIT_MAX_NS: Final = 60_000_000_000
"""A kernel's own TIME_WAIT: a lab can end it earlier, never later."""

_SYSCTL: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


def _sysctl_name(name: str) -> str:
    if not _SYSCTL.fullmatch(name):
        raise ValueError(f"{name!r} is no sysctl; write tcp_tw_reuse, or net.ipv4.tcp_tw_reuse")
    return name


def _sysctl_value(value: Any) -> Any:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int) else value


SysctlName = Annotated[str, AfterValidator(_sysctl_name)]
SysctlValue = Annotated[str, BeforeValidator(_sysctl_value)]
Sysctls = dict[SysctlName, SysctlValue]


class HostSysctls(Documented):
    """Kernel settings by host. A name without a dot is one of net.ipv4 (`tcp_tw_reuse`), `somaxconn` is net.core's.

    Each is set, read back and recorded; a value that the kernel refuses or changes ends the run before its start.
    """

    client: Sysctls = {}
    """Of every client host."""
    server: Sysctls = {}
    router: Sysctls = {}


class TimeWait(Documented):
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


class Link(Documented):
    """What the way between client and server does to packets."""

    delay: DurationNs | None = None
    """One-way delay (netem, each direction)."""
    loss: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the packets that are lost, 0.01 for one in a hundred (netem)."""
    rate: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[kmg]?bit$")] | None = None
    """Bits a second, such as `100mbit` (tbf)."""


class Nat(Documented):
    """Source NAT on the router, as a home router or a cloud gateway does it."""

    ports: PortRange | None = None
    """Ports that translated connections may use; null: the kernel's choice."""


PortOrRange = Annotated[str, Field(pattern=r"^\d+(-\d+)?$"), BeforeValidator(lambda v: str(v) if type(v) is int else v)]


class Firewall(Documented):
    """Filter on the router: what is not allowed from client to server is refused."""

    allow: tuple[PortOrRange, ...] = ()
    """Ports of the server that new connections may go to, such as [21, 10000-10019]; the control port always."""
    refuse: Literal["drop", "reject", "admin-prohibited"] = "drop"
    """`drop`: no answer; `reject`: TCP RST; `admin-prohibited`: ICMP, which connect(2) reports as EHOSTUNREACH."""
    helper: bool = False
    """Let the kernel's FTP helper read control connections and allow the data connections that they agree on."""
    connection_limit: PositiveCount | None = None
    """Control connections that one client address may have open; the next are answered with RST."""
    rate_limit: PositiveRate | None = None
    """New connections a second that pass; the others are refused."""


class Lab(Documented):
    """A network of namespaces on this machine, made for one run and gone with it."""

    topology: Literal["loopback", "pair", "routed"] = "pair"
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
    """`loopback` only: use 10.78.0.1 instead of 127.0.0.1. Where tcp_tw_reuse is 2, the default, 127.0.0.0/8 hides
    that ports run out; an address of one's own shows it."""
    sysctls: HostSysctls = HostSysctls()
    time_wait: TimeWait = TimeWait()
    """A duration alone is that of client and server."""
    link: Link | None = None
    nat: Nat | None = None
    firewall: Firewall | None = None
    conntrack: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], Annotated[int, Field(ge=1), NOT_BOOL] | str] = {}
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
            if self.clients > 1 or self.link is not None:
                raise ValueError("`clients` and `link` need `topology: pair` or `routed`")
            if self.sysctls.client and self.sysctls.server and self.sysctls.client != self.sysctls.server:
                raise ValueError("with `topology: loopback` client and server are one host: give `sysctls` once")
            if self.time_wait.client != self.time_wait.server:
                raise ValueError("with `topology: loopback` client and server share TIME_WAIT: give one duration")
        elif self.own_address:
            raise ValueError("`own_address` belongs to `topology: loopback`")
        if self.nat is not None and self.ipv6:
            raise ValueError("`nat` translates IPv4 addresses")
        return self
