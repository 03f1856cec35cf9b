"""What a prediction keeps of the simulated rows: counts, and the instants that the estimator wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from ftpstorm.limits.ports import EADDRINUSE
from ftpstorm.records.schema import ABSENT, OPERATIONS, SESSIONS, Table
from ftpstorm.simulate.world import Row
from ftpstorm.vocabulary import TRANSFERS, Cause, FailureClass, Outcome

_SESSION: Final = {column.name: place for place, column in enumerate(SESSIONS.columns)}
_OPERATION: Final = {column.name: place for place, column in enumerate(OPERATIONS.columns)}
_TRANSFER_NUMBERS: Final = frozenset(int(operation) for operation in TRANSFERS)

CAUSES: Final = {
    FailureClass.PASSIVE_EXHAUSTED: Cause.SERVER_PASSIVE_POOL,
    FailureClass.LOCAL_PORTS_EXHAUSTED: Cause.CLIENT_EPHEMERAL_PORTS,
    FailureClass.BUSY_AT_GREETING: Cause.SERVER_CONNECTION_CAP,
    FailureClass.GREETING_EOF: Cause.SERVER_CONNECTION_CAP,
    FailureClass.GREETING_RESET: Cause.SERVER_CONNECTION_CAP,
    FailureClass.BUSY_AT_LOGIN: Cause.SERVER_CONNECTION_CAP,
    FailureClass.GREETING_SILENT: Cause.SLOW_ACCEPT,
    FailureClass.PASSIVE_OUT_OF_RANGE: Cause.SERVER_PASSIVE_POOL_ESCAPED,
    FailureClass.CONTROL_CONNECT_REFUSED: Cause.PER_ADDRESS_LIMIT,
    FailureClass.CONTROL_CONNECT_TIMEOUT: Cause.NAT_POOL,
    FailureClass.DATA_CONNECT_TIMEOUT: Cause.FIREWALL_NO_HELPER,
    FailureClass.DATA_CONNECT_REFUSED: Cause.FIREWALL_NO_HELPER,
    FailureClass.UNREACHABLE: Cause.FIREWALL_NO_HELPER,
    FailureClass.TRANSFER_ABORTED: Cause.SERVER_EPHEMERAL_PORTS,
}
"""What ran out in the model, by the failure that says so."""


class Tally:
    """Counts of one simulation; fed row by row."""

    __slots__ = (
        "_bind_failed",
        "_causes",
        "failures",
        "first_ns",
        "last_start_ns",
        "outcomes",
        "retried",
        "success_ns",
        "transfers",
    )

    def __init__(self) -> None:
        self.outcomes: Counter[int] = Counter()
        """Sessions by Outcome number."""
        self.transfers: Counter[int] = Counter()
        """Attempted transfers by Outcome number."""
        self.retried = 0
        self.failures: Counter[int] = Counter()
        """Failures by FailureClass number: operations, and sessions that failed before their first."""
        self.success_ns: list[int] = []
        """When transfers succeeded; in order after `sort`."""
        self.last_start_ns: int | None = None
        """When the last session began."""
        self.first_ns: dict[FailureClass, int] = {}
        """When the client first knew of a failure of each class."""
        self._bind_failed = False
        self._causes: Mapping[FailureClass, Cause] = {}

    def name_causes(self, causes: Mapping[FailureClass, Cause]) -> None:
        """Say what ran out where that depends on the plan: put before CAUSES."""
        self._causes = causes

    def feed_all(self, operations: list[Row], sessions: list[Row]) -> None:
        """Count many rows."""
        for row in operations:
            self._feed_operation(row)
        for row in sessions:
            self._feed_session(row)

    def feed(self, table: Table, row: Row) -> None:
        """Count one row."""
        if table is OPERATIONS:
            self._feed_operation(row)
        else:
            self._feed_session(row)

    def _feed_operation(self, row: Row) -> None:
        outcome = row[_OPERATION["outcome"]]
        if row[_OPERATION["operation"]] in _TRANSFER_NUMBERS:
            self.transfers[outcome] += 1
            if row[_OPERATION["attempt"]]:
                self.retried += 1
            if outcome == Outcome.SUCCEEDED:
                self.success_ns.append(row[_OPERATION["end_ns"]])
        if outcome == Outcome.FAILED:
            self._fail(row[_OPERATION["class"]], row[_OPERATION["errno"]], row[_OPERATION["end_ns"]])

    def _feed_session(self, row: Row) -> None:
        self.outcomes[row[_SESSION["outcome"]]] += 1
        start = row[_SESSION["start_ns"]]
        if start != ABSENT and (self.last_start_ns is None or start > self.last_start_ns):
            self.last_start_ns = start
        if row[_SESSION["outcome"]] == Outcome.FAILED and not row[_SESSION["operations_failed"]]:
            self._fail(row[_SESSION["class"]], row[_SESSION["errno"]], row[_SESSION["end_ns"]])

    def _fail(self, failure: int, errno: int, end_ns: int) -> None:
        self.failures[failure] += 1
        named = FailureClass(failure)
        self.first_ns[named] = min(end_ns, self.first_ns.get(named, end_ns))
        self._bind_failed |= named is FailureClass.LOCAL_PORTS_EXHAUSTED and errno == EADDRINUSE

    def sort(self) -> None:
        """Put the successes in order: a session's rows come when it is resumed, slightly out of order."""
        self.success_ns.sort()

    @property
    def first_failure_ns(self) -> int | None:
        """When the first failure was known to the client; None for none."""
        return min(self.first_ns.values(), default=None)

    @property
    def exhausted(self) -> Cause:
        """What ran out first; `none` for nothing, `unknown` where the first failure is of no resource."""
        if not self.first_ns:
            return Cause.NONE
        earliest = min(self.first_ns, key=self.first_ns.__getitem__)
        if earliest in self._causes:
            return self._causes[earliest]
        if earliest is FailureClass.LOCAL_PORTS_EXHAUSTED and self._bind_failed:
            return Cause.CLIENT_BIND_HABIT
        return CAUSES.get(earliest, Cause.UNKNOWN)

    def failures_by_word(self) -> dict[str, int]:
        """Return the failures by public word, in the order of their numbers."""
        return {FailureClass(number).word: self.failures[number] for number in sorted(self.failures)}
