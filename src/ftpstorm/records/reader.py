"""Read a results folder: the one way from files to arrays, for reports, comparisons and notebooks.

Needs no live system. A folder whose run was killed at any moment reads too: a table that is missing is empty, a torn
tail is cut at the last whole record, a file too short for its header holds nothing. What the numbers mean is
`ftpstorm.records.aggregate`'s and the report's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from ftpstorm.errors import RecordsError
from ftpstorm.records.manifest import MANIFEST, PLAN, PREDICTION, SCENARIO, SPOOL, Manifest, read_manifest
from ftpstorm.records.schema import (
    FORMAT_VERSION,
    HEADER_BYTES,
    MAGIC,
    OPERATIONS,
    SAMPLES,
    SESSIONS,
    TABLES,
    TEXTS,
    Table,
)
from ftpstorm.records.spool import REPLY_TEXT, SERIES_TEXT, spool_path

Array = npt.NDArray[Any]
"""A structured array, or one column of it."""

WORKER: Final = "worker"
"""Column that the reader adds: index into `Rows.writers` (uint8)."""

_NUMPY_CODES: Final = {"b": "i1", "B": "u1", "H": "<u2", "I": "<u4", "q": "<i8", "d": "<f8"}
_PARTS: Final = re.compile(r"(\d+)")


@cache
def spool_dtype(table: Table) -> np.dtype[Any]:
    """Return the unpadded numpy dtype of one spool record of `table`."""
    return np.dtype(
        [
            (column.name, f"S{column.code[:-1]}" if column.code.endswith("s") else _NUMPY_CODES[column.code])
            for column in table.columns
        ]
    )


@cache
def row_dtype(table: Table) -> np.dtype[Any]:
    """Return the dtype of `Rows.data`: a spool record and the `worker` column."""
    return np.dtype([*((name, spool_dtype(table)[name]) for name in spool_dtype(table).names or ()), (WORKER, "u1")])


@dataclass(frozen=True, slots=True)
class Rows:
    """Sessions or operations, in order of writer, then as written. `data` has the columns of the table and `worker`.

    `text` in `data` is an index into `texts`, whose entry 0 is "" (none); `worker` is an index into `writers`.
    """

    data: Array
    texts: tuple[str, ...] = ("",)
    writers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """Name of one sample series: `metric` is a `vocabulary.Metric` value, `key` tells its instances apart."""

    host: str
    metric: str
    key: str


@dataclass(frozen=True, slots=True)
class Readings:
    """One series in time order: `t_ns` int64 ns after start_at, `value` float64, of one length."""

    t_ns: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.t_ns)


@dataclass(frozen=True, slots=True)
class Samples:
    """All sample series. Sorted by series, then by time; series i stands in ``data[offsets[i]:offsets[i + 1]]``."""

    data: Array
    series: tuple[Series, ...] = ()
    offsets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def __len__(self) -> int:
        return len(self.data)

    def readings(self, number: int) -> Readings:
        """Return the readings of series `number` (its index in `series`)."""
        part = self.data[self.offsets[number] : self.offsets[number + 1]]
        return Readings(part["t_ns"], part["value"])

    def select(self, metric: str, *, host: str | None = None, key: str | None = None) -> dict[Series, Readings]:
        """Return the series of `metric`, narrowed to a host and a key where given; empty when none was sampled.

        The hosts of a lab with several clients are ``client-0`` and on: ``client`` means all of them.
        """
        return {
            series: self.readings(number)
            for number, series in enumerate(self.series)
            if series.metric == metric
            and (host is None or series.host == host or series.host.startswith(f"{host}-"))
            and (key is None or series.key == key)
        }

    def one(self, metric: str, *, host: str | None = None, key: str | None = None) -> Readings | None:
        """Return the only series that matches, or None when there is none or more than one."""
        found = self.select(metric, host=host, key=key)
        return next(iter(found.values())) if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Run:
    """All that a results folder holds. `manifest` is None in a folder of the sampler alone; `plan` and `prediction` are
    the JSON objects of their files (their models live in higher layers), None where the file is missing."""

    folder: Path
    manifest: Manifest | None
    sessions: Rows
    operations: Rows
    samples: Samples
    plan: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    scenario_text: str | None = None
    warnings: tuple[str, ...] = ()
    """What was odd in the files and how it was taken, in plain words."""


@dataclass(frozen=True, slots=True)
class Spool:
    """One spool file as read: whole records only. `torn_bytes` is the size of the tail that was cut."""

    writer: str
    header: dict[str, Any]
    data: Array
    torn_bytes: int


def read_spool(path: Path, table: Table, *, count: int | None = None) -> Spool:
    """Read one spool, or its first `count` records. Raises RecordsError when the header is not that of `table` in this
    format version.

    A file that is shorter than a header was being created when its process died: it holds no records.
    """
    writer = path.name.removesuffix(f".{table.name}.spool")
    dtype = spool_dtype(table)
    size = path.stat().st_size
    if size < HEADER_BYTES:
        return Spool(writer, {}, np.zeros(0, dtype), size)
    with path.open("rb") as file:
        header = _checked_header(file.read(HEADER_BYTES), path, table)
        whole, torn = divmod(size - HEADER_BYTES, dtype.itemsize)
        data = np.fromfile(file, dtype=dtype, count=whole if count is None else min(whole, count))
    return Spool(writer, header, data, torn)


def _checked_header(raw: bytes, path: Path, table: Table) -> dict[str, Any]:
    try:
        header = json.loads(raw)
    except ValueError:
        raise RecordsError(f"{path}: not a spool: its first {HEADER_BYTES} bytes are no JSON header") from None
    if not isinstance(header, dict) or header.get("magic") != MAGIC:
        raise RecordsError(f"{path}: not a spool: its header lacks magic {MAGIC!r}")
    if header.get("version") != FORMAT_VERSION:
        raise RecordsError(
            f"{path}: format version {header.get('version')!r}, this ftpstorm reads {FORMAT_VERSION}; "
            "use the version that wrote it (manifest.json, versions)"
        )
    if header.get("table") != table.name or header.get("format") != table.struct_format:
        raise RecordsError(
            f"{path}: holds {header.get('table')!r} records of layout {header.get('format')!r}, "
            f"expected {table.name!r} of {table.struct_format!r}"
        )
    return header


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts worker-2 before worker-10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in _PARTS.split(text))


def spool_files(folder: Path, table: Table) -> list[Path]:
    """Return the spools of `table` in a results folder, by writer in natural order; empty when there are none."""
    return sorted((folder / SPOOL).glob(f"*.{table.name}.spool"), key=lambda path: _natural(path.name))


def read_texts(folder: Path, writer: str, kind: int) -> dict[int, str]:
    """Return the texts of one writer by their id: of `kind` REPLY_TEXT or SERIES_TEXT; empty where it left none."""
    path = spool_path(folder / SPOOL, writer, TEXTS)
    if not path.exists():
        return {}
    texts: dict[int, str] = {}
    for record in read_spool(path, TEXTS).data:
        if int(record["kind"]) == kind:
            kept = bytes(record["text"])[: int(record["length"])]
            texts[int(record["id"])] = kept.decode("utf-8", "replace") + ("…" if record["truncated"] else "")
    return texts


def _torn(spool: Spool, table: Table) -> Iterator[str]:
    if spool.torn_bytes:
        yield f"{spool.writer}.{table.name}: the last {spool.torn_bytes} bytes were no whole record and are left out"


def read_rows(folder: Path, table: Table) -> tuple[Rows, list[str]]:
    """Read SESSIONS or OPERATIONS of a folder: from Parquet where it is there, else from the spools; with warnings.

    Raises RecordsError for a file that is not what its name says.
    """
    parquet = folder / f"{table.name}.parquet"
    if parquet.exists():
        from ftpstorm.records.parquet import read_rows_parquet

        return read_rows_parquet(parquet, table), []
    return rows_from_spools(folder, table)


def rows_from_spools(folder: Path, table: Table) -> tuple[Rows, list[str]]:
    """Read SESSIONS or OPERATIONS from the spools alone; with warnings. Raises RecordsError as `read_spool`."""
    warnings: list[str] = []
    spools = [read_spool(path, table) for path in spool_files(folder, table)]
    if len(spools) > 255:
        raise RecordsError(f"{folder}: {len(spools)} writers of {table.name}; at most 255 can be told apart")
    data = np.zeros(sum(len(spool.data) for spool in spools), row_dtype(table))
    local_texts = [read_texts(folder, spool.writer, REPLY_TEXT) for spool in spools]
    used = [_distinct(spool.data["text"]) for spool in spools]
    texts = ("", *sorted({text for known, ids in zip(local_texts, used, strict=True) for text in _used(known, ids)}))
    number_of = {text: number for number, text in enumerate(texts)}
    begin = 0
    for index, (spool, known, ids) in enumerate(zip(spools, local_texts, used, strict=True)):
        part = data[begin : begin + len(spool.data)]
        begin += len(spool.data)
        record = f"V{spool.data.dtype.itemsize}"  # whole records at once: a tenth of the time that columns take
        part.view([("record", record), (WORKER, "u1")])["record"] = spool.data.view(record)
        part[WORKER] = index
        if len(part):
            lost = ids - known.keys() - {0}
            if lost:
                warnings.append(f"{spool.writer}.{table.name}: {len(lost)} reply texts were not saved in time")
            local = np.array(sorted(ids), np.uint32)
            renumbered = np.array([number_of.get(known.get(number, ""), 0) for number in local.tolist()], np.uint32)
            if ids != {0}:
                part["text"] = renumbered[np.searchsorted(local, spool.data["text"])]
        warnings.extend(_torn(spool, table))
    return Rows(data, texts, tuple(spool.writer for spool in spools)), warnings


def _distinct(ids: Array) -> set[int]:
    """Return the distinct values of a column of small ids, in one pass where sorting would take many."""
    most = int(ids.max()) if len(ids) else 0
    if most > 1_000_000:  # no writer of ours counts so far: do not let a damaged record ask for the memory
        return set(np.unique(ids).tolist())
    seen = np.zeros(most + 1, bool)
    seen[ids] = True
    return set(np.flatnonzero(seen).tolist()) if len(ids) else set()


def _used(known: Mapping[int, str], ids: Iterable[int]) -> Iterator[str]:
    return (known[number] for number in ids if known.get(number))


def read_samples(folder: Path) -> tuple[Samples, list[str]]:
    """Read all sample series of a folder, from Parquet where it is there, else from the spools; with warnings."""
    parquet = folder / f"{SAMPLES.name}.parquet"
    if parquet.exists():
        from ftpstorm.records.parquet import read_samples_parquet

        return read_samples_parquet(parquet), []
    return samples_from_spools(folder)


def samples_from_spools(folder: Path) -> tuple[Samples, list[str]]:
    """Read all sample series from the spools alone; with warnings. Raises RecordsError as `read_spool`."""
    warnings: list[str] = []
    parts: list[Array] = []
    numbers: dict[Series, int] = {}
    for path in spool_files(folder, SAMPLES):
        spool = read_spool(path, SAMPLES)
        warnings.extend(_torn(spool, SAMPLES))
        data = spool.data
        if not len(data):
            continue
        renumber = np.full(int(data["series"].max()) + 1, -1, np.int64)
        names = read_texts(folder, spool.writer, SERIES_TEXT)
        for local in np.unique(data["series"]).tolist():
            series_name = parse_series(names.get(local))
            if series_name is not None:
                renumber[local] = numbers.setdefault(series_name, len(numbers))
        series = renumber[data["series"]]
        named = series >= 0
        if not named.all():
            warnings.append(f"{spool.writer}.samples: {int((~named).sum())} samples of series whose name was not saved")
        part = data[named]
        part["series"] = series[named]
        parts.append(part)
    data = np.concatenate(parts) if parts else np.zeros(0, spool_dtype(SAMPLES))
    return group_samples(data, tuple(numbers)), warnings


def parse_series(text: str | None) -> Series | None:
    """Return the series that a SERIES_TEXT names, None where it names none (it was not saved in time)."""
    try:
        name = json.loads(text or "")
        return Series(str(name["host"]), str(name["metric"]), str(name["key"]))
    except (ValueError, KeyError, TypeError):
        return None


def group_samples(data: Array, names: tuple[Series, ...]) -> Samples:
    """Return `data` (columns of SAMPLES, `series` an index into `names`) sorted by series name, then time."""
    order = sorted(range(len(names)), key=lambda number: names[number])
    rank = np.zeros(max(len(names), 1), np.uint32)
    rank[order] = np.arange(len(names), dtype=np.uint32)
    series = rank[data["series"]]
    sequence = np.lexsort((data["t_ns"], series))
    grouped = data[sequence]
    grouped["series"] = series[sequence]
    offsets = np.searchsorted(grouped["series"], np.arange(len(names) + 1)).astype(np.int64)
    return Samples(grouped, tuple(names[number] for number in order), offsets)


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordsError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RecordsError(f"{path}: expected a JSON object")
    return value


def is_results_folder(folder: Path) -> bool:
    """Tell whether `folder` holds anything that a run leaves."""
    return (folder / MANIFEST).exists() or (folder / SPOOL).is_dir() or (folder / f"{SAMPLES.name}.parquet").exists()


def open_run(folder: Path) -> Run:
    """Read a results folder. Raises RecordsError when it is none, or when a file in it is not what it claims to be."""
    if not is_results_folder(folder):
        raise RecordsError(f"{folder}: not a results folder (no {MANIFEST}, no {SPOOL}/)")
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        manifest = None
    except (ValidationError, ValueError) as error:
        raise RecordsError(f"{folder / MANIFEST}: {error}") from None
    sessions, session_warnings = read_rows(folder, SESSIONS)
    operations, operation_warnings = read_rows(folder, OPERATIONS)
    samples, sample_warnings = read_samples(folder)
    scenario = folder / SCENARIO
    return Run(
        folder=folder,
        manifest=manifest,
        sessions=sessions,
        operations=operations,
        samples=samples,
        plan=_read_json(folder / PLAN),
        prediction=_read_json(folder / PREDICTION),
        scenario_text=scenario.read_text(encoding="utf-8") if scenario.exists() else None,
        warnings=(*session_warnings, *operation_warnings, *sample_warnings),
    )


assert set(TABLES) == {"sessions", "operations", "texts", "samples"}, "a new table needs a reader"
