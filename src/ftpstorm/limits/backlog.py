"""A burst against a listen queue: how many connections are admitted, and what the others see.

This is the burst whose handshakes overlap, as on any network; the course of a listener's two queues, and of bursts
whose handshakes follow each other, is `ftpstorm.simulate.listening`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from ftpstorm.vocabulary import Cause, FailureClass

SOURCE: Final = (
    "listen(2); tcp(7) tcp_abort_on_overflow, tcp_syncookies; Linux include/net/sock.h (sk_acceptq_is_full: the queue "
    "holds backlog + 1), net/ipv4/tcp_input.c (tcp_conn_request), net/ipv4/tcp_minisocks.c (tcp_check_req); "
    "Microsoft KB113576 (a full Winsock backlog answers SYN with RST)"
)

Fate = Literal["none", "ghosts", "resets", "retries", "refusals"]
"""What those beyond the queue see. `ghosts`: connected by a SYN cookie, and the server knows nothing of them; `resets`:
RST after the handshake; `retries`: SYNs dropped, and sent again (`syn_repeats_s`); `refusals`: RST in answer to
the SYN (Windows)."""

LINEAR_SYNS: Final = 4
"""Default of tcp_syn_linear_timeouts, since Linux 6.5 (Documentation/networking/ip-sysctl.rst)."""
LINEAR_SINCE: Final = (6, 5)
SYN_ACK_REPEATS_S: Final = (1, 3, 7, 15, 31)
"""Seconds after the SYN at which Linux sends its answer again (tcp_synack_retries 5): never in equal steps."""


def syn_repeats_s(retries: int = 6, linear: int = LINEAR_SYNS) -> tuple[int, ...]:
    """Return the seconds after its first SYN at which a Linux client sends it again.

    `retries` is tcp_syn_retries, 0 or more; `linear` tcp_syn_linear_timeouts, 0 on a kernel that has no such setting:
    so many repeats come before the steps, of 1 s each, begin to double (net/ipv4/tcp_timer.c, tcp_retransmit_timer).
    Worked numbers: 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, and ETIMEDOUT after 131 s; with `linear` 0: 1, 3, 7, 15, 31, 63,
    and ETIMEDOUT after 127 s.
    """
    if retries < 0 or linear < 0:
        raise ValueError("tcp_syn_retries and tcp_syn_linear_timeouts are 0 or more")
    at, step, repeats = 0, 1, []
    for sent in range(retries + linear):
        at += step
        repeats.append(at)
        if sent >= linear:
            step *= 2
    return tuple(repeats)


def linear_syns(kernel_release: str | None) -> int:
    """Return tcp_syn_linear_timeouts as a kernel has it by default: 0 before Linux 6.5; the newer default if not known.

    `kernel_release` is what uname(2) says, such as ``6.1.0-18-amd64``.
    """
    found = re.match(r"(\d+)\.(\d+)", kernel_release or "")
    if found is not None and (int(found[1]), int(found[2])) < LINEAR_SINCE:
        return 0
    return LINEAR_SYNS


FAILURE: Final[dict[Fate, tuple[FailureClass, ...]]] = {
    "none": (),
    "ghosts": (FailureClass.GREETING_SILENT,),
    "resets": (FailureClass.GREETING_RESET,),
    "retries": (FailureClass.CONTROL_CONNECT_TIMEOUT,),
    "refusals": (FailureClass.CONTROL_CONNECT_REFUSED,),
}
"""Failure classes that a client may record for each fate; `retries` fail only where its connect timeout is short."""

CAUSE: Final[dict[Fate, Cause]] = {
    "none": Cause.NONE,
    "ghosts": Cause.BACKLOG_GHOST,
    "resets": Cause.RESET_AFTER_ACCEPT,
    "retries": Cause.SLOW_ACCEPT,
    "refusals": Cause.BACKLOG_SYN_REFUSED,
}

SIGNS: Final[dict[Fate, tuple[str, ...]]] = {
    "none": (),
    "ghosts": ("TcpExt.ListenOverflows", "TcpExt.SyncookiesSent", "TcpExt.SyncookiesRecv"),
    "resets": ("TcpExt.EmbryonicRsts", "Tcp.OutRsts"),
    "retries": ("TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPReqQFullDrop"),
    "refusals": (),
}
"""Counters of the server's kernel that rise."""


