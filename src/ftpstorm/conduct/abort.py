"""Thresholds with `abort_on_fail`: looked at while the run goes on, on the records so far, and its end where one fails.

What a condition means is `report.thresholds`' business, how a run ends `conduct.load_phase`'s. A run without such
thresholds pays nothing: nothing is imported and no record is read.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ftpstorm.conduct.stops import Stop
from ftpstorm.plan.plan import Plan, load_end_ns
from ftpstorm.records.abort_file import Abort, write_abort
from ftpstorm.scenario.expressions import parse_expression, parse_metric
from ftpstorm.units import NS_PER_S

if TYPE_CHECKING:
    from ftpstorm.report.thresholds import Population

EVERY_NS: Final = NS_PER_S
"""Pace of looking; records reach the spools at most 0.1 s after they were made."""
COST_SHARE: Final = 20
"""A look that took t is followed by no other for 20 t: judging must not take the machine from the load."""


class AbortWatch:
    """The thresholds of one run that may end it. `check` is to be called often, with rising instants."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """`folder` is the run's own: records are read there, and abort.json is written there."""
        self._folder = folder
        self._watched = [
            (metric, item) for metric, items in plan.scenario.thresholds.items() for item in items if item.abort_on_fail
        ]
        self._loads = [name for name, _ in plan.loads]
        self._windows: dict[str | None, tuple[int, int]] = {
            name: (load.start_time, load_end_ns(load)) for name, load in plan.loads
        }
        starts, ends = zip(*self._windows.values(), strict=True)
        self._windows[None] = min(starts), max(ends)
        self._next_ns = min((item.delay_abort_eval for _, item in self._watched), default=0)
        self._populations: dict[str, Population] = {}
        self._over = not self._watched
        if self._watched:
            # only now and before the load: the import takes what a look may not
            from ftpstorm.records.tail import RunTail

            self._tail = RunTail(folder)

    def check(self, t_ns: int) -> Stop | None:
        """Return why the run must end at `t_ns` (ns after start_at), once; None where it may go on."""
        if self._over or t_ns < self._next_ns:
            return None
        began_ns = time.monotonic_ns()
        self._take_records()
        abort = self._first_failed(t_ns)
        cost_ns = time.monotonic_ns() - began_ns
        self._next_ns = t_ns + max(EVERY_NS, COST_SHARE * cost_ns)
        if abort is None:
            return None
        self._over = True
        write_abort(self._folder, abort)
        seen = f"{abort.measured:.4g} {abort.unit}".strip()
        return Stop("drain", f"threshold {abort.metric}: {abort.condition} does not hold: measured {seen}")

    def _take_records(self) -> None:
        from ftpstorm.report.thresholds import Grounds, NotMeasurableError, add, select

        grounds = Grounds(self._loads, *self._tail.read())
        for metric in {metric for metric, _ in self._watched}:
            try:
                found = select(grounds, parse_metric(metric))
            except NotMeasurableError:
                continue  # the report says so; a run is not ended for a condition that means nothing
            known = self._populations.get(metric)
            self._populations[metric] = found if known is None else add(known, found)

    def _first_failed(self, t_ns: int) -> Abort | None:
        from ftpstorm.report.thresholds import NotMeasurableError, in_shown_unit, load_of, measure

        for metric, item in self._watched:
            expression = parse_expression(item.threshold)
            if t_ns < item.delay_abort_eval or metric not in self._populations:
                continue
            load_s = self._seconds(load_of(parse_metric(metric)), t_ns)
            try:
                measured, unit = measure(self._populations[metric], expression, load_s)
            except NotMeasurableError:
                continue  # nothing yet to judge
            if not expression.holds(measured):
                shown, shown_unit = in_shown_unit(measured, unit)
                return Abort(metric, item.threshold, shown, shown_unit, t_ns / NS_PER_S)
        return None

    def _seconds(self, load: str | None, t_ns: int) -> float:
        """Return what a rate of `load` (None: of all) is over at `t_ns`: its window so far, 0 before it has begun.

        Of a load at one instant: what has passed since.
        """
        from_ns, to_ns = self._windows[load]
        return max((t_ns if from_ns == to_ns else min(t_ns, to_ns)) - from_ns, 0) / NS_PER_S
