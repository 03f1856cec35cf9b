"""Limits on sessions rather than ports: the server's connection cap and accept rate, the client's open files."""

from __future__ import annotations

from typing import Final

from ftpstorm.limits.limit import Limit, Symbol
from ftpstorm.vocabulary import Cause, Side

LITTLE: Final = "Little's law, L = R x W"


def connection_cap_limit(places: int, session_s: float) -> Limit:
    """Return what a cap on control connections bears: R = K/L sessions a second, K at one time.

    K = `places` >= 1, L = `session_s` >= 0, mean seconds a session is open (R is None where it is 0). Worked number:
    10 users, sessions of 2.5 s: 4 sessions a second.
    """
    if places < 1 or session_s < 0:
        raise ValueError("a cap has at least one place, and a session lasts 0 or longer")
    return Limit(
        name=Cause.SERVER_CONNECTION_CAP,
        side=Side.SERVER,
        subject="control connections that the server admits",
        applies=True,
        counts="sessions",
        per_s=places / session_s if session_s else None,
        concurrent=places,
        equation="R = K/L",
        symbols={
            "K": Symbol(value=places, unit="sessions", meaning="sessions that the server admits at one time"),
            "L": Symbol(value=session_s, unit="s", meaning="mean time a session is open"),
        },
        assumptions=("a place is free as soon as its control connection is closed",),
        source=LITTLE,
    )


def open_files_limit(files: int, session_s: float, own_files: int = 32) -> Limit:
    """Return what RLIMIT_NOFILE bears: R = F/(2 L) sessions a second, F/2 at one time.

    F = `files` - `own_files`, the descriptors left for sockets over all worker processes; a session needs two while it
    transfers. R is None where L is 0. Worked number: 1,024 files, 32 of the process itself, sessions of 0.5 s: 992
    sessions a second.
    """
    left = files - own_files
    if left < 2 or session_s < 0:
        raise ValueError("two descriptors at least must be left, and a session lasts 0 or longer")
    return Limit(
        name=Cause.CLIENT_FILES,
        side=Side.CLIENT,
        subject="sockets that the load generator may have open",
        applies=True,
        counts="sessions",
        per_s=left / 2 / session_s if session_s else None,
        concurrent=left // 2,
        equation="R = F/(2 L)",
        symbols={
            "F": Symbol(value=left, unit="files", meaning="descriptors left for sockets, over all workers"),
            "L": Symbol(value=session_s, unit="s", meaning="mean time a session is open"),
        },
        assumptions=("every session has its data connection open all the time (the worst case)",),
        source=f"getrlimit(2) RLIMIT_NOFILE; {LITTLE}",
    )


def accept_rate_limit(per_s: float, backlog: int) -> Limit:
    """Return what a server bears that accepts `per_s` (> 0) connections a second: R = A sessions a second.

    `backlog` is its listen(2) argument: the kernel holds one more while they wait. Worked number: 50 a second, backlog
    100: 50 sessions a second, and 101 may wait.
    """
    if per_s <= 0 or backlog < 0:
        raise ValueError("an accept rate is above 0 and a backlog 0 or more")
    return Limit(
        name=Cause.SLOW_ACCEPT,
        side=Side.SERVER,
        subject="control connections that the server accepts",
        applies=True,
        counts="sessions",
        per_s=per_s,
        equation="R = A; at most B + 1 wait",
        symbols={
            "A": Symbol(value=per_s, unit="1/s", meaning="connections accepted a second"),
            "B": Symbol(value=backlog, unit="connections", meaning="backlog given to listen(2)"),
        },
        assumptions=("accepts are evenly spaced",),
        source="listen(2); Linux include/net/sock.h (sk_acceptq_is_full: the queue holds backlog + 1)",
    )
