"""What a prediction keeps of the simulated rows: counts, and the instants that the estimator wants."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final

from ftpstorm.limits.ports import EADDRINUSE
from ftpstorm.records.schema import ABSENT, OPERATIONS, SESSIONS, Table
from ftpstorm.simulate.world import Row
from ftpstorm.vocabulary import TRANSFERS, Cause, FailureClass, Outcome

_TRANSFER_NUMBERS: Final = frozenset(int(operation) for operation in TRANSFERS)
_SUCCEEDED: Final = int(Outcome.SUCCEEDED)
_FAILED: Final = int(Outcome.FAILED)


def _places(table: Table, *names: str) -> tuple[int, ...]:
    """Return where a row has the columns of these names."""
    order = [column.name for column in table.columns]
    return tuple(order.index(name) for name in names)


_OPERATION, _OUTCOME, _END = _places(OPERATIONS, "operation", "outcome", "end_ns")
_DONE: Final = itemgetter(*_places(OPERATIONS, "operation", "outcome", "attempt"))
_FAILED_OPERATION: Final = itemgetter(*_places(OPERATIONS, "class", "errno", "end_ns"))
_ENDED: Final = itemgetter(*_places(SESSIONS, "outcome"))
_STARTED: Final = itemgetter(*_places(SESSIONS, "start_ns"))
_OPERATIONS_FAILED: Final = itemgetter(*_places(SESSIONS, "operations_failed"))
_FAILED_SESSION: Final = itemgetter(*_places(SESSIONS, "class", "errno", "end_ns"))

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
    """Counts of one simulation; fed its rows as they come."""

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
        self.success_ns: array[int] = array("q")
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

    def feed(self, operations: Sequence[Row], sessions: Sequence[Row]) -> None:
        """Count rows of both tables."""
        for (operation, outcome, attempt), count in Counter(map(_DONE, operations)).items():
            if operation in _TRANSFER_NUMBERS:
                self.transfers[outcome] += count
                self.retried += count if attempt else 0
        self.success_ns.extend(
            [row[_END] for row in operations if row[_OUTCOME] == _SUCCEEDED and row[_OPERATION] in _TRANSFER_NUMBERS]
        )
        self.outcomes.update(map(_ENDED, sessions))
        starts = [start for start in map(_STARTED, sessions) if start != ABSENT]
        if starts:
            self.last_start_ns = max(starts) if self.last_start_ns is None else max(self.last_start_ns, *starts)
        for row in operations:
            if row[_OUTCOME] == _FAILED:
                self._fail(*_FAILED_OPERATION(row))
        for row in sessions:
            if _ENDED(row) == _FAILED and not _OPERATIONS_FAILED(row):
                self._fail(*_FAILED_SESSION(row))

    def _fail(self, failure: int, errno: int, end_ns: int) -> None:
        self.failures[failure] += 1
        named = FailureClass(failure)
        self.first_ns[named] = min(end_ns, self.first_ns.get(named, end_ns))
        self._bind_failed |= named is FailureClass.LOCAL_PORTS_EXHAUSTED and errno == EADDRINUSE

    def sort(self) -> None:
        """Put the successes in order: a session's rows come when it is resumed, slightly out of order."""
        self.success_ns = array("q", sorted(self.success_ns))

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
