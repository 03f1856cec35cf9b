"""What was asked for and what came of it, in words, where figures alone would mislead."""

from __future__ import annotations

from typing import Final, NamedTuple

from ftpstorm.report.limit_told import telling_limit
from ftpstorm.report.summary import Summary, Transfers
from ftpstorm.report.wording import number, per_second

CLEARLY_ABOVE: Final = 1.05
"""A mean so many times the limit stands out beside it; a little above it lies in most runs, for the same reason."""
AT_ONE_INSTANT: Final = "at one instant"


class Filling(NamedTuple):
    """Why more was carried than the limit allows: places that nobody had used yet need not come free first."""

    rate_per_s: float
    limit_per_s: float
    places: int

    @property
    def words(self) -> str:
        """That the first filling comes on top."""
        return f"the first filling of {number(self.places)} places comes on top of it"


def offered_words(transfers: Transfers) -> str:
    """Return ``1,940 offered (97/s)``; of a run that ended early what was planned, and what was offered until then."""
    partial = transfers.due is not None and transfers.due != transfers.offered
    rate = "" if transfers.offered_per_s is None else f" ({per_second(transfers.offered_per_s)})"
    if partial:
        return f"{number(transfers.offered)} planned, {number(transfers.due)} offered until the run ended{rate}"
    return f"{number(transfers.offered)} offered{rate or f' {AT_ONE_INSTANT}' if transfers.offered else ''}"


def first_filling(summary: Summary) -> Filling | None:
    """Return the filling where the mean lies clearly above the limit of what ran out for that reason, else None.

    N places carry N + R x t within t, and only for t far longer than the hold is that R.
    """
    transfers = summary.transfers
    limit = telling_limit(summary.limits, summary.diagnosis.cause)
    if limit is None or limit.per_s is None or limit.concurrent is None:
        return None
    within = limit.concurrent + limit.per_s * summary.duration_s
    if transfers.rate_per_s <= CLEARLY_ABOVE * limit.per_s or transfers.succeeded > CLEARLY_ABOVE * within:
        return None
    return Filling(transfers.rate_per_s, limit.per_s, limit.concurrent)


def filling_words(summary: Summary) -> str:
    """Return, to follow other words, why the mean lies above the limit; "" where it does not."""
    filling = first_filling(summary)
    if filling is None or summary.transfers.offered_per_s is None:
        return ""
    mean, limit = per_second(filling.rate_per_s), per_second(filling.limit_per_s)
    return f"; {mean} on average, above the limit of {limit}: {filling.words} (N + R x t)"
