"""Append fixed-width records to a spool file: the only way in which a measuring process writes to disk.

Nothing here costs more than a `struct.pack_into`; the file sees one write for each flush. A process that is killed
loses what it had not flushed; a torn last record is cut by the reader (`ftpstorm.records.reader`).
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any, Final

from ftpstorm.records.schema import FORMAT_VERSION, HEADER_BYTES, MAGIC, TEXT_BYTES, TEXTS, Table

FLUSH_EVERY_S: Final = 0.1
"""How often a measuring process flushes its spools; with the write itself it bounds what a kill -9 loses to < 1 s."""

TEXTS_MAX: Final = 4096
"""Distinct texts a writer keeps; a server that never repeats a reply must not fill memory or disk. Later: id 0."""

REPLY_TEXT: Final = 0
SERIES_TEXT: Final = 1


def spool_path(folder: Path, writer: str, table: Table) -> Path:
    """Return where `writer` (such as ``worker-0``) spools `table`: ``<folder>/worker-0.operations.spool``."""
    return folder / f"{writer}.{table.name}.spool"


class SpoolWriter:
    """One open spool file. `append` packs one record; `flush` writes what has gathered with a single write(2).

    Who appends a million records may do what `append` does in place: with `used` below `room` (else `flush` first)
    ``pack(buffer, used, ...)`` and then add `width` to `used`.
    """

    __slots__ = ("_fd", "_flushed", "buffer", "first", "pack", "room", "used", "width")

    def __init__(self, path: Path, table: Table, header: dict[str, Any]) -> None:
        """Create `path` (it must not exist) and write its header.

        `header` holds at least ``writer``, ``origin_ns`` (start_at on CLOCK_MONOTONIC, null until known) and ``pid``.
        Raises OSError when the file cannot be created.
        """
        layout = struct.Struct(table.struct_format)
        self.pack = layout.pack_into
        self.width = layout.size
        self.room = max(1024, 262_144 // layout.size) * layout.size
        self.buffer = bytearray(self.room)
        self.used = 0
        self.first: SpoolWriter | None = None
        """Flushed before this one is: a spool that its records refer to."""
        self._flushed = 0
        meta = {"magic": MAGIC, "version": FORMAT_VERSION, "table": table.name, "format": table.struct_format, **header}
        encoded = json.dumps(meta).encode()
        if len(encoded) >= HEADER_BYTES:
            raise ValueError(f"spool header of {len(encoded)} bytes does not fit {HEADER_BYTES}")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.write(self._fd, encoded.ljust(HEADER_BYTES - 1) + b"\n")

    def append(self, *values: Any) -> None:
        """Pack one record, its values in the order of the table's columns. Raises struct.error if one does not fit."""
        if self.used == self.room:
            self.flush()
        self.pack(self.buffer, self.used, *values)
        self.used += self.width

    @property
    def count(self) -> int:
        """Records appended so far."""
        return (self._flushed + self.used) // self.width

    def flush(self) -> None:
        """Write what has gathered. After an OSError (disk full) the spool holds whole records up to the fault."""
        if self.used:
            if self.first is not None:
                self.first.flush()
            written = 0
            try:
                with memoryview(self.buffer) as view:
                    while written < self.used:
                        written += os.write(self._fd, view[written : self.used])
            finally:
                self._forget(written)

    def _forget(self, written: int) -> None:
        """Drop what is in the file from the buffer; of a record that is there in part, the file drops its part."""
        torn = written % self.width
        whole = written - torn
        self._flushed += whole
        self.used -= whole
        if self.used:
            self.buffer[: self.used] = self.buffer[whole : whole + self.used]
        if torn:
            os.ftruncate(self._fd, HEADER_BYTES + self._flushed)

    def close(self) -> None:
        """Flush and close the file; closing twice is allowed."""
        if self._fd >= 0:
            try:
                self.flush()
            finally:
                os.close(self._fd)
                self._fd = -1


class TextTable:
    """Gives each distinct text a small id and spools it once."""

    __slots__ = ("_ids", "spool")

    def __init__(self, folder: Path, writer: str, header: dict[str, Any]) -> None:
        self.spool = SpoolWriter(spool_path(folder, writer, TEXTS), TEXTS, header)
        self._ids: dict[tuple[int, str], int] = {}

    def intern(self, text: str, kind: int = REPLY_TEXT) -> int:
        """Return the id of `text`, spooling it when it is new; 0 once TEXTS_MAX distinct texts were seen."""
        key = (kind, text)
        known = self._ids.get(key)
        if known is not None:
            return known
        if len(self._ids) >= TEXTS_MAX and kind == REPLY_TEXT:
            return 0
        number = len(self._ids) + 1
        encoded = text.encode("utf-8", "backslashreplace")
        kept = encoded[:TEXT_BYTES]
        self.spool.append(number, kind, len(encoded) > TEXT_BYTES, len(kept), kept)
        self._ids[key] = number
        return number

    def intern_series(self, host: str, metric: str, key: str) -> int:
        """Return the id of a sample series."""
        return self.intern(json.dumps({"host": host, "metric": metric, "key": key}, separators=(",", ":")), SERIES_TEXT)

    def flush(self) -> None:
        self.spool.flush()

    def close(self) -> None:
        self.spool.close()
