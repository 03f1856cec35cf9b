"""Records as text for other programs: NDJSON or CSV, a batch at a time, words for numbers, UTC beside relative time.

Columns are those of docs/records.md with these differences: an instant `x_ns` becomes `x_s`, seconds after the start;
`utc` says when the row begins; a load has its name; what was absent (a port or code of 0, an unknown, a value that is
no finite number) is null.
"""

from __future__ import annotations

import csv
import errno
import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from ftpstorm.errors import RecordsError, UsageError
from ftpstorm.records.batches import read_batches
from ftpstorm.records.manifest import MANIFEST, PLAN, Manifest, read_manifest
from ftpstorm.records.reader import WORKER
from ftpstorm.records.schema import OPERATIONS, SAMPLES, SESSIONS, TABLES, Table
from ftpstorm.scenario.wording import did_you_mean
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Metric

Format = Literal["ndjson", "csv"]
FORMATS: Final[tuple[Format, ...]] = ("ndjson", "csv")
EXPORTED: Final = (OPERATIONS.name, SESSIONS.name, SAMPLES.name)

_INSTANT: Final = "_ns"
_BEGINS: Final = {SESSIONS.name: ("start_ns", "intended_ns"), OPERATIONS.name: ("start_ns",), SAMPLES.name: ("t_ns",)}
"""The instants that a row begins with, the first that it has."""
_ZERO_IS_NONE: Final = ("code", "errno", "local_port", "passive_port", "data_port")
_CONDITION: Final = re.compile(r"\s*(?P<column>[a-z_]+)\s*(?P<op><=|>=|!=|==|=|<|>)\s*(?P<value>.*?)\s*")
_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@dataclass(frozen=True, slots=True)
class Where:
    """One condition on a column. A row whose value is null satisfies none but ``=`` nothing (``errno=``)."""

    text: str
    column: str
    op: str
    value: str

    def check(self, table: Table, loads: Sequence[str]) -> None:
        """Raises UsageError for a value that an enumerated column cannot have: it would select nothing, or all."""
        words = {column.name: column.words.words() for column in table.columns if column.words is not None}
        if loads:
            words["load"] = tuple(loads)
        if table is SAMPLES:
            words["metric"] = tuple(metric.value for metric in Metric)
        known = words.get(self.column)
        if known is not None and self.value and self.value not in known:
            hint = did_you_mean(self.value, known, f"values of {self.column}")
            raise UsageError(f"--where {self.text}: {self.column} is never {self.value!r}; {hint}")

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Return which rows satisfy it. Raises UsageError for an unknown column or a value of another kind."""
        if self.column not in batch.schema.names:
            raise UsageError(f"--where {self.text}: no column {self.column}; there are {', '.join(batch.schema.names)}")
        column = batch.column(self.column)
        if not self.value:
            if self.op not in ("=", "==", "!="):
                raise UsageError(f"--where {self.text}: nothing stands on the right; write {self.column}{self.op}5")
            return pc.is_null(column) if self.op != "!=" else pc.is_valid(column)
        return pc.fill_null(_OPERATORS[self.op](column, self._scalar(column.type)), False)

    def _scalar(self, kind: pa.DataType) -> pa.Scalar:
        try:
            if pa.types.is_boolean(kind):
                return pa.scalar({"true": True, "false": False}[self.value])
            if pa.types.is_floating(kind) or pa.types.is_integer(kind):
                return pa.scalar(float(self.value))
        except (KeyError, ValueError):
            wanted = "true or false" if pa.types.is_boolean(kind) else "a number"
            raise UsageError(f"--where {self.text}: {self.column} is {wanted}, not {self.value!r}") from None
        return pa.scalar(self.value)


def parse_where(text: str) -> Where:
    """Return the condition of ``column=value`` with one of = != < <= > >=. Raises UsageError."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"--where {text}: write a column, a comparison and a value, such as class=passive-exhausted")
    return Where(text, match["column"], match["op"], match["value"])


