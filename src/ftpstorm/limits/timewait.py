"""TIME_WAIT: who keeps it, how long it lasts on Linux, and when the kernel lets a new connection take its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.vocabulary import TRANSFERS, Operation, Side

SOURCE: Final = (
    "RFC 9293 section 3.3.2 (TIME-WAIT), RFC 6191; Linux include/net/tcp.h (TCP_TIMEWAIT_LEN), "
    "net/ipv4/tcp_ipv4.c (tcp_twsk_unique), Documentation/networking/ip-sysctl.rst (tcp_tw_reuse, tcp_tw_reuse_delay)"
)


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a place stays taken after its connection ended, in seconds: 0 <= low <= effective <= high."""

    effective_s: float
    low_s: float
    high_s: float
    why: str

    def __post_init__(self) -> None:
        if not 0 <= self.low_s <= self.effective_s <= self.high_s:
            raise ValueError("a hold is 0 <= low <= effective <= high")

    def scale(self, held: float) -> Hold:
        """Return the mean hold when `held` (>= 0) holds fall on each use: 0.5 where every second use is held."""
        if held < 0:
            raise ValueError(f"held {held}: must be 0 or more")
        return Hold(self.effective_s * held, self.low_s * held, self.high_s * held, self.why)


LINUX_TIME_WAIT: Final = Hold(
    61.0, 60.02, 62.07, "TCP_TIMEWAIT_LEN is 60 s; entries expire in clumps, up to 2.048 s later (measured)"
)
"""60.02 to 62.07 s, 61 s in the mean. No sysctl changes it; tcp_fin_timeout is FIN_WAIT_2."""

NO_HOLD: Final = Hold(0.0, 0.0, 0.0, "free as soon as the connection has ended")


def exact_hold(seconds: float, why: str) -> Hold:
    """Return a hold without spread, such as the emulator's."""
    return Hold(seconds, seconds, seconds, why)


REAPER_PACE_S: Final = 0.05
"""How often a lab looks for TIME_WAITs that are old enough."""


def shortened_hold(seconds: float) -> Hold:
    """Return the TIME_WAIT of a host where a lab ends those older than `seconds` (0.1 to 60).

    Each ends within one pace of the reaper after that; a steady load meets exactly P/T (measured: 500 ports, T = 1 s:
    500.0 connections a second; T = 3 s: 166.7).
    """
    if not 0.1 <= seconds <= 60:
        raise ValueError(f"{seconds:g} s: a lab can shorten TIME_WAIT to 0.1 to 60 s")
    why = f"the lab ends each TIME_WAIT that is {seconds:g} s old (inet_diag, SOCK_DESTROY)"
    return Hold(seconds, seconds, seconds + REAPER_PACE_S, why)


def natural_closer(operation: Operation) -> Side | None:
    """Return who closes a connection first when nobody forces it: the data connection of a transfer, control of QUIT.

    The sender of the data ends it by closing (RFC 959 section 3.4, stream mode): the server for RETR, LIST, NLST and
    MLSD, the client for STOR and APPE. After QUIT the server closes control, with every server that was tried. None
    for an operation that closes nothing.
    """
    if operation in (Operation.STOR, Operation.APPE):
        return Side.CLIENT
    if operation in TRANSFERS or operation is Operation.QUIT:
        return Side.SERVER
    return None


def time_wait_keeper(first_closer: Side, *, reset: bool = False) -> Side | None:
    """Return the side that keeps TIME_WAIT: the one that closed first; None when the connection ended with RST.

    Who that is without anybody's doing says `natural_closer`. A client that closes a download's data connection first
    takes the TIME_WAIT over if it has read everything; closing with bytes unread sends RST, and nobody keeps any. RST
    also where SO_LINGER is (1, 0).
    """
    return None if reset else first_closer


@dataclass(frozen=True, slots=True)
class Reuse:
    """Whether connect() may take a 4-tuple whose TIME_WAIT is this host's own, and after how long."""

    possible: bool
    delay_s: float
    """Age at which a TIME_WAIT may be taken over; meaningless where `possible` is False."""
    why: str


