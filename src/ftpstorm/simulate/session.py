"""One simulated session: its script as a generator that yields the instants at which it touches what others share.

Between two such instants nothing can happen to a session, so only they are events. The rows that it writes are those of
a measured session: same columns, same meanings.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from ftpstorm.records.schema import ABSENT, UNKNOWN
from ftpstorm.scenario.flow import Retry
from ftpstorm.simulate.stages import Stage
from ftpstorm.simulate.world import CAP_TEXT, POOL_TEXT, LoadModel, Row, World
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Outcome, Phase, Side

Script = Generator[int, None, int]
"""Yields the next instant, never earlier than the last; returns when the session ended."""

ECONNRESET = 104

Failure = tuple[FailureClass, Phase, int, int, int, int]
"""Class, phase, control_survived, FTP code, errno, text id."""
NO_FAILURE: Final[Failure] = (FailureClass.NONE, Phase.NONE, UNKNOWN, 0, 0, 0)

Data = tuple[int, int, int, int, int, int, int]
"""Passive port, local port, bytes, and the stamps: passive reply, connected, first byte, end of data."""
NO_DATA: Final[Data] = (0, 0, 0, ABSENT, ABSENT, ABSENT, ABSENT)

SUCCEEDED = int(Outcome.SUCCEEDED)
FAILED = int(Outcome.FAILED)
INTERRUPTED = int(Outcome.INTERRUPTED)


def drop_row(load: LoadModel, number: int, intended_ns: int) -> Row:
    """Return the row of an arrival that found no session slot."""
    absent = (ABSENT,) * 6
    return (load.index, number, int(Outcome.DROPPED), 0, 0, UNKNOWN, *(0,) * 10, intended_ns, *absent)


class Session:
    """The state of one session while its script runs."""

    __slots__ = (
        "bytes",
        "capped",
        "connected_ns",
        "connects",
        "failed",
        "first",
        "greeting_ns",
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
        self.capped = False
        """It holds a place of the connection cap."""
        self.keeper: Side | None = Side.CLIENT
        """Who keeps the control connection's TIME_WAIT: the client, unless the server closes first."""
        self.first: Failure | None = None
        self.interrupted = False

    def script(self) -> Script:
        """Run the session from its arrival to its end."""
        world = self.world
        start = self.now
        if not world.control_ports.take(start):
            self.first = (FailureClass.LOCAL_PORTS_EXHAUSTED, Phase.CONTROL_CONNECT, 0, 0, world.no_port_errno, 0)
            return self._end()
        self.connects = 1
        self.local_port = world.draw_port()
        self.connected_ns = self.now = start + world.service.connect_ns
        if (yield from self._admit()) and self._greet():
            yield from self._steps()
        if self.listening:
            self._return_listener(self.now)
        if self.capped and world.cap is not None:
            world.cap.release_at(self.now)
        world.close_connection(start, self.now, self.keeper, control=True)
        return self._end()

    # --- up to the greeting -------------------------------------------------------------------------------------------

    def _admit(self) -> Generator[int, None, bool]:
        """Wait to be accepted and pass the connection cap; tell whether the server took the session on."""
        world = self.world
        if world.queue is None and world.cap is None:
            return True
        deadline = self.connected_ns + world.greeting_timeout_ns
        accepted = self.connected_ns if world.queue is None else world.queue.join(self.connected_ns)
        if accepted is None or accepted > deadline:
            # A full queue on a stock Linux leaves the client connected and unheard (SYN cookies are on).
            self._silent(deadline)
            return False
        if accepted > self.load.cut_ns:
            self._interrupt()
            return False
        self.now = accepted
        yield accepted
        if world.cap is None:
            return True
        self.capped = world.cap.take(accepted)
        if not self.capped:
            self._turned_away()
        return self.capped

    def _turned_away(self) -> None:
        answer = self.world.cap_answer
        self.now += self.world.service.reply_ns
        self.keeper = None if answer == "reset" else Side.SERVER
        phase = Phase.GREETING
        if answer == "421":
            self.first = (FailureClass.BUSY_AT_GREETING, phase, 0, 421, 0, CAP_TEXT)
        elif answer == "eof":
            self.first = (FailureClass.GREETING_EOF, phase, 0, 0, 0, 0)
        else:
            self.first = (FailureClass.GREETING_RESET, phase, 0, 0, ECONNRESET, 0)

    def _greet(self) -> bool:
        """Read the greeting; False when it does not come in time."""
        world = self.world
        deadline = self.connected_ns + world.greeting_timeout_ns
        greeting = world.serve(self.now, world.service.session_work_ns) + world.service.reply_ns
        if greeting > deadline:
            self._silent(deadline)
            return False
        if greeting > self.load.cut_ns:
            self._interrupt()
            return False
        self.greeting_ns = self.now = greeting
        return True

    def _silent(self, deadline_ns: int) -> None:
        if deadline_ns > self.load.cut_ns:
            self._interrupt()
            return
        self.now = deadline_ns
        self.first = (FailureClass.GREETING_SILENT, Phase.GREETING, 0, 0, 0, 0)

    def _interrupt(self) -> None:
        self.interrupted = True
        self.now = max(self.now, self.load.cut_ns)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _steps(self) -> Generator[int, None, None]:
        """Execute the flow."""
        load = self.load
        for ordinal, stage in enumerate(load.stages):
            if stage.passive:
                failure = yield from self._passive(stage, ordinal, 0)
                if failure is not None and load.retry is not None:
                    failure = yield from self._retry(stage, ordinal, load.retry, failure)
                if failure is not None:
                    self.first = self.first or failure  # a step that a retry recovered has not failed
                    if not load.continues:
                        return
            else:
                self._simple(stage, ordinal)
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
            self.now += retry.wait_ns(attempt)
            if self.now > self.load.cut_ns:
                self.now = self.load.cut_ns
                self.interrupted = True
                break
            last = yield from self._passive(stage, ordinal, attempt)
            if self.interrupted:
                break
        return last

    def _simple(self, stage: Stage, ordinal: int) -> None:
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
        self._record(stage, ordinal, 0, outcome, None, start)

    def _passive(self, stage: Stage, ordinal: int, attempt: int) -> Generator[int, None, Failure | None]:
        """Ask for a passive port; transfer through it unless the step is pasv-only. Returns the failure, if any."""
        world = self.world
        service = world.service
        cut = self.load.cut_ns
        start = self.now
        asked = start + service.reply_ns // 2
        answered = start + service.reply_ns
        if answered > cut:
            self._cut_short(stage, ordinal, attempt, start)
            return None
        yield asked
        if self.listening:
            self._return_listener(asked)
        port = 0
        if world.pool is not None:
            port = world.pool.take(asked)
            if not port:
                self.now = answered
                failure = (world.refusal, Phase.PASSIVE, 1, world.refusal_code, 0, POOL_TEXT)
                self._record(stage, ordinal, attempt, FAILED, failure, start)
                return failure
        if not stage.transfer:
            self._leave_listening(port, asked, answered)
            stamps = (port, 0, 0, answered, ABSENT, ABSENT, ABSENT)
            self._record(stage, ordinal, attempt, SUCCEEDED, None, start, stamps)
            return None
        if world.data_ports is not None and not world.data_ports.take(asked):
            self._leave_listening(port, asked, answered)
            failure = (FailureClass.LOCAL_PORTS_EXHAUSTED, Phase.DATA_CONNECT, 1, 0, world.no_port_errno, 0)
            stamps = (port, 0, 0, answered, ABSENT, ABSENT, ABSENT)
            self._record(stage, ordinal, attempt, FAILED, failure, start, stamps)
            return failure
        self._transfer(stage, ordinal, attempt, start, asked, answered, port)
        return None

    def _transfer(
        self, stage: Stage, ordinal: int, attempt: int, start: int, asked: int, answered: int, port: int
    ) -> None:
        """Move the payload. Nothing that others do can change it any more, so it is all decided here."""
        world = self.world
        service = world.service
        connected = answered + service.connect_ns
        first_byte = world.serve(connected, service.transfer_work_ns) + service.first_byte_ns
        size = stage.moved_bytes(self.number + ordinal)
        data_end = closed = first_byte + service.payload_ns(size)
        end = data_end + service.final_reply_ns
        outcome, moved, keeper = SUCCEEDED, size, stage.keeper
        cut = self.load.cut_ns
        if end > cut:
            outcome, end = INTERRUPTED, cut
            self.interrupted = True
            if data_end > cut:
                closed, data_end, keeper = cut, ABSENT, Side.CLIENT  # gives up in the middle and closes
                moved = max(0, cut - first_byte) * service.bytes_per_s // NS_PER_S
            connected = connected if connected <= cut else ABSENT
            first_byte = first_byte if first_byte <= cut else ABSENT
        self.connects += 1
        self.bytes += moved
        self.now = end
        world.close_connection(answered, closed, keeper, control=False)
        if world.pool is not None:
            free = closed + stage.hold_ns
            world.pool.release_at(port, free)
            world.occupancies.passive_pool.add(asked, free)
        stamps = (port, world.draw_port(), moved, answered, connected, first_byte, data_end)
        self._record(stage, ordinal, attempt, outcome, None, start, stamps)

    def _leave_listening(self, port: int, asked_ns: int, now_ns: int) -> None:
        self.listening, self.listening_ns, self.now = port, asked_ns, now_ns

    def _cut_short(self, stage: Stage, ordinal: int, attempt: int, start: int) -> None:
        self.interrupted = True
        self.now = max(start, self.load.cut_ns)
        self._record(stage, ordinal, attempt, INTERRUPTED, None, start)

    def _return_listener(self, now_ns: int) -> None:
        """Free a port that nobody connected to: no connection ended, so nothing is held."""
        pool = self.world.pool
        if pool is not None:
            pool.release_at(self.listening, now_ns)
            self.world.occupancies.passive_pool.add(self.listening_ns, now_ns)
        self.listening = 0

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _record(
        self,
        stage: Stage,
        ordinal: int,
        attempt: int,
        outcome: int,
        failure: Failure | None,
        start: int,
        data: Data = NO_DATA,
    ) -> None:
        """Write an operation's row, the session's present instant as its end."""
        self.operations += 1
        if failure is None:
            outcome_words = NO_FAILURE
        else:
            outcome_words = failure
            self.failed += 1
        failed, phase, survived, code, errno, text = outcome_words
        load, mode = self.load.index, stage.mode
        head = (load, self.number, ordinal, attempt, stage.operation, outcome, failed, phase, mode)
        self.world.operation_rows.append((*head, survived, code, errno, text, *data[:3], start, *data[3:], self.now))

    def _end(self) -> int:
        """Write the session's row; free its slot."""
        world, load = self.world, self.load
        end = self.now
        outcome = INTERRUPTED if self.interrupted else SUCCEEDED if self.first is None else FAILED
        failed, phase, survived, code, errno, text = self.first or NO_FAILURE
        world.occupancies.sessions.add(self.intended_ns, end)
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
                0,
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
