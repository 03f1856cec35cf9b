"""The one clock of a run: CLOCK_MONOTONIC in integer nanoseconds, and its pairing with wall time.

Every instant on disk is relative to the run's `start_at`. All processes of a host share CLOCK_MONOTONIC, so relative
instants of workers, sampler and emulator compare without correction (no time namespace is ever unshared).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], int]
"""Returns the present instant in ns on some monotonic scale. Pure code gets one passed in; it never reads its own."""

monotonic_ns: Clock = time.perf_counter_ns
"""CLOCK_MONOTONIC on Linux: the same scale as timerfd(2) and as `time.monotonic_ns`."""


@dataclass(frozen=True, slots=True)
class ClockPair:
    """One instant read on both clocks: `monotonic_ns` on CLOCK_MONOTONIC, `realtime_ns` since the Unix epoch (UTC)."""

    monotonic_ns: int
    realtime_ns: int

    def to_realtime_ns(self, monotonic_ns: int) -> int:
        """Return the UTC instant, in ns since the epoch, of a monotonic instant of the same host."""
        return self.realtime_ns + (monotonic_ns - self.monotonic_ns)

    def to_monotonic_ns(self, realtime_ns: int) -> int:
        """Return the monotonic instant of a UTC instant in ns since the epoch."""
        return self.monotonic_ns + (realtime_ns - self.realtime_ns)


def read_clock_pair() -> ClockPair:
    """Read both clocks as close together as this interpreter can: the tightest of five readings."""
    best: tuple[int, ClockPair] | None = None
    for _ in range(5):
        before = monotonic_ns()
        realtime = time.time_ns()
        after = monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, ClockPair((before + after) // 2, realtime))
    assert best is not None
    return best[1]
