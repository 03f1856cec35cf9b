"""The sampler alone, with no run around it: for a server host, or beside another load generator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from ftpstorm.clock import monotonic_ns
from ftpstorm.errors import UsageError
from ftpstorm.records.manifest import SPOOL
from ftpstorm.sampler.census import Watch
from ftpstorm.sampler.hosts import BOTH_SIDES, CLIENT_ONLY, WatchedHost, opened
from ftpstorm.sampler.loop import Sampler, SamplingSetup, drive
from ftpstorm.sampler.series import SeriesWriter
from ftpstorm.units import NS_PER_S

WRITER: Final = "sampler"


async def sample(
    out: Path,
    every_ns: int,
    ports_every_ns: int,
    duration_ns: int | None,
    server_ports: Iterable[int],
    passive_ports: Iterable[int],
    stop: asyncio.Event,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    *,
    netns: int | None = None,
) -> dict[str, Any]:
    """Sample one network namespace into ``out/spool`` until `stop` is set or `duration_ns` is over.

    The folder has no manifest; `ftpstorm.records.reader` reads it all the same. Instants in it count from the call.
    `every_ns` and `ports_every_ns` (ns, above 0) are the pace of counters and of socket dumps; `duration_ns` None goes
    on until `stop`. With no ports given every socket counts as the client's. `on_progress` gets what
    `Sampler.progress` returns, four times a second. `netns` is a descriptor of the namespace to watch, None for this
    thread's own. Returns `Sampler.counts`. Raises UsageError when `out` already holds samples, ValueError for an
    interval that is not above 0, OSError when it cannot be written or the namespace cannot be entered.
    """
    if every_ns <= 0 or ports_every_ns <= 0:
        raise ValueError("sampling intervals must be above 0")
    watch = Watch(frozenset(server_ports), frozenset(passive_ports))
    host = WatchedHost(BOTH_SIDES if watch.server_ports or watch.passive_ports else CLIENT_ONLY, watch, netns=netns)
    origin_ns = monotonic_ns()
    header = {"writer": WRITER, "origin_ns": origin_ns, "pid": os.getpid()}
    setup = SamplingSetup(every_ns, ports_every_ns, watch, {WRITER: os.getpid()})
    # entered before anything is written: a namespace that is closed to us leaves no folder
    with opened((host,)) as sources, _series(out, header) as series:
        sampler = Sampler(sources, series, setup, origin_ns)
        timer = None
        if duration_ns is not None:
            timer = asyncio.get_running_loop().call_later(duration_ns / NS_PER_S, stop.set)
        try:
            await drive(sampler, stop, on_progress)
            sampler.finish()
            return sampler.counts()
        finally:
            if timer is not None:
                timer.cancel()
            sampler.close()


def _series(out: Path, header: dict[str, Any]) -> SeriesWriter:
    folder = out / SPOOL
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return SeriesWriter(folder, WRITER, header)
    except FileExistsError as exists:
        raise UsageError(f"{out} already holds samples; choose another folder") from exists