def time_wait_reuse(
    *, tcp_tw_reuse: int | None, tcp_timestamps: int | None, loopback: bool, reuse_delay_s: float = 1.0
) -> Reuse:
    """Apply the kernel's rule for outgoing connections.

    tcp_tw_reuse: 0 never, 1 everywhere, 2 (the default since 4.19) only where an endpoint is loopback; both need TCP
    timestamps. None stands for the kernel's defaults (2, and timestamps on). `reuse_delay_s` is tcp_tw_reuse_delay,
    1 s by default.

    The trap: on 127.0.0.1 a stock Linux reuses after a second, so a client that exhausts its ports between two hosts
    shows nothing of it on one. Only connect() without a bind reuses: bind((address, 0)) sees a TIME_WAIT as taken
    whatever these settings say. The kernel takes a delay of 1 ms to 60 s; it ignores or clamps any other.

    Worked number: 1,000 ports towards one destination carry 1000/61 = 16.4 connections a second over a network, 1,000 a
    second on loopback.
    """
    mode = 2 if tcp_tw_reuse is None else tcp_tw_reuse
    if tcp_timestamps == 0:
        return Reuse(False, reuse_delay_s, "tcp_timestamps=0: without them a TIME_WAIT is never taken over")
    if mode == 1:
        return Reuse(True, reuse_delay_s, f"tcp_tw_reuse=1: taken over after {reuse_delay_s:g} s")
    if mode == 2 and loopback:
        return Reuse(True, reuse_delay_s, f"tcp_tw_reuse=2 on loopback: taken over after {reuse_delay_s:g} s")
    return Reuse(False, reuse_delay_s, f"tcp_tw_reuse={mode}{'' if loopback else ' off loopback'}: never taken over")


def outgoing_hold(keeper: Side | None, client: Side, reuse: Reuse, time_wait: Hold = LINUX_TIME_WAIT) -> Hold:
    """Return how long the connecting side's 4-tuple stays taken after the connection ended.

    A TIME_WAIT on the other side holds nothing here: an incoming SYN replaces it (RFC 9293 section 3.10.7.4, RFC 6191).
    """
    if keeper is not client:
        return NO_HOLD
    if reuse.possible and reuse.delay_s < time_wait.effective_s:
        return exact_hold(reuse.delay_s, reuse.why)
    return time_wait


@dataclass(frozen=True, slots=True)
class Overflow:
    """What tcp_max_tw_buckets does to a load that wants more TIME_WAITs than that."""

    wanted: float
    """TIME_WAITs at one time if none were dropped."""
    kept: float
    dropped_per_s: float
    """Connections a second that end without TIME_WAIT: counter TcpExt.TCPTimeWaitOverflow."""
    hides_exhaustion: bool
    """The table is smaller than the budget of connections, so TIME_WAIT alone can never use that up."""


def time_wait_overflow(buckets: int, closes_per_s: float, budget: int, time_wait: Hold = LINUX_TIME_WAIT) -> Overflow:
    """Return what a table of M = `buckets` TIME_WAITs (tcp_max_tw_buckets, for each network namespace) does.

    W = r x T would be wanted; min(W, M) are kept, and r - M/T connections a second end without one. Where M is below
    `budget` (see `ftpstorm.limits.ports`), exhaustion does not show, and late segments may meet a new connection.

    Worked number: M = 16,384, r = 500 a second, T = 61 s, 28,232 ports: 30,500 wanted, 16,384 kept, 231 a second
    dropped, exhaustion hidden.
    """
    if buckets < 0 or closes_per_s < 0 or budget < 0:
        raise ValueError("buckets, rate and budget are 0 or more")
    wanted = closes_per_s * time_wait.effective_s
    kept = min(wanted, float(buckets))
    lost = closes_per_s - kept / time_wait.effective_s if time_wait.effective_s else 0.0
    return Overflow(wanted, kept, max(0.0, lost), hides_exhaustion=buckets < budget)
