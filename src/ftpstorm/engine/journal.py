"""Where sessions and operations become records, and where a worker's counts are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ftpstorm.records.schema import OPERATIONS, SESSIONS
from ftpstorm.records.spool import SpoolWriter, TextTable, spool_path
from ftpstorm.vocabulary import TRANSFERS, FailureClass, Operation

TEXT_MAX: Final = 512
"""Characters of a reply that are remembered: more than a record holds, and a bound on what hostile replies can take."""


class Counts:
    """What a worker counts while it runs; plain integers, read at any time."""

    __slots__ = (
        "bytes",
        "connects",
        "data_handshakes",
        "data_resumed",
        "dropped",
        "failed",
        "failures",
        "foreign_hosts",
        "interrupted",
        "last_reply",
        "operations_failed",
        "operations_interrupted",
        "operations_succeeded",
        "started",
        "succeeded",
        "unreachable_streak",
    )

    def __init__(self) -> None:
        self.started = self.succeeded = self.failed = self.interrupted = self.dropped = 0
        self.connects = self.bytes = 0
        self.operations_succeeded = [0] * len(Operation)
        """By Operation number, as the other two."""
        self.operations_failed = [0] * len(Operation)
        self.operations_interrupted = [0] * len(Operation)
        self.data_handshakes = self.data_resumed = 0
        """TLS handshakes done on data connections, and those that resumed the control connection's session."""
        self.foreign_hosts = 0
        """Replies to PASV that named another host than the control connection's peer."""
        self.failures = [0] * len(FailureClass)
        """Failures by FailureClass number: operations, and sessions that failed outside any operation."""
        self.last_reply = ""
        self.unreachable_streak = 0
        """Sessions in a row that got no greeting."""

    @property
    def in_flight(self) -> int:
        return self.started - self.succeeded - self.failed - self.interrupted

    @property
    def operations(self) -> int:
        """Operations that have ended, however."""
        return sum(self.operations_succeeded) + sum(self.operations_failed) + sum(self.operations_interrupted)

    @property
    def transfers_succeeded(self) -> int:
        return sum(self.operations_succeeded[kind] for kind in TRANSFERS)

    @property
    def transfers_failed(self) -> int:
        return sum(self.operations_failed[kind] for kind in TRANSFERS)

    @property
    def transfers_attempted(self) -> int:
        interrupted = sum(self.operations_interrupted[kind] for kind in TRANSFERS)
        return self.transfers_succeeded + self.transfers_failed + interrupted


class Journal:
    """The spools of one worker. `origin_ns` is start_at: every stamp is written relative to it.

    `operations` is there for whoever packs its records in place (see SpoolWriter).
    """

    __slots__ = (
        "_secret",
        "_sessions",
        "_texts",
        "append_operation",
        "append_session",
        "counts",
        "operations",
        "origin_ns",
    )

    def __init__(self, folder: Path, writer: str, origin_ns: int, header: dict[str, Any], secret: str | None) -> None:
        """Create the spools. `secret` (the password) is blotted out of every text that a server sends back."""
        header = {"writer": writer, "origin_ns": origin_ns, **header}
        self.origin_ns = origin_ns
        self.counts = Counts()
        self._secret = secret or None
        self._sessions = SpoolWriter(spool_path(folder, writer, SESSIONS), SESSIONS, header)
        self.operations = SpoolWriter(spool_path(folder, writer, OPERATIONS), OPERATIONS, header)
        self._texts = TextTable(folder, writer, header)
        # No record names a text that a crash could lose.
        self._sessions.first = self.operations.first = self._texts.spool
        self.append_session = self._sessions.append
        self.append_operation = self.operations.append

    def intern(self, text: str, secret: str | None = None) -> int:
        """Return the id under which a reply text is recorded; `secret` is one more password to blot out."""
        if secret and secret in text:
            text = text.replace(secret, "***")
        if self._secret is not None and self._secret in text:
            text = text.replace(self._secret, "***")
        if len(text) > TEXT_MAX:
            text = text[:TEXT_MAX]
        self.counts.last_reply = text
        return self._texts.intern(text)

    def flush(self) -> None:
        """Write what has gathered."""
        self._texts.flush()
        self.operations.flush()
        self._sessions.flush()

    def close(self) -> None:
        """Flush and close all spools."""
        for spool in (self._texts, self.operations, self._sessions):
            spool.close()
