"""Occupancy: how many places a load keeps taken, when it first finds none left, and how long recovery takes."""

from __future__ import annotations


def occupancy(rate_per_s: float, connection_s: float, hold_s: float) -> float:
    """Return L = r x (T + C), the places taken in the steady state (Little's law).

    r = `rate_per_s` uses begun a second, C = `connection_s` seconds in use, T = `hold_s` seconds held afterwards; all
    >= 0. It may exceed what there is: then the load finds nothing left. Worked number: 97 a second, C = 0, T = 2 s: 194
    ports wanted.
    """
    _not_negative(rate_per_s=rate_per_s, connection_s=connection_s, hold_s=hold_s)
    return rate_per_s * (connection_s + hold_s)


def time_to_exhaustion_s(
    budget: int, offered_per_s: float, connection_s: float, hold_s: float, released_per_s: float = 0.0
) -> float | None:
    """Return t = B/(r - q), seconds from the start of a steady load until all B places are taken; None for never.

    r = `offered_per_s`. q = `released_per_s`, places that come back a second meanwhile from earlier use. Nothing of
    this load's own comes back before T + C, and all are taken by then where r x (T + C) > B: the condition for running
    out at all.

    Worked numbers: 20 ports at 97 a second held 2 s: 20/97 = 0.206 s. 28,232 ports at 1,000 a second, T = 61 s: 28.2 s;
    at 400 a second, where 24,400 suffice: never.
    """
    _not_negative(offered_per_s=offered_per_s, released_per_s=released_per_s)
    if budget < 1:
        raise ValueError(f"budget {budget}: must be at least 1")
    net_per_s = offered_per_s - released_per_s
    if net_per_s <= 0 or occupancy(net_per_s, connection_s, hold_s) <= budget:
        return None
    return budget / net_per_s


def recovery_s(connection_s: float, hold_s: float) -> float:
    """Return the longest time, C + T, that an exhausted resource needs after the load's end until all of it is free.

    Worked number: C = 1 ms, T = 2 s: 2.001 s.
    """
    _not_negative(connection_s=connection_s, hold_s=hold_s)
    return connection_s + hold_s


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name} {value}: must be 0 or more")
