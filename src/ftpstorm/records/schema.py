"""The columns of sessions, operations, texts and samples: one declaration for spool and Parquet.

A spool file is a header line (JSON, padded to HEADER_BYTES) and then fixed-width little-endian records. From each
TABLE follow the struct format that a writer packs, the numpy dtype that a reader maps, and the Parquet columns.

All `*_ns` columns are int64 ns on CLOCK_MONOTONIC relative to the run's start_at; ABSENT (-1 << 62) means that the
session did not get that far. Instants before start_at (the sampler's baseline) are negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.vocabulary import DataMode, FailureClass, Operation, Outcome, Phase, Word

FORMAT_VERSION: Final = 1
MAGIC: Final = "ftpstorm-spool"
HEADER_BYTES: Final = 4096
TEXT_BYTES: Final = 246
ABSENT: Final = -(1 << 62)
"""Value of an instant that never came."""

UNKNOWN: Final = -1
"""Value of `control_survived` where nobody could tell (the run was stopped first)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `code` is its struct(5) format character, `unit` its unit or "" and `words` its enumeration."""

    name: str
    code: str
    doc: str
    unit: str = ""
    words: type[Word] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of record."""

    name: str
    columns: tuple[Column, ...]

    @property
    def struct_format(self) -> str:
        """Little-endian, unpadded struct(5) format of one record."""
        return "<" + "".join(column.code for column in self.columns)


SESSIONS: Final = Table(
    "sessions",
    (
        Column("load", "B", "index of the load in the plan"),
        Column("session", "I", "number of the arrival within its load, over all shards"),
        Column("outcome", "B", "how it ended", words=Outcome),
        Column("class", "B", "the first failure's class", words=FailureClass),
        Column("phase", "B", "the first failure's phase", words=Phase),
        Column("control_survived", "b", "1 control lived on after the first failure, 0 it did not, -1 unknown"),
        Column("code", "H", "FTP code of the first failure, 0 for none"),
        Column("errno", "H", "errno of the first failure, 0 for none"),
        Column("text", "I", "id of the first failure's reply text, 0 for none"),
        Column("target", "H", "index of the target address"),
        Column("source", "H", "index of the source address"),
        Column("local_port", "H", "local port of the control connection, 0 where it never had one"),
        Column("operations", "I", "operations executed"),
        Column("operations_failed", "I", "operations that failed"),
        Column("connects", "I", "connect calls that the kernel took on (control and data)"),
        Column("bytes", "q", "payload bytes over all data connections", "B"),
        Column("intended_ns", "q", "when it was due", "ns"),
        Column("start_ns", "q", "when connect was called", "ns"),
        Column("connected_ns", "q", "control connection established", "ns"),
        Column("tls_ns", "q", "TLS handshake done", "ns"),
        Column("greeting_ns", "q", "220 read", "ns"),
        Column("login_ns", "q", "logged in", "ns"),
        Column("end_ns", "q", "control connection closed", "ns"),
    ),
)

OPERATIONS: Final = Table(
    "operations",
    (
        Column("load", "B", "index of the load in the plan"),
        Column("session", "I", "number of the arrival within its load"),
        Column("ordinal", "I", "0-based number of the executed step within its session; retries share it"),
        Column("attempt", "B", "0, or the number of the retry"),
        Column("operation", "B", "what was done", words=Operation),
        Column("outcome", "B", "how it ended", words=Outcome),
        Column("class", "B", "failure class", words=FailureClass),
        Column("phase", "B", "where it failed", words=Phase),
        Column("mode", "B", "how the data connection was asked for", words=DataMode),
        Column("control_survived", "b", "1 control lived on after the failure, 0 it did not, -1 unknown or no failure"),
        Column("code", "H", "FTP code: of the failure, else of the last reply"),
        Column("errno", "H", "errno of the failure, 0 for none"),
        Column("text", "I", "id of the failure's reply text, 0 for none"),
        Column("passive_port", "H", "remote port of the data connection, 0 for none"),
        Column("data_port", "H", "local port of the data connection, or announced for it in vain; 0 for none"),
        Column("bytes", "q", "payload bytes moved", "B"),
        Column("start_ns", "q", "first command sent", "ns"),
        Column("passive_ns", "q", "reply to PASV/EPSV read (active: to PORT/EPRT)", "ns"),
        Column("data_connected_ns", "q", "data connection established", "ns"),
        Column("first_byte_ns", "q", "first payload byte read or written", "ns"),
        Column("data_end_ns", "q", "last payload byte read or written, end of data seen", "ns"),
        Column("end_ns", "q", "final reply read, or the failure", "ns"),
    ),
)

TEXTS: Final = Table(
    "texts",
    (
        Column("id", "I", "1-based, unique within its spool"),
        Column("kind", "B", "0 reply text, 1 sample series as JSON {host, metric, key}"),
        Column("truncated", "B", "1 when the text was longer than fits"),
        Column("length", "I", "bytes that count", "B"),
        Column("text", f"{TEXT_BYTES}s", "UTF-8; bytes that are none are escaped as \\xNN"),
    ),
)

SAMPLES: Final = Table(
    "samples",
    (
        Column("t_ns", "q", "when the value was read", "ns"),
        Column("series", "I", "id of the series in the same writer's texts"),
        Column("value", "d", "the reading"),
    ),
)

TABLES: Final = {table.name: table for table in (SESSIONS, OPERATIONS, TEXTS, SAMPLES)}
