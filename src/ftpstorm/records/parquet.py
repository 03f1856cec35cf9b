"""Turn the spools of a run into three Parquet files, and read them back to the very same values.

For a reader outside this program the files speak for themselves: enumerations and reply texts are dictionary-encoded
strings, an instant that never came is null, each column's unit and meaning stand in its field metadata. Runs in the
conductor after the drain, never in a process that makes load.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ftpstorm.errors import RecordsError
from ftpstorm.records.reader import (
    WORKER,
    Array,
    Rows,
    Samples,
    Series,
    group_samples,
    row_dtype,
    rows_from_spools,
    samples_from_spools,
    spool_dtype,
)
from ftpstorm.records.schema import ABSENT, FORMAT_VERSION, OPERATIONS, SAMPLES, SESSIONS, Column, Table

_WRITERS = b"ftpstorm.writers"
_VERSION = b"ftpstorm.version"
_SERIES = ("host", "metric", "key")


def convert(folder: Path) -> dict[str, int]:
    """Write sessions.parquet, operations.parquet and samples.parquet from the spools; return rows by table.

    Each file appears whole or not at all. The spools stay: the caller may delete them once this has returned. Raises
    RecordsError for a spool that cannot be read, OSError when the disk is full.
    """
    counts: dict[str, int] = {}
    for table in (SESSIONS, OPERATIONS):
        rows, _ = rows_from_spools(folder, table)
        write_rows(folder, rows, table)
        counts[table.name] = len(rows)
    samples, _ = samples_from_spools(folder)
    write_samples(folder, samples)
    counts[SAMPLES.name] = len(samples)
    return counts


def write_rows(folder: Path, rows: Rows, table: Table) -> None:
    """Write sessions.parquet or operations.parquet of `rows`. Raises OSError when the disk is full."""
    _write(folder, table.name, rows_to_arrow(rows, table))


def write_samples(folder: Path, samples: Samples) -> None:
    """Write samples.parquet. Raises OSError when the disk is full."""
    _write(folder, SAMPLES.name, samples_to_arrow(samples))


def _write(folder: Path, name: str, table: pa.Table) -> None:
    temporary = folder / f".{name}.parquet.{os.getpid()}"
    integers = [field.name for field in table.schema if pa.types.is_int64(field.type)]
    words = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    try:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=1,
            use_dictionary=words,
            column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
            write_statistics=False,
        )
        temporary.replace(folder / f"{name}.parquet")
    finally:
        temporary.unlink(missing_ok=True)


def _field(column: Column, kind: pa.DataType, *, nullable: bool = False) -> pa.Field:
    return pa.field(column.name, kind, nullable=nullable, metadata={"unit": column.unit, "description": column.doc})


def _dictionary(indexes: Array, values: tuple[str, ...], *, null: Array | None = None) -> pa.DictionaryArray:
    kind = np.int8 if len(values) <= 127 else np.int32
    return pa.DictionaryArray.from_arrays(
        pa.array(indexes.astype(kind), mask=null), pa.array(list(values), pa.string())
    )


def rows_to_arrow(rows: Rows, table: Table) -> pa.Table:
    """Return sessions or operations as they stand in Parquet. Raises RecordsError for a number without a word."""
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    for column in table.columns:
        values = np.ascontiguousarray(rows.data[column.name])
        if column.words is not None:
            array = _dictionary(_known(values, column, table), column.words.words())
        elif column.name == "text":
            array = _dictionary(values, rows.texts, null=values == 0)
        elif column.unit == "ns":
            array = pa.array(values, mask=values == ABSENT)
        else:
            array = pa.array(values)
        fields.append(_field(column, array.type, nullable=column.unit == "ns" or column.name == "text"))
        arrays.append(array)
    arrays.append(_dictionary(np.ascontiguousarray(rows.data[WORKER]), rows.writers))
    fields.append(pa.field(WORKER, arrays[-1].type, nullable=False, metadata={"description": "process that wrote it"}))
    metadata = {_WRITERS: "\n".join(rows.writers), _VERSION: str(FORMAT_VERSION)}
    return pa.table(arrays, schema=pa.schema(fields, metadata=metadata))


def _known(values: Array, column: Column, table: Table) -> Array:
    assert column.words is not None
    if len(values) and int(values.max()) >= len(column.words):
        raise RecordsError(f"{table.name}.{column.name}: number {int(values.max())} stands for no known word")
    return values


def samples_to_arrow(samples: Samples) -> pa.Table:
    """Return sample series as they stand in Parquet."""
    number = np.ascontiguousarray(samples.data["series"])
    columns = {column.name: column for column in SAMPLES.columns}
    fields = [
        _field(columns["t_ns"], pa.int64()),
        *(pa.field(name, pa.dictionary(pa.int32(), pa.string()), nullable=False) for name in _SERIES),
        _field(columns["value"], pa.float64()),
    ]
    arrays = [pa.array(np.ascontiguousarray(samples.data["t_ns"]))]
    for name in _SERIES:
        words = [getattr(series, name) for series in samples.series]
        values = sorted(set(words))
        index = np.array([values.index(word) for word in words] or [0], np.int32)
        arrays.append(pa.DictionaryArray.from_arrays(pa.array(index[number]), pa.array(values, pa.string())))
    arrays.append(pa.array(np.ascontiguousarray(samples.data["value"])))
    return pa.table(arrays, schema=pa.schema(fields, metadata={_VERSION: str(FORMAT_VERSION)}))


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, memory_map=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordsError(f"{path}: not a readable Parquet file: {error}") from None
    version = (table.schema.metadata or {}).get(_VERSION)
    if version != str(FORMAT_VERSION).encode():
        raise RecordsError(f"{path}: format version {version!r}, this ftpstorm reads {FORMAT_VERSION}")
    return table


def _column(table: pa.Table, name: str, path: Path) -> pa.Array:
    if name not in table.column_names:
        raise RecordsError(f"{path}: lacks column {name!r}")
    return table.column(name).combine_chunks()


def _indexes(array: pa.Array, number_of: Callable[[str], int]) -> Array:
    """Return, for a dictionary column, `number_of` each value; 0 for null."""
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    numbers = np.array([number_of(value) for value in encoded.dictionary.to_pylist()] or [0], np.int64)
    indexes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    result: Array = numbers[indexes]
    if encoded.null_count:
        result[encoded.is_null().to_numpy(zero_copy_only=False)] = 0
    return result


def read_rows_parquet(path: Path, table: Table) -> Rows:
    """Read sessions.parquet or operations.parquet into the form that the spools give. Raises RecordsError."""
    arrow = _read(path)
    writers = tuple(filter(None, (arrow.schema.metadata or {}).get(_WRITERS, b"").decode().split("\n")))
    data = np.zeros(arrow.num_rows, row_dtype(table))
    text_column = _column(arrow, "text", path)
    if not pa.types.is_dictionary(text_column.type):
        text_column = text_column.dictionary_encode()
    texts = ("", *sorted(filter(None, text_column.dictionary.to_pylist())))
    text_number = {text: number for number, text in enumerate(texts)}
    for column in table.columns:
        if column.name == "text":
            data["text"] = _indexes(text_column, text_number.__getitem__)
        elif column.words is not None:
            data[column.name] = _indexes(_column(arrow, column.name, path), _number_in(column, path))
        else:
            array = _column(arrow, column.name, path)
            data[column.name] = (array.fill_null(ABSENT) if array.null_count else array).to_numpy(zero_copy_only=False)
    data[WORKER] = _indexes(_column(arrow, WORKER, path), writers.index)
    return Rows(data, texts, writers)


def _number_in(column: Column, path: Path) -> Callable[[str], int]:
    assert column.words is not None
    words = column.words

    def number(word: str) -> int:
        try:
            return int(words.from_word(word))
        except KeyError:
            raise RecordsError(f"{path}: {word!r} is no {column.name} that this ftpstorm knows") from None

    return number


def read_samples_parquet(path: Path) -> Samples:
    """Read samples.parquet into the form that the spools give. Raises RecordsError."""
    arrow = _read(path)
    parts: list[tuple[list[str], Array]] = []
    for name in _SERIES:
        column = _column(arrow, name, path)
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        parts.append((encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)))
    (hosts, host), (metrics, metric), (keys, key) = parts
    combined = (host * len(metrics) + metric) * len(keys) + key
    distinct, number = np.unique(combined, return_inverse=True)
    names: list[Series] = []
    for code in distinct.tolist():
        rest, k = divmod(code, len(keys))
        h, m = divmod(rest, len(metrics))
        names.append(Series(hosts[h], metrics[m], keys[k]))
    data: Any = np.zeros(arrow.num_rows, spool_dtype(SAMPLES))
    data["t_ns"] = _column(arrow, "t_ns", path).to_numpy(zero_copy_only=False)
    data["value"] = _column(arrow, "value", path).to_numpy(zero_copy_only=False)
    data["series"] = number
    return group_samples(data, tuple(names))
