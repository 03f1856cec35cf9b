"""When a pass is due: absolute deadlines on a grid, so that nothing drifts and nothing piles up. Pure."""

from __future__ import annotations

from typing import Final

COST_SHARE: Final = 10
"""A pass may cost this fraction (1/10) of its interval; a dearer one comes less often."""


class Pace:
    """Deadlines at ``origin + k * every``. One that was missed is passed over, not made up for."""

    __slots__ = ("due_ns", "every_ns", "longest_ns", "skipped", "taken")

    def __init__(self, origin_ns: int, every_ns: int, now_ns: int) -> None:
        """The first deadline is the first point of the grid after `now_ns`; it may lie before `origin_ns`.

        All in ns on one clock; `every_ns` >= 1.
        """
        self.every_ns = every_ns
        self.due_ns = origin_ns + ((now_ns - origin_ns) // every_ns + 1) * every_ns
        self.longest_ns = every_ns
        """The longest interval that was planned so far."""
        self.taken = 0
        """Passes taken."""
        self.skipped = 0
        """Deadlines that went by while an earlier pass was late or still going on."""

    def take(self, now_ns: int, cost_ns: int = 0) -> int:
        """Account for a pass that began at `now_ns` and took `cost_ns` of CPU; returns how late it began, in ns >= 0.

        The next deadline comes `every_ns` after this one, or as many whole intervals later as keep the cost within
        one part in COST_SHARE, and always after `now_ns`.
        """
        late_ns = max(0, now_ns - self.due_ns)
        interval_ns = max(1, -(-cost_ns * COST_SHARE // self.every_ns)) * self.every_ns
        self.longest_ns = max(self.longest_ns, interval_ns)
        self.due_ns += interval_ns
        if self.due_ns <= now_ns:
            missed = (now_ns - self.due_ns) // self.every_ns + 1
            self.due_ns += missed * self.every_ns
            self.skipped += missed
        self.taken += 1
        return late_ns

    @property
    def stretched_to_ns(self) -> int | None:
        """The longest interval if cost ever made it longer than asked for, else None."""
        return self.longest_ns if self.longest_ns > self.every_ns else None
