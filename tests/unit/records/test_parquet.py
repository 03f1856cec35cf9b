"""Parquet holds the very values of the spools, in words that other tools understand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ftpstorm.errors import RecordsError
from ftpstorm.records.parquet import convert
from ftpstorm.records.reader import open_run
from support.results_folder import REPLY, Story, write_results

SHORT = Story(duration_s=2, until_s=1.5)


def test_reading_back_gives_the_values_of_the_spools(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    before = open_run(folder)
    counts = convert(folder)
    for path in (folder / "spool").iterdir():
        path.unlink()
    after = open_run(folder)
    assert counts == {
        "sessions": len(before.sessions),
        "operations": len(before.operations),
        "samples": len(before.samples),
    }
    for name in ("sessions", "operations"):
        old, new = getattr(before, name), getattr(after, name)
        assert new.texts == old.texts
        assert new.writers == old.writers
        assert np.array_equal(new.data, old.data)
    assert after.samples.series == before.samples.series
    assert np.array_equal(after.samples.offsets, before.samples.offsets)
    assert np.array_equal(after.samples.data, before.samples.data)


def test_columns_speak_for_themselves(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    convert(folder)
    table = pq.read_table(folder / "sessions.parquet")
    assert set(table["outcome"].to_pylist()) == {"succeeded", "failed"}
    assert set(table["text"].to_pylist()) == {None, REPLY}
    assert set(table["tls_ns"].to_pylist()) == {None}
    assert set(table["worker"].to_pylist()) == {"worker-0", "worker-1"}
    assert table.schema.field("intended_ns").metadata[b"unit"] == b"ns"
    assert table.schema.field("bytes").metadata[b"unit"] == b"B"


def test_a_run_without_records_converts_to_empty_tables(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    for path in (folder / "spool").iterdir():
        path.unlink()
    assert convert(folder) == {"sessions": 0, "operations": 0, "samples": 0}
    run = open_run(folder)
    assert (len(run.sessions), len(run.operations), len(run.samples)) == (0, 0, 0)


def test_nothing_half_written_is_left_when_a_spool_cannot_be_read(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    (folder / "spool" / "sampler.samples.spool").write_bytes(b"x" * 9000)
    with pytest.raises(RecordsError):
        convert(folder)
    assert not list(folder.glob(".*parquet*"))
    assert not (folder / "samples.parquet").exists()


def test_a_damaged_parquet_file_is_told_apart_from_an_empty_one(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "run", SHORT)
    (folder / "operations.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RecordsError, match="not a readable Parquet file"):
        open_run(folder)
