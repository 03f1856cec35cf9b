"""TIME_WAIT: who keeps it, how long it lasts on Linux, and when the kernel lets a new connection take its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.vocabulary import Side

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


def time_wait_keeper(first_closer: Side, *, reset: bool = False) -> Side | None:
    """Return the side that keeps TIME_WAIT: the one that closed first; None when the connection ended with RST.

    RETR and LIST: the server closes the data connection first. STOR: the client. Control after QUIT: the server.
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
    shows nothing of it on one. Worked number: 1,000 ports towards one destination carry 1000/61 = 16.4 connections a
    second over a network, 1,000 a second on loopback.
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
