"""Records as text: words for numbers, UTC beside relative time, the same from Parquet and from spools."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import RecordsError, UsageError
from ftpstorm.records.batches import read_batches
from ftpstorm.records.manifest import SPOOL
from ftpstorm.records.parquet import convert
from ftpstorm.records.schema import OPERATIONS, SAMPLES, SESSIONS, Table
from ftpstorm.records.spool import SpoolWriter, TextTable, spool_path
from ftpstorm.report.export import export, parse_where
from ftpstorm.vocabulary import Metric
from support.results_folder import Story

Folder = Callable[[Story], Path]


def rows_of(folder: Path, table: str, *where: str) -> list[dict[str, Any]]:
    output = io.StringIO()
    count = export(folder, table, "ndjson", output, where=[parse_where(text) for text in where])
    rows = [json.loads(line) for line in output.getvalue().splitlines()]
    assert len(rows) == count
    return rows


def test_operations_have_words_utc_and_seconds(folder: Folder) -> None:
    path = folder(Story(duration_s=2))
    rows = rows_of(path, "operations", "class=passive-exhausted")
    assert len(rows) == 174
    first = rows[0]
    assert (first["operation"], first["outcome"], first["phase"], first["load"]) == (
        "retr",
        "failed",
        "passive",
        "steady",
    )
    assert (first["code"], first["errno"], first["errno_name"]) == (425, None, None)
    assert first["control_survived"] is True
    assert first["text"] == "425 Try later, data connection in use."
    assert first["data_connected_s"] is None
    assert not [name for name in first if name.endswith("_ns")]
    # the story's clock pair says: CLOCK_MONOTONIC 10^12 ns was the epoch, and there the run started
    micros = round(first["start_s"] * 1e9) // 1000
    assert first["utc"] == f"1970-01-01T00:00:{micros // 10**6:02d}.{micros % 10**6:06d}Z"


@pytest.mark.parametrize("table", [SESSIONS, OPERATIONS, SAMPLES], ids=lambda table: table.name)
def test_spools_and_parquet_export_the_same_rows_whatever_the_batch(folder: Folder, table: Table) -> None:
    path = folder(Story(duration_s=2, dropped=frozenset({3})))
    from_spools = sorted(map(json.dumps, rows_of(path, table.name)))
    small = sum(batch.num_rows for batch in read_batches(path, table, 7))
    assert all(batch.num_rows <= 7 for batch in read_batches(path, table, 7))
    convert(path)
    from_parquet = sorted(map(json.dumps, rows_of(path, table.name)))
    assert from_parquet == from_spools
    assert len(from_spools) == small > 0


@pytest.mark.parametrize("parquet", [False, True], ids=["spools", "parquet"])
def test_a_sample_that_is_no_finite_number_is_null(folder: Folder, parquet: bool) -> None:
    path = folder(Story(duration_s=1))
    header = {"writer": "odd", "origin_ns": 10**12, "pid": 300}
    texts = TextTable(path / SPOOL, "odd", header)
    spool = SpoolWriter(spool_path(path / SPOOL, "odd", SAMPLES), SAMPLES, header)
    series = texts.intern_series("attic", Metric.SOCKSTAT, "mem")
    for value in (float("nan"), float("inf"), -float("inf"), 3.5):
        spool.append(0, series, value)
    spool.close()
    texts.close()
    if parquet:
        convert(path)
    assert [row["value"] for row in rows_of(path, "samples", "host=attic")] == [None, None, None, 3.5]


def test_csv_has_one_heading_and_empty_fields_for_null(folder: Folder) -> None:
    output = io.StringIO(newline="")
    export(folder(Story(duration_s=2)), "sessions", "csv", output)
    rows = list(csv.DictReader(io.StringIO(output.getvalue(), newline="")))
    assert len(rows) == 194
    assert {row["outcome"] for row in rows} == {"succeeded", "failed"}
    assert rows[0]["errno"] == ""
    assert {row["control_survived"] for row in rows} == {"", "true"}
    assert rows == [row for row in rows if row["utc"].endswith("Z")]


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (["outcome=failed"], 174),
        (["outcome!=failed", "operation=retr"], 20),
        (["operation=retr", "start_s>=1"], 97),
        (["control_survived=true"], 174),
        (["code=425"], 174),
        (["operation=retr", "passive_port="], 174),
    ],
)
def test_conditions_select(folder: Folder, where: list[str], count: int) -> None:
    assert len(rows_of(folder(Story(duration_s=2)), "operations", *where)) == count


@pytest.mark.parametrize(
    ("table", "where", "told"),
    [
        ("operations", "outcom=failed", "no column outcom; there are utc, "),
        ("operations", "outcome failed", "write a column, a comparison and a value"),
        ("operations", "outcome=faild", "outcome is never 'faild'; did you mean 'failed'"),
        ("sessions", "class!=passive_exhaustd", "did you mean 'passive-exhausted'"),
        ("sessions", "phase=lunch", "values of phase: none, control-connect, "),
        ("operations", "load=stedy", "did you mean 'steady'"),
        ("samples", "metric=pool.cout", "did you mean 'pool.count'"),
        ("operations", "start_s>soon", "start_s is a number, not 'soon'"),
        ("operations", "control_survived=1", "is true or false"),
        ("texts", "id=1", "there are operations, sessions, samples"),
    ],
)
def test_what_cannot_be_asked_is_told(folder: Folder, table: str, where: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        rows_of(folder(Story(duration_s=1)), table, where)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"manifest\.json"):
        rows_of(tmp_path, "operations")
