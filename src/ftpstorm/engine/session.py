"""One session, from connect to close: the script that a flow's steps become."""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import Any, Final

from ftpstorm.engine.commands import ANNOUNCEMENTS_MAX
from ftpstorm.engine.control import Control
from ftpstorm.engine.failure import (
    StepFailedError,
    failed_by_deadline,
    failed_by_eof,
    failed_by_errno,
    failed_by_garbage,
    failed_by_reply,
    failed_by_tls,
)
from ftpstorm.engine.fiber import ON_CONTROL, ON_SILENCE, ON_TIMER, DeadlineError, InterruptError
from ftpstorm.engine.nudge import first_reply, swallow_answer
from ftpstorm.engine.operations import Run, make_script
from ftpstorm.engine.protection import protect, shake_hands
from ftpstorm.engine.recording import Recorded
from ftpstorm.engine.scarcity import failed_connect, refuse_if_scarce
from ftpstorm.engine.sockets import IN_PROGRESS, connect_from, keep_alive, open_stream
from ftpstorm.engine.work import LoadWork, Script, Work
from ftpstorm.ftp.replies import Reply
from ftpstorm.plan.plan import PlannedStep
from ftpstorm.records.schema import ABSENT
from ftpstorm.vocabulary import FailureClass, Operation, Outcome, Phase

CLOSE_GRACE_NS = 1_000_000_000
"""How long after 221 the server may take to close first, so that TIME_WAIT is its own; then the client closes."""

ANSWER_AFTER_NS: Final = 20_000_000
"""How long after a server's close_notify its FIN may take, which comes right behind it where it comes by itself."""


