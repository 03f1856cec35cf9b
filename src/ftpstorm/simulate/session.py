"""One simulated session: its script as a generator that yields the instants at which it touches what others share.

Between two such instants nothing can happen to a session, so only they are events. The rows that it writes are those of
a measured session: same columns, same meanings.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from ftpstorm.records.schema import ABSENT, UNKNOWN
from ftpstorm.scenario.flow import Retry
from ftpstorm.simulate.admission import admit
from ftpstorm.simulate.exchange import (
    FAILED,
    INTERRUPTED,
    NO_BACKEND,
    STILL_IN_USE,
    SUCCEEDED,
    Data,
    active,
    filtered,
    no_data,
    refused_behind,
    transfer,
)
from ftpstorm.simulate.losing import lose, pause_unaware
from ftpstorm.simulate.pool import Places
from ftpstorm.simulate.serving import Failure
from ftpstorm.simulate.stages import Stage
from ftpstorm.simulate.world import LoadModel, Row, World
from ftpstorm.vocabulary import FailureClass, Outcome, Phase, Side

Script = Generator[int, None, int]
"""Yields the next instant, never earlier than the last; returns when the session ended."""

NO_FAILURE: Final[Failure] = (FailureClass.NONE, Phase.NONE, UNKNOWN, 0, 0, 0)


def drop_row(load: LoadModel, number: int, intended_ns: int) -> Row:
    """Return the row of an arrival that found no session slot."""
    absent = (ABSENT,) * 6
    return (load.index, number, int(Outcome.DROPPED), 0, 0, UNKNOWN, *(0,) * 10, intended_ns, *absent)


class Session:
    """The state of one session while its script runs."""

    __slots__ = (
        "_holding",
        "bytes",
        "connected_ns",
        "connects",
        "dead",
        "dead_ns",
        "destination",
        "failed",
        "first",
        "greeting_ns",
        "held_until_ns",
        "intended_ns",
        "interrupted",
        "keeper",
        "listening",
        "listening_ns",
        "load",
        "local_port",
        "login_ns",
        "now",
        "number",
        "operations",
        "own_port",
        "own_since_ns",
        "world",
    )

    def __init__(self, world: World, load: LoadModel, number: int, intended_ns: int) -> None:
        self.world = world
        self.load = load
        self.number = number
        self.intended_ns = self.now = intended_ns
        self.connected_ns = self.greeting_ns = self.login_ns = ABSENT
        self.local_port = self.operations = self.failed = self.connects = self.bytes = 0
        self.listening = 0
        """A passive port that was given and not connected to."""
        self.listening_ns = 0
        self.own_port = self.own_since_ns = 0
        """The passive port that the control connection keeps, with a server that gives each one."""
        self.destination = 0
        """What its control connection's port is drawn for; see `World.destination`."""
        self.held_until_ns = 0
        """Until when the server takes its last data connection to be still in use."""
        self.dead = False
        """The server has closed the control connection, at `dead_ns`."""
        self.dead_ns = ABSENT
        self.keeper: Side | None = Side.CLIENT
        """Who keeps the control connection's TIME_WAIT: the client, unless the server closes first."""
        self.first: Failure | None = None
        self.interrupted = False
        self._holding: list[tuple[Places, int, bool]] | None = None

    def script(self) -> Script:
        """Run the session from its arrival to its end."""
        world = self.world
        start = self.now
        self.destination = world.destination(self.number)
        if not world.control_ports.take(self.destination, start):
            self.first = (FailureClass.LOCAL_PORTS_EXHAUSTED, Phase.CONTROL_CONNECT, 0, 0, world.no_port_errno, 0)
            return self._end()
        self.connects = 1
        self.local_port = world.draw_port()
        if world.simple:
            self.connected_ns = self.now = start + world.service.connect_ns
            admitted = True
        else:
            admitted = yield from admit(self)
        if admitted and self._greet():
            yield from self._steps()
        if self.listening:
            self._return_listener(self.now)
        if self.own_port:
            self._return_own_port()
        if self._holding is not None:
            for places, after_ns, of_server in self._holding:
                freed = self.dead_ns if of_server and self.dead else self.now
                places.release_at(freed + after_ns)
        world.close_connection(start, self.now, self.keeper, control=True, destination=self.destination)
        return self._end()

    # --- up to the greeting -------------------------------------------------------------------------------------------

    def hold(self, places: Places, after_ns: int = 0, *, of_server: bool = False) -> None:
        """Keep a place until the session's end and `after_ns` longer, one `of_server` until the server ends it."""
        if self._holding is None:
            self._holding = []
        self._holding.append((places, after_ns, of_server))

    def die(self) -> None:
        """Have the server close the control connection now."""
        self.dead, self.dead_ns, self.keeper = True, self.now, Side.SERVER

    def _greet(self) -> bool:
        """Read the greeting; False when it does not come in time."""
        world = self.world
        deadline = self.connected_ns + world.timeouts.greeting
        greeting = world.serve(self.now, world.service.session_work_ns) + world.service.reply_ns
        if greeting > deadline:
            self.stay_unheard(deadline)
            return False
        if greeting > self.load.cut_ns:
            self.interrupt()
            return False
        self.greeting_ns = self.now = greeting
        return True

    def stay_unheard(self, deadline_ns: int) -> None:
        """Give up at `deadline_ns` without a greeting."""
        if deadline_ns > self.load.cut_ns:
            self.interrupt()
            return
        self.now = deadline_ns
        self.first = (FailureClass.GREETING_SILENT, Phase.GREETING, 0, 0, 0, 0)

    def interrupt(self) -> None:
        """End at the load's last instant."""
        self.interrupted = True
        self.now = max(self.now, self.load.cut_ns)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _steps(self) -> Generator[int, None, None]:
        """Execute the flow."""
        load = self.load
        reply_ns = self.world.service.reply_ns
        for ordinal, stage in enumerate(load.stages):
            if stage.passive:
                start = self.now
                if start + reply_ns > load.cut_ns:
                    self._cut_short(stage, ordinal, 0)
                    return
                yield start + stage.asked_ns
                failure = self._ask(stage, ordinal, 0, start)
                if failure is not None and load.retry is not None:
                    failure = yield from self._retry(stage, ordinal, load.retry, failure)
                if failure is not None:
                    self.first = self.first or failure  # a step that a retry recovered has not failed
                    if self.dead and load.continues and failure[0] is not FailureClass.CONTROL_LOST:
                        pause_unaware(self, ordinal + 1)
                    if self.dead or not load.continues:
                        return
            elif stage.logs_in and self.world.login_cap is not None:
                if not (yield from self._login(stage, ordinal, self.world.login_cap)):
                    return
            else:
                self.plain_step(stage, ordinal)
            if self.interrupted:
                return
            if stage.quits:
                self.keeper = stage.keeper  # after 221 the server closes first, unless the scenario says otherwise

    def _retry(
        self, stage: Stage, ordinal: int, retry: Retry, failure: Failure
    ) -> Generator[int, None, Failure | None]:
        """Try a failed step again, as often and for those codes that the flow says; return what it ended with."""
        last: Failure | None = failure
        for attempt in range(1, retry.times + 1):
            if last is None or ("any" not in retry.on and last[3] not in retry.on):
                break
            wait_ns = retry.wait_ns(attempt)
            if self.dead and not wait_ns:
                break
            self.now += wait_ns
            if self.now > self.load.cut_ns:
                self.now = self.load.cut_ns
                self.interrupted = True
                break
            if self.dead:
                return lose(self, stage, ordinal, attempt)
            start = self.now
            if start + self.world.service.reply_ns > self.load.cut_ns:
                self._cut_short(stage, ordinal, attempt)
                return None
            yield start + stage.asked_ns
            last = self._ask(stage, ordinal, attempt, start)
            if self.interrupted:
                break
        return last

    def plain_step(self, stage: Stage, ordinal: int) -> None:
        """A step without data connection: some replies, a pause, or a stay."""
        start = self.now
        end = start + stage.duration_ns if stage.until_ns is None else max(start, stage.until_ns)
        outcome = SUCCEEDED
        if end > self.load.cut_ns:
            end = max(start, self.load.cut_ns)
            outcome = INTERRUPTED
            self.interrupted = True
        elif stage.logs_in:
            self.login_ns = end
        self.now = end
        self.record(stage, ordinal, 0, outcome, None, no_data(start))

    def _login(self, stage: Stage, ordinal: int, cap: Places) -> Generator[int, None, bool]:
        """Log in to a server that counts its users only then; tell whether it took this one."""
        start, end = self.now, self.now + stage.duration_ns
        if end <= self.load.cut_ns:
            yield end
            if not cap.take(end):
                most = self.world.serving.login_cap
                assert most is not None
                self.now = end
                self.die()
                self.first = most.failure
                self.record(stage, ordinal, 0, FAILED, most.failure, no_data(start))
                return False
            self.hold(cap, of_server=True)
        self.plain_step(stage, ordinal)
        return True

    def _ask(self, stage: Stage, ordinal: int, attempt: int, start: int) -> Failure | None:
        """Take a passive port, `stage.asked_ns` after the command was sent at `start`; transfer through it unless the
        step is pasv-only. Returns the failure, if any."""
        world = self.world
        asked = start + stage.asked_ns
        answered = start + world.service.reply_ns
        if stage.active:
            return active(self, stage, ordinal, attempt, start, answered)
        if self.listening:
            self._return_listener(asked)
        port = self.own_port
        if world.pool is not None and not port:
            port = world.pool.take(asked)
            if not port:
                self.now = answered
                self.record(stage, ordinal, attempt, FAILED, world.refusal, no_data(start))
                if not world.refusal[2]:
                    self.die()
                return world.refusal
            if world.keeps_port:
                self.own_port, self.own_since_ns = port, asked
        if not stage.transfer:
            self.leave_listening(port, asked, answered)
            data = (port, 0, 0, start, answered, ABSENT, ABSENT, ABSENT)
            self.record(stage, ordinal, attempt, SUCCEEDED, None, data)
            return None
        ports = world.data_ports
        if ports is not None and not ports.take(self.destination | port & world.port_mask, asked):
            self.leave_listening(port, asked, answered)
            failure = (FailureClass.LOCAL_PORTS_EXHAUSTED, Phase.DATA_CONNECT, 1, 0, world.no_port_errno, 0)
            data = (port, 0, 0, start, answered, ABSENT, ABSENT, ABSENT)
            self.record(stage, ordinal, attempt, FAILED, failure, data)
            return failure
        if world.open_ports is not None and port not in world.open_ports:
            return filtered(self, stage, ordinal, attempt, start, asked, answered, port)
        if answered < self.held_until_ns:
            return refused_behind(self, stage, ordinal, attempt, start, asked, answered, port, STILL_IN_USE)
        if world.backend_ports is not None and not world.backend_ports.take(asked):
            return refused_behind(self, stage, ordinal, attempt, start, asked, answered, port, NO_BACKEND)
        failed = transfer(self, stage, ordinal, attempt, start, asked, answered, port)
        self.held_until_ns = self.now + world.session_hold_ns
        return failed

    def leave_listening(self, port: int, asked_ns: int, now_ns: int) -> None:
        self.listening, self.listening_ns, self.now = port, asked_ns, now_ns

    def _cut_short(self, stage: Stage, ordinal: int, attempt: int) -> None:
        start = self.now
        self.interrupted = True
        self.now = max(start, self.load.cut_ns)
        self.record(stage, ordinal, attempt, INTERRUPTED, None, no_data(start))

    def _return_listener(self, now_ns: int) -> None:
        """Free a port that nobody connected to: no connection ended, so nothing is held."""
        pool = self.world.pool
        if pool is not None and not self.own_port:
            pool.release_at(self.listening, now_ns)
            self.world.lives.passive_ports.note((self.listening_ns, now_ns, now_ns))
        self.listening = 0

    def _return_own_port(self) -> None:
        """Free the port that the control connection kept."""
        assert self.world.pool is not None
        self.world.pool.release_at(self.own_port, self.now)
        self.world.lives.passive_ports.note((self.own_since_ns, self.now, self.now))

    # --- rows ---------------------------------------------------------------------------------------------------------

    def record(
        self,
        stage: Stage,
        ordinal: int,
        attempt: int,
        outcome: int,
        failure: Failure | None,
        data: Data,
    ) -> None:
        """Write an operation's row, the session's present instant as its end."""
        self.operations += 1
        if failure is None:
            how = stage.unfailed[outcome]
        else:
            self.failed += 1
            failed, phase, *rest = failure
            how = (stage.operation, outcome, failed, phase, stage.mode, *rest)
        self.world.operation_rows.append((self.load.index, self.number, ordinal, attempt, *how, *data, self.now))

    def _end(self) -> int:
        """Write the session's row; free its slot."""
        world, load = self.world, self.load
        end = self.now
        outcome = INTERRUPTED if self.interrupted else SUCCEEDED if self.first is None else FAILED
        failed, phase, survived, code, errno, text = self.first or NO_FAILURE
        world.lives.sessions.note((self.intended_ns, end))
        if load.slots is not None:
            load.slots.release_at(end)
        world.session_rows.append(
            (
                load.index,
                self.number,
                outcome,
                failed,
                phase,
                survived,
                code,
                errno,
                text,
                self.number // world.sources % world.targets,
                self.number % world.sources,
                self.local_port,
                self.operations,
                self.failed,
                self.connects,
                self.bytes,
                self.intended_ns,
                self.intended_ns,
                self.connected_ns,
                ABSENT,
                self.greeting_ns,
                self.login_ns,
                end,
            )
        )
        return end
