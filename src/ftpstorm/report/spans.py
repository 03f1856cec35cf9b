"""From when to when loads pressed on: each of them, and all together. What rates are over."""

from __future__ import annotations

from functools import cached_property

from ftpstorm.plan.plan import Plan, ends_early, load_end_ns
from ftpstorm.records.reader import Array
from ftpstorm.units import NS_PER_S


class Spans:
    """The windows of a run's loads, in ns after start_at."""

    def __init__(self, plan: Plan, started: Array, end_ns: int, *, whole: bool) -> None:
        """`started` are the sessions that started, `end_ns` is the run's end, `whole` whether the plan was done."""
        self._plan = plan
        self._started = started
        self._end_ns = end_ns
        self._whole = whole

    @cached_property
    def windows(self) -> dict[str, tuple[int, int]]:
        """Start and end of each load: as planned, or when the run ended before.

        One that may end early (shared-iterations, probe-until-success) is over when its last session has begun.
        """
        found = {}
        for index, (name, load) in enumerate(self._plan.loads):
            end_ns = load_end_ns(load)
            if ends_early(load) and len(self._started):
                begun = self._started["start_ns"][self._started["load"] == index]
                end_ns = int(begun.max()) if len(begun) else load.start_time
            # A load that ran to its end pressed on until then, though its last session may have ended a little sooner.
            end_ns = end_ns if self._whole else min(end_ns, self._end_ns)
            found[name] = (load.start_time, max(end_ns, load.start_time))
        return found

    @cached_property
    def start_ns(self) -> int:
        """When the first load begins."""
        return min(from_ns for from_ns, _ in self.windows.values())

    @cached_property
    def end_ns(self) -> int:
        """When the last load stopped starting sessions."""
        return max(self._last_end_ns, self.start_ns)

    @property
    def _last_end_ns(self) -> int:
        begun = [to_ns for from_ns, to_ns in self.windows.values() if self._whole or from_ns < self._end_ns]
        return max(begun, default=self.start_ns)

    def seconds(self, load: str | None = None, from_ns: int = 0) -> float:
        """Return what a rate of `load` is over, None being all loads together: its window, no earlier than `from_ns`.

        Of a load that starts all its sessions at one instant: until the last one of them was through. 0 where the load
        had not begun when the run ended.
        """
        first_ns, last_ns = (self.start_ns, self.end_ns) if load is None else self.windows[load]
        if not self._whole and first_ns >= self._end_ns:
            return 0.0
        if first_ns == last_ns:
            last_ns = max(self._through_ns(load), first_ns + 1)
        return max(last_ns - max(first_ns, from_ns), 0) / NS_PER_S

    def _through_ns(self, load: str | None) -> int:
        if load is None:
            return self._end_ns
        rows = self._started[self._started["load"] == list(self.windows).index(load)]
        return int(rows["end_ns"].max()) if len(rows) else self._end_ns
