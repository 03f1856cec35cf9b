"""Start sessions when they are due, count what could not start, sweep deadlines, end what no load waits for any more.

When a load's next session is due is its runner's business. A load that has ended leaves its sessions `graceful_stop` to
finish; then they are interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ftpstorm.engine.fiber import ON_HOLD
from ftpstorm.engine.lateness import LatencyHistogram
from ftpstorm.engine.runners import Runner, interrupter, make_runner
from ftpstorm.engine.session import Session
from ftpstorm.engine.work import LoadWork, Work
from ftpstorm.plan.plan import load_end_ns

MakeSession = type[Session]
"""`Session`, or what another driver has in its place."""

SWEEP_EVERY_S: Final = 0.05
"""Pace of the deadline sweep: a deadline is noticed at most this late; 10,000 sessions cost it 0.5 ms."""


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
        make_session: MakeSession = Session,
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
        self._make_session = make_session
        work.on_end = self._session_ended
        for load in loads:
            for each in (load, *(() if load.mix is None else load.mix.works.values())):
                each.script = make_session.make_script(work, each.steps)
        self._runners = [make_runner(self, load, load.schedule) for load in loads]

    def begin(self) -> None:
        """Set the first timers; sessions start from `start_at_ns` on."""
        for runner in self._runners:
            runner.begin()
            load = runner.work.load
            grace_over_ns = self.start_at_ns + load_end_ns(load) + load.graceful_stop
            self.work.reactor.timers.call_at(grace_over_ns, interrupter(self.interrupt_load, runner))
        self.check_finished()

    @property
    def planned(self) -> int:
        """Sessions the plan has for this worker; a load whose number only the run tells counts those it started."""
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
        load = runner.work
        if load.mix is not None:
            load = load.mix.pick(number)
        session = self._make_session(self.work, load, number, intended_ns)
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
        """Start no more sessions; those under way may finish, and those that are only held quit."""
        for runner in self._runners:
            runner.stop(now)
            runner.work.release()
        for session in self.sessions:
            if session.waiting & ON_HOLD:
                session.deadline_ns = now
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
