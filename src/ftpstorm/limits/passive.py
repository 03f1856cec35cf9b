"""A server's passive ports: a pool of N places, each taken by one data connection and then held for a while."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ftpstorm.limits.limit import Counted, Limit, Symbol
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, NO_HOLD, Hold
from ftpstorm.vocabulary import Cause, Side

SOURCE: Final = "Little's law, L = R x W, with all N places taken: N = R x (H + C)"
BIND_SOURCE: Final = (
    f"{SOURCE}; Linux net/ipv4/inet_connection_sock.c (inet_csk_bind_conflict, inet_csk_find_open_port), socket(7) "
    "SO_REUSEADDR"
)


UNUSED: Final = (
    "W: a port that nobody connects to listens until its session asks for another one or ends, and is free then; the "
    "mean is over the sessions of all loads, as many of each as there are when nothing fails"
)


class PassiveHabit(StrEnum):
    """How a server gets a port for a data connection, as far as that decides when ports run out."""

    REUSEADDR_RANGE = "range-with-reuseaddr"
    """A range of its own, every listener with SO_REUSEADDR: only ports that listen or are in use at one time count."""
    RANGE = "range"
    """A range of its own without SO_REUSEADDR: a TIME_WAIT of the server keeps the port from the next bind."""
    KERNEL = "kernel-chosen"
    """bind() to port 0: a port of the ephemeral range that nobody owns in any state, with SO_REUSEADDR or without."""
    SESSION = "one-for-each-session"
    """One port for the life of a control connection."""


def passive_pool_ceiling(ports: int, hold_s: float, connection_s: float, unused_s: float = 0.0) -> float:
    """Return R = N/(H + C + W), the transfers a second that a pool bears for ever.

    N = `ports` >= 1; H = `hold_s` >= 0, seconds a port is held after its data connection ended; C = `connection_s`
    >= 0, mean seconds from the reply to PASV to the end of the data connection; W = `unused_s` >= 0, seconds that ports
    listen for nobody, for each transfer: those that were asked for and never connected to; H + C + W > 0, else
    ValueError.

    Worked numbers: 20 ports, H = 2 s, C = 0: 10 a second. 20 ports, H = 120 s: 0.1667 a second, 10 a minute. 20 ports,
    H = C = 0, three ports that listen 3 s for each transfer (W = 9 s): 2.222 a second.
    """
    if ports < 1 or hold_s < 0 or connection_s < 0 or unused_s < 0:
        raise ValueError("a pool has at least one port, and times are 0 or more")
    taken_s = hold_s + connection_s + unused_s
    if taken_s == 0:
        raise ValueError("a port that is neither in use nor held bounds no rate: H + C + W must be above 0")
    return ports / taken_s


def ports_for_rate(rate_per_s: float, hold: Hold, connection_s: float) -> int:
    """Return N = r x (H + C), rounded up: the passive ports that a rate needs for ever, with the longest hold.

    Worked numbers: 10 a second, H = 2 s: 20. FileZilla Server's rule, more ports than transfers in any four minutes, is
    H = 240 s: 400 a second would need 96,000, more than there are.
    """
    if rate_per_s < 0 or connection_s < 0:
        raise ValueError("a rate and a time are 0 or more")
    wanted = rate_per_s * (hold.high_s + connection_s)
    return max(1, -int(-wanted // 1))


def free_ports(ports: int, held_elsewhere: int) -> int:
    """Return N' = N - h: what is left where `held_elsewhere` ports listen for data connections that never come.

    A PASV without a connect keeps its listener until the next PASV, the session's end or the server's timeout (in
    inetutils-ftpd for good). 0 where nothing is left. Worked number: 20 ports, 19 held: 1.
    """
    if ports < 1 or held_elsewhere < 0:
        raise ValueError("a pool has at least one port, and no less than 0 are held")
    return max(0, ports - held_elsewhere)


def refusal_probability(ports: int, taken: int, tries: int | None) -> float:
    """Return p = (k/N)^m: how likely a server that draws ports at random finds none free.

    N = `ports`, k = `taken` of them, m = `tries` (independent draws; None: it looks at all of them, so p is 0 until the
    last port is gone). Worked number: vsftpd, 19 of 20 taken, 9 draws: 0.63; five sixths of a range may be gone before
    one PASV in five fails: 0.19 at 25 of 30.
    """
    if ports < 1 or not 0 <= taken <= ports or (tries is not None and tries < 1):
        raise ValueError("0 <= taken <= ports, at least one port and one try")
    if tries is None:
        return float(taken == ports)
    return float((taken / ports) ** tries)


def passive_pool_limit(
    ports: int, hold: Hold, connection_s: float, *, unused_s: float = 0.0, counts: Counted = "transfers"
) -> Limit:
    """Return the pool's limit: R = N/(H + C) transfers a second, N at one time.

    Where ports are asked for and never used, R = N/(H + C + W), W = `unused_s` for each of what is counted. `counts`:
    where nothing is transferred at all, sessions.

    `hold` is 0 for a range that the server binds with SO_REUSEADDR (then only ports in use at the same time count), the
    TIME_WAIT of the server's kernel for one bound without it, and the hold-down for the emulator. Where only a part of
    the transfers is held, give the mean (`Hold.scale`).

    R is None where the sum is 0. Worked number: N = 20, H = 2 s, C = 1 ms: 9.995 transfers a second.
    """
    spread = hold.high_s > hold.low_s
    other_s = connection_s + unused_s
    one = counts.removesuffix("s")
    waiting = {
        "W": Symbol(value=unused_s, unit="s", meaning=f"time that ports listen for nobody, for each {one}"),
    }
    return Limit(
        name=Cause.SERVER_PASSIVE_POOL,
        side=Side.SERVER,
        subject="passive ports, used or only asked for" if unused_s else "data connections through the passive pool",
        applies=True,
        counts=counts,
        per_s=passive_pool_ceiling(ports, hold.effective_s, connection_s, unused_s)
        if hold.effective_s + other_s
        else None,
        concurrent=ports,
        interval=(ports / (hold.high_s + other_s), ports / (hold.low_s + other_s))
        if spread and hold.low_s + other_s
        else None,
        equation="R = N/(H + C + W)" if unused_s else "R = N/(H + C)",
        symbols={
            "N": Symbol(value=ports, unit="ports", meaning="ports of the passive pool"),
            "H": Symbol(value=hold.effective_s, unit="s", meaning="mean time a port is held after its data connection"),
            "C": Symbol(value=connection_s, unit="s", meaning="mean time a port is in use for one transfer"),
        }
        | (waiting if unused_s else {}),
        assumptions=(
            f"H: {hold.why}",
            *((UNUSED,) if unused_s else ()),
            "each transfer takes a port of its own, and a free port is always found",
            "requests come often enough that a port which became free is taken at once",
        ),
        source=SOURCE,
    )


def passive_hold(habit: PassiveHabit, time_wait: Hold = LINUX_TIME_WAIT, server_first_part: float = 1.0) -> Hold:
    """Return how long a port stays taken after its data connection: 0, or the server's TIME_WAIT.

    `server_first_part` (0 to 1) is the part of the transfers whose data connection the server closes first: RETR and
    LIST are, STOR is not, and a TIME_WAIT of the client holds nothing here. Worked number: half the transfers uploads,
    61 s, a range without SO_REUSEADDR: 30.5 s in the mean.
    """
    if not 0 <= server_first_part <= 1:
        raise ValueError(f"server_first_part {server_first_part}: a part is from 0 to 1")
    match habit:
        case PassiveHabit.REUSEADDR_RANGE:
            why = "every listener has SO_REUSEADDR, so a port can be bound while its last connection is in TIME_WAIT"
            return Hold(0.0, 0.0, 0.0, why)
        case PassiveHabit.RANGE | PassiveHabit.KERNEL:
            if not server_first_part:
                return Hold(0.0, 0.0, 0.0, "the client closes first, so the server keeps no TIME_WAIT")
            return time_wait.scale(server_first_part)
        case PassiveHabit.SESSION:
            return NO_HOLD


def passive_habit_limit(
    habit: PassiveHabit,
    ports: int,
    connection_s: float,
    *,
    time_wait: Hold = LINUX_TIME_WAIT,
    server_first_part: float = 1.0,
    held_elsewhere: int = 0,
    session_s: float | None = None,
    unused_s: float = 0.0,
    counts: Counted = "transfers",
) -> Limit:
    """Return what a server with this habit bears.

    `ports` is its range, or the ephemeral range of its host for KERNEL; `connection_s` C and `unused_s` W as for
    `passive_pool_ceiling`, W for each of what is counted;
    `held_elsewhere` ports that listen for nobody; `session_s` L, mean life of a session, needed for SESSION, whose
    limit R = N/L counts sessions. Raises ValueError where no port is left.

    Worked numbers, 20 ports, C = 0.1 s: with SO_REUSEADDR 200 a second; without, or chosen by the kernel, 0.327 (T = 61
    s); one for each session of 2.5 s: 8 sessions a second.
    """
    left = free_ports(ports, held_elsewhere)
    if not left:
        raise ValueError(f"all {ports} passive ports are held: no rate is possible")
    if habit is PassiveHabit.SESSION:
        return _session_limit(left, session_s)
    hold = passive_hold(habit, time_wait, server_first_part)
    limit = passive_pool_limit(left, hold, connection_s, unused_s=unused_s, counts=counts)
    notes: tuple[str, ...] = ()
    if habit is PassiveHabit.KERNEL:
        notes = ("the server lets the kernel choose (bind to port 0): N is the ephemeral range of its host",)
    if held_elsewhere:
        notes = (*notes, f"{held_elsewhere} further ports listen for data connections that never come")
    return limit.model_copy(update={"assumptions": (*limit.assumptions, *notes), "source": BIND_SOURCE})


def _session_limit(ports: int, session_s: float | None) -> Limit:
    if session_s is None or session_s < 0:
        raise ValueError("a port for each session: `session_s` is needed, 0 or more")
    return Limit(
        name=Cause.SERVER_PASSIVE_POOL,
        side=Side.SERVER,
        subject="sessions that own a passive port each",
        applies=True,
        counts="sessions",
        per_s=ports / session_s if session_s else None,
        concurrent=ports,
        equation="R = N/L",
        symbols={
            "N": Symbol(value=ports, unit="ports", meaning="ports of the passive range"),
            "L": Symbol(value=session_s, unit="s", meaning="mean time a session is open"),
        },
        assumptions=("a session keeps its port from its first PASV or EPSV until its control connection ends",),
        source=BIND_SOURCE,
    )
