"""The discrete-event loop: a plan's sessions in the order of time, as record rows.

Deterministic and pure: the same plan and service times give the same rows. Ties of time go by the order of creation.
The model is of the whole plan, all shards and workers together, since they press on the same server.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import repeat

from ftpstorm.arrivals.ramps import Span, slot_spans
from ftpstorm.arrivals.schedules import Schedule
from ftpstorm.plan.plan import UNREACHABLE_PAUSE_NS, Plan
from ftpstorm.records.schema import ABSENT, OPERATIONS, SESSIONS, Table
from ftpstorm.scenario.load import ConstantSessions, ProbeUntilSuccess, RampingSessions, SharedIterations
from ftpstorm.simulate.kernels import Suppose
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.session import Session, drop_row
from ftpstorm.simulate.way import over_link
from ftpstorm.simulate.world import LoadModel, Row, World, load_models, setting_of
from ftpstorm.vocabulary import Cause, FailureClass

BATCH_EVENTS = 256
"""Their rows still lie in a core's own cache when they are counted and packed: a fifth faster than with 4,096."""
BUSY_SLOT_NS = 1_000
"""A closed load's slot whose session failed at once begins the next one no sooner."""


class Simulation:
    """One run of the model. Iterate `rows` to its end, then read what was gathered."""

    def __init__(
        self,
        plan: Plan,
        service: ServiceTimes | None = None,
        *,
        sessions_max: int | None = None,
        suppose: Suppose | None = None,
    ) -> None:
        """Prepare the model of `plan`; `sessions_max` ends it early once so many sessions have begun.

        `service` is for a wire without delay (default: loopback): what the plan's link adds comes on top. `suppose`
        puts other platforms at the ends.
        """
        self.plan = plan
        self._given = service if service is not None else ServiceTimes(), sessions_max, suppose
        self.service = over_link(service if service is not None else ServiceTimes(), plan)
        self.setting = setting_of(plan, suppose)
        self.world = World(plan, self.service, self.setting)
        self.loads = load_models(plan, self.service)
        self.cut_at_ns: int | None = None
        """Where `sessions_max` ended the simulation, in ns after start_at; None when it ran to its end."""
        self.not_due = 0
        """Arrivals that the plan's max_duration left out."""
        self._sessions_max = sessions_max
        self._begun = 0
        self._sequence = 0
        self._heap: list[tuple[int, int, Iterator[int]]] = []

    def stretched(self, *, waits: float = 1.0, work: float = 1.0) -> Simulation:
        """Return the simulation, not begun, of the same plan with other service times (`ServiceTimes.stretched`)."""
        service, sessions_max, suppose = self._given
        slower = service.stretched(waits=waits, work=work)
        return Simulation(self.plan, slower, sessions_max=sessions_max, suppose=suppose)

    @property
    def texts(self) -> dict[int, str]:
        """The reply texts behind the rows' text ids."""
        return self.setting.serving.texts

    @property
    def causes(self) -> dict[FailureClass, Cause]:
        """What runs out in this plan where a failure class has no one meaning."""
        found: dict[FailureClass, Cause] = {}
        world, serving = self.world, self.setting.serving
        if world.listener is not None and world.listener.ghosts:
            found[FailureClass.GREETING_SILENT] = Cause.BACKLOG_GHOST
        if serving.greeting_cap is None and world.listener is not None:
            found[FailureClass.GREETING_RESET] = Cause.RESET_AFTER_ACCEPT
            if world.nat is None:
                found[FailureClass.CONTROL_CONNECT_TIMEOUT] = Cause.SLOW_ACCEPT
        if self.plan.scenario.client.active_ports is not None and any(
            stage.active for load in self.loads for _, flow in load.shares() for stage in flow.stages
        ):
            found[FailureClass.LOCAL_PORTS_EXHAUSTED] = Cause.ACTIVE_PORT_REUSED
        if world.leak_every and world.leak_chances >= world.leak_every:
            found[FailureClass.PASSIVE_EXHAUSTED] = Cause.CLOSE_WAIT_LEAK
        return found

    def rows(self) -> Iterator[tuple[Table, Row]]:
        """Yield (SESSIONS or OPERATIONS, row) as sessions proceed, each table roughly in the order of time."""
        for operations, sessions in self.batches(events=1):
            for row in operations:
                yield OPERATIONS, row
            for row in sessions:
                yield SESSIONS, row

    def batches(self, events: int = BATCH_EVENTS) -> Iterator[tuple[list[Row], list[Row]]]:
        """Yield the same as lists of operations and of sessions: what so many `events` wrote, each a row or two.

        The lists are emptied when the next ones are asked for.
        """
        for load in self.loads:
            self._begin_load(load)
        heap = self._heap
        sessions, operations = self.world.session_rows, self.world.operation_rows
        sessions_max = math.inf if self._sessions_max is None else self._sessions_max
        while heap and self.cut_at_ns is None:
            for _ in repeat(None, events):
                instant, sequence, process = heap[0]
                if self._begun >= sessions_max:
                    self.cut_at_ns = instant
                    break
                following = next(process, None)
                # What `process` itself put on the heap is never earlier than `instant`, so it still stands on top.
                if following is not None:
                    heapreplace(heap, (following, sequence, process))
                    continue
                heappop(heap)
                if not heap:
                    break
            yield operations, sessions
            operations.clear()
            sessions.clear()

    def _begin_load(self, load: LoadModel) -> None:
        start = load.load.start_time
        if load.schedule is not None:
            self._push(start, self._arrivals(load, load.schedule))
            return
        closed = load.load
        numbers = iter(range(closed.iterations) if isinstance(closed, SharedIterations) else range(1 << 32))
        if isinstance(closed, ProbeUntilSuccess):
            self._push(start, self._probe(load, closed.every, numbers))
        elif isinstance(closed, RampingSessions):
            stages = [(stage.duration, stage.target) for stage in closed.stages]
            for slot in range(closed.sessions):
                spans = slot_spans(closed.start_sessions, stages, slot)
                if spans:
                    self._push(start + spans[0].from_ns, self._ramped_slot(load, spans, numbers))
        else:
            assert isinstance(closed, ConstantSessions | SharedIterations)
            for _ in range(closed.sessions):
                self._push(start, self._slot(load, numbers))

    def _arrivals(self, load: LoadModel, schedule: Schedule) -> Iterator[int]:
        """Begin the sessions of an open load when they are due."""
        start = load.load.start_time
        bound = self.plan.scenario.stop.max_duration
        for number in range(schedule.count):
            instant = start + schedule.instant_ns(number)
            if instant >= bound:
                self.not_due += schedule.count - number
                return
            yield instant
            if load.slots is not None and not load.slots.take(instant):
                self.world.session_rows.append(drop_row(load, number, instant))
                continue
            self._begun += 1
            script = Session(self.world, load.pick(number), number, instant).script()
            following = next(script, None)
            if following is not None:
                self._push(following, script)

    def _slot(self, load: LoadModel, numbers: Iterator[int]) -> Iterator[int]:
        """One session after another, until the load's end or, for shared iterations, until none is left."""
        yield from self._go_on(load, load.load.start_time, load.end_ns, numbers)

    def _ramped_slot(self, load: LoadModel, spans: tuple[Span, ...], numbers: Iterator[int]) -> Iterator[int]:
        """One session after another in each of the slot's spans."""
        free = 0
        for span in spans:
            begin = max(free, load.load.start_time + span.from_ns)
            free = yield from self._go_on(load, begin, min(load.load.start_time + span.to_ns, load.end_ns), numbers)

    def _go_on(self, load: LoadModel, instant: int, until: int, numbers: Iterator[int]) -> Generator[int, None, int]:
        """One session after another from `instant` until `until`; return when the last one ended."""
        while instant < until:
            yield instant
            number = next(numbers, None)
            if number is None:
                break
            self._begun += 1
            session = Session(self.world, load.pick(number), number, instant)
            end = yield from session.script()
            pause = UNREACHABLE_PAUSE_NS if session.greeting_ns == ABSENT else 0
            instant = max(end + pause, instant + BUSY_SLOT_NS)
        return instant

    def _probe(self, load: LoadModel, every: int, numbers: Iterator[int]) -> Iterator[int]:
        """One try after another until one succeeds."""
        due = load.load.start_time
        while due < load.end_ns:
            yield due
            number = next(numbers)
            self._begun += 1
            session = Session(self.world, load.pick(number), number, due)
            end = yield from session.script()
            if session.first is None and not session.interrupted:
                return
            due = max(due + every, end)

    def _push(self, instant: int, process: Iterator[int]) -> None:
        self._sequence += 1
        heappush(self._heap, (instant, self._sequence, process))
