"""A results folder reads back what was written, whatever moment the run was killed at."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftpstorm.errors import RecordsError
from ftpstorm.records.reader import Series, open_run, read_spool, spool_dtype, spool_files
from ftpstorm.records.schema import ABSENT, HEADER_BYTES, OPERATIONS, SAMPLES, SESSIONS, TABLES, TEXTS, Table
from ftpstorm.records.spool import SpoolWriter, TextTable, spool_path
from ftpstorm.vocabulary import FailureClass, Metric, Outcome
from support.results_folder import REPLY, Story, write_results

SHORT = Story(duration_s=2, until_s=1.5)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_dtype_is_as_wide_as_the_packed_record(table: Table) -> None:
    assert spool_dtype(table).itemsize == struct.calcsize(table.struct_format)
    assert spool_dtype(table).names == tuple(column.name for column in table.columns)


def test_run_reads_back_rows_of_all_workers_with_their_texts(tmp_path: Path) -> None:
    run = open_run(write_results(tmp_path / "run", SHORT))
    sessions = run.sessions.data
    assert len(sessions) == 146  # instants 0 .. 145/97 s lie before 1.5 s
    assert run.sessions.writers == ("worker-0", "worker-1")
    assert sorted(sessions["session"].tolist()) == list(range(146))
    assert (sessions["session"] % 2 == sessions["worker"]).all()
    failed = sessions[sessions["outcome"] == Outcome.FAILED]
    assert len(failed) == 126
    assert {run.sessions.texts[number] for number in failed["text"]} == {REPLY}
    assert set(failed["class"].tolist()) == {FailureClass.PASSIVE_EXHAUSTED}
    assert (sessions["tls_ns"] == ABSENT).all()
    assert run.warnings == ()


def test_workers_number_their_texts_apart_and_the_reader_joins_them(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    for writer, texts in (("worker-0", ["a", "b"]), ("worker-10", ["c"]), ("worker-2", ["b", "a"])):
        header = {"writer": writer, "origin_ns": 0, "pid": 1}
        table = TextTable(tmp_path / "spool", writer, header)
        operations = SpoolWriter(spool_path(tmp_path / "spool", writer, OPERATIONS), OPERATIONS, header)
        for text in texts:
            values = [0] * len(OPERATIONS.columns)
            values[[column.name for column in OPERATIONS.columns].index("text")] = table.intern(text)
            operations.append(*values)
        table.close()
        operations.close()
    operations_read = open_run(tmp_path).operations
    assert operations_read.writers == ("worker-0", "worker-2", "worker-10")
    assert [operations_read.texts[i] for i in operations_read.data["text"]] == ["a", "b", "b", "a", "c"]
    assert operations_read.data["worker"].tolist() == [0, 0, 1, 1, 2]


def test_samples_are_joined_with_their_series_and_sorted_by_time(tmp_path: Path) -> None:
    samples = open_run(write_results(tmp_path / "run", SHORT)).samples
    held = samples.one(Metric.POOL, key="held")
    assert held is not None
    assert held.t_ns[0] == -100_000_000
    assert (np.diff(held.t_ns) == 100_000_000).all()
    assert held.value.max() == 20
    assert Series("host", Metric.COUNTER, "Tcp.ActiveOpens") in samples.select(Metric.COUNTER)
    assert samples.one(Metric.POOL) is None, "four series match: none is the one"
    assert samples.select("no.such") == {}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, HEADER_BYTES + 40 * spool_dtype(SESSIONS).itemsize))
def test_a_spool_cut_at_any_byte_gives_every_whole_record(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = spool_path(folder, "worker-0", SESSIONS)
    writer = SpoolWriter(path, SESSIONS, {"writer": "worker-0", "origin_ns": 0, "pid": 1})
    for number in range(40):
        writer.append(0, number, *[0] * (len(SESSIONS.columns) - 2))
    writer.close()
    with path.open("r+b") as file:
        file.truncate(cut)
    spool = read_spool(path, SESSIONS)
    whole, torn = divmod(max(cut - HEADER_BYTES, 0), spool_dtype(SESSIONS).itemsize)
    assert spool.data["session"].tolist() == list(range(whole))
    assert spool.torn_bytes == (torn if cut >= HEADER_BYTES else cut)


def test_torn_tail_is_told(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    path = spool_files(folder, OPERATIONS)[0]
    with path.open("ab") as file:
        file.write(b"torn")
    run = open_run(folder)
    assert run.warnings == ("worker-0.operations: the last 4 bytes were no whole record and are left out",)


def test_a_folder_with_nothing_but_a_manifest_gives_empty_tables(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    for path in (folder / "spool").iterdir():
        path.unlink()
    run = open_run(folder)
    assert (len(run.sessions), len(run.operations), len(run.samples)) == (0, 0, 0)
    assert run.manifest is not None


def test_samples_whose_series_was_never_saved_are_left_out_and_told(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    before = len(open_run(folder).samples)
    spool_path(folder / "spool", "sampler", TEXTS).unlink()
    run = open_run(folder)
    assert len(run.samples) < before
    assert "samples of series whose name was not saved" in run.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": "else"}, "lacks magic"),
        ({"version": 99}, "format version 99"),
        ({"format": "<B"}, "layout '<B'"),
        ({"table": "operations"}, "holds 'operations' records"),
    ],
)
def test_a_foreign_header_is_refused_with_the_reason(tmp_path: Path, change: dict[str, object], message: str) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    path = spool_files(folder, SESSIONS)[0]
    content = path.read_bytes()
    header = json.loads(content[:HEADER_BYTES]) | change
    path.write_bytes(json.dumps(header).encode().ljust(HEADER_BYTES) + content[HEADER_BYTES:])
    with pytest.raises(RecordsError, match=message):
        open_run(folder)


def test_a_header_that_is_no_json_is_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    spool_files(folder, SAMPLES)[0].write_bytes(b"\xff" * 5000)
    with pytest.raises(RecordsError, match="no JSON header"):
        open_run(folder)


def test_a_folder_that_is_no_results_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="not a results folder"):
        open_run(tmp_path)
