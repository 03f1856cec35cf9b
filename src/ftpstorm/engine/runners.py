"""One load at work: when its next session is due, and what a slot does when its session has ended.

An open-model load starts arrival k at its instant whatever earlier sessions do; one that finds no free slot is a
counted drop. A closed-model load keeps so many sessions going. Sessions themselves are the dispatcher's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from ftpstorm.arrivals.ramps import Span, slot_spans
from ftpstorm.arrivals.schedules import Schedule
from ftpstorm.arrivals.shard import shard_count, shard_indexes
from ftpstorm.engine.recording import record_drop
from ftpstorm.engine.work import LoadWork, Work
from ftpstorm.plan.plan import UNREACHABLE_PAUSE_NS, load_end_ns, shard_sessions, sharing_shards
from ftpstorm.records.schema import ABSENT
from ftpstorm.scenario.load import ConstantSessions, ProbeUntilSuccess, RampingSessions, SharedIterations
from ftpstorm.vocabulary import Outcome


class Ended(Protocol):
    """What a runner reads of a session that has ended."""

    number: int
    now: int
    greeting_ns: int
    outcome: Outcome


class Host(Protocol):
    """What a runner needs of its dispatcher."""

    work: Work
    shard: int
    shards: int
    start_at_ns: int

    def start_session(self, runner: Runner, number: int, intended_ns: int) -> None: ...

    def check_finished(self) -> None: ...


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

    def session_ended(self, session: Ended) -> None: ...


class OpenRunner:
    """Arrivals of an open-model load, by absolute instants."""

    def __init__(self, dispatcher: Host, work: LoadWork, schedule: Schedule, indexes: range, limit: int | None) -> None:
        self._dispatcher = dispatcher
        self.work = work
        self._schedule = schedule
        self._indexes = iter(indexes)
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

    def session_ended(self, session: Ended) -> None:
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

    def __init__(
        self, dispatcher: Host, work: LoadWork, slots: int, iterations: int | None, stride: int | None = None
    ) -> None:
        """`stride` is what is between the numbers of two of its sessions, by default the number of shards."""
        self._dispatcher = dispatcher
        self._stride = stride or dispatcher.shards
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
        number = self._dispatcher.shard + self.sequence * self._stride
        first_round = self.sequence < self._slots
        self.sequence += 1
        # After the first round a session is due when its slot is free: there is no other schedule to be late against.
        self._dispatcher.start_session(self, number, self._begin_ns if first_round else now)

    def session_ended(self, session: Ended) -> None:
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


class RampingRunner:
    """Slots of a ramping number of sessions: each is in use for its spans of time and idle between them."""

    def __init__(self, dispatcher: Host, work: LoadWork, load: RampingSessions) -> None:
        self._dispatcher = dispatcher
        self.work = work
        self.planned: int | None = None
        self.sequence = 0
        self._begin_ns = dispatcher.start_at_ns + load.start_time
        self._end_ns = dispatcher.start_at_ns + load_end_ns(load)
        stages = [(stage.duration, stage.target) for stage in load.stages]
        slots = shard_indexes(load.sessions, dispatcher.shard, dispatcher.shards)
        self._spans = [slot_spans(load.start_sessions, stages, slot) for slot in slots]
        self._until_ns = [0] * len(self._spans)
        """When each slot's present span ends."""
        self._slot_of: dict[int, int] = {}
        """Slots in use, by the number of their session."""
        self._busy = [False] * len(self._spans)
        self.exhausted = False
        self.not_due = 0

    def begin(self) -> None:
        """Set a timer for each span of each slot, and one for the end."""
        timers = self._dispatcher.work.reactor.timers
        for slot, spans in enumerate(self._spans):
            for span in spans:
                timers.call_at(self._begin_ns + span.from_ns, partial(self._open, slot, span))
        timers.call_at(self._end_ns, self._end)
        if not any(self._spans):
            self.exhausted = True

    def _open(self, slot: int, span: Span, now: int) -> None:
        self._until_ns[slot] = self._begin_ns + span.to_ns
        if not self._busy[slot]:
            self._busy[slot] = True
            self._go_on(slot, self._begin_ns + span.from_ns, now)

    def _go_on(self, slot: int, intended_ns: int | None, now: int) -> None:
        """Start the slot's next session, or leave the slot idle where its span is over."""
        if self.exhausted or now >= self._until_ns[slot]:
            self._busy[slot] = False
            return
        number = self._dispatcher.shard + self.sequence * self._dispatcher.shards
        self.sequence += 1
        self._slot_of[number] = slot
        self._dispatcher.start_session(self, number, now if intended_ns is None else intended_ns)

    def session_ended(self, session: Ended) -> None:
        slot = self._slot_of.pop(session.number)
        pause = UNREACHABLE_PAUSE_NS if session.greeting_ns == ABSENT else 0
        self._dispatcher.work.reactor.timers.call_at(session.now + pause, partial(self._go_on, slot, None))

    def _end(self, now: int) -> None:
        self.stop(now)
        self._dispatcher.check_finished()

    def stop(self, now: int) -> None:
        """Start no more."""
        self.exhausted = True


