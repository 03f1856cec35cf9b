"""What lifts each cause, in the words of the platform concerned: host, command, when it takes effect, what it risks.

Data only. A platform without words of its own for a cause gets those of the system that it runs on, and last what fits
everywhere.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ftpstorm.limits.platform import Platform, lineage
from ftpstorm.limits.settings import (
    RISK_FIREWALL,
    RISK_TIME_WAIT,
    Fix,
    TakesEffect,
    passive_range_settings,
    range_settings,
    registry_line,
    reuse_settings,
    time_wait_settings,
)
from ftpstorm.vocabulary import Cause, Side

WIDE_PASSIVE_RANGE: Final = 10_000
"""Passive ports that a fix proposes where nobody said how many are wanted."""
WIDEST_RANGE: Final = 64_510
"""Ephemeral ports that a fix proposes: all that Windows up to 2003 can have; Linux and later Windows have two more."""
SHORT_TIME_WAIT_S: Final = 30.0
PASSIVE_PORTS_MOST: Final = 59_976
"""Ports up to 60999: more are no range that every server can have."""

SHARED_BACK_END: Final = "keep connections to the back end and share them: a pool, keep-alive"
_INETINFO: Final = r"HKLM\SYSTEM\CurrentControlSet\Services\InetInfo\Parameters"


def _client(command: str, risk: str = "none", effect: TakesEffect = "now") -> Fix:
    return Fix("client", command, effect, risk)


def _server(command: str, risk: str = "none", effect: TakesEffect = "service-restart") -> Fix:
    return Fix("server", command, effect, risk)


def _router(command: str, risk: str = "none", effect: TakesEffect = "now") -> Fix:
    return Fix("router", command, effect, risk)


_SOURCES: Final = _client("client.source_addresses in the scenario: each address has a range of its own")
_FEWER_CONNECTIONS: Final = _client("keep control connections open: several transfers for each login", "none")
_SPREAD: Final = _client("spread the connections over time: a ramp or an even rate in place of a burst")
_MEMORY: Final = "memory for each session"

_SERVER_ONLY: Final = "each waiting connection takes memory, and waits longer"
_SOMAXCONN: Final = _server("sysctl -w net.core.somaxconn=4096", "holds for listeners that are opened after it")

_BACKLOG: Final[dict[Platform, tuple[Fix, ...]]] = {
    Platform.LINUX: (
        _SOMAXCONN,
        _server("listen(2) with a larger backlog, where the server has a setting for it", _SERVER_ONLY),
    ),
    Platform.PROFTPD: (_server("proftpd.conf: tcpBackLog 4096", _SERVER_ONLY), _SOMAXCONN),
    Platform.PURE_FTPD: (
        _server("pure-ftpd -c 500: its backlog grows with its users, 3 + users/8", _MEMORY),
        _SOMAXCONN,
    ),
    Platform.VSFTPD: (
        _server(
            "run vsftpd from a supervisor that listens itself (listen=NO, systemd socket Backlog=4096)", _SERVER_ONLY
        ),
    ),
    Platform.EMULATOR: (_server("ftpstorm run ... --set target.emulator.backlog=65535", effect="now"),),
    Platform.IIS_6: (
        _server(registry_line(_INETINFO, "ListenBacklog", 250), _SERVER_ONLY),
        _server("adsutil.vbs set /MSFTPSVC/ServerListenBacklog 500", _SERVER_ONLY),
        _server(registry_line(_INETINFO, "MaxPoolThreads", 20), "more threads compete for the processor"),
    ),
    Platform.IIS: (
        _server("appcmd set site SITE /ftpServer.connections.serverListenBacklog:1000", _SERVER_ONLY),
        _server("appcmd set site SITE /ftpServer.connections.resetOnMaxConnections:false", "none"),
    ),
    Platform.ANY: (_SPREAD,),
}
"""For ghosts, refusals, resets and slow accepts alike: a longer queue."""

_CAP: Final[dict[Platform, tuple[Fix, ...]]] = {
    Platform.VSFTPD: (_server("vsftpd.conf: max_clients=0, max_per_ip=0", _MEMORY),),
    Platform.PROFTPD: (_server("proftpd.conf: MaxClients none, MaxInstances none", _MEMORY),),
    Platform.PURE_FTPD: (_server("pure-ftpd -c 2000 -C 2000, with twice as many passive ports", _MEMORY),),
    Platform.PYFTPDLIB: (_server("FTPServer.max_cons = 2048, FTPServer.max_cons_per_ip = 0", _MEMORY),),
    Platform.AIOFTP: (_server("aioftp.Server(..., maximum_connections=2048)", _MEMORY),),
    Platform.EMULATOR: (_server("ftpstorm run ... --set target.emulator.max_connections=null", effect="now"),),
    Platform.IIS_6: (_server("adsutil.vbs set /MSFTPSVC/1/MaxConnections 8000", _MEMORY),),
    Platform.IIS: (_server("appcmd set site SITE /ftpServer.connections.maxConnections:4294967295", _MEMORY),),
    Platform.FILEZILLA: (_server("FileZilla Server, Configure, Server: more connections at one time", _MEMORY),),
    Platform.ANY: (
        _server("raise the server's maximum of connections", _MEMORY),
        _client("fewer sessions at one time (`max_sessions`)", "a lower rate"),
    ),
}

_PASSIVE_IN_ANY: Final = (
    _server("widen the server's passive range", RISK_FIREWALL),
    _FEWER_CONNECTIONS,
)

_TABLE: Final[dict[Cause, dict[Platform, tuple[Fix, ...]]]] = {
    Cause.CLIENT_EPHEMERAL_PORTS: {
        **{
            platform: (
                *range_settings(platform, WIDEST_RANGE),
                *reuse_settings(platform),
                *time_wait_settings(platform, SHORT_TIME_WAIT_S),
                _SOURCES,
            )
            for platform in (
                Platform.LINUX,
                Platform.WINDOWS_LEGACY,
                Platform.WINDOWS_MS08_037,
                Platform.WINDOWS,
                Platform.MACOS,
                Platform.FREEBSD,
            )
        },
        Platform.ANY: (_SOURCES, _FEWER_CONNECTIONS),
    },
    Cause.CLIENT_BIND_HABIT: {
        Platform.LINUX: (
            _client("client.bind: no-port in the scenario; in code IP_BIND_ADDRESS_NO_PORT before bind()"),
            _client('sysctl -w net.ipv4.ip_local_port_range="1024 65535"', "services inside the range need reserving"),
        ),
        Platform.ANY: (_client("do not bind a local port before connect()"),),
    },
    Cause.CLIENT_FILES: {
        Platform.LINUX: (
            _client("ulimit -n 65536, in the shell that starts it"),
            _client("/etc/security/limits.conf: USER hard nofile 65536", effect="service-restart"),
            _client("ftpstorm run ... --workers N: each process has files of its own"),
        ),
        Platform.MACOS: (_client("ulimit -n 65536; sysctl kern.maxfilesperproc=65536"),),
        Platform.FREEBSD: (_client("sysctl kern.maxfilesperproc=65536; limits -n 65536 COMMAND"),),
        Platform.ANY: (_client("let the process open more files, or start fewer sessions at one time"),),
    },
    Cause.SERVER_PASSIVE_POOL: {
        **{
            platform: passive_range_settings(platform, WIDE_PASSIVE_RANGE)
            for platform in (
                Platform.VSFTPD,
                Platform.PROFTPD,
                Platform.PURE_FTPD,
                Platform.PYFTPDLIB,
                Platform.AIOFTP,
                Platform.EMULATOR,
                Platform.FILEZILLA,
            )
        },
        Platform.INETUTILS_FTPD: (
            *passive_range_settings(Platform.INETUTILS_FTPD, 28_232),
            _server("use a server that binds a range of its own with SO_REUSEADDR", "a change of server"),
        ),
        Platform.IIS_6: (
            *passive_range_settings(Platform.IIS_6, WIDE_PASSIVE_RANGE),
            *time_wait_settings(Platform.IIS_6, SHORT_TIME_WAIT_S, "server"),
        ),
        Platform.IIS: (
            *passive_range_settings(Platform.IIS, WIDE_PASSIVE_RANGE),
            *time_wait_settings(Platform.IIS, SHORT_TIME_WAIT_S, "server"),
        ),
        Platform.LINUX: (
            _server("widen the passive range, and bind its ports with SO_REUSEADDR", RISK_FIREWALL),
            *range_settings(Platform.LINUX, WIDEST_RANGE, "server"),
        ),
        **{
            platform: (
                *range_settings(platform, WIDEST_RANGE, "server"),
                *time_wait_settings(platform, SHORT_TIME_WAIT_S, "server"),
                _server("widen the server's passive range", RISK_FIREWALL),
            )
            for platform in (
                Platform.WINDOWS_LEGACY,
                Platform.WINDOWS_MS08_037,
                Platform.WINDOWS,
                Platform.MACOS,
                Platform.FREEBSD,
            )
        },
        Platform.ANY: _PASSIVE_IN_ANY,
    },
    Cause.SERVER_PASSIVE_POOL_ESCAPED: {
        Platform.PROFTPD: (
            *passive_range_settings(Platform.PROFTPD, WIDE_PASSIVE_RANGE),
            _server("proftpd.conf: MaxClients below the number of passive ports", "users beyond it see 530"),
        ),
        Platform.PYFTPDLIB: (
            *passive_range_settings(Platform.PYFTPDLIB, WIDE_PASSIVE_RANGE),
            _server("FTPServer.max_cons below the number of passive ports", "users beyond it see 421"),
        ),
        Platform.ANY: (
            _server("widen the passive range until transfers at one time fit into it", RISK_FIREWALL),
            _router("let the firewall follow FTP (the ct helper ftp) in place of a fixed range", "blind with TLS"),
        ),
    },
    Cause.DATA_CONNECTION_IN_USE: {
        Platform.ANY: (
            _client("passive mode: the server's 425 is about the client's port of active mode", "none"),
            _client("another port for each transfer: `client.active_ports` wide enough, a PORT before each"),
            _server("bind port 20 with SO_REUSEADDR before each active connection", "a change of server program"),
        ),
        Platform.WINDOWS_LEGACY: (
            *time_wait_settings(Platform.WINDOWS_LEGACY, SHORT_TIME_WAIT_S, "server"),
            _client("passive mode, or a new port for each PORT"),
        ),
    },
    Cause.SERVER_CONNECTION_CAP: _CAP,
    Cause.PER_ADDRESS_LIMIT: {
        Platform.VSFTPD: (_server("vsftpd.conf: max_per_ip=0", _MEMORY),),
        Platform.PROFTPD: (_server("proftpd.conf: MaxClientsPerHost none", _MEMORY),),
        Platform.PURE_FTPD: (_server("pure-ftpd -C 2000", _MEMORY),),
        Platform.PYFTPDLIB: (_server("FTPServer.max_cons_per_ip = 0", _MEMORY),),
        Platform.FILEZILLA: (_server("FileZilla Server: more connections for one address", _MEMORY),),
        Platform.ANY: (
            _SOURCES,
            _router("nft: raise `ct count over N` or `limit rate` of the rule for port 21", "less protection"),
            _server("raise the server's maximum for one address", _MEMORY),
        ),
    },
    Cause.BACKLOG_GHOST: _BACKLOG,
    Cause.BACKLOG_SYN_REFUSED: _BACKLOG,
    Cause.RESET_AFTER_ACCEPT: {
        **_BACKLOG,
        Platform.LINUX: (
            _SOMAXCONN,
            _server("sysctl -w net.ipv4.tcp_abort_on_overflow=0", "clients wait where they were reset", "now"),
        ),
    },
    Cause.SLOW_ACCEPT: {
        **_BACKLOG,
        Platform.EMULATOR: (_server("ftpstorm run ... --set target.emulator.accept_rate=null", effect="now"),),
        Platform.ANY: (
            _server("more processes or threads that accept, or a server with less work before the greeting"),
            _server("no reverse DNS and no ident before the greeting", "logs show addresses in place of names"),
            _SPREAD,
        ),
    },
    Cause.NAT_POOL: {
        Platform.LINUX: (
            _router("nft: masquerade to :1024-65535, or snat to several addresses", "none"),
            _router("sysctl -w net.netfilter.nf_conntrack_max=1048576", "about 320 bytes of kernel memory an entry"),
            _router("sysctl -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=10", RISK_TIME_WAIT),
        ),
        Platform.AWS_NAT: range_settings(Platform.AWS_NAT, 110_000),
        Platform.AZURE_NAT: range_settings(Platform.AZURE_NAT, 129_024),
        Platform.AZURE_LB: range_settings(Platform.AZURE_LB, 10_000),
        Platform.GCP_NAT: (
            *range_settings(Platform.GCP_NAT, 4_096),
            *time_wait_settings(Platform.GCP_NAT, SHORT_TIME_WAIT_S),
        ),
        Platform.ANY: (
            _router("more addresses or ports to translate to"),
            _server("more server addresses: each destination has a port space of its own on the router"),
        ),
    },
    Cause.FIREWALL_NO_HELPER: {
        Platform.LINUX: (
            _router("nft: ct helper set \"ftp\" on port 21 (module nf_conntrack_ftp)", "blind with TLS"),
            _router("nft: accept the server's passive range", "the range is open to all"),
        ),
        Platform.WINDOWS: (
            _server("netsh advfirewall set global StatefulFtp enable", "blind with TLS", "now"),
            _server("netsh advfirewall firewall add rule: the FTP service, inbound", "none", "now"),
        ),
        Platform.ANY: (_router("admit the server's passive range, or follow FTP on port 21", "the range is open"),),
    },
    Cause.ACTIVE_PORT_REUSED: {
        Platform.ANY: (
            _client("`client.active_ports` wide enough that none comes round within TIME_WAIT"),
            _client("passive mode"),
            _server("a server that binds port 20 with SO_REUSEADDR", "a change of server"),
        ),
    },
    Cause.CLOSE_WAIT_LEAK: {
        Platform.ANY: (
            _server("restart the server now; mend the program: it must close a socket that its peer has closed",
                    "no setting ends CLOSE_WAIT, on Windows neither"),
        ),
    },
    Cause.SERVER_EPHEMERAL_PORTS: {
        **{
            platform: (
                _server(SHARED_BACK_END, _MEMORY),
                *range_settings(platform, WIDEST_RANGE, "server"),
                *reuse_settings(platform, host="server"),
                *time_wait_settings(platform, SHORT_TIME_WAIT_S, "server"),
            )
            for platform in (
                Platform.LINUX,
                Platform.WINDOWS_LEGACY,
                Platform.WINDOWS_MS08_037,
                Platform.WINDOWS,
            )
        },
        Platform.EMULATOR: (
            _server("ftpstorm run ... --set target.emulator.backend.per=pool", effect="now"),
            _server("`ip_local_port_range` of lab.sysctls.server", effect="now"),
        ),
        Platform.ANY: (
            _server(SHARED_BACK_END, _MEMORY),
            _server("widen the server's ephemeral range", "must not overlap ports that services listen on", "now"),
        ),
    },
    Cause.LOGIN_REFUSED: {
        Platform.ANY: (
            _client("check `target.user` and its password (`password_env`, `password_file`)"),
            _server("its log says why; limits on users may answer 530 too (proftpd MaxClients)", effect="now"),
        ),
    },
    Cause.SERVER_DOWN: {
        Platform.ANY: (_server("start the server, and check address and port"),),
    },
    Cause.TRANSFER_STALL: {
        Platform.ANY: (
            _router("look for a middlebox that forgets idle or half-closed connections, and for MTU black holes"),
            _server("its disk and its log for the same seconds", effect="now"),
        ),
    },
    Cause.GENERATOR: {
        Platform.ANY: (
            _client("ftpstorm run ... --workers N: one for each core at most"),
            _client("less load, or a quieter machine"),
        ),
    },
    Cause.UNKNOWN: {
        Platform.ANY: (_server("`ftpstorm sample` on the server's host during the next run", effect="now"),),
    },
    Cause.NONE: {Platform.ANY: ()},
}  # fmt: skip

FIXES: Final = MappingProxyType(_TABLE)
"""Fixes by cause and platform, as data."""


def fixes(
    cause: Cause, side: Side | None = None, platform: Platform = Platform.ANY, *, places: int | None = None
) -> tuple[Fix, ...]:
    """Return what lifts `cause` on `platform`, best first; () only for Cause.NONE.

    `side` keeps the fixes for that host; where there is none for it, or `side` is None, all are given. Words come from
    the nearest of the platform's lineage that has any for the cause. `places` is how many passive ports are wanted,
    where that is known: it stands in the range's setting.
    """
    rows = FIXES[cause]
    found = next((rows[known] for known in lineage(platform) if known in rows), ())
    if cause is Cause.SERVER_PASSIVE_POOL and places is not None and 0 < places <= PASSIVE_PORTS_MOST:
        proposed = passive_range_settings(platform, WIDE_PASSIVE_RANGE)
        rest = tuple(fix for fix in found if fix not in proposed)
        found = passive_range_settings(platform, places) + rest
    kept = tuple(fix for fix in found if side is None or fix.host == side.value)
    if not kept and side is not None and platform is not Platform.ANY:
        kept = tuple(fix for fix in rows.get(Platform.ANY, ()) if fix.host == side.value)
    return kept or found
