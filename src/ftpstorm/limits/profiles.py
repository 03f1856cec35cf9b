"""What vendors and kernels document of ports and TIME_WAIT, platform by platform, each figure with its source.

Where sources differ a figure is a range. Only the Linux figures were measured; a profile says so.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ftpstorm.limits.platform import Platform
from ftpstorm.limits.profile import Fact, Ports, Profile
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, Hold

__all__ = ["PROFILES", "Fact", "Ports", "Profile", "profile_as_given", "profile_of"]


def _documented(seconds: float, why: str, low_s: float | None = None, high_s: float | None = None) -> Hold:
    return Hold(seconds, seconds if low_s is None else low_s, seconds if high_s is None else high_s, why)


_IP_SYSCTL: Final = "Linux Documentation/networking/ip-sysctl.rst"
_LINUX_TIME_WAIT: Final = "Linux include/net/tcp.h (TCP_TIMEWAIT_LEN); measured on 6.18"
_KB_DYNAMIC: Final = "Microsoft KB929851 (the default dynamic port range)"
_KB_425: Final = "Microsoft KB129395 (FTP 425, TIME_WAIT of 240 s)"
_DELAY_2000: Final = "Windows 2000 registry reference, TcpTimedWaitDelay (default 240 s, range 30-300)"
_DELAY_2003: Final = (
    "Windows Server 2003 registry reference, TcpTimedWaitDelay "
    "(default 120 s, range 0-300; its description says 4 minutes)"
)
_MAX_PORT: Final = "Windows registry reference, MaxUserPort (default 5000)"
_MS08_037: Final = "Microsoft security bulletin MS08-037 (DNS spoofing) and its notes on MaxUserPort"
_METABASE: Final = "IIS 6.0 metabase property reference"
_IIS6_BURST: Final = "Microsoft support blog on IIS FTP sites that reset bursts of connections"
_IIS7: Final = "IIS configuration reference, <ftpServer><connections> and <dataChannelSecurity>, firewallSupport"

_MAX_USER_PORT_OLD: Final = Fact(
    "MaxUserPort",
    "5000-65534, default 5000",
    "the highest port that the system gives out; the lowest stays 1025 (the count is MaxUserPort - 1024)",
    _MAX_PORT,
)
_FREE_TCBS: Final = Fact(
    "MaxFreeTcbs",
    "by memory",
    "when control blocks run out, TIME_WAITs end before TcpTimedWaitDelay: measured rates may lie above the table's",
    "Windows registry reference, TcpTimedWaitDelay, notes",
)

_ALL: Final = (
    Profile(
        name="linux",
        title="Linux, defaults",
        kind="host",
        platform=Platform.LINUX,
        ports=Ports(28_232, 28_232, 28_232, f"{_IP_SYSCTL} (ip_local_port_range)", 32_768, 60_999),
        time_wait=LINUX_TIME_WAIT,
        time_wait_source=_LINUX_TIME_WAIT,
        ports_most=64_512,
        facts=(
            Fact("tcp_fin_timeout", "60 s", "length of FIN_WAIT_2; it does not change TIME_WAIT", _IP_SYSCTL),
            Fact(
                "tcp_tw_reuse",
                "2",
                "reuse after tcp_tw_reuse_delay (1 s), on loopback only: 127.0.0.1 hides exhaustion",
                _IP_SYSCTL,
            ),
        ),
        clumps=True,
        measured=True,
    ),
    Profile(
        name="linux-tuned",
        title="Linux, ip_local_port_range 1024-65535",
        kind="host",
        platform=Platform.LINUX,
        ports=Ports(64_512, 64_512, 64_512, f"{_IP_SYSCTL} (ip_local_port_range)", 1024, 65_535),
        time_wait=LINUX_TIME_WAIT,
        time_wait_source=_LINUX_TIME_WAIT,
        ports_most=64_512,
        clumps=True,
        measured=True,
    ),
    Profile(
        name="linux-reuse",
        title="Linux, tcp_tw_reuse=1 (connect() only)",
        kind="host",
        platform=Platform.LINUX,
        ports=Ports(28_232, 28_232, 28_232, f"{_IP_SYSCTL} (ip_local_port_range)", 32_768, 60_999),
        time_wait=_documented(1.0, "tcp_tw_reuse=1: connect() takes over a TIME_WAIT of its own after 1 s"),
        time_wait_source=f"{_IP_SYSCTL} (tcp_tw_reuse, tcp_tw_reuse_delay); RFC 6191; measured on 6.18",
        ports_most=64_512,
        measured=True,
    ),
    Profile(
        name="windows-2000",
        title="Windows 2000, MaxUserPort unset",
        kind="host",
        platform=Platform.WINDOWS_LEGACY,
        ports=Ports(3_976, 3_976, 3_976, _MAX_PORT, 1025, 5000),
        time_wait=_documented(240.0, "TcpTimedWaitDelay of Windows 2000 is 240 s by default"),
        time_wait_source=f"{_DELAY_2000}; {_KB_425}",
        ports_most=64_510,
        time_wait_settable=(30.0, 300.0),
        facts=(_MAX_USER_PORT_OLD, _FREE_TCBS),
    ),
    Profile(
        name="windows-2003",
        title="Windows Server 2003, MaxUserPort unset",
        kind="host",
        platform=Platform.WINDOWS_LEGACY,
        ports=Ports(3_976, 3_976, 3_976, _MAX_PORT, 1025, 5000),
        time_wait=_documented(
            120.0, "TcpTimedWaitDelay of Server 2003 is 120 s by one source, 240 s by others", 120, 240
        ),
        time_wait_source=f"{_DELAY_2003}; {_KB_425}",
        ports_most=64_510,
        time_wait_settable=(0.0, 300.0),
        facts=(_MAX_USER_PORT_OLD, _FREE_TCBS),
    ),
    Profile(
        name="windows-2003-ms08-037",
        title="Windows Server 2003 with MS08-037, MaxUserPort unset",
        kind="host",
        platform=Platform.WINDOWS_MS08_037,
        ports=Ports(16_384, 16_384, 16_384, _MS08_037, 49_152, 65_535),
        time_wait=_documented(
            120.0, "TcpTimedWaitDelay of Server 2003 is 120 s by one source, 240 s by others", 120, 240
        ),
        time_wait_source=f"{_DELAY_2003}; {_KB_425}",
        ports_most=64_511,
        time_wait_settable=(0.0, 300.0),
        facts=(
            Fact(
                "MaxUserPort",
                "unset, or up to 65534",
                "unset: 49152-65535 at random; set: 1024-MaxUserPort at random, so an old 5000 keeps 3,977 ports",
                _MS08_037,
            ),
            _FREE_TCBS,
        ),
    ),
    Profile(
        name="windows-2003-tuned",
        title="Windows Server 2003, MaxUserPort 65534, TcpTimedWaitDelay 30",
        kind="host",
        platform=Platform.WINDOWS_LEGACY,
        ports=Ports(64_510, 64_510, 64_510, _MAX_PORT, 1025, 65_534),
        time_wait=_documented(30.0, "TcpTimedWaitDelay set to 30 s"),
        time_wait_source=_DELAY_2003,
        ports_most=64_510,
        time_wait_settable=(0.0, 300.0),
        facts=(_MAX_USER_PORT_OLD,),
    ),
    Profile(
        name="windows",
        title="Windows Vista, Server 2008 and later",
        kind="host",
        platform=Platform.WINDOWS,
        ports=Ports(16_384, 16_384, 16_384, _KB_DYNAMIC, 49_152, 65_535),
        time_wait=_documented(120.0, "TcpTimedWaitDelay unset: 120 s; sources say 30 to 240 s by version", 30, 240),
        time_wait_source="Microsoft's tuning guides for Windows Server, TcpTimedWaitDelay (30 to 240 s by version)",
        ports_most=64_511,
        time_wait_settable=(30.0, 300.0),
        facts=(
            Fact(
                "MaxUserPort",
                "a legacy value only",
                "where it is still set it counts ports above the start port; the range is set with netsh",
                _KB_DYNAMIC,
            ),
        ),
    ),
    Profile(
        name="macos",
        title="macOS",
        kind="host",
        platform=Platform.MACOS,
        ports=Ports(16_384, 16_384, 16_384, "macOS sysctl net.inet.ip.portrange.first and .last", 49_152, 65_535),
        time_wait=_documented(30.0, "twice net.inet.tcp.msl, 15 s by default"),
        time_wait_source="macOS sysctl net.inet.tcp.msl (15000 ms)",
        ports_most=64_512,
        time_wait_settable=(2.0, 60.0),
    ),
    Profile(
        name="freebsd",
        title="FreeBSD (its range differs by version: check)",
        kind="host",
        platform=Platform.FREEBSD,
        ports=Ports(
            55_536,
            3_977,
            55_536,
            "FreeBSD netinet/in.h IPPORT_EPHEMERALFIRST (10000-65535); older releases 49152-65535 or 1024-5000",
            10_000,
            65_535,
        ),
        time_wait=_documented(60.0, "twice net.inet.tcp.msl, 30 s by default"),
        time_wait_source="FreeBSD tcp(4), net.inet.tcp.msl (30000 ms)",
        ports_most=64_512,
        time_wait_settable=(2.0, 60.0),
    ),
    Profile(
        name="aws-nat",
        title="AWS NAT gateway, one address, to one destination",
        kind="nat",
        platform=Platform.AWS_NAT,
        ports=Ports(55_000, 55_000, 55_000, "AWS VPC guide, NAT gateways: simultaneous connections to one destination"),
        time_wait=None,
        unknown="AWS does not say how long a closed connection keeps its port",
        ports_most=440_000,
        facts=(Fact("idle timeout", "350 s", "after which an idle connection is forgotten", "AWS VPC guide"),),
    ),
    Profile(
        name="gcp-nat",
        title="GCP Cloud NAT, minimum of 64 ports a VM",
        kind="nat",
        platform=Platform.GCP_NAT,
        ports=Ports(64, 64, 64, "Google Cloud NAT, minimum ports per VM"),
        time_wait=_documented(120.0, "TCP TIME_WAIT timeout of Cloud NAT"),
        time_wait_source="Google Cloud NAT, TCP TIME_WAIT timeout (120 s)",
        ports_most=65_536,
        time_wait_settable=(0.0, 120.0),
    ),
    Profile(
        name="azure-nat",
        title="Azure NAT gateway, one address",
        kind="nat",
        platform=Platform.AZURE_NAT,
        ports=Ports(64_512, 64_512, 64_512, "Azure NAT gateway, SNAT ports for each public address"),
        time_wait=_documented(65.0, "a port cools down 65 s after FIN"),
        time_wait_source="Azure NAT gateway, port reuse timers",
        ports_most=1_032_192,
    ),
    Profile(
        name="azure-lb",
        title="Azure load balancer, default allocation",
        kind="nat",
        platform=Platform.AZURE_LB,
        ports=Ports(1_024, 32, 1_024, "Azure load balancer, default port allocation: 1,024 to 32 a VM by pool size"),
        time_wait=_documented(240.0, "ports are given back after 4 minutes"),
        time_wait_source="Azure load balancer, outbound connections (4 minutes)",
        ports_most=64_000,
        facts=(Fact("App Service", "128", "ports for each instance to one destination", "Azure App Service"),),
    ),
    Profile(
        name="passive-20",
        title="an FTP server's passive range of 20, no reuse, on old Windows",
        kind="passive-range",
        platform=Platform.WINDOWS_LEGACY,
        ports=Ports(20, 20, 20, "the range as a server's administrator set it"),
        time_wait=_documented(120.0, "TIME_WAIT of the server's Windows, 120 or 240 s", 120, 240),
        time_wait_source=f"{_DELAY_2003}; {_KB_425}",
        ports_most=60_535,
        time_wait_settable=(0.0, 300.0),
    ),
    Profile(
        name="iis-6",
        title="IIS 6 FTP service (Windows Server 2003)",
        kind="server",
        platform=Platform.IIS_6,
        ports=None,
        time_wait=None,
        unknown="its data ports are the system's: see windows-2003",
        facts=(
            Fact("ListenBacklog", "1-250, default 25", "connections that wait for accept (InetInfo)", _IIS6_BURST),
            Fact(
                "ServerListenBacklog",
                "5-500 by ServerSize, default 40",
                "AcceptEx calls that wait for a connection",
                f"{_METABASE}, ServerListenBacklog",
            ),
            Fact("MaxPoolThreads", "default 4", "threads for each processor that serve requests", _IIS6_BURST),
            Fact(
                "MaxConnections",
                "0-4294967295 (unlimited); above 8000 is advised against",
                "sessions of a site at one time; MaxClientsMessage is said beyond it",
                f"{_METABASE}, MaxConnections",
            ),
            Fact("PassivePortRange", "unset", "unset: the kernel chooses data ports, from 1025-5000", _METABASE),
        ),
    ),
    Profile(
        name="iis-7",
        title="IIS 7 to 10 FTP service",
        kind="server",
        platform=Platform.IIS,
        ports=None,
        time_wait=None,
        unknown="its data ports are the system's where its range is 0-0: see windows",
        facts=(
            Fact("serverListenBacklog", "60", "connections that wait for accept", _IIS7),
            Fact("maxConnections", "4294967295", "sessions of a site at one time: no cap", _IIS7),
            Fact("resetOnMaxConnections", "false", "beyond the cap: false says so, true sends RST", _IIS7),
            Fact("unauthenticatedTimeout", "30 s", "for a session that does not log in", _IIS7),
            Fact("controlChannelTimeout", "120 s", "for a session that says nothing", _IIS7),
            Fact("dataChannelTimeout", "30 s", "for a data connection that moves nothing", _IIS7),
            Fact("data channel port range", "0-0", "the kernel chooses, from its dynamic range", _IIS7),
        ),
    ),
    Profile(
        name="filezilla",
        title="FileZilla Server, its rule for the passive range",
        kind="server",
        platform=Platform.FILEZILLA,
        ports=None,
        time_wait=_documented(240.0, "the rule's four minutes, TIME_WAIT of old Windows"),
        time_wait_source="FileZilla Server manual, passive mode settings",
        facts=(
            Fact(
                "passive range",
                "more ports than transfers in any 4 minutes",
                "N > 240 s x transfers a second (1,000 ports: 4.2 a second)",
                "FileZilla Server manual, passive mode settings",
            ),
        ),
    ),
)

PROFILES: Final = MappingProxyType({profile.name: profile for profile in _ALL})
"""All profiles by name, hosts first."""


def profile_of(name: str) -> Profile:
    """Return the profile `name`. Raises ValueError that lists the known ones for any other."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"no profile {name!r}; there are: {', '.join(PROFILES)}") from None


def profile_as_given(ports: int, time_wait_s: float) -> Profile:
    """Return a profile of figures that a user gave: `ports` >= 1, `time_wait_s` > 0.

    Worked numbers: 4,000 ports, 120 s: 33.3 a second. 20 passive ports, 120 s: 0.1667 a second, 10 a minute.
    """
    if time_wait_s <= 0:
        raise ValueError(f"a TIME_WAIT of {time_wait_s:g} s bounds nothing: it must be above 0")
    return Profile(
        name="as-given",
        title=f"{ports:,} ports, {time_wait_s:g} s",
        kind="host",
        platform=Platform.ANY,
        ports=Ports(ports, ports, ports, "as given"),
        time_wait=_documented(time_wait_s, "as given"),
        time_wait_source="as given",
    )