def export(folder: Path, table: str, form: Format, output: IO[str], *, where: Sequence[Where] = ()) -> int:
    """Write the rows of `table` that satisfy all of `where` to `output`; return how many.

    Memory is that of one batch. Raises UsageError for a table that is none, RecordsError for a folder that is none.
    """
    if table not in EXPORTED:
        raise UsageError(f"--table {table}: there are {', '.join(EXPORTED)}")
    loads = _loads(folder)
    for condition in where:
        condition.check(TABLES[table], loads)
    written, head = 0, True
    for batch in exported_batches(folder, TABLES[table]):
        chosen = batch
        for condition in where:
            chosen = chosen.filter(condition.mask(chosen))
        rows = chosen.to_pylist()
        if form == "csv":
            _write_csv(output, chosen.schema.names, rows, head=head)
        else:
            output.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        written, head = written + len(rows), False
    return written


def exported_batches(folder: Path, table: Table) -> Iterator[pa.RecordBatch]:
    """Yield the records of `table` in the form that export writes. Raises RecordsError."""
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        raise RecordsError(f"{folder}: has no {MANIFEST}: without it nobody can say when a record was made") from None
    except ValueError as error:
        raise RecordsError(f"{folder / MANIFEST}: {error}") from None
    loads = _loads(folder)
    for batch in read_batches(folder, table):
        yield _translated(batch, table, manifest, loads)


def _loads(folder: Path) -> list[str]:
    """Return the names of the plan's loads, [] where there is no plan."""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return [str(name) for name in plan["scenario"]["load"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise RecordsError(f"{folder / PLAN}: no plan of a run: {error}") from None


def _translated(batch: pa.RecordBatch, table: Table, manifest: Manifest, loads: Sequence[str]) -> pa.RecordBatch:
    columns: dict[str, pa.Array] = {"utc": _utc(batch, table, manifest)}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_dictionary(column.type):
            columns[name] = column.dictionary_decode()
        elif name.endswith(_INSTANT):
            columns[name.removesuffix(_INSTANT) + "_s"] = _seconds(column)
        elif name == "load" and loads:
            columns[name] = pa.array([loads[i] if i < len(loads) else str(i) for i in column.to_pylist()], pa.string())
        elif name == "control_survived":
            columns[name] = pc.if_else(pc.less(column, 0), None, pc.equal(column, 1))
        elif name in _ZERO_IS_NONE:
            columns[name] = pc.if_else(pc.equal(column, 0), None, column)
        elif pa.types.is_floating(column.type):
            columns[name] = pc.if_else(pc.is_finite(column), column, None)  # JSON has neither NaN nor infinity
        else:
            columns[name] = column
        if name == "errno":
            words = [errno.errorcode.get(number) if number else None for number in column.to_pylist()]
            columns["errno_name"] = pa.array(words, pa.string())
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _seconds(column: pa.Array) -> pa.Array:
    return pc.divide(pc.cast(column, pa.float64()), float(NS_PER_S))


def _utc(batch: pa.RecordBatch, table: Table, manifest: Manifest) -> pa.Array:
    """Return when each row begins, ISO 8601 in UTC with microseconds."""
    begins = pc.coalesce(*(batch.column(name) for name in _BEGINS[table.name]))
    start_ns = manifest.clock["realtime_ns"] - manifest.clock["monotonic_ns"] + manifest.start_at_ns
    if manifest.started_later_ns and WORKER in batch.schema.names:
        later = [manifest.started_later_ns.get(writer, 0) for writer in batch.column(WORKER).to_pylist()]
        begins = pc.add(begins, pa.array(later, pa.int64()))
    t_us = pc.divide(pc.add(begins, start_ns), 1000)
    return pc.strftime(pc.cast(t_us, pa.timestamp("us", "UTC")), "%Y-%m-%dT%H:%M:%SZ")


def _write_csv(output: IO[str], names: Sequence[str], rows: Sequence[dict[str, Any]], *, head: bool) -> None:
    """Write rows as RFC 4180 has them, with a heading line first; null is an empty field, true is `true`."""
    writer = csv.writer(output)
    if head:
        writer.writerow(names)
    take = operator.itemgetter(*names)
    words = {True: "true", False: "false", None: ""}
    writer.writerows(
        [words[value] if value is None or value is True or value is False else value for value in take(row)]
        for row in rows
    )
