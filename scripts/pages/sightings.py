"""Well-known texts that users search for, beside those that `ftpstorm.limits.servers` knows of its servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.vocabulary import Cause, FailureClass

F = FailureClass
C = Cause


@dataclass(frozen=True, slots=True)
class Sighting:
    """Words that a user sees, who says them and when, and what they usually mean."""

    words: str
    who: str
    when: str
    failure: FailureClass | tuple[FailureClass, ...]
    causes: tuple[Cause, ...]

    @property
    def failures(self) -> tuple[FailureClass, ...]:
        """The classes, likeliest first."""
        return self.failure if isinstance(self.failure, tuple) else (self.failure,)


_PORTS: Final = (C.SERVER_PASSIVE_POOL, C.FIREWALL_NO_HELPER, C.SERVER_PASSIVE_POOL_ESCAPED)
_BURST: Final = (C.RESET_AFTER_ACCEPT, C.SERVER_CONNECTION_CAP, C.PER_ADDRESS_LIMIT)

SIGHTINGS: Final = (
    Sighting(
        "425 Try later, data connection in use.",
        "Serv-U; the emulator",
        "PASV, EPSV, or RETR, STOR, LIST",
        (F.PASSIVE_EXHAUSTED, F.DATA_NOT_ESTABLISHED),
        (C.SERVER_PASSIVE_POOL, C.DATA_CONNECTION_IN_USE),
    ),
    Sighting(
        "425 Try later, out of network sockets.",
        "Serv-U",
        "PASV, EPSV",
        F.PASSIVE_EXHAUSTED,
        (C.SERVER_PASSIVE_POOL,),
    ),
    Sighting(
        "425 Can't open data connection.",
        "most servers",
        "RETR, STOR, LIST",
        F.DATA_NOT_ESTABLISHED,
        (C.FIREWALL_NO_HELPER, C.ACTIVE_PORT_REUSED),
    ),
    Sighting(
        "425 Can't build data connection: Address already in use.",
        "BSD and inetutils ftpd",
        "RETR, STOR, LIST in active mode",
        F.DATA_NOT_ESTABLISHED,
        (C.ACTIVE_PORT_REUSED,),
    ),
    Sighting(
        "425 Unable to build data connection: Operation not permitted",
        "proftpd with TLS",
        "RETR, STOR, LIST",
        F.DATA_NOT_ESTABLISHED,
        (),
    ),
    Sighting(
        "426 Connection closed; transfer aborted.",
        "most servers",
        "during a transfer",
        F.TRANSFER_ABORTED,
        (C.TRANSFER_STALL, C.SERVER_DOWN),
    ),
    Sighting(
        "421 Timeout.", "vsftpd and others", "an idle session's next command", F.CONTROL_LOST, (C.TRANSFER_STALL,)
    ),
    Sighting(
        "421 Timeout (900 seconds): closing control connection.",
        "BSD and inetutils ftpd",
        "an idle session's next command",
        F.CONTROL_LOST,
        (C.TRANSFER_STALL,),
    ),
    Sighting(
        "421 Data timeout. Reconnect. Sorry.",
        "vsftpd (data_connection_timeout)",
        "during a transfer",
        (F.TRANSFER_ABORTED, F.CONTROL_LOST),
        (C.TRANSFER_STALL,),
    ),
    Sighting(
        "421 Too many connections (...) from this IP",
        "pure-ftpd (-C)",
        "greeting",
        F.BUSY_AT_GREETING,
        (C.PER_ADDRESS_LIMIT,),
    ),
    Sighting(
        "425 Failed to establish connection.",
        "vsftpd",
        "RETR, STOR, LIST",
        F.DATA_NOT_ESTABLISHED,
        (C.FIREWALL_NO_HELPER, C.ACTIVE_PORT_REUSED),
    ),
    Sighting(
        "425 Could not open data connection to port ...",
        "pure-ftpd",
        "RETR, STOR, LIST in active mode",
        F.DATA_NOT_ESTABLISHED,
        (C.FIREWALL_NO_HELPER, C.ACTIVE_PORT_REUSED),
    ),
    Sighting(
        "426 Failure writing network stream.",
        "vsftpd",
        "during a download",
        F.TRANSFER_ABORTED,
        (C.TRANSFER_STALL,),
    ),
    Sighting(
        "421 Service not available, closing control connection.",
        "most servers",
        "greeting or any command",
        (F.BUSY_AT_GREETING, F.CONTROL_LOST),
        (C.SERVER_CONNECTION_CAP, C.SERVER_DOWN),
    ),
    Sighting(
        "421 There are too many connections from your internet address.",
        "vsftpd (max_per_ip)",
        "greeting",
        F.BUSY_AT_GREETING,
        (C.PER_ADDRESS_LIMIT,),
    ),
    Sighting("530 Login incorrect.", "most servers", "PASS", F.AUTH_FAILED, (C.LOGIN_REFUSED,)),
    Sighting(
        "522 SSL connection failed: session reuse required",
        "vsftpd (require_ssl_reuse)",
        "RETR, STOR, LIST over TLS",
        F.DATA_TLS,
        (),
    ),
    Sighting(
        "451 Local error, no connection to the back end: Cannot assign requested address.",
        "the emulator (backend)",
        "RETR, STOR, LIST",
        F.TRANSFER_ABORTED,
        (C.SERVER_EPHEMERAL_PORTS,),
    ),
    Sighting(
        "Connection closed by remote host",
        "Windows ftp, WinSCP and others",
        "connecting, or the greeting",
        (F.GREETING_RESET, F.GREETING_EOF, F.BUSY_AT_GREETING, F.CONTROL_LOST),
        _BURST,
    ),
    Sighting(
        "Connection reset by peer",
        "Linux clients",
        "the greeting, or any command",
        (F.GREETING_RESET, F.CONTROL_LOST, F.TRANSFER_ABORTED),
        _BURST,
    ),
    Sighting(
        "Connection refused",
        "Linux clients",
        "connecting",
        (F.CONTROL_CONNECT_REFUSED, F.DATA_CONNECT_REFUSED),
        (C.SERVER_DOWN, C.BACKLOG_SYN_REFUSED, C.PER_ADDRESS_LIMIT, C.FIREWALL_NO_HELPER),
    ),
    Sighting(
        "Connection timed out",
        "Linux clients",
        "connecting",
        (F.CONTROL_CONNECT_TIMEOUT, F.DATA_CONNECT_TIMEOUT),
        (C.NAT_POOL, C.BACKLOG_GHOST, *_PORTS[1:]),
    ),
    Sighting(
        "Cannot assign requested address",
        "Linux clients and back ends",
        "connecting",
        F.LOCAL_PORTS_EXHAUSTED,
        (C.CLIENT_EPHEMERAL_PORTS,),
    ),
    Sighting(
        "Address already in use",
        "Linux and BSD programs",
        "bind before connect, or before listen",
        (F.LOCAL_PORTS_EXHAUSTED, F.PASSIVE_EXHAUSTED),
        (C.CLIENT_BIND_HABIT, C.SERVER_PASSIVE_POOL),
    ),
    Sighting(
        "Only one usage of each socket address (protocol/network address/port) is normally permitted",
        "Windows clients (10048)",
        "connecting",
        F.LOCAL_PORTS_EXHAUSTED,
        (C.CLIENT_EPHEMERAL_PORTS,),
    ),
    Sighting(
        "An operation on a socket could not be performed because the system lacked sufficient buffer space or "
        "because a queue was full",
        "Windows clients (10055)",
        "connecting",
        F.LOCAL_PORTS_EXHAUSTED,
        (C.CLIENT_EPHEMERAL_PORTS,),
    ),
    Sighting(
        "TCP/IP failed to establish an outgoing connection because the selected local endpoint was recently used",
        "Windows event 4227",
        "the system log",
        F.LOCAL_PORTS_EXHAUSTED,
        (C.CLIENT_EPHEMERAL_PORTS,),
    ),
    Sighting("Too many open files", "programs on Linux", "connecting", F.LOCAL_FILES_EXHAUSTED, (C.CLIENT_FILES,)),
    Sighting(
        "Failed to retrieve directory listing",
        "FileZilla",
        "LIST",
        (F.DATA_CONNECT_TIMEOUT, F.DATA_CONNECT_REFUSED, F.PASSIVE_EXHAUSTED),
        _PORTS,
    ),
    Sighting(
        "possible SYN flooding on port 21. Sending cookies.",
        "the server's kernel log",
        "a burst",
        (F.GREETING_SILENT, F.CONTROL_CONNECT_TIMEOUT),
        (C.BACKLOG_GHOST, C.SLOW_ACCEPT),
    ),
    Sighting(
        "nf_conntrack: table full, dropping packet",
        "a router's kernel log",
        "load",
        (F.CONTROL_CONNECT_TIMEOUT, F.DATA_CONNECT_TIMEOUT),
        (C.NAT_POOL,),
    ),
)
"""In no order: the page sorts them."""
