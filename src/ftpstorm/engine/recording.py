"""Turn what a session did into records, and decide whether control survived a failure.

A reply code does not tell whether the control connection lives on: a server may answer 425 and then die, or 421 and go
on. So the record of a failed operation waits until the server answers something else (it survived), control ends
without another reply (it did not), or the session is over with control still open (it survived).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftpstorm.engine.data import Data
from ftpstorm.engine.failure import StepFailedError
from ftpstorm.engine.journal import Journal
from ftpstorm.records.schema import ABSENT, UNKNOWN
from ftpstorm.vocabulary import TRANSFERS, DataMode, FailureClass, Operation, Outcome

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

_SURVIVED_AT = 9
"""Position of control_survived in an operation record."""


class Attempt:
    """What one execution of a step gathers for its record; a session owns one and resets it for each step."""

    __slots__ = ("data", "mode", "ordinal", "passive_ns", "passive_port", "replies", "reply_code", "retry", "start_ns")

    def __init__(self) -> None:
        self.ordinal = self.retry = 0
        self.begin(0)

    def begin(self, now: int) -> None:
        """Forget the last execution."""
        self.start_ns = now
        self.passive_ns = ABSENT
        self.passive_port = 0
        self.mode = DataMode.NONE
        self.reply_code = 0
        self.replies = 0
        """Replies read during this execution: any is a sign of life."""
        self.data: Data | None = None


class Recorder:
    """Writes the records of one session."""

    __slots__ = ("_pending", "_pending_error", "bytes", "failed", "first_error", "first_survived", "operations")

    def __init__(self) -> None:
        self._pending: list[Any] | None = None
        self._pending_error: StepFailedError | None = None
        self.operations = 0
        self.failed = 0
        self.bytes = 0
        self.first_error: StepFailedError | None = None
        """Of the first step that failed for good: one that a retry recovered has not failed."""
        self.first_survived = UNKNOWN

    def operation(
        self, session: Session, kind: Operation, outcome: Outcome, error: StepFailedError | None, *, alive: bool
    ) -> None:
        """Record the execution that just ended; `alive` tells whether control is open as far as this side knows."""
        journal = session.work.journal
        attempt = session.attempt
        if self._pending is not None:
            self._settle(journal, int(attempt.replies > 0))
        self.operations += 1
        _count_operation(journal, kind, outcome)
        record = self._operation_record(session, kind, outcome, error)
        if error is None:
            journal.append_operation(*record)
            return
        self.failed += 1
        _forget_frames(error)
        journal.counts.failures[error.failure] += 1
        self._pending = record
        self._pending_error = error
        if not alive:
            self._settle(journal, 0)

    def _operation_record(
        self, session: Session, kind: Operation, outcome: Outcome, error: StepFailedError | None
    ) -> list[Any]:
        journal = session.work.journal
        origin = journal.origin_ns
        attempt = session.attempt
        data = attempt.data
        stamps = (ABSENT, ABSENT, ABSENT)
        data_port = moved = 0
        if data is not None:
            data_port, moved = data.local_port, data.bytes
            stamps = (data.connected_ns, data.first_byte_ns, data.end_ns)
            self.bytes += moved
            journal.counts.bytes += moved
        passive_ns = attempt.passive_ns
        connected_ns, first_byte_ns, data_end_ns = stamps
        return [
            session.load.index,
            session.number,
            attempt.ordinal,
            attempt.retry,
            kind,
            outcome,
            FailureClass.NONE if error is None else error.failure,
            0 if error is None else error.phase,
            attempt.mode,
            UNKNOWN,
            attempt.reply_code if error is None else error.code,
            0 if error is None else error.errno,
            _text_id(session, error),
            attempt.passive_port,
            data_port,
            moved,
            attempt.start_ns - origin,
            passive_ns if passive_ns == ABSENT else passive_ns - origin,
            connected_ns if connected_ns == ABSENT else connected_ns - origin,
            first_byte_ns if first_byte_ns == ABSENT else first_byte_ns - origin,
            data_end_ns if data_end_ns == ABSENT else data_end_ns - origin,
            session.now - origin,
        ]

    def note(self, error: StepFailedError) -> None:
        """Remember the failure of a step that is not tried again; called after its record."""
        _forget_frames(error)
        if self.first_error is None:
            self.first_error = error

    def _settle(self, journal: Journal, survived: int) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending[_SURVIVED_AT] = survived
            journal.append_operation(*pending)
            if self._pending_error is self.first_error or self.first_error is None:
                self.first_survived = survived

    def session(self, session: Session, outcome: Outcome, *, alive: bool) -> None:
        """Record the session; `alive` tells whether control was open when its script ended."""
        journal = session.work.journal
        origin = journal.origin_ns
        if self._pending is not None:
            self._settle(journal, int(alive))
        error = self.first_error
        if error is not None and self.failed == 0:
            self.first_survived = 0  # it failed before its first operation: there was no control to survive
        control = session.control
        journal.append_session(
            session.load.index,
            session.number,
            outcome,
            FailureClass.NONE if error is None else error.failure,
            0 if error is None else error.phase,
            UNKNOWN if error is None else self.first_survived,
            0 if error is None else error.code,
            0 if error is None else error.errno,
            _text_id(session, error),
            session.target,
            session.source,
            0 if control is None else control.local_port,
            self.operations,
            self.failed,
            session.connects,
            self.bytes,
            session.intended_ns - origin,
            session.start_ns - origin,
            session.connected_ns if session.connected_ns == ABSENT else session.connected_ns - origin,
            session.tls_ns if session.tls_ns == ABSENT else session.tls_ns - origin,
            session.greeting_ns if session.greeting_ns == ABSENT else session.greeting_ns - origin,
            session.login_ns if session.login_ns == ABSENT else session.login_ns - origin,
            session.now - origin,
        )


def _text_id(session: Session, error: StepFailedError | None) -> int:
    """Return the id of a failure's reply text; the session's own password is blotted out of it."""
    if error is None or not error.text:
        return 0
    accounts = session.work.accounts
    secret = None if accounts is None else accounts.of(session.number)[1]
    return session.work.journal.intern(error.text, secret)


def _forget_frames(error: StepFailedError) -> None:
    """Drop the frames that `error` was raised through: they hold the session in a cycle, and no collector runs here."""
    error.__traceback__ = error.__context__ = None


def _count_operation(journal: Journal, kind: Operation, outcome: Outcome) -> None:
    counts = journal.counts
    counts.operations += 1
    if kind in TRANSFERS:
        counts.transfers_attempted += 1
        if outcome is Outcome.SUCCEEDED:
            counts.transfers_succeeded += 1
        elif outcome is Outcome.FAILED:
            counts.transfers_failed += 1


def record_drop(journal: Journal, load: int, number: int, intended_ns: int) -> None:
    """Record an arrival that found no free session slot."""
    intended = intended_ns - journal.origin_ns
    journal.counts.dropped += 1
    absent = (ABSENT,) * 6
    journal.append_session(
        load, number, Outcome.DROPPED, 0, 0, UNKNOWN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, intended, *absent
    )
