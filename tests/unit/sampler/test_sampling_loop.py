"""The loop's order and accounting, on a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.records.reader import Samples, read_samples
from ftpstorm.sampler.census import Census, CensusTaker, Watch
from ftpstorm.sampler.loop import Sampler, SamplingSetup, drive
from ftpstorm.sampler.series import SeriesWriter

MS = 1_000_000
S = 1_000 * MS
START = 100 * S


class Still:
    """A namespace with no sockets in it; `on_census` may fail or let time pass."""

    host = "host"
    side = None
    port_range = (32_768, 60_999)
    has_sockets = True
    has_queues = False

    def __init__(self) -> None:
        self.opens = 0
        self.hold_up: Callable[[], None] = lambda: None
        self.missing: dict[str, str] = {}
        self.fault: OSError | None = None

    def read_counters(self) -> dict[str, int]:
        self.hold_up()
        self.opens += 1
        return {"Tcp.ActiveOpens": self.opens}

    def read_sockstat(self) -> dict[str, int]:
        return {"tw": 0}

    def take_census(self, taker: CensusTaker) -> Census:
        if self.fault is not None:
            raise self.fault
        return taker.count([])


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ns = START - 250 * MS
        self.source = Still()
        (folder / "spool").mkdir()
        header = {"writer": "sampler", "origin_ns": START, "pid": 1}
        self.series = SeriesWriter(folder / "spool", "sampler", header)
        setup = SamplingSetup(100 * MS, S, Watch(frozenset({2121})))
        self.sampler = Sampler((self.source,), self.series, setup, START, clock=lambda: self.now_ns)  # type: ignore[arg-type]

    def run_until(self, end_ns: int) -> None:
        while (due := self.sampler.due_ns()) <= end_ns:
            self.now_ns = max(self.now_ns, due)
            self.sampler.run_due()
        self.now_ns = end_ns

    def samples(self) -> Samples:
        self.series.close()
        return read_samples(self.folder)[0]

    def instants(self, metric: str, key: str) -> list[int]:
        found = self.samples().one(metric, key=key)
        return [] if found is None else found.t_ns.tolist()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.sampler.close()
    made.series.close()


def test_a_baseline_comes_at_once_then_the_grid_of_start_at(bench: Bench) -> None:
    bench.sampler.take_baseline()
    bench.run_until(START + 250 * MS)
    bench.sampler.finish()
    expected = [-250 * MS, -200 * MS, -100 * MS, 0, 100 * MS, 200 * MS, 250 * MS]
    assert bench.instants("tcp.sockstat", "tw") == expected


def test_dumps_keep_a_grid_of_their_own(bench: Bench) -> None:
    bench.sampler.take_baseline()
    bench.run_until(START + 2500 * MS)
    assert bench.instants("ports.ephemeral", "*") == [-250 * MS, 0, S, 2 * S]


def test_ticks_that_were_missed_are_counted_and_not_made_up_for(bench: Bench) -> None:
    bench.sampler.take_baseline()
    bench.run_until(START)
    bench.now_ns = START + 430 * MS
    bench.run_until(START + 600 * MS)
    counts = bench.sampler.counts()
    samples = bench.samples()
    ticks = samples.one("tcp.sockstat", key="tw")
    late = samples.one("sampler.late_s", key="tick")
    assert ticks is not None
    assert late is not None
    after = [t // MS for t in ticks.t_ns.tolist() if t > 0]
    assert after == [430, 500, 600]
    assert late.value.tolist()[-3:] == pytest.approx([0.330, 0.0, 0.0])
    assert (counts["late_ticks"], counts["skipped_ticks"]) == (1, 3)


def test_counters_are_as_old_as_their_reading_and_not_as_the_pass(bench: Bench) -> None:
    def hold_up() -> None:
        bench.now_ns = START + 40 * MS

    bench.source.hold_up = hold_up
    bench.sampler.take_baseline()
    assert bench.sampler.counts()["counters_start_ns"] == 40 * MS
    assert bench.instants("tcp.sockstat", "tw")[0] == -250 * MS


def test_counts_hold_the_counters_of_baseline_and_end(bench: Bench) -> None:
    bench.sampler.take_baseline()
    bench.run_until(START + S)
    bench.sampler.finish()
    counts = bench.sampler.counts()
    assert counts["counters_start"] == {"Tcp.ActiveOpens": 1}
    assert counts["counters_end"] == {"Tcp.ActiveOpens": counts["ticks"]}
    assert counts["ticks"] == 2 + 13  # baseline, last, and -200 ms .. 1 s each 100 ms
    assert counts["dumps"] == 2 + 2
    assert counts["stretched_to_ns"] is None
    assert counts["missing"] == {}


def test_a_dump_that_the_kernel_refuses_is_a_gap_with_a_reason(bench: Bench) -> None:
    bench.sampler.take_baseline()
    bench.source.fault = OSError("no buffers")
    bench.run_until(START + 500 * MS)
    bench.source.fault = None
    bench.run_until(START + S)
    counts = bench.sampler.counts()
    assert (counts["dumps"], counts["failed_dumps"]) == (2, 1)
    assert counts["missing"] == {"dumps": "no buffers"}
    assert bench.instants("ports.ephemeral", "*") == [-250 * MS, S]


def test_samples_reach_the_disk_within_a_tenth_of_a_second(bench: Bench) -> None:
    bench.sampler.take_baseline()
    bench.run_until(START + 300 * MS)
    on_disk = read_samples(bench.folder)[0].one("tcp.sockstat", key="tw")
    assert on_disk is not None
    assert on_disk.t_ns.max() >= 200 * MS


def test_progress_says_what_was_last_seen_and_none_for_what_nobody_looked_at(bench: Bench) -> None:
    before = bench.sampler.progress()
    assert before["time_wait"] == {"client": None, "server": None}
    assert before["ephemeral"] == {"client": None}
    assert before["established"] is None
    bench.sampler.take_baseline()
    after = bench.sampler.progress()
    assert after["time_wait"] == {"client": 0, "server": 0}
    assert after["ephemeral"] == {"client": 0}
    assert after["t_ns"] == -250 * MS


async def test_driving_takes_the_baseline_and_ends_soon_after_stop(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    header = {"writer": "sampler", "origin_ns": 0, "pid": 1}
    heard: list[dict[str, Any]] = []
    with SeriesWriter(tmp_path / "spool", "sampler", header) as series:
        setup = SamplingSetup(10 * MS, 20 * MS, Watch())
        sampler = Sampler((Still(),), series, setup, 0)  # type: ignore[arg-type]
        stop = asyncio.Event()

        def listen(fields: dict[str, Any]) -> None:
            heard.append(fields)
            stop.set()

        await asyncio.wait_for(drive(sampler, stop, listen), 30)
        sampler.close()
        assert len(heard) == 1
        assert sampler.counts()["ticks"] >= 2
        assert sampler.counts()["dumps"] >= 2
