"""Start sessions when they are due, count what could not start, sweep deadlines, end what no load waits for any more.

An open-model load starts arrival k at its instant whatever earlier sessions do; one that finds no free slot is a
counted drop. A closed-model load keeps so many sessions going. A load that has ended leaves its sessions
`graceful_stop` to finish; then they are interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from ftpstorm.arrivals.schedules import Schedule, schedule_of
from ftpstorm.arrivals.shard import shard_count, shard_indexes
from ftpstorm.engine.lateness import LatencyHistogram
from ftpstorm.engine.recording import record_drop
from ftpstorm.engine.session import Session
from ftpstorm.engine.work import LoadWork, Work
from ftpstorm.plan.plan import load_end_ns
from ftpstorm.records.schema import ABSENT
from ftpstorm.scenario.load import Burst, ConstantArrivalRate, ConstantSessions, SharedIterations

SWEEP_EVERY_S: Final = 0.05
"""Pace of the deadline sweep: a deadline is noticed at most this late; 10,000 sessions cost it 0.5 ms."""

UNREACHABLE_PAUSE_NS: Final = 100_000_000
"""A closed-model slot whose session got no greeting waits this long: no tight loop against a server that refuses."""


class Runner(Protocol):
    """One load at work."""

    work: LoadWork
    exhausted: bool
    """It will start no more sessions."""
    planned: int | None
    """Sessions the plan has for it; None where only the run tells."""
    not_due: int
    sequence: int
    """Sessions started so far."""

    def begin(self) -> None: ...

    def stop(self, now: int) -> None: ...

    def session_ended(self, session: Session) -> None: ...


class OpenRunner:
    """Arrivals of an open-model load, by absolute instants."""

    def __init__(self, dispatcher: Dispatcher, work: LoadWork, schedule: Schedule, limit: int | None) -> None:
        self._dispatcher = dispatcher
        self.work = work
        self._schedule = schedule
        self._indexes = iter(indexes := shard_indexes(schedule.count, dispatcher.shard, dispatcher.shards))
        self.planned: int | None = len(indexes)
        self._limit = limit
        self._begin_ns = dispatcher.start_at_ns + work.load.start_time
        self._number = -1
        self._intended_ns = 0
        self._in_flight = 0
        self._left = len(indexes)
        self.sequence = 0
        self.exhausted = False
        self.not_due = 0

    def begin(self) -> None:
        """Set the timer of the first arrival."""
        self._next()

    def _next(self) -> bool:
        """Set the timer of the next arrival; tell whether there is one."""
        number = next(self._indexes, None)
        if number is None:
            self.exhausted = True
            return False
        self._number = number
        self._intended_ns = self._begin_ns + self._schedule.instant_ns(number)
        self._dispatcher.work.reactor.timers.call_at(self._intended_ns, self._arrive)
        return True

    def _arrive(self, now: int) -> None:
        if self.exhausted:
            return
        number, intended_ns = self._number, self._intended_ns
        self._left -= 1
        last = not self._next()
        if self._limit is not None and self._in_flight >= self._limit:
            record_drop(self._dispatcher.work.journal, self.work.index, number, intended_ns)
            if last:
                self._dispatcher.check_finished()
            return
        self._in_flight += 1
        self.sequence += 1
        self._dispatcher.start_session(self, number, intended_ns)

    def session_ended(self, session: Session) -> None:
        self._in_flight -= 1

    def stop(self, now: int) -> None:
        """Start no more. What was due but had not started is dropped, the rest was never due."""
        if self.exhausted:
            return
        number: int | None = self._number
        while number is not None and self._intended_ns <= now:
            record_drop(self._dispatcher.work.journal, self.work.index, number, self._intended_ns)
            self._left -= 1
            number = next(self._indexes, None)
            if number is not None:
                self._intended_ns = self._begin_ns + self._schedule.instant_ns(number)
        self.not_due = self._left
        self.exhausted = True


class ClosedRunner:
    """Slots of a closed-model load: each starts its next session when its last one has ended."""

    def __init__(self, dispatcher: Dispatcher, work: LoadWork, slots: int, iterations: int | None) -> None:
        self._dispatcher = dispatcher
        self.work = work
        self._slots = slots
        self.planned = iterations
        self._left = iterations
        self.sequence = 0
        """Sessions started so far."""
        self._begin_ns = dispatcher.start_at_ns + work.load.start_time
        self._end_ns = dispatcher.start_at_ns + load_end_ns(work.load)
        self.exhausted = False
        self.not_due = 0

    def begin(self) -> None:
        """Set one timer for each slot, and one for the end."""
        timers = self._dispatcher.work.reactor.timers
        for _ in range(self._slots):
            timers.call_at(self._begin_ns, self._start)
        timers.call_at(self._end_ns, self._end)
        if not self._slots:
            self.exhausted = True

    def _start(self, now: int) -> None:
        if self.exhausted:
            return
        if self._left is not None:
            if self._left == 0:
                self.exhausted = True
                self._dispatcher.check_finished()
                return
            self._left -= 1
        number = self._dispatcher.shard + self.sequence * self._dispatcher.shards
        first_round = self.sequence < self._slots
        self.sequence += 1
        # After the first round a session is due when its slot is free: there is no other schedule to be late against.
        self._dispatcher.start_session(self, number, self._begin_ns if first_round else now)

    def session_ended(self, session: Session) -> None:
        if not self.exhausted:
            pause = UNREACHABLE_PAUSE_NS if session.greeting_ns == ABSENT else 0
            self._dispatcher.work.reactor.timers.call_at(session.now + pause, self._start)

    def _end(self, now: int) -> None:
        self.stop(now)
        self._dispatcher.check_finished()

    def stop(self, now: int) -> None:
        """Start no more; iterations that are left were never due."""
        if not self.exhausted:
            self.not_due = self._left or 0
            self.exhausted = True


class Dispatcher:
    """All loads of one worker. `on_finished` is called once, when nothing is left to start and nothing is under way."""

    def __init__(
        self,
        work: Work,
        loads: tuple[LoadWork, ...],
        shard: int,
        shards: int,
        start_at_ns: int,
        on_finished: Callable[[], None],
    ) -> None:
        self.work = work
        self.shard = shard
        self.shards = shards
        self.start_at_ns = start_at_ns
        self._on_finished = on_finished
        self._finished = False
        self.sessions: dict[Session, Runner] = {}
        """Sessions under way, in order of their start."""
        self.lateness = LatencyHistogram()
        self.late_since_ns = 0
        """Largest lateness since it was last set to 0 by whoever reports progress."""
        self._runners = [self._make_runner(load) for load in loads]

    def _make_runner(self, work: LoadWork) -> Runner:
        load = work.load
        schedule = schedule_of(load)
        match load:
            case Burst() | ConstantArrivalRate():
                assert schedule is not None
                limit = load.max_sessions
                share = None if limit is None else max(1, shard_count(limit, self.shard, self.shards))
                return OpenRunner(self, work, schedule, share)
            case ConstantSessions():
                return ClosedRunner(self, work, shard_count(load.sessions, self.shard, self.shards), None)
            case SharedIterations():
                iterations = shard_count(load.iterations, self.shard, self.shards)
                slots = min(iterations, max(1, shard_count(load.sessions, self.shard, self.shards)))
                return ClosedRunner(self, work, slots, iterations)

    def begin(self) -> None:
        """Set the first timers; sessions start from `start_at_ns` on."""
        for runner in self._runners:
            runner.begin()
            load = runner.work.load
            grace_over_ns = self.start_at_ns + load_end_ns(load) + load.graceful_stop
            self.work.reactor.timers.call_at(grace_over_ns, _interrupter(self, runner))
        self.check_finished()

    @property
    def planned(self) -> int:
        """Sessions the plan has for this worker; a constant-sessions load counts those that it started."""
        total = 0
        for runner in self._runners:
            total += runner.sequence if runner.planned is None else runner.planned
        return total

    @property
    def not_due(self) -> int:
        """Planned sessions whose time never came, because the run was stopped."""
        return sum(runner.not_due for runner in self._runners)

    def start_session(self, runner: Runner, number: int, intended_ns: int) -> None:
        """Start one session now."""
        now = self.work.reactor.clock()
        late_ns = now - intended_ns
        self.lateness.add(late_ns)
        if late_ns > self.late_since_ns:
            self.late_since_ns = late_ns
        session = Session(self.work, runner.work, number, intended_ns, self._session_ended)
        self.sessions[session] = runner
        session.start(now)

    def _session_ended(self, session: Session) -> None:
        runner = self.sessions.pop(session)
        runner.session_ended(session)
        if not self.sessions:
            self.check_finished()

    def check_finished(self) -> None:
        """Call `on_finished` if there is nothing left to do."""
        if not self._finished and not self.sessions and all(runner.exhausted for runner in self._runners):
            self._finished = True
            self._on_finished()

    def sweep(self, now: int) -> None:
        """Throw DeadlineError into every session whose deadline has passed."""
        for session in [session for session in self.sessions if session.deadline_ns <= now]:
            session.expire(now)

    def drain(self, now: int) -> None:
        """Start no more sessions; those under way may finish."""
        for runner in self._runners:
            runner.stop(now)
        self.check_finished()

    def stop(self, now: int) -> None:
        """Start no more sessions and interrupt those under way."""
        for runner in self._runners:
            runner.stop(now)
        for session in list(self.sessions):
            session.interrupt(now)
        self.check_finished()

    def interrupt_load(self, runner: Runner, now: int) -> None:
        """Interrupt the sessions of one load: its grace is over."""
        runner.stop(now)
        for session in [session for session, owner in self.sessions.items() if owner is runner]:
            session.interrupt(now)
        self.check_finished()


def _interrupter(dispatcher: Dispatcher, runner: Runner) -> Callable[[int], None]:
    return lambda now: dispatcher.interrupt_load(runner, now)
