"""What the workers said last, added up: the figures of the live view and of the stop rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ftpstorm.units import NS_PER_MS, NS_PER_S

RATE_OVER_MIN_NS: Final = 200 * NS_PER_MS
"""A rate over less says nothing: one session in the first 4 ms would be 250 a second."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all workers' latest progress messages."""

    t_ns: int = 0
    """When the latest of them was sent, in ns after start_at."""
    started: int = 0
    in_flight: int = 0
    succeeded: int = 0
    failed: int = 0
    dropped: int = 0
    interrupted: int = 0
    transfers_attempted: int = 0
    transfers_succeeded: int = 0
    bytes: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failure class word to count."""
    last_reply: str = ""
    """The latest reply text of a failure that a worker named."""
    unreachable_streak: int = 0
    """Sessions in a row that got no greeting, summed over workers."""
    lateness_ns: int = 0
    """The worst since the messages before."""


def add_up(messages: Iterable[Mapping[str, Any]]) -> Totals:
    """Return the sums over workers' `progress` messages (their fields stand in ARCHITECTURE.md)."""
    sums: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    last_reply, lateness_ns, replied_ns, t_ns = "", 0, -1, 0
    for message in messages:
        for name in ("started", "in_flight", "succeeded", "failed", "dropped", "interrupted", "bytes"):
            sums[name] += message.get(name, 0)
        transfers = message.get("transfers", {})
        sums["attempted"] += transfers.get("attempted", 0)
        sums["transferred"] += transfers.get("succeeded", 0)
        sums["streak"] += message.get("unreachable_streak", 0)
        failures.update(message.get("failures", {}))
        lateness_ns = max(lateness_ns, message.get("lateness_ns") or 0)
        t_ns = max(t_ns, message.get("t_ns", 0))
        if message.get("last_reply") and message.get("t_ns", 0) > replied_ns:
            last_reply, replied_ns = str(message["last_reply"]), message.get("t_ns", 0)
    return Totals(
        t_ns=t_ns,
        started=sums["started"],
        in_flight=sums["in_flight"],
        succeeded=sums["succeeded"],
        failed=sums["failed"],
        dropped=sums["dropped"],
        interrupted=sums["interrupted"],
        transfers_attempted=sums["attempted"],
        transfers_succeeded=sums["transferred"],
        bytes=sums["bytes"],
        failures=dict(failures),
        last_reply=last_reply,
        unreachable_streak=sums["streak"],
        lateness_ns=lateness_ns,
    )


class RateMeter:
    """The rate of a growing count over the last `window_ns`. Fed with instants that never go back."""

    def __init__(self, window_ns: int = 2 * NS_PER_S) -> None:
        self._window_ns = window_ns
        self._readings: list[tuple[int, int]] = []

    def read(self, t_ns: int, count: int) -> float | None:
        """Take a reading; return events a second since the oldest one in the window.

        None until they lie RATE_OVER_MIN_NS apart.
        """
        if not self._readings or t_ns > self._readings[-1][0]:
            self._readings.append((t_ns, count))
        while len(self._readings) > 2 and self._readings[1][0] <= t_ns - self._window_ns:
            del self._readings[0]
        (first_ns, first), (last_ns, last) = self._readings[0], self._readings[-1]
        return (last - first) * NS_PER_S / (last_ns - first_ns) if last_ns - first_ns >= RATE_OVER_MIN_NS else None
