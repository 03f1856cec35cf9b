"""What each failure class means, which causes to suspect, and what tells them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.vocabulary import Cause, FailureClass

F = FailureClass
C = Cause


@dataclass(frozen=True, slots=True)
class Meaning:
    """One class: `what` happened, what to `suspect`, likeliest first, and how to `tell` one from another."""

    what: str
    suspects: tuple[Cause, ...]
    tell: str = ""


MEANINGS: Final = {
    F.CONTROL_CONNECT_REFUSED: Meaning(
        "The SYN to the control port was answered with RST.",
        (C.SERVER_DOWN, C.BACKLOG_SYN_REFUSED, C.PER_ADDRESS_LIMIT),
        "Always: nothing listens. In bursts only, from a Windows or unknown server: its listen backlog was full; old "
        "Windows clients "
        "retry silently, so that their users see slowness. A Linux server never refuses for a full backlog: there a "
        "firewall rule "
        "that counts connections does.",
    ),
    F.CONTROL_CONNECT_TIMEOUT: Meaning(
        "No answer to the SYN before `client.timeouts.connect`.",
        (C.NAT_POOL, C.BACKLOG_SYN_REFUSED, C.PER_ADDRESS_LIMIT, C.SERVER_DOWN),
        "A router that is out of ports or of conntrack entries drops SYNs in silence: its `insert_failed` and `drop` "
        "grow. A Linux server "
        "with tcp_syncookies=0 drops them too: ListenOverflows grows, and connects that wait succeed after 1, 3 or 7 "
        "seconds.",
    ),
    F.CONTROL_CONNECT_RESET: Meaning(
        "The connection was reset while it was being established.",
        (C.RESET_AFTER_ACCEPT, C.PER_ADDRESS_LIMIT),
        "On Linux a reset that answers a SYN is `control-connect-refused`, and one after the handshake is "
        "`greeting-reset`, also where it came before the client looked; what is left are ECONNABORTED and "
        "`driver: aioftp`, which cannot tell.",
    ),
    F.GREETING_SILENT: Meaning(
        "Connected, and no greeting came before `client.timeouts.greeting`.",
        (C.BACKLOG_GHOST, C.SLOW_ACCEPT),
        "A ghost: the client's kernel believes in a connection that the server, its backlog full, knows nothing of. "
        "`client.greeting_nudge` tells: a ghost's NOOP is answered with RST or never acknowledged, a slow server's "
        "is. On the server "
        "ListenOverflows and SyncookiesSent grow for ghosts.",
    ),
    F.GREETING_EOF: Meaning(
        "The server closed before it greeted.",
        (C.SERVER_CONNECTION_CAP, C.PER_ADDRESS_LIMIT, C.SERVER_DOWN),
        "proftpd's MaxInstances closes like that.",
    ),
    F.GREETING_RESET: Meaning(
        "The handshake was completed, then RST came in place of a greeting.",
        (C.RESET_AFTER_ACCEPT, C.BACKLOG_GHOST, C.SERVER_CONNECTION_CAP),
        "On Linux with tcp_syncookies=0 and tcp_abort_on_overflow=1 the kernel resets what does not fit into the "
        "backlog. Elsewhere "
        "handshake-then-RST points at what accepts: threads, AcceptEx, a connection cap with "
        "`resetOnMaxConnections`.",
    ),
    F.BUSY_AT_GREETING: Meaning(
        "The greeting was a refusal, mostly 421.",
        (C.SERVER_CONNECTION_CAP, C.PER_ADDRESS_LIMIT),
        "From one address only: a limit for each address. From all: the server's maximum. pure-ftpd halves its "
        "passive range to get "
        "its maximum, so a small range shows as 421 first.",
    ),
    F.BUSY_AT_LOGIN: Meaning(
        "USER or PASS was refused for want of room, as the code 421 or the reply's words say.",
        (C.SERVER_CONNECTION_CAP, C.PER_ADDRESS_LIMIT),
        "proftpd says 530 after PASS, the code of a wrong password, with words about its maximum.",
    ),
    F.AUTH_FAILED: Meaning("The login was refused.", (C.LOGIN_REFUSED,)),
    F.PASSIVE_EXHAUSTED: Meaning(
        "PASV or EPSV was refused: 425, 421, 400, or vsftpd's `500 OOPS`.",
        (C.SERVER_PASSIVE_POOL, C.CLOSE_WAIT_LEAK),
        "Of N passive ports N transfers succeed, then refusals until the first port is free again. That takes as "
        "long as transfers do "
        "where the server binds with SO_REUSEADDR, and TIME_WAIT (60 s on Linux, 30 to 240 s on Windows) where it "
        "does not.",
    ),
    F.PASSIVE_OUT_OF_RANGE: Meaning(
        "The reply to PASV or EPSV named a port outside the declared range, or none that a client can use.",
        (C.SERVER_PASSIVE_POOL_ESCAPED,),
        "proftpd and pyftpdlib do so without a word when their range is used up; behind a firewall it shows as a "
        "timeout.",
    ),
    F.DATA_CONNECT_REFUSED: Meaning(
        "The connection to the passive port was refused.",
        (C.FIREWALL_NO_HELPER, C.SERVER_PASSIVE_POOL_ESCAPED),
        "A firewall that rejects, or a server that stopped listening too early.",
    ),
    F.DATA_CONNECT_TIMEOUT: Meaning(
        "No answer from the passive port before `client.timeouts.connect`.",
        (C.FIREWALL_NO_HELPER, C.SERVER_PASSIVE_POOL_ESCAPED, C.NAT_POOL),
        "Always, while control works: a firewall that does not follow FTP, or cannot because of TLS. Under load "
        "only: a port outside the "
        "admitted range, or a NAT out of ports.",
    ),
    F.DATA_CONNECT_RESET: Meaning(
        "The data connection was reset while it was being established.", (C.FIREWALL_NO_HELPER,)
    ),
    F.DATA_NOT_ESTABLISHED: Meaning(
        "425 at or after RETR, STOR or LIST: the server could not open, or did not get, the data connection.",
        (C.DATA_CONNECTION_IN_USE, C.ACTIVE_PORT_REUSED, C.FIREWALL_NO_HELPER),
        "In active mode: the client's port is still in TIME_WAIT at the server, or cannot be reached. One session "
        "that fails while many "
        "with the same total rate do not: the server counts its data connection as still in use.",
    ),
    F.DATA_TLS: Meaning(
        "TLS on the data connection failed, or the server refused it afterwards (522).",
        (),
        "Most often a server that wants the control connection's TLS session resumed: `target.tls.session_reuse`.",
    ),
    F.TLS_FAILED: Meaning(
        "The TLS handshake on the control connection failed.", (), "The reply text holds what the TLS library said."
    ),
    F.TRANSFER_ABORTED: Meaning(
        "A transfer had begun and was broken off: RST, 426 or 451.",
        (C.TRANSFER_STALL, C.SERVER_DOWN, C.SERVER_EPHEMERAL_PORTS),
        "451 from the emulator's back end means that the server host found no port for its own outgoing connection.",
    ),
    F.TRANSFER_STALLED: Meaning(
        "Nothing moved on the data connection for `client.timeouts.data`.",
        (C.TRANSFER_STALL, C.FIREWALL_NO_HELPER),
        "Look for a middlebox that forgets connections, and for a path MTU that nobody tells.",
    ),
    F.TRANSFER_SHORT: Meaning("The transfer ended properly with fewer bytes than the file has.", (C.TRANSFER_STALL,)),
    F.TRANSFER_CORRUPT: Meaning(
        "All bytes came and they are not the file's; only where `verify` asks for the check.", ()
    ),
    F.FINAL_REPLY_TIMEOUT: Meaning(
        "All data moved, and 226 did not come.",
        (C.TRANSFER_STALL,),
        "A firewall that forgot the idle control connection during a long transfer; `client.keepalive` helps.",
    ),
    F.REPLY_TIMEOUT: Meaning(
        "No answer to a command before `client.timeouts.reply`.",
        (C.SLOW_ACCEPT, C.TRANSFER_STALL),
        "Some servers make clients wait for a passive port in place of refusing. pyftpdlib 2.2 now and then forgets a "
        "client: an active session that ends unregisters the descriptor number of its data connection, whoever has it "
        "by then.",
    ),
    F.CONTROL_LOST: Meaning(
        "The control connection ended during a session: EOF, RST, or 421.",
        (C.SERVER_DOWN, C.SERVER_PASSIVE_POOL),
        "vsftpd dies on the command after `500 OOPS`.",
    ),
    F.FILE_ERROR: Meaning("The server has not that file, no room, or no permission (450, 452, 532, 550 to 553).", ()),
    F.UNSUPPORTED: Meaning("The server does not know the command or its option (500 to 504, 522).", ()),
    F.PROTOCOL_ERROR: Meaning("What came is no FTP, or no answer to what was asked.", ()),
    F.UNREACHABLE: Meaning(
        "The network says that there is no way: no route, or a firewall's ICMP.",
        (C.FIREWALL_NO_HELPER, C.SERVER_DOWN),
        "EHOSTUNREACH on data connections alone: a firewall that rejects with admin-prohibited.",
    ),
    F.LOCAL_PORTS_EXHAUSTED: Meaning(
        "The client's own kernel had no local port: EADDRNOTAVAIL from connect, EADDRINUSE from bind.",
        (C.CLIENT_EPHEMERAL_PORTS, C.CLIENT_BIND_HABIT),
        "EADDRNOTAVAIL: all ports towards this one destination are taken. EADDRINUSE: the program binds before it "
        "connects, and shares "
        "one space of ports for all destinations. Unless the scenario expects it, it makes a run invalid: the server "
        "was never asked.",
    ),
    F.LOCAL_FILES_EXHAUSTED: Meaning(
        "The client process had no file descriptor left (EMFILE, ENFILE).", (C.CLIENT_FILES,)
    ),
    F.LOCAL_BUFFERS_EXHAUSTED: Meaning(
        "The client's kernel had no memory for the socket (ENOBUFS, ENOMEM).", (C.GENERATOR,)
    ),
}
"""Every failure class but `none`."""
