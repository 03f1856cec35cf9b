"""Read spools while they grow: each look returns the whole records that came since the last one.

For what judges or publishes a run that goes on. Reply texts are not resolved; a finished run is `records.reader`'s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ftpstorm.records import aggregate
from ftpstorm.records.reader import Array, Rows, row_dtype, spool_dtype, spool_files
from ftpstorm.records.schema import HEADER_BYTES, OPERATIONS, SESSIONS, Table


class SpoolTail:
    """All writers' spools of one table of a results folder."""

    def __init__(self, folder: Path, table: Table) -> None:
        """`folder` is the run's; its spools need not be there yet."""
        self._folder = folder
        self._table = table
        self._read: dict[Path, int] = {}

    def read(self) -> Array:
        """Return the records since the last call, with the columns of `Rows.data`, `text` and `worker` all 0."""
        dtype = spool_dtype(self._table)
        parts = []
        for path in spool_files(self._folder, self._table):
            done = self._read.get(path, HEADER_BYTES)
            count = (path.stat().st_size - done) // dtype.itemsize
            if count <= 0:
                continue
            with path.open("rb") as file:
                file.seek(done)
                part = np.fromfile(file, dtype=dtype, count=count)
            self._read[path] = done + part.nbytes
            parts.append(part)
        rows = np.zeros(sum(map(len, parts)), row_dtype(self._table))
        begin = 0
        for part in parts:
            for name in dtype.names or ():
                if name != "text":
                    rows[name][begin : begin + len(part)] = part[name]
            begin += len(part)
        return rows


class RunTail:
    """Sessions, operations and the failures among them, as they come. A session is on record once it has ended."""

    def __init__(self, folder: Path) -> None:
        self._sessions = SpoolTail(folder, SESSIONS)
        self._operations = SpoolTail(folder, OPERATIONS)

    def read(self) -> tuple[Array, Array, Array]:
        """Return the sessions, operations and failures (as `aggregate.failures`) since the last call."""
        sessions, operations = self._sessions.read(), self._operations.read()
        return sessions, operations, aggregate.failures(Rows(sessions), Rows(operations)).data
