"""From when to when loads pressed on: each of them, and all together. What rates are over."""

from __future__ import annotations

from functools import cached_property

from ftpstorm.plan.plan import Plan, ends_early, load_end_ns
from ftpstorm.records.reader import Array
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Outcome, Status


class Spans:
    """The windows of a run's loads, in ns after start_at."""

    def __init__(self, plan: Plan, sessions: Array, end_ns: int, status: Status) -> None:
        """`sessions` are all on record, those that never started included; `end_ns` is the run's end."""
        self._plan = plan
        self._sessions = sessions
        self._end_ns = end_ns
        self._whole = status in (Status.COMPLETED, Status.SIMULATED)
        self._all_recorded = status is not Status.CUT_SHORT

    @cached_property
    def windows(self) -> dict[str, tuple[int, int]]:
        """Start and end of each load: as planned, or when the run stopped it before.

        One that may end early (shared-iterations, probe-until-success) is over when its last session has begun.
        """
        return {name: (load.start_time, max(self._over_ns(name), load.start_time)) for name, load in self._plan.loads}

    def _over_ns(self, name: str) -> int:
        load = self._plan.scenario.load[name]
        rows = self._of(name)
        end_ns = load_end_ns(load)
        if ends_early(load) and len(self._sessions):
            begun = rows["start_ns"][rows["outcome"] != Outcome.DROPPED]
            end_ns = int(begun.max()) if len(begun) else load.start_time
        # A load that ran to its end pressed on until then, though its last session may have ended a little sooner.
        return end_ns if self._whole else min(end_ns, self._end_ns, self._stopped_ns(name, rows))

    def _stopped_ns(self, name: str, rows: Array) -> int:
        """Return when the first session was due that a stop kept from starting; the run's end where nobody knows.

        Until that end sessions under way may have gone on for long, and nothing was offered meanwhile. Of a run that
        was cut short, those under way are not on record.
        """
        schedule = self._plan.schedule(name)
        following = int(rows["session"].max()) + 1 if len(rows) else 0
        if schedule is None or not self._all_recorded or following >= schedule.count:
            return self._end_ns
        return self._plan.scenario.load[name].start_time + schedule.instant_ns(following)

    def _of(self, name: str) -> Array:
        rows: Array = self._sessions[self._sessions["load"] == [known for known, _ in self._plan.loads].index(name)]
        return rows

    @cached_property
    def start_ns(self) -> int:
        """When the first load begins."""
        return min(from_ns for from_ns, _ in self.windows.values())

    @cached_property
    def end_ns(self) -> int:
        """When the last load stopped starting sessions; of a run that ended early, the last that had begun."""
        begun = [to_ns for from_ns, to_ns in self.windows.values() if self._whole or from_ns < self._end_ns]
        return max(begun, default=self.start_ns)

    def seconds(self, load: str | None = None, from_ns: int = 0) -> float:
        """Return what a rate of `load` is over, None being all loads together: its window, no earlier than `from_ns`.

        Of a load that starts all its sessions at one instant, or that is over when its work is done: until the last one
        of them was through. 0 where the load had not begun when the run ended.
        """
        first_ns, last_ns = (self.start_ns, self.end_ns) if load is None else self.windows[load]
        if not self._whole and first_ns >= self._end_ns:
            return 0.0
        for name, known in self._plan.loads:
            if ends_early(known) and load in (None, name):
                last_ns = max(last_ns, self._through_ns(name))
        if first_ns == last_ns:
            last_ns = max(self._through_ns(load), first_ns + 1)
        return max(last_ns - max(first_ns, from_ns), 0) / NS_PER_S

    def _through_ns(self, load: str | None) -> int:
        if load is None:
            return self._end_ns
        rows = self._of(load)
        return int(rows["end_ns"].max()) if len(rows) else self._end_ns