class Session(Recorded):
    """State of one session. The dispatcher starts it, sweeps its deadline, and hears of its end (`Work.on_end`)."""

    __slots__ = ("outcome", "quit_ns")

    def __init__(self, work: Work, load: LoadWork, number: int, intended_ns: int) -> None:
        super().__init__(work, load, number, intended_ns)
        self.outcome = Outcome.NONE
        self.quit_ns = ABSENT

    @classmethod
    def make_script(cls, work: Work, steps: tuple[PlannedStep, ...]) -> Script:
        """Return a flow's steps as sessions of this class run them."""
        return make_script(work, steps)

    def start(self, now: int) -> None:
        """Begin to connect."""
        self.start_ns = now
        self.work.journal.counts.started += 1
        self.run(self._script(), now)

    def expire(self, now: int) -> None:
        """Throw DeadlineError into the script if its deadline has passed."""
        if not self.waiting or now < self.deadline_ns:
            return
        data = self.data
        if self.waiting & ON_SILENCE and data is not None and data.progress_ns != ABSENT and not data.ended:
            # The deadline of a transfer is a silence: what has moved since pushes it on.
            self.deadline_ns = max(self.deadline_ns, data.progress_ns + self.work.data_ns)
            if now < self.deadline_ns:
                return
        self.throw(DeadlineError(), now)

    def interrupt(self, now: int) -> None:
        """End the session at once; it counts as interrupted."""
        self.throw(InterruptError(), now)

    @types.coroutine
    def sleep_until(self, instant_ns: int) -> Generator[Any, Any, None]:
        """Suspend until `instant_ns`, whatever happens on the connections meanwhile. Raises InterruptError."""
        self.work.reactor.timers.call_at(instant_ns, self.wake_timer)
        while self.now < instant_ns:  # another timer, that nobody waits for any more, may wake it as well
            yield from self.wait(ON_TIMER)

    # --- the control connection as steps use it -----------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether control is open as far as this side knows."""
        control = self.control
        return control is not None and control.open

    def send(self, command: bytes, phase: Phase) -> None:
        """Send a command, after what the server said unasked. Raises StepFailedError where control is gone."""
        control = self.control
        assert control is not None
        if control.replies:
            self._hear_unasked(control, phase)
        if control.steady:  # `Control.send`, written out: it is called for every command
            try:
                if control.sock.send(command) == len(command):
                    return
                control.give_up_sending(None)
            except OSError as error:
                control.give_up_sending(error)
        elif control.send(command):
            return
        raise self.control_ended(phase)

    def _hear_unasked(self, control: Control, phase: Phase) -> None:
        while control.replies:
            unasked = control.replies.pop(0)
            if unasked.code == 421:
                control.close()
                raise failed_by_reply(phase, unasked, FailureClass.CONTROL_LOST)

    @types.coroutine
    def reply(self, phase: Phase, timeout_ns: int) -> Generator[None, int, Reply]:
        """Return the next reply.

        Raises StepFailedError when control ends first, or when the deadline passes: an answer that comes later could
        be taken for the next command's, so control is then closed.
        """
        control = self.control
        assert control is not None
        replies = control.replies
        if not replies:
            if control.ended:
                raise self.control_ended(phase)
            self.deadline_ns = self.now + timeout_ns
            try:
                while True:
                    self.waiting = ON_CONTROL
                    self.now = yield
                    self.waiting = 0
                    if replies:
                        break
                    if control.ended:
                        raise self.control_ended(phase)
                    control.acknowledge()  # half a reply: Nagle may hold back the rest until our ACK
            except DeadlineError:
                control.close()
                raise failed_by_deadline(phase) from None
        reply = replies.pop(0)
        self.reply_code = reply[0]
        self.replies_read += 1
        return reply

    def take_reply(self) -> Reply:
        """Return the reply that waits; only to be called when there is one."""
        control = self.control
        assert control is not None
        reply = control.replies.pop(0)
        self.reply_code = reply[0]
        self.replies_read += 1
        return reply

    def control_ended(self, phase: Phase) -> StepFailedError:
        """Return the failure that the end of the control connection means in `phase`."""
        control = self.control
        assert control is not None
        if control.replies and control.replies[0].code == 421:
            return failed_by_reply(phase, self.take_reply(), FailureClass.CONTROL_LOST)
        if control.garbage is not None:
            return failed_by_garbage(phase, control.garbage)
        if control.tls is not None and control.tls.failure is not None:
            return failed_by_tls(phase, control.tls)
        return failed_by_errno(phase, control.errno) if control.errno else failed_by_eof(phase)

    # --- the script ---------------------------------------------------------------------------------------------------

    async def _script(self) -> None:
        try:
            await self._connect()
            tls = self.work.tls
            if tls is not None and tls.implicit:
                await shake_hands(self, tls)
            await self._greet()
            if tls is not None:
                await protect(self, tls)
            while self.ordinal < len(self.load.script):  # no iterator: it would be kept for each session that waits
                operation, run, options = self.load.script[self.ordinal]
                self.begin_step()
                try:
                    await run(self, options)
                except StepFailedError as error:
                    if not await self._try_again(operation, run, options, error) and not (
                        self.load.continues and self.alive
                    ):
                        break
                except InterruptError:
                    self._cut(operation)
                    raise
                else:
                    self.record_success(operation)
                self.ordinal += 1
            if self.quit_ns != ABSENT:
                await self._await_close()
        except StepFailedError as error:  # before the first operation
            self.note(error)
            self.work.journal.counts.failures[error.failure] += 1
            self.work.journal.counts.unreachable_streak += 1
        except InterruptError:
            self.outcome = Outcome.INTERRUPTED

    async def _connect(self) -> None:
        phase = Phase.CONTROL_CONNECT
        work = self.work
        source, endpoint = work.sources[self.source], work.targets[self.target]
        if work.scarcity is not None:
            refuse_if_scarce(work, phase, (source, *endpoint), self.now)
        try:
            sock = open_stream(work.family)
        except OSError as error:
            raise failed_by_errno(phase, error.errno or 0) from None
        if work.keepalive_s is not None:
            keep_alive(sock, work.keepalive_s)
        number = connect_from(sock, source, endpoint)
        if number not in IN_PROGRESS:
            sock.close()
            raise failed_connect(work, phase, (source, *endpoint), number, self.now)
        self.connects += 1
        control = self.control = Control(work.reactor, sock, self)
        deadline_ns = self.now + work.connect_ns
        try:
            while not control.connected:
                if control.ended:
                    raise self.control_ended(phase)
                await self.wait(ON_CONTROL, deadline_ns)
        except DeadlineError:
            raise failed_by_deadline(phase) from None
        self.connected_ns = self.now

    async def _greet(self) -> None:
        """Wait for 220. A 120 announces a delay (RFC 959 section 5.4) and only resets the deadline."""
        phase = Phase.GREETING
        announced = 0
        nudge_ns = self.work.greeting_nudge_ns
        nudged = False
        while True:
            if nudge_ns is None:
                reply = await self.reply(phase, self.work.timeouts.greeting)
            else:
                reply, nudged = await first_reply(self, nudge_ns)
                nudge_ns = None
            if reply.code == 220:
                break
            announced += 1
            if reply.code != 120 or announced > ANNOUNCEMENTS_MAX:
                raise failed_by_reply(phase, reply)
        self.greeting_ns = self.now
        if nudged:
            await swallow_answer(self)
        self.work.journal.counts.unreachable_streak = 0

    async def _try_again(self, operation: Operation, run: Run, options: Any, error: StepFailedError) -> bool:
        """Record a step's failure, and try it again as its flow says; tell whether it succeeded in the end."""
        retry = self.load.retry
        self.retry = 0
        try:
            while True:
                if self.data is not None:
                    self.data.close()
                self.record_failure(operation, error, alive=self.alive)
                if (
                    retry is None
                    or self.retry >= retry.times
                    or not self.alive
                    or not ("any" in retry.on or error.code in retry.on)
                ):
                    self.note(error)
                    return False
                self.retry += 1
                await self.sleep_until(self.now + retry.wait_ns(self.retry))
                self.begin_step()
                try:
                    await run(self, options)
                except StepFailedError as again:
                    error = again
                except InterruptError:
                    self._cut(operation)
                    raise
                else:
                    self.record_success(operation)
                    return True
        finally:
            self.retry = 0

    def _cut(self, operation: Operation) -> None:
        """Record a step that the end of the run cut off."""
        if self.data is not None:
            self.data.close()
        self.record_interrupted(operation)

    async def _await_close(self) -> None:
        """Let the server close first. One that has said close_notify, and does not close, waits for ours (asyncio's
        do); to answer at once would reset one that closes right behind it, and cost it its TIME_WAIT."""
        control = self.control
        assert control is not None
        deadline_ns = self.quit_ns + CLOSE_GRACE_NS
        answered = False
        while not control.peer_closed:
            asked = control.ended and not answered
            try:
                await self.wait(ON_CONTROL, self.now + ANSWER_AFTER_NS if asked else deadline_ns)
            except DeadlineError:
                if not asked:
                    return
                control.answer_close_notify()
                answered = True

    def ended(self) -> None:
        """Close what is open, record the session, tell the dispatcher."""
        counts = self.work.journal.counts
        alive = self.alive or self.quit_ns != ABSENT  # after QUIT the server's close is no failure
        if self.outcome is Outcome.INTERRUPTED:
            counts.interrupted += 1
        elif self.first_error is not None:
            self.outcome = Outcome.FAILED
            counts.failed += 1
        else:
            self.outcome = Outcome.SUCCEEDED
            counts.succeeded += 1
        counts.connects += self.connects
        self.record_session(self.outcome, alive=alive)
        control = self.control
        if control is not None:
            control.close()
            control.owner = _NOBODY
        self.data = None
        self.work.on_end(self)


class _Nobody:
    """Takes the place of a session that has ended as its connection's owner: no cycle keeps its memory."""

    def wake_control(self, now: int) -> None:
        return


_NOBODY = _Nobody()
