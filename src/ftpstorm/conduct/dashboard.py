"""From the children's progress messages to the picture of the live view, four times a second."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from ftpstorm.clock import monotonic_ns
from ftpstorm.conduct.children import Child
from ftpstorm.conduct.live import Picture, View
from ftpstorm.conduct.progress import RateMeter, Totals, add_up
from ftpstorm.plan.plan import Plan, load_end_ns, transfers_of

REFRESH_S: Final = 0.25
HISTORY_MAX: Final = 240
"""Rates that are remembered: as many as a wide terminal can show."""
RUNNING: Final = "running"


class Dashboard:
    """Knows which child says what, and draws it."""

    def __init__(self, plan: Plan, view: View, ceiling_per_s: float | None) -> None:
        """`ceiling_per_s` is what theory says is the most of what is counted, None where it says nothing."""
        self.state = "starting"
        """What the run is doing, in words."""
        self.start_at_ns: int | None = None
        self.workers: Sequence[Child] = ()
        self.sampler: Child | None = None
        self.emulator: Child | None = None
        self.total_ns = min(max(load_end_ns(load) for _, load in plan.loads), plan.scenario.stop.max_duration)
        self._from_ns = min(load.start_time for _, load in plan.loads)
        self._name = plan.scenario.name + (f" ({plan.variant})" if plan.variant else "")
        self._transfers = any(transfers_of(plan.scenario.flows[name]) for name in plan.used_flows)
        self._ports = plan.port_range
        self._ceiling_per_s = ceiling_per_s
        self._view = view
        self._offered = RateMeter()
        self._achieved = RateMeter()
        self._history: deque[float] = deque(maxlen=HISTORY_MAX)
        self._remembered_ns = 0

    def totals(self) -> Totals:
        """Return the sums over the workers' latest progress."""
        return add_up(worker.progress for worker in self.workers if worker.progress is not None)

    def picture(self, now_ns: int) -> Picture:
        """Return what there is to see at `now_ns` on CLOCK_MONOTONIC."""
        totals = self.totals()
        elapsed_ns = None if self.start_at_ns is None else now_ns - self.start_at_ns
        waiting = elapsed_ns is not None and elapsed_ns < 0
        offered = totals.transfers_attempted if self._transfers else totals.started
        achieved = totals.transfers_succeeded if self._transfers else totals.succeeded
        kernel = _progress(self.sampler)
        t_ns = max(totals.t_ns, self._from_ns)  # the wait for the first load dilutes no rate
        achieved_per_s = self._achieved.read(t_ns, achieved)
        if achieved_per_s is not None and self.state == RUNNING and totals.t_ns > self._remembered_ns:
            self._remembered_ns = totals.t_ns
            self._history.append(achieved_per_s)
        return Picture(
            name=self._name,
            state="ready" if waiting and self.state == RUNNING else self.state,
            elapsed_ns=elapsed_ns,
            total_ns=self.total_ns,
            totals=totals,
            counted="transfers" if self._transfers else "sessions",
            offered_per_s=self._offered.read(t_ns, offered),
            achieved_per_s=achieved_per_s,
            history=tuple(self._history),
            ceiling_per_s=self._ceiling_per_s,
            pool=_progress(self.emulator).get("pool") or {},
            ephemeral=(kernel.get("ephemeral") or {}).get("client"),
            ephemeral_range=self._ports[1] - self._ports[0] + 1 if self._ports else None,
            time_wait={side: count for side, count in (kernel.get("time_wait") or {}).items() if count is not None},
        )

    def draw(self) -> None:
        """Show the present picture."""
        self._view.show(self.picture(monotonic_ns()))

    async def run(self) -> None:
        """Draw until cancelled."""
        while True:
            self.draw()
            await asyncio.sleep(REFRESH_S)


def _progress(child: Child | None) -> dict[str, Any]:
    return child.progress if child is not None and child.progress is not None else {}
