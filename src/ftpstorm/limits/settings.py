"""How a platform is told to have more ports or a shorter TIME_WAIT: what to type, when it holds, what it risks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ftpstorm.limits.platform import Platform, lineage

TakesEffect = Literal["now", "service-restart", "reboot"]
"""`now` includes what holds for the next connection or the next run."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One thing to do."""

    host: str
    """Where: client, server or router."""
    command: str
    """What to type, or the line of a configuration file with that file's name before it."""
    takes_effect: TakesEffect
    risk: str


RISK_TIME_WAIT: Final = (
    "late segments of an old connection may reach a new one on the same addresses and ports, on slow or lossy links"
)
RISK_RANGE: Final = "a service that listens inside the range may find its port taken; reserve its ports first"
RISK_FIREWALL: Final = "the firewall must admit the whole range too"
RISK_REUSE: Final = (
    "needs TCP timestamps on both ends; a NAT that mixes hosts, or a peer without them, can lose connections"
)

PARAMETERS: Final = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
"""Registry key of Windows' TCP."""

FIRST_FREE_PORT: Final = 1024
"""Lowest port that is not privileged."""


def registry_line(key: str, name: str, value: int) -> str:
    """Return the command that sets a REG_DWORD."""
    return f'reg add "{key}" /v {name} /t REG_DWORD /d {value} /f'


def span(ports: int, last: int = 65_535) -> tuple[int, int]:
    """Return a range of `ports` that ends at `last`. Raises ValueError where it would begin below 1024.

    Worked number: 28,232 ports up to 60999 begin at 32768.
    """
    first = last - ports + 1
    if ports < 1 or first < FIRST_FREE_PORT:
        raise ValueError(f"{ports} ports up to {last}: a range lies within {FIRST_FREE_PORT} to {last}")
    return first, last


def _linux_span(ports: int) -> tuple[int, int]:
    return span(ports, 60_999 if ports <= 60_999 - FIRST_FREE_PORT + 1 else 65_535)


