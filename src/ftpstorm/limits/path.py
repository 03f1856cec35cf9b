"""The path's limit: limits brought to one unit, put in order, the least marked as binding."""

from __future__ import annotations

from collections.abc import Iterable

from ftpstorm.limits.limit import Counted, Limit, Symbol


def rescale(limit: Limit, counts: Counted, uses: float) -> Limit:
    """Return `limit` with its rate counted in `counts`, each of which takes `uses` (> 0) of what it counted before.

    R' = R/u. Worked number: 50 sessions a second with 5 transfers each: a transfer takes 0.2 sessions, so 250 transfers
    a second. `concurrent` keeps its unit: it is about places. A limit without a rate only changes its label.
    """
    if uses <= 0:
        raise ValueError(f"uses {uses}: must be above 0")
    if limit.counts == counts or not limit.applies:
        return limit.model_copy(update={"counts": counts})
    if limit.per_s is None:
        return limit.model_copy(update={"counts": counts})
    return limit.model_copy(
        update={
            "counts": counts,
            "per_s": limit.per_s / uses,
            "interval": None if limit.interval is None else (limit.interval[0] / uses, limit.interval[1] / uses),
            "equation": f"R' = R/u, {limit.equation}",
            "symbols": {
                **limit.symbols,
                "u": Symbol(value=uses, unit=limit.counts, meaning=f"{limit.counts} for one of the {counts}"),
            },
        }
    )


def least(limits: Iterable[Limit]) -> Limit | None:
    """Return the applicable limit with the lowest rate, the earlier one of equals; None where no rate is bounded.

    Rates are compared as they are: bring all limits to one unit first (`rescale`). Raises ValueError where they differ.
    """
    rated = [limit for limit in limits if limit.applies and limit.per_s is not None]
    if len({limit.counts for limit in rated}) > 1:
        raise ValueError("limits count different things: rescale them to one unit first")
    return min(rated, key=_rate, default=None)


def mark_binding(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """Return the limits in rising order of rate with `binding` set on the least.

    Those that bound only a number at one time follow, and last those that do not apply. Worked number: ceilings of 10,
    250 and 462.8 transfers a second: the first binds.
    """
    candidates = tuple(limits)
    lowest = least(candidates)
    marked = [limit.model_copy(update={"binding": limit is lowest}) for limit in candidates]
    return tuple(sorted(marked, key=lambda limit: (not limit.applies, limit.per_s is None, _rate(limit))))


def _rate(limit: Limit) -> float:
    return limit.per_s if limit.per_s is not None else 0.0
