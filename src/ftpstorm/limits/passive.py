"""A server's passive ports: a pool of N places, each taken by one data connection and then held for a while."""

from __future__ import annotations

from typing import Final

from ftpstorm.limits.limit import Limit, Symbol
from ftpstorm.limits.timewait import Hold
from ftpstorm.vocabulary import Cause, Side

SOURCE: Final = "Little's law, L = R x W, with all N places taken: N = R x (H + C)"


def passive_pool_ceiling(ports: int, hold_s: float, connection_s: float) -> float:
    """Return R = N/(H + C), the transfers a second that a pool bears for ever.

    N = `ports` >= 1; H = `hold_s` >= 0, seconds a port is held after its data connection ended; C = `connection_s`
    >= 0, mean seconds from the reply to PASV to the end of the data connection; H + C > 0, else ValueError.

    Worked numbers: 20 ports, H = 2 s, C = 0: 10 a second. 20 ports, H = 120 s: 0.1667 a second, 10 a minute.
    """
    if ports < 1 or hold_s < 0 or connection_s < 0:
        raise ValueError("a pool has at least one port, and times are 0 or more")
    if hold_s + connection_s == 0:
        raise ValueError("a port that is neither in use nor held bounds no rate: H + C must be above 0")
    return ports / (hold_s + connection_s)


def passive_pool_limit(ports: int, hold: Hold, connection_s: float) -> Limit:
    """Return the pool's limit: R = N/(H + C) transfers a second, N at one time.

    `hold` is 0 for a range that the server binds with SO_REUSEADDR (then only ports in use at the same time count), the
    TIME_WAIT of the server's kernel for one bound without it, and the hold-down for the emulator. Where only a part of
    the transfers is held, give the mean (`Hold.scale`).

    R is None where H + C is 0. Worked number: N = 20, H = 2 s, C = 1 ms: 9.995 transfers a second.
    """
    spread = hold.high_s > hold.low_s
    return Limit(
        name=Cause.SERVER_PASSIVE_POOL,
        side=Side.SERVER,
        subject="data connections through the passive pool",
        applies=True,
        counts="transfers",
        per_s=passive_pool_ceiling(ports, hold.effective_s, connection_s) if hold.effective_s + connection_s else None,
        concurrent=ports,
        interval=(ports / (hold.high_s + connection_s), ports / (hold.low_s + connection_s)) if spread else None,
        equation="R = N/(H + C)",
        symbols={
            "N": Symbol(value=ports, unit="ports", meaning="ports of the passive pool"),
            "H": Symbol(value=hold.effective_s, unit="s", meaning="mean time a port is held after its data connection"),
            "C": Symbol(value=connection_s, unit="s", meaning="mean time a port is in use for one transfer"),
        },
        assumptions=(
            f"H: {hold.why}",
            "each transfer takes a port of its own, and a free port is always found",
            "requests come often enough that a port which became free is taken at once",
        ),
        source=SOURCE,
    )