def range_settings(platform: Platform, ports: int, host: str = "client") -> tuple[Fix, ...]:
    """Return how `platform` is given `ports` ephemeral ports; () where it has no words for that.

    Worked number: 64,510 ports on Windows Server 2003: MaxUserPort 65534.
    """
    match next((known for known in lineage(platform) if known in _RANGE), Platform.ANY):
        case Platform.LINUX:
            first, last = _linux_span(ports)
            command = f'sysctl -w net.ipv4.ip_local_port_range="{first} {last}"'
            return (Fix(host, command, "now", RISK_RANGE),)
        case Platform.WINDOWS_MS08_037:
            highest = FIRST_FREE_PORT + ports - 1
            return (Fix(host, registry_line(PARAMETERS, "MaxUserPort", highest), "reboot", RISK_RANGE),)
        case Platform.WINDOWS_LEGACY:
            highest = FIRST_FREE_PORT + ports
            return (Fix(host, registry_line(PARAMETERS, "MaxUserPort", highest), "reboot", RISK_RANGE),)
        case Platform.WINDOWS:
            first, _ = span(ports)
            command = f"netsh int ipv4 set dynamicport tcp start={first} num={ports}"
            return (Fix(host, command, "now", f"{RISK_RANGE}; remove a legacy MaxUserPort"),)
        case Platform.MACOS | Platform.FREEBSD:
            first, last = span(ports)
            command = f"sysctl net.inet.ip.portrange.first={first} net.inet.ip.portrange.last={last}"
            return (Fix(host, command, "now", RISK_RANGE),)
        case Platform.GCP_NAT:
            command = f"gcloud compute routers nats update NAT --router=ROUTER --min-ports-per-vm={ports}"
            return (Fix("router", command, "now", "fewer VMs fit each address of the gateway"),)
        case Platform.AWS_NAT:
            more = -(-ports // 55_000)
            command = f"associate {more} addresses with the NAT gateway (55,000 ports each, 8 at most)"
            return (Fix("router", command, "now", "peers that admit single addresses must admit the new ones"),)
        case Platform.AZURE_NAT:
            more = -(-ports // 64_512)
            command = f"give the NAT gateway {more} public addresses (64,512 ports each, 16 at most)"
            return (Fix("router", command, "now", "peers that admit single addresses must admit the new ones"),)
        case Platform.AZURE_LB:
            command = f"az network lb outbound-rule update ... --outbound-ports {-(-ports // 8) * 8}"
            return (Fix("router", command, "now", "fewer machines fit each address; a NAT gateway shares them better"),)
        case _:
            return ()


_RANGE: Final = frozenset(
    {
        Platform.LINUX,
        Platform.WINDOWS_LEGACY,
        Platform.WINDOWS_MS08_037,
        Platform.WINDOWS,
        Platform.MACOS,
        Platform.FREEBSD,
        Platform.GCP_NAT,
        Platform.AWS_NAT,
        Platform.AZURE_NAT,
        Platform.AZURE_LB,
    }
)


def time_wait_settings(platform: Platform, seconds: float, host: str = "client") -> tuple[Fix, ...]:
    """Return how `platform` is given a TIME_WAIT of `seconds`; () where nothing sets it.

    No setting of Linux shortens TIME_WAIT: see `reuse_settings` for what there is instead. Worked number: 30 s on
    macOS: net.inet.tcp.msl 15000 ms, half of it.
    """
    match next((known for known in lineage(platform) if known in _TIME_WAIT), Platform.ANY):
        case Platform.WINDOWS_LEGACY | Platform.WINDOWS:
            line = registry_line(PARAMETERS, "TcpTimedWaitDelay", round(seconds))
            return (Fix(host, line, "reboot", RISK_TIME_WAIT),)
        case Platform.MACOS | Platform.FREEBSD:
            return (Fix(host, f"sysctl net.inet.tcp.msl={round(seconds * 500)}", "now", RISK_TIME_WAIT),)
        case Platform.GCP_NAT:
            command = (
                f"gcloud compute routers nats update NAT --router=ROUTER --tcp-time-wait-timeout={round(seconds)}s"
            )
            return (Fix("router", command, "now", RISK_TIME_WAIT),)
        case _:
            return ()


_TIME_WAIT: Final = frozenset(
    {Platform.WINDOWS_LEGACY, Platform.WINDOWS, Platform.MACOS, Platform.FREEBSD, Platform.GCP_NAT}
)


def reuse_settings(platform: Platform, delay_s: float = 1.0, host: str = "client") -> tuple[Fix, ...]:
    """Return how connect() is let take over TIME_WAITs that are `delay_s` (0.001 to 60) old; Linux only, else ().

    It helps a client, never bind(): a server's passive ports gain nothing by it.
    """
    if Platform.LINUX not in lineage(platform):
        return ()
    fixes = [Fix(host, "sysctl -w net.ipv4.tcp_timestamps=1 net.ipv4.tcp_tw_reuse=1", "now", RISK_REUSE)]
    if delay_s != 1.0:
        command = f"sysctl -w net.ipv4.tcp_tw_reuse_delay={max(1, int(delay_s * 1000))}"
        fixes.append(Fix(host, command, "now", f"only newer kernels have it; {RISK_TIME_WAIT}"))
    return tuple(fixes)


def passive_range_settings(platform: Platform, ports: int, host: str = "server") -> tuple[Fix, ...]:
    """Return how an FTP server is given `ports` passive ports; () for what is no server.

    Worked number: 1,000 ports for vsftpd: pasv_min_port=50000, pasv_max_port=50999.
    """
    first = 50_000 if ports <= 15_000 else span(ports)[0]
    last = first + ports - 1
    match platform:
        case Platform.VSFTPD:
            line = f"vsftpd.conf: pasv_min_port={first}, pasv_max_port={last}"
        case Platform.PROFTPD:
            line = f"proftpd.conf: PassivePorts {first} {last}"
        case Platform.PURE_FTPD:
            users = max(1, ports // 2)
            return (
                Fix(
                    host,
                    f"pure-ftpd -p {first}:{last} -c {users}",
                    "service-restart",
                    f"it admits at most half as many users as the range has ports; {RISK_FIREWALL}",
                ),
            )
        case Platform.INETUTILS_FTPD:
            return range_settings(Platform.LINUX, ports, host)
        case Platform.PYFTPDLIB:
            line = f"FTPHandler.passive_ports = range({first}, {last + 1})"
        case Platform.AIOFTP:
            line = f"aioftp.Server(..., data_ports=range({first}, {last + 1}))"
        case Platform.EMULATOR:
            return (Fix(host, f"ftpstorm run ... --set target.emulator.passive_ports={ports}", "now", "none"),)
        case Platform.IIS_6:  # it takes ports from 5001 on
            line = f'adsutil.vbs set /MSFTPSVC/PassivePortRange "{first}-{last}"'
        case Platform.IIS:
            line = (
                "appcmd set config /section:system.ftpServer/firewallSupport "
                f"/lowDataChannelPort:{first} /highDataChannelPort:{last}"
            )
        case Platform.FILEZILLA:
            line = f"FileZilla Server, Configure, Passive mode: use custom port range {first} - {last}"
        case _:
            return ()
    return (Fix(host, line, "service-restart", RISK_FIREWALL),)
