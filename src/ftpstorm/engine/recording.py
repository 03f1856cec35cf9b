"""Turn what a session did into records, and decide whether control survived a failure.

A reply code does not tell whether the control connection lives on: a server may answer 425 and then die, or 421 and go
on. So the record of a failed operation waits until the server answers something else (it survived), control ends
without another reply (it did not), or the session is over with control still open (it survived). A reply by which
control is lost, such as 421 or vsftpd's `500 OOPS`, is a server's last words and no answer: control did not survive it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ftpstorm.engine.data import Data
from ftpstorm.engine.failure import StepFailedError
from ftpstorm.engine.fiber import Fiber
from ftpstorm.engine.journal import Journal
from ftpstorm.engine.work import LoadWork, Work
from ftpstorm.records.schema import ABSENT, UNKNOWN
from ftpstorm.vocabulary import DataMode, FailureClass, Operation, Outcome

if TYPE_CHECKING:
    from ftpstorm.engine.control import Control

_SURVIVED_AT: Final = 9
"""Position of control_survived in an operation record."""

# Plain names: looking a member up on its class costs more than the record's arithmetic.
_NO_MODE: Final = DataMode.NONE
_NO_FAILURE: Final = FailureClass.NONE
_LOST: Final = FailureClass.CONTROL_LOST
_SUCCEEDED: Final = Outcome.SUCCEEDED
_FAILED: Final = Outcome.FAILED


class Recorded(Fiber):
    """A session as its records see it: stamps, the step that runs now, and the failure that still waits for its word.

    What is about one execution of a step is set back by `begin_step`.
    """

    __slots__ = (
        "_pending",
        "bytes",
        "connected_ns",
        "connects",
        "control",
        "data",
        "data_mode",
        "failed",
        "first_error",
        "first_survived",
        "greeting_ns",
        "intended_ns",
        "load",
        "login_ns",
        "number",
        "operations",
        "ordinal",
        "passive_ns",
        "passive_port",
        "replies_read",
        "reply_code",
        "retry",
        "source",
        "start_ns",
        "step_start_ns",
        "target",
        "tls_ns",
        "work",
    )

    def __init__(self, work: Work, load: LoadWork, number: int, intended_ns: int) -> None:
        super().__init__()
        self.work = work
        self.load = load
        self.number = number
        """Number of the arrival within its load."""
        self.intended_ns = intended_ns
        self.source = number % len(work.sources)
        self.target = number // len(work.sources) % len(work.targets)  # every pair of the two comes equally often
        self.control: Control | None = None
        self.connects = 0
        self.start_ns = self.connected_ns = self.tls_ns = self.greeting_ns = self.login_ns = ABSENT
        self._pending: tuple[list[Any], StepFailedError] | None = None
        """Record of a failed operation, and the failure: whether control survived it is not yet known."""
        self.operations = self.failed = self.bytes = 0
        self.first_error: StepFailedError | None = None
        """Of the first step that failed for good: one that a retry recovered has not failed."""
        self.first_survived = UNKNOWN
        self.ordinal = self.retry = 0
        self.step_start_ns = 0
        self.passive_ns = ABSENT
        self.passive_port = self.reply_code = 0
        self.data_mode = _NO_MODE
        self.replies_read = 0
        """Replies read during this execution: any is a sign of life."""
        self.data: Data | None = None

    def begin_step(self) -> None:
        """Forget the last execution of a step."""
        self.step_start_ns = self.now
        self.data = None
        self.passive_ns = ABSENT
        self.passive_port = self.reply_code = self.replies_read = 0
        self.data_mode = _NO_MODE

    def record_success(self, kind: Operation) -> None:
        """Record the execution that just ended well. One that asked nothing of the server leaves open whether control
        survived the failure before it."""
        journal = self.work.journal
        if self._pending is not None and self.replies_read:
            self._settle(journal, 1)
        self.operations += 1
        origin = journal.origin_ns
        counts = journal.counts
        counts.operations_succeeded[kind] += 1
        data = self.data
        passive_ns = self.passive_ns
        connected_ns = first_byte_ns = data_end_ns = ABSENT
        data_port = moved = 0
        if data is not None:
            data_port = data.local_port
            moved = data.bytes
            self.bytes += moved
            counts.bytes += moved
            connected_ns = data.connected_ns - origin
            if moved:
                first_byte_ns = data.first_byte_ns - origin
            data_end_ns = data.end_ns
            if data_end_ns != ABSENT:
                data_end_ns -= origin
        spool = journal.operations
        if spool.used == spool.room:
            spool.flush()
        pack = spool.pack
        pack(
            spool.buffer,
            spool.used,
            self.load.index,
            self.number,
            self.ordinal,
            self.retry,
            kind,
            _SUCCEEDED,
            _NO_FAILURE,
            0,
            self.data_mode,
            UNKNOWN,
            self.reply_code,
            0,
            0,
            self.passive_port,
            data_port,
            moved,
            self.step_start_ns - origin,
            passive_ns if passive_ns == ABSENT else passive_ns - origin,
            connected_ns,
            first_byte_ns,
            data_end_ns,
            self.now - origin,
        )
        spool.used += spool.width

    def record_failure(self, kind: Operation, error: StepFailedError, *, alive: bool) -> None:
        """Record the execution that `error` ended; `alive` tells whether control is open as far as this side knows."""
        journal = self.work.journal
        lost = error.failure is _LOST
        if self._pending is not None:
            last_words = lost and error.code != 0
            self._settle(journal, int(self.replies_read > last_words))
        journal.counts.operations_failed[kind] += 1
        record = self._record(kind, _FAILED, error)
        self.failed += 1
        _forget_frames(error)
        journal.counts.failures[error.failure] += 1
        self._pending = record, error
        if lost or not alive:
            self._settle(journal, 0)

    def record_interrupted(self, kind: Operation) -> None:
        """Record the execution that the end of the run cut off."""
        journal = self.work.journal
        if self._pending is not None:
            self._settle(journal, int(self.replies_read > 0))
        journal.counts.operations_interrupted[kind] += 1
        journal.append_operation(*self._record(kind, Outcome.INTERRUPTED, None))

    def _record(self, kind: Operation, outcome: Outcome, error: StepFailedError | None) -> list[Any]:
        """Return the record of an execution that did not succeed, and count what it moved."""
        counts = self.work.journal.counts
        self.operations += 1
        stamps = (ABSENT, ABSENT, ABSENT)
        data = self.data
        data_port = moved = 0
        if data is not None:
            data_port, moved = data.local_port, data.bytes
            stamps = (data.connected_ns, data.first_byte_ns, data.end_ns)
            self.bytes += moved
            counts.bytes += moved
        elif error is not None:
            data_port = error.data_port
        return [
            self.load.index,
            self.number,
            self.ordinal,
            self.retry,
            kind,
            outcome,
            _NO_FAILURE if error is None else error.failure,
            0 if error is None else error.phase,
            self.data_mode,
            UNKNOWN,
            self.reply_code if error is None else error.code,
            0 if error is None else error.errno,
            self._text_id(error),
            self.passive_port,
            data_port,
            moved,
            *self._relative(self.step_start_ns, self.passive_ns, *stamps, self.now),
        ]

    def _relative(self, *stamps: int) -> list[int]:
        """Return stamps in ns after start_at; those that are absent stay so."""
        origin = self.work.journal.origin_ns
        return [stamp if stamp == ABSENT else stamp - origin for stamp in stamps]

    def note(self, error: StepFailedError) -> None:
        """Remember the failure of a step that is not tried again; called after its record."""
        _forget_frames(error)
        if self.first_error is None:
            self.first_error = error

    def _settle(self, journal: Journal, survived: int) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            record, error = pending
            record[_SURVIVED_AT] = survived
            journal.append_operation(*record)
            if error is self.first_error or self.first_error is None:
                self.first_survived = survived

    def record_session(self, outcome: Outcome, *, alive: bool) -> None:
        """Record the session; `alive` tells whether control was open when its script ended."""
        journal = self.work.journal
        if self._pending is not None:
            self._settle(journal, int(alive))
        error = self.first_error
        if error is not None and self.failed == 0:
            self.first_survived = 0  # it failed before its first operation: there was no control to survive
        origin = journal.origin_ns
        control = self.control
        connected_ns, tls_ns, greeting_ns, login_ns = self.connected_ns, self.tls_ns, self.greeting_ns, self.login_ns
        journal.append_session(
            self.load.index,
            self.number,
            outcome,
            _NO_FAILURE if error is None else error.failure,
            0 if error is None else error.phase,
            UNKNOWN if error is None else self.first_survived,
            0 if error is None else error.code,
            0 if error is None else error.errno,
            0 if error is None else self._text_id(error),
            self.target,
            self.source,
            0 if control is None else control.local_port,
            self.operations,
            self.failed,
            self.connects,
            self.bytes,
            self.intended_ns - origin,
            self.start_ns - origin,
            connected_ns if connected_ns == ABSENT else connected_ns - origin,
            tls_ns if tls_ns == ABSENT else tls_ns - origin,
            greeting_ns if greeting_ns == ABSENT else greeting_ns - origin,
            login_ns if login_ns == ABSENT else login_ns - origin,
            self.now - origin,
        )

    def _text_id(self, error: StepFailedError | None) -> int:
        """Return the id of a failure's reply text; the session's own password is blotted out of it."""
        if error is None or not error.text:
            return 0
        accounts = self.work.accounts
        secret = None if accounts is None else accounts.of(self.number)[1]
        return self.work.journal.intern(error.text, secret)


def _forget_frames(error: StepFailedError) -> None:
    """Drop the frames that `error` was raised through: they hold the session in a cycle, and no collector runs here."""
    error.__traceback__ = error.__context__ = None


def record_drop(journal: Journal, load: int, number: int, intended_ns: int) -> None:
    """Record an arrival that found no free session slot."""
    intended = intended_ns - journal.origin_ns
    journal.counts.dropped += 1
    absent = (ABSENT,) * 6
    journal.append_session(
        load, number, Outcome.DROPPED, 0, 0, UNKNOWN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, intended, *absent
    )
