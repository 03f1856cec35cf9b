"""The step `abort`: begin a transfer, send ABOR in the middle of it, and hold the server to RFC 959's two answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ftpstorm.engine.commands import encode, refused
from ftpstorm.engine.data import Data
from ftpstorm.engine.failure import failed_by_deadline
from ftpstorm.engine.fiber import ON_CONTROL, ON_DATA, ON_SILENCE, ON_TIMER, DeadlineError
from ftpstorm.engine.timers import Callback
from ftpstorm.engine.transfers import Transfer, open_transfer, phase_of, take_mark
from ftpstorm.ftp.commands import encode_command
from ftpstorm.ftp.replies import Reply
from ftpstorm.scenario.flow import AbortOptions
from ftpstorm.vocabulary import Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

ABOR: Final = encode_command("ABOR")

ABORTED: Final = frozenset({425, 426, 451})
"""How the aborted transfer may be answered, beside a 2xx of its own when it was over already."""


class Gate:
    """Wakes a session once so many bytes have come."""

    __slots__ = ("_left", "_session", "holds")

    def __init__(self, session: Session, count: int) -> None:
        self._session = session
        self._left = count
        self.holds = True

    def feed(self, chunk: memoryview) -> None:
        if self._left > 0:
            self._left -= len(chunk)
            if self._left <= 0:
                reactor = self._session.work.reactor
                reactor.timers.call_at(reactor.clock(), _waker(self._session))  # not from inside the read


def _waker(session: Session) -> Callback:
    """Return what wakes `session` as long as it is about the transfer that it has now."""
    data = session.data

    def wake(now: int) -> None:
        if session.data is data:
            session.wake_timer(now)

    return wake


async def abort(session: Session, options: AbortOptions) -> None:
    """Begin a transfer and abort it."""
    if options.retr is not None:
        check = Gate(session, options.after_bytes) if options.after_bytes else None
        job = Transfer(session.work, encode("RETR", options.retr), options, check=check)
    else:
        assert options.stor is not None
        command = encode_command("STOR", f"abort-{session.number}-{session.ordinal}.bin")
        size = min(options.stor, options.after_bytes) if options.after_bytes else options.stor
        job = Transfer(session.work, command, options, upload=size)
    began_ns = session.now
    data = await open_transfer(session, job)
    if options.after_ns:
        session.work.reactor.timers.call_at(began_ns + options.after_ns, _waker(session))
    answers = await _until_due(session, data, options, job, began_ns)
    _send(session, telnet=options.signal == "telnet")
    if options.close.first == "client":
        data.close(reset=options.close.with_ == "rst")
    await _two_answers(session, data, answers)
    data.close()
    _judge(session, answers)


async def _until_due(session: Session, data: Data, options: AbortOptions, job: Transfer, began_ns: int) -> list[Reply]:
    """Let the transfer go on until ABOR is due; return its final reply if it came before."""
    control = session.control
    assert control is not None
    answers: list[Reply] = []
    after_ns, after_bytes = options.after_ns, options.after_bytes
    deadline_ns = session.now + session.work.data_ns + (after_ns or 0)
    started = False
    while True:
        while control.replies:
            reply = session.take_reply()
            started = take_mark(session, data, job, reply, started=started)
            if reply.code >= 300:
                raise refused(session, phase_of(data), reply)
            if reply.code >= 200:
                answers.append(reply)
        due = session.now >= began_ns + after_ns if after_ns is not None else data.bytes >= after_bytes
        if due or answers or data.ended:
            return answers
        if control.ended:
            raise session.control_ended(phase_of(data))
        try:
            await session.wait(ON_DATA | ON_CONTROL | ON_TIMER | ON_SILENCE, deadline_ns)
        except DeadlineError:
            control.close()  # the transfer's own reply would be taken for another command's
            raise failed_by_deadline(phase_of(data)) from None


def _send(session: Session, *, telnet: bool) -> None:
    control = session.control
    assert control is not None
    if not (control.interrupt(ABOR) if telnet else control.send(ABOR)):
        raise session.control_ended(Phase.COMMAND)


async def _two_answers(session: Session, data: Data, answers: list[Reply]) -> None:
    """Read on until both commands are answered. Data is read as well: a server may be stuck in sending it."""
    control = session.control
    assert control is not None
    deadline_ns = session.now + session.work.reply_ns
    try:
        while True:
            while control.replies and len(answers) < 2:
                reply = session.take_reply()
                if reply.code >= 200:
                    answers.append(reply)
                if reply.code == 421:
                    raise refused(session, Phase.COMMAND, reply)
            if len(answers) == 2:
                return
            if control.ended:
                raise session.control_ended(Phase.COMMAND)
            if data.ended:
                data.close()  # proftpd holds back its replies until the client has closed as well
            control.acknowledge()
            await session.wait(ON_CONTROL | (0 if data.ended else ON_DATA), deadline_ns)
    except DeadlineError:
        control.close()
        raise failed_by_deadline(Phase.FINAL_REPLY) from None


def _judge(session: Session, answers: list[Reply]) -> None:
    """One of the two answers must confirm ABOR; the other may say that the transfer is broken off."""
    wrong = [reply for reply in answers if not 200 <= reply.code < 300]
    unexpected = next((reply for reply in wrong if reply.code not in ABORTED), None)
    if unexpected is not None or len(wrong) == 2:
        raise refused(session, Phase.COMMAND, unexpected or wrong[1])
