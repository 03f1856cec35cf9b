"""Samples on disk: each series named once, texts never behind samples."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from ftpstorm.records.schema import HEADER_BYTES, SAMPLES, TEXTS
from ftpstorm.records.spool import spool_path
from ftpstorm.sampler.series import SeriesWriter
from ftpstorm.vocabulary import Metric, Side

HEADER = {"writer": "sampler", "origin_ns": 5, "pid": 1}


def samples_on_disk(folder: Path) -> list[tuple[int, int, float]]:
    raw = spool_path(folder, "sampler", SAMPLES).read_bytes()[HEADER_BYTES:]
    return list(struct.iter_unpack(SAMPLES.struct_format, raw))


def series_on_disk(folder: Path) -> dict[int, dict[str, str]]:
    raw = spool_path(folder, "sampler", TEXTS).read_bytes()[HEADER_BYTES:]
    rows = struct.iter_unpack(TEXTS.struct_format, raw)
    return {number: json.loads(text[:length]) for number, _, _, length, text in rows}


def test_each_series_is_named_once_and_told_apart_by_host_metric_and_key(tmp_path: Path) -> None:
    with SeriesWriter(tmp_path, "sampler", HEADER) as series:
        for t_ns in (-10, 20):
            series.group(Side.CLIENT, Metric.TCP_STATE).write(t_ns, "time-wait", 3)
            series.group(Side.SERVER, Metric.TCP_STATE).write(t_ns, "time-wait", 4)
            series.group("client", Metric.SOCKSTAT).write_all(t_ns, {"tw": 5, "mem": 6})
        assert series.count == 8
    assert series_on_disk(tmp_path) == {
        1: {"host": "client", "metric": "tcp.state", "key": "time-wait"},
        2: {"host": "server", "metric": "tcp.state", "key": "time-wait"},
        3: {"host": "client", "metric": "tcp.sockstat", "key": "tw"},
        4: {"host": "client", "metric": "tcp.sockstat", "key": "mem"},
    }
    assert samples_on_disk(tmp_path) == [(t, number, number + 2.0) for t in (-10, 20) for number in (1, 2, 3, 4)]


def test_after_a_flush_no_sample_names_a_series_that_is_not_there(tmp_path: Path) -> None:
    with SeriesWriter(tmp_path, "sampler", HEADER) as series:
        series.group("host", Metric.COUNTER).write(0, "Tcp.ActiveOpens", 1)
        series.flush()
        assert {number for _, number, _ in samples_on_disk(tmp_path)} == set(series_on_disk(tmp_path)) == {1}


def test_spools_of_an_earlier_run_are_not_overwritten(tmp_path: Path) -> None:
    SeriesWriter(tmp_path, "sampler", HEADER).close()
    with pytest.raises(FileExistsError):
        SeriesWriter(tmp_path, "sampler", HEADER)