@dataclass(frozen=True, slots=True)
class BacklogOutcome:
    """What becomes of a burst."""

    fate: Fate
    """Of those beyond the queue."""
    admitted: int
    """How many the queue and the accepting server take up meanwhile."""
    beyond: int
    """How many are left: `fate` is theirs."""
    backlog: int
    """B after the kernel's cut to somaxconn."""
    why: str
    equation: str = "admitted = min(n, B + 1 + A x t)"
    source: str = SOURCE

    @property
    def cause(self) -> Cause:
        """What the diagnosis would call it."""
        return CAUSE[self.fate]

    @property
    def failures(self) -> tuple[FailureClass, ...]:
        """Failure classes that a client may record for those beyond."""
        return FAILURE[self.fate]

    @property
    def signs(self) -> tuple[str, ...]:
        """Counters of the server's kernel that rise."""
        return SIGNS[self.fate]


def admitted(burst: int, backlog: int, accept_per_s: float | None, window_s: float) -> int:
    """Return min(n, B + 1 + A x t): how many of `burst` connections a queue takes up.

    B = `backlog` given to listen(2), of which the kernel holds one more; A = `accept_per_s`, None for a server that
    always accepts at once; t = `window_s`, how long the burst lasts. Worked number: 1,500 at once on a backlog of 511
    that nobody empties meanwhile: 512.
    """
    if burst < 0 or backlog < 0 or window_s < 0 or (accept_per_s is not None and accept_per_s < 0):
        raise ValueError("burst, backlog, accept rate and window are 0 or more")
    return burst if accept_per_s is None else min(burst, backlog + 1 + int(accept_per_s * window_s))


def backlog_outcome(
    *,
    burst: int,
    backlog: int,
    accept_per_s: float | None,
    window_s: float = 0.0,
    somaxconn: int | None = None,
    tcp_syncookies: int | None = None,
    tcp_abort_on_overflow: int | None = None,
    system: Literal["linux", "windows"] = "linux",
) -> BacklogOutcome:
    """Return what becomes of `burst` connections that arrive within `window_s` seconds.

    `backlog` is cut to `somaxconn` (None: not known, not cut). None for the other two sysctls stands for the kernel's
    defaults, 1 and 0. The rule: SYN cookies on (1, 2): ghosts, and abort_on_overflow does nothing; off with
    abort_on_overflow=1: resets; off without it: retries. On Windows: refusals.

    `admitted` counts at the end of the window. A ghost stays one. Those that retry may be admitted later: at
    `syn_repeats_s`, where a place is free then.

    Worked numbers: 1,500 at once, backlog 511, nobody accepts meanwhile: 512 admitted; 988 ghosts with the defaults,
    988 resets with tcp_syncookies=0 and tcp_abort_on_overflow=1, 988 retries with both 0. Backlog 4,096 with somaxconn
    4,096: none.
    """
    if somaxconn is not None and somaxconn < 0:
        raise ValueError(f"somaxconn {somaxconn}: must be 0 or more")
    effective = backlog if somaxconn is None else min(backlog, somaxconn)
    taken = admitted(burst, effective, accept_per_s, window_s)
    fate, why = _fate(system, tcp_syncookies, tcp_abort_on_overflow)
    if taken == burst:
        fate, why = "none", "the queue holds them all"
    if effective < backlog:
        why = f"{why}; somaxconn cuts the backlog of {backlog} to {effective}"
    return BacklogOutcome(fate, taken, burst - taken, effective, why)


def _fate(system: str, cookies: int | None, abort: int | None) -> tuple[Fate, str]:
    if system == "windows":
        return "refusals", "a full Winsock backlog answers the SYN with RST: the client sees a refusal"
    if cookies is None or cookies:
        return (
            "ghosts",
            "SYN cookies are on: the handshake ends without a place in the queue, so nobody ever accepts it",
        )
    if abort:
        return "resets", "tcp_syncookies=0, tcp_abort_on_overflow=1: RST once the handshake finds the queue full"
    return "retries", "tcp_syncookies=0: SYNs are dropped while the queue is full, and sent again from 1 s on"