class ProbeRunner:
    """One try after another until one succeeds. One shard of all does it: there is one probe, not one for each."""

    def __init__(self, dispatcher: Host, work: LoadWork, load: ProbeUntilSuccess) -> None:
        self._dispatcher = dispatcher
        self.work = work
        self.planned: int | None = None
        self.sequence = 0
        self._every_ns = load.every
        self._due_ns = dispatcher.start_at_ns + load.start_time
        self._end_ns = dispatcher.start_at_ns + load_end_ns(load)
        self.exhausted = dispatcher.shard != 0
        self.not_due = 0

    def begin(self) -> None:
        """Set the timer of the first try, and one for giving up."""
        if not self.exhausted:
            timers = self._dispatcher.work.reactor.timers
            timers.call_at(self._due_ns, self._try)
            timers.call_at(self._end_ns, self._end)

    def _try(self, now: int) -> None:
        if not self.exhausted:
            self.sequence += 1
            self._dispatcher.start_session(self, self.sequence - 1, self._due_ns)

    def session_ended(self, session: Ended) -> None:
        if session.outcome is Outcome.SUCCEEDED:
            self.exhausted = True
        elif not self.exhausted:
            # A try that took longer is followed at once, and the next one counts from there.
            self._due_ns = max(self._due_ns + self._every_ns, session.now)
            self._dispatcher.work.reactor.timers.call_at(self._due_ns, self._try)

    def _end(self, now: int) -> None:
        if not self.exhausted:
            self.stop(now)
            self._dispatcher.check_finished()

    def stop(self, now: int) -> None:
        """Try no more."""
        self.exhausted = True


def make_runner(dispatcher: Host, work: LoadWork, schedule: Schedule | None) -> Runner:
    """Return what runs a load on its shard; `schedule` is that of an open-model load."""
    load = work.load
    shard, shards = dispatcher.shard, dispatcher.shards
    match load:
        case ConstantSessions():
            return ClosedRunner(dispatcher, work, shard_count(load.sessions, shard, shards), None)
        case SharedIterations():
            iterations = len(shard_sessions(load, load.iterations, shard, shards))
            slots = min(iterations, shard_count(load.sessions, shard, shards))
            return ClosedRunner(dispatcher, work, slots, iterations, sharing_shards(load, shards))
        case RampingSessions():
            return RampingRunner(dispatcher, work, load)
        case ProbeUntilSuccess():
            return ProbeRunner(dispatcher, work, load)
        case _:
            assert schedule is not None
            limit = getattr(load, "max_sessions", None)
            share = None if limit is None else shard_count(limit, shard, shards)
            return OpenRunner(dispatcher, work, schedule, shard_sessions(load, schedule.count, shard, shards), share)


def interrupter(interrupt: Callable[[Runner, int], None], runner: Runner) -> Callable[[int], None]:
    """Return the timer callback that ends what a load has left when its grace is over."""
    return lambda now: interrupt(runner, now)
