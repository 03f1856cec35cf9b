"""A table of a results folder as Arrow record batches, one after the other: memory is bounded however long the run was.

Reads Parquet where it is there, else the spools, so the folder of a run that was killed reads as well. Batches have the
columns of the Parquet files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ftpstorm.errors import RecordsError
from ftpstorm.records.parquet import rows_to_arrow, samples_to_arrow
from ftpstorm.records.reader import (
    WORKER,
    Rows,
    Series,
    group_samples,
    parse_series,
    read_spool,
    read_texts,
    row_dtype,
    spool_dtype,
    spool_files,
)
from ftpstorm.records.schema import HEADER_BYTES, SAMPLES, Table
from ftpstorm.records.spool import REPLY_TEXT, SERIES_TEXT

BATCH_ROWS: Final = 16_384


def read_batches(folder: Path, table: Table, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Yield the records of SESSIONS, OPERATIONS or SAMPLES in batches of at most `rows`, as they were written.

    Samples come by series from Parquet, by writer from spools. Raises RecordsError for a file that is not what its
    name says.
    """
    parquet = folder / f"{table.name}.parquet"
    if parquet.exists():
        yield from _from_parquet(parquet, rows)
    else:
        yield from _from_spools(folder, table, rows)


def _from_parquet(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=rows)
    except pa.ArrowInvalid as error:
        raise RecordsError(f"{path}: not a readable Parquet file: {error}") from None


def _from_spools(folder: Path, table: Table, rows: int) -> Iterator[pa.RecordBatch]:
    paths = spool_files(folder, table)
    for path in paths:
        spool = read_spool(path, table, count=0)  # its header alone
        texts = read_texts(folder, spool.writer, SERIES_TEXT if table is SAMPLES else REPLY_TEXT)
        for part in _records(path, table, rows):
            arrow = _samples(part, texts) if table is SAMPLES else _rows(part, texts, spool.writer, table)
            yield from arrow.combine_chunks().to_batches()


def _records(path: Path, table: Table, rows: int) -> Iterator[Any]:
    dtype = spool_dtype(table)
    whole = max(path.stat().st_size - HEADER_BYTES, 0) // dtype.itemsize
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        for begin in range(0, whole, rows):
            yield np.fromfile(file, dtype=dtype, count=min(rows, whole - begin))


def _rows(part: Any, texts: dict[int, str], writer: str, table: Table) -> pa.Table:
    data = np.zeros(len(part), row_dtype(table))
    for name in part.dtype.names:
        data[name] = part[name]
    used = sorted({number for number in np.unique(part["text"]).tolist() if texts.get(number)})
    place = {number: index for index, number in enumerate(used, 1)}
    distinct, inverse = np.unique(part["text"], return_inverse=True)
    data["text"] = np.array([place.get(number, 0) for number in distinct.tolist()], np.uint32)[inverse]
    data[WORKER] = 0
    return rows_to_arrow(Rows(data, ("", *(texts[number] for number in used)), (writer,)), table)


def _samples(part: Any, texts: dict[int, str]) -> pa.Table:
    distinct, inverse = np.unique(part["series"], return_inverse=True)
    named = [parse_series(texts.get(number)) for number in distinct.tolist()]
    known = np.array([series is not None for series in named])
    names: tuple[Series, ...] = tuple(series for series in named if series is not None)
    number = np.cumsum(known) - 1
    data = part[known[inverse]]
    data["series"] = number[inverse[known[inverse]]]
    return samples_to_arrow(group_samples(data, names))
