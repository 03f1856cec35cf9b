"""Which of a run's limits tells most, and how near it the run came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ftpstorm.limits.limit import Limit
from ftpstorm.report.summary import LimitRow, Summary

AnyLimit = TypeVar("AnyLimit", Limit, LimitRow)


def carried_of_limit(summary: Summary) -> tuple[float, LimitRow] | None:
    """Return the sustained transfer rate by the limit that tells most (`telling_limit`), and that limit.

    None where no rate was measured, or where that limit counts something other than transfers.
    """
    sustained = summary.transfers.sustained
    limit = telling_limit(summary.limits, summary.diagnosis.cause)
    if limit is None or not limit.per_s or sustained.rate_per_s is None or not sustained.periods:
        return None
    return sustained.rate_per_s / limit.per_s, limit


def telling_limit(limits: Iterable[AnyLimit], cause: str) -> AnyLimit | None:
    """Return the limit of what ran out; where `cause` has none that applies, the binding one.

    None where that bounds no rate, or counts something other than transfers.
    """
    ordered = [limit for limit in limits if limit.applies]
    own = [limit for limit in ordered if limit.name == cause]
    told = next((limit for limit in (own or ordered) if own or limit.binding), None)
    return told if told is not None and told.per_s is not None and told.counts == "transfers" else None
