"""The sampling loop: a baseline, then ticks, dumps and process readings on their own grids, and a last sample of all.

Single-threaded and blocking within a pass: nothing else runs in this process but a channel that can wait. What a pass
cost and how late it began are samples too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ftpstorm.clock import Clock, monotonic_ns
from ftpstorm.records.spool import FLUSH_EVERY_S
from ftpstorm.sampler.census import Watch
from ftpstorm.sampler.feed import Feed
from ftpstorm.sampler.hostfacts import CpuFile
from ftpstorm.sampler.pace import Pace
from ftpstorm.sampler.portable import ProcessReader
from ftpstorm.sampler.series import SeriesWriter
from ftpstorm.sampler.sources import Source
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import Metric, Side, TcpState

PROCESSES_EVERY_NS: Final = 500 * NS_PER_MS
"""Processes and host CPU time are read at this pace, or each tick where ticks are slower: counting a busy process's
descriptors costs more than all else in a tick."""
PROGRESS_EVERY_NS: Final = 250 * NS_PER_MS

_FLUSH_EVERY_NS: Final = round(FLUSH_EVERY_S * NS_PER_S)


@dataclass(frozen=True, slots=True)
class SamplingSetup:
    """What to sample, and how often. Intervals in ns."""

    every_ns: int
    ports_every_ns: int
    watch: Watch
    processes: Mapping[str, int] = field(default_factory=dict)
    """Role to pid."""


class Sampler:
    """Reads all sources and processes and writes their series. The caller says when: `run_due` after `due_ns`."""

    def __init__(
        self,
        sources: Sequence[Source],
        series: SeriesWriter,
        setup: SamplingSetup,
        origin_ns: int,
        clock: Clock = monotonic_ns,
        watches: Sequence[Watch] | None = None,
    ) -> None:
        """`sources` (at least one) and `series` stay the caller's to close; `origin_ns` is start_at on `clock`.

        The first source is the one whose host names the series of processes and of the sampler itself, and whose
        counters stand in `counts`. `watches` has one watch for each source where they differ; None takes the setup's.
        """
        self._clock = clock
        self._origin_ns = origin_ns
        self._setup = setup
        self._series = series
        self._sources = tuple(sources)
        watched = [setup.watch] * len(self._sources) if watches is None else watches
        self._feeds = tuple(Feed(source, watch, series) for source, watch in zip(sources, watched, strict=True))
        self._processes = ProcessReader(setup.processes)
        self._cpu_file = CpuFile()
        host = self._sources[0].host
        self._cpu = series.group(host, Metric.PROCESS_CPU)
        self._rss = series.group(host, Metric.PROCESS_RSS)
        self._open_files = series.group(host, Metric.PROCESS_FILES)
        self._busy = series.group(host, Metric.HOST_BUSY)
        self._steal = series.group(host, Metric.HOST_STEAL)
        self._cost = series.group(host, Metric.SAMPLER_COST)
        self._late = series.group(host, Metric.SAMPLER_LATE)
        now_ns = clock()
        self._began_ns = now_ns
        self._cpu_before_ns = time.process_time_ns()
        self._ticks = Pace(origin_ns, setup.every_ns, now_ns)
        self._dumps = Pace(origin_ns, setup.ports_every_ns, now_ns)
        self._readings = Pace(origin_ns, max(setup.every_ns, PROCESSES_EVERY_NS), now_ns)
        self._flushed_ns = now_ns
        self._late_ticks = 0
        self._failed_dumps = 0
        self._failed_dumps_why: str | None = None
        self._extra = {"tick": 0, "dump": 0}
        self._counters_start: list[dict[str, int]] = [{} for _ in self._feeds]
        self._counters_start_ns: int | None = None

    def now_ns(self) -> int:
        """Return the present instant on this sampler's clock."""
        return self._clock()

    def due_ns(self) -> int:
        """Return when the next pass is due, on this sampler's clock."""
        return min(self._ticks.due_ns, self._dumps.due_ns, self._readings.due_ns)

    def take_baseline(self) -> None:
        """Take one sample of everything, now, and plan from there. Counters as they are now become the start's."""
        self._tick(self._clock())
        self._counters_start = [dict(feed.counters) for feed in self._feeds]
        self._counters_start_ns = self._clock() - self._origin_ns  # the pass may have been held up in its midst
        self._take_rest()
        now_ns = self._clock()
        for pace in (self._ticks, self._dumps, self._readings):
            pace.due_ns = Pace(self._origin_ns, pace.every_ns, now_ns).due_ns

    def run_due(self) -> None:
        """Take the passes that are due, cheap ones first; flush after each 100 ms. Raises OSError (disk full)."""
        if self._ticks.due_ns <= (now_ns := self._clock()):
            late_ns = self._ticks.take(now_ns)
            self._late_ticks += 2 * late_ns >= self._ticks.every_ns
            self._late.write(now_ns - self._origin_ns, "tick", late_ns / NS_PER_S)
            self._tick(now_ns)
        if self._readings.due_ns <= (now_ns := self._clock()):
            self._readings.take(now_ns)
            self._read_processes(now_ns)
        if self._dumps.due_ns <= (now_ns := self._clock()):
            late_ns = self._dumps.take(now_ns, self._dump(now_ns))
            self._late.write(now_ns - self._origin_ns, "dump", late_ns / NS_PER_S)
        if (now_ns := self._clock()) - self._flushed_ns >= _FLUSH_EVERY_NS:
            self._flush(now_ns)

    def finish(self) -> None:
        """Take a last sample of everything and flush."""
        self._take_all()

    def flush(self) -> None:
        """Write what has gathered to the spools."""
        self._flush(self._clock())

    def close(self) -> None:
        """Close what this sampler opened itself: not the sources, not the series."""
        self._cpu_file.close()

    def _flush(self, now_ns: int) -> None:
        self._series.flush()
        self._flushed_ns = now_ns

    def _take_all(self) -> None:
        self._tick(self._clock())
        self._take_rest()

    def _take_rest(self) -> None:
        self._read_processes(self._clock())
        self._dump(self._clock())
        self._extra["tick"] += 1
        self._extra["dump"] += 1
        self._flush(self._clock())

    def _tick(self, now_ns: int) -> None:
        before_ns = time.thread_time_ns()
        t_ns = now_ns - self._origin_ns
        for feed in self._feeds:
            feed.tick(t_ns)
        self._cost.write(t_ns, "tick", (time.thread_time_ns() - before_ns) / NS_PER_S)

    def _dump(self, now_ns: int) -> int:
        before_ns = time.thread_time_ns()
        at_ns = now_ns
        for feed in self._feeds:
            try:
                feed.dump(at_ns - self._origin_ns)
            except OSError as error:
                # the table could not be read this time: a gap in the series, and `counts` says so
                self._failed_dumps += 1
                self._failed_dumps_why = str(error)
            at_ns = self._clock()  # a large table takes long: the next host is seen that much later
        cost_ns = time.thread_time_ns() - before_ns
        self._cost.write(now_ns - self._origin_ns, "dump", cost_ns / NS_PER_S)
        return cost_ns

    def _read_processes(self, now_ns: int) -> None:
        t_ns = now_ns - self._origin_ns
        for role, reading in self._processes.read().items():
            if reading is None:
                continue
            self._cpu.write(t_ns, role, reading.cpu_s)
            self._rss.write(t_ns, role, reading.rss_bytes)
            if reading.files is not None:
                self._open_files.write(t_ns, role, reading.files)
        times = self._cpu_file.read()
        if times is not None:
            self._busy.write(t_ns, "", times.busy_s)
            if times.steal_s is not None:
                self._steal.write(t_ns, "", times.steal_s)

    def _total(self, side: Side, state: TcpState) -> int | None:
        known = [count for feed in self._feeds if (count := feed.last_count(side, state)) is not None]
        return sum(known) if known else None

    def progress(self) -> dict[str, Any]:
        """Return the fields of a `progress` message: `t_ns` and what was last seen; None for what nobody looked at."""
        now_ns = self._clock()
        elapsed_ns = max(1, now_ns - self._began_ns)
        ephemeral = [feed.census.ephemeral for feed in self._feeds if feed.census and Side.CLIENT in feed.census.states]
        known = [count for count in ephemeral if count is not None]
        established = self._total(Side.CLIENT, TcpState.ESTABLISHED)
        return {
            "t_ns": now_ns - self._origin_ns,
            "time_wait": {str(side): self._total(side, TcpState.TIME_WAIT) for side in (Side.CLIENT, Side.SERVER)},
            "ephemeral": {"client": sum(known) if known else None},
            "established": established if established is not None else self._total(Side.SERVER, TcpState.ESTABLISHED),
            "cost_share": (time.process_time_ns() - self._cpu_before_ns) / elapsed_ns,
        }

    def counts(self) -> dict[str, Any]:
        """Return what this sampler counted itself: the fields of its `done` message.

        `ticks` and `dumps` include baseline and last sample; `late_ticks` began half an interval or more after they
        were due, `skipped_ticks` never took place; `stretched_to_ns` is the longest interval of dumps where their cost
        made it longer than asked, else None; `cpu_s` is this process's CPU time since the sampler was made;
        `counters_start_ns` is when the last host's first counters had been read, in ns after start_at; `missing` says
        what this system cannot give, and why. `hosts` has side and counters of each namespace by its host's name,
        side None where client and server share it.
        """
        missing = {name: why for source in reversed(self._sources) for name, why in source.missing.items()}
        if self._failed_dumps_why is not None:
            missing["dumps"] = self._failed_dumps_why
        return {
            "ticks": self._ticks.taken + self._extra["tick"],
            "late_ticks": self._late_ticks,
            "skipped_ticks": self._ticks.skipped,
            "dumps": self._dumps.taken + self._extra["dump"] - self._failed_dumps,
            "failed_dumps": self._failed_dumps,
            "samples": self._series.count,
            "cpu_s": (time.process_time_ns() - self._cpu_before_ns) / NS_PER_S,
            "stretched_to_ns": self._dumps.stretched_to_ns,
            "counters_start_ns": self._counters_start_ns,
            "counters_start": self._counters_start[0],
            "counters_end": dict(self._feeds[0].counters),
            "hosts": {
                feed.host: {
                    "side": feed.side and str(feed.side),
                    "counters_start": start,
                    "counters_end": dict(feed.counters),
                }
                for feed, start in zip(self._feeds, self._counters_start, strict=True)
            },
            "missing": missing,
        }


async def drive(
    sampler: Sampler, stop: asyncio.Event, on_progress: Callable[[dict[str, Any]], None] | None = None
) -> None:
    """Run `sampler` from its baseline until `stop` is set; `on_progress` gets its progress four times a second.

    Takes no last sample: `finish` is the caller's, who knows whether there is still anything to see.
    """
    sampler.take_baseline()
    now_ns = sampler.now_ns()
    progress = Pace(now_ns, PROGRESS_EVERY_NS, now_ns)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stop.is_set():
            due_ns = sampler.due_ns() if on_progress is None else min(sampler.due_ns(), progress.due_ns)
            # also with nothing to wait for: whoever may set `stop` gets a turn
            await asyncio.wait((stopped,), timeout=max(0, due_ns - sampler.now_ns()) / NS_PER_S)
            if stop.is_set():
                return
            sampler.run_due()
            if on_progress is not None and progress.due_ns <= (now_ns := sampler.now_ns()):
                progress.take(now_ns)
                on_progress(sampler.progress())
    finally:
        stopped.cancel()
