"""From start_at until the last worker is done: stop rules, requests, dead children, and a bound for everything.

Whatever happens, this phase ends: a drain is bounded by the loads' grace, a stop by STOP_WITHIN_S, and a worker that
still goes on is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ftpstorm.clock import monotonic_ns
from ftpstorm.conduct.abort import AbortWatch
from ftpstorm.conduct.children import Child, Crew
from ftpstorm.conduct.dashboard import REFRESH_S, Dashboard
from ftpstorm.conduct.stops import How, StopRequests, StopRules
from ftpstorm.plan.plan import Plan, run_end_ns
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Status

STOP_WITHIN_S: Final = 5
"""How long a worker may take to answer `stop now` with `done`."""
OVERDUE_S: Final = 10
"""How long a worker may go on after the plan's end and grace; a busy machine is late, a hung worker never ends."""

_STATES: Final = {"drain": "letting sessions finish", "now": "stopping at once"}


class LoadPhase:
    """The workers' time of one run, and what ended it."""

    def __init__(
        self,
        plan: Plan,
        crew: Crew,
        workers: Sequence[Child],
        start_at_ns: int,
        requests: StopRequests,
        dashboard: Dashboard,
        abort: AbortWatch | None = None,
    ) -> None:
        self.reason: str | None = None
        """Why the run ended before its time; None where it did not."""
        self._status = Status.COMPLETED
        self._crew = crew
        self._workers = workers
        self._start_at_ns = start_at_ns
        self._requests = requests
        self._dashboard = dashboard
        self._rules = StopRules(plan.scenario)
        self._abort = abort
        self._overdue_ns = run_end_ns(plan) + OVERDUE_S * NS_PER_S
        self._grace_ns = max(load.graceful_stop for _, load in plan.loads) + STOP_WITHIN_S * NS_PER_S
        self._stopping: How | None = None
        self._deadline_ns = 0

    @property
    def status(self) -> Status:
        """How the phase ended; a dead child outweighs a request, and that a rule."""
        if self._status is not Status.CUT_SHORT and self._requests.how is not None:
            return Status.INTERRUPTED
        return self._status

    async def run(self) -> int:
        """Watch until every worker is done or dead; return when that was, in ns after start_at."""
        while not all(worker.finished for worker in self._workers):
            self._decide(monotonic_ns() - self._start_at_ns)
            await self._crew.wait(REFRESH_S)
        self._note_broken()
        return monotonic_ns() - self._start_at_ns

    def _decide(self, t_ns: int) -> None:
        self._note_broken()
        if self._requests.how is not None:
            self._stop(self._requests.how, "stopped by request", t_ns)
        order = self._rules.check(t_ns, self._dashboard.totals())
        if order is None and self._abort is not None and self._stopping is None:
            order = self._abort.check(t_ns)
        if order is not None and self._stopping != "now":
            if self._status is Status.COMPLETED:
                self._status = Status.STOPPED_EARLY
            self._stop(order.how, order.reason, t_ns)
        if t_ns >= self._overdue_ns and self._stopping != "now":
            self._status = Status.CUT_SHORT  # what the plan says and what was done no longer agree
            self._stop("now", "the load went on past its planned end", t_ns)
        if self._stopping is not None and t_ns >= self._deadline_ns:
            if self._stopping == "drain":
                self._stop("now", "sessions did not finish within the loads' grace", t_ns)
            else:
                for worker in self._workers:
                    if not worker.finished:
                        worker.kill(f"did not answer `stop` within {STOP_WITHIN_S} s")

    def _note_broken(self) -> None:
        """A child that died makes the run one that was cut short; the workers that live drain."""
        for child in self._crew.children:
            if child.error is not None and self._status is not Status.CUT_SHORT:
                self._status = Status.CUT_SHORT
                self.reason = f"{child.role} {child.error}"
                self._stop("drain", self.reason, monotonic_ns() - self._start_at_ns)

    def _stop(self, how: How, reason: str, t_ns: int) -> None:
        if self._stopping == how or self._stopping == "now":
            return
        self._stopping = how
        self._deadline_ns = t_ns + (self._grace_ns if how == "drain" else STOP_WITHIN_S * NS_PER_S)
        self.reason = self.reason or reason
        self._dashboard.state = _STATES[how]
        for worker in self._workers:
            worker.send("stop", how=how)


async def cool_down(crew: Crew, requests: StopRequests, duration_ns: int) -> None:
    """Let the sampler watch ports recover for `duration_ns`; any request ends it."""
    deadline_ns = monotonic_ns() + duration_ns
    while requests.how is None and (left_ns := deadline_ns - monotonic_ns()) > 0:
        await crew.wait(left_ns / NS_PER_S)


async def wait_for_start(crew: Crew, requests: StopRequests, until_ns: int) -> None:
    """Wait until `until_ns` on CLOCK_MONOTONIC, a request, or the death of a child."""
    while requests.how is None and not any(child.finished for child in crew.children):
        left_ns = until_ns - monotonic_ns()
        if left_ns <= 0:
            return
        await crew.wait(left_ns / NS_PER_S)


async def ask_to_finish(crew: Crew, child: Child, within_s: float) -> None:
    """Send `finish` and wait for `done`; a child that does not answer within `within_s` is killed."""
    if child.finished:
        return
    child.send("finish")
    try:
        async with asyncio.timeout(within_s):
            while not child.finished:
                await crew.wait(within_s)
    except TimeoutError:
        child.kill(f"did not answer `finish` within {within_s:g} s")
