"""The sampler as a child of the conductor: hello, ready, start_at, progress, finish, done (ARCHITECTURE.md, Messages).

INT and TERM are ignored: the channel alone says when to stop, and its EOF means flush and exit.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ftpstorm.channel import Channel, Message
from ftpstorm.sampler.hosts import WatchedHost, opened, read_hosts, read_watch
from ftpstorm.sampler.loop import Sampler, SamplingSetup, drive
from ftpstorm.sampler.series import SeriesWriter
from ftpstorm.sampler.sources import Source
from ftpstorm.scenario.schema import Sampling


def read_setup(hello: Message) -> SamplingSetup:
    """Return the setup of a `hello`. Raises ValueError (pydantic's included) or KeyError for one that is none."""
    sampling = Sampling.model_validate(hello["sampling"])
    processes = dict(hello.get("processes") or {})
    processes.setdefault(hello["writer"], os.getpid())
    return SamplingSetup(
        every_ns=sampling.every,
        ports_every_ns=sampling.ports_every,
        watch=read_watch(hello),
        processes=processes,
    )


async def _obey(channel: Channel, stop: asyncio.Event) -> bool:
    """Read messages until `finish` (True) or EOF (False), then set `stop`."""
    try:
        while (message := await channel.receive()) is not None:
            if message["type"] == "finish":
                return True
        return False
    finally:
        stop.set()


async def _sample(
    channel: Channel, hello: Message, hosts: Sequence[WatchedHost], sources: Sequence[Source], setup: SamplingSetup
) -> None:
    message = await channel.receive()
    while message is not None and message["type"] not in ("start_at", "finish"):
        message = await channel.receive()
    if message is None:
        return
    if message["type"] == "finish":  # the run ended before it began
        channel.send("done", counts={"ticks": 0, "dumps": 0, "counters_start": {}, "counters_end": {}})
        return
    origin_ns = int(message["t_ns"])
    header = {"writer": hello["writer"], "origin_ns": origin_ns, "pid": os.getpid()}
    with SeriesWriter(Path(hello["spool"]), hello["writer"], header) as series:
        sampler = Sampler(sources, series, setup, origin_ns, watches=[host.watch for host in hosts])
        # What lives now lives to the end, and passes leave no cycles: collections would only cost
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000)
        stop = asyncio.Event()
        orders = asyncio.create_task(_obey(channel, stop))
        try:
            await drive(sampler, stop, lambda fields: channel.send("progress", **fields))
            if await orders:
                sampler.finish()
                channel.send("done", counts=sampler.counts())
            else:
                sampler.flush()
        finally:
            orders.cancel()
            sampler.close()


async def serve(channel: Channel) -> int:
    """Hold the whole conversation over `channel`; returns the exit status, 0 also after EOF."""
    try:
        hello = await channel.receive()
        if hello is None:
            return 0
        if hello["type"] != "hello":
            raise ValueError(f"expected hello, got {hello['type']!r}")
        setup = read_setup(hello)
        hosts = read_hosts(hello)
        with opened(hosts) as sources:
            channel.send("ready", pid=os.getpid())
            await _sample(channel, hello, hosts, sources, setup)
    except (OSError, ValueError, KeyError) as error:
        channel.send("error", message=f"sampler: {type(error).__name__}: {error}")
        await channel.drain()
        return 1
    await channel.drain()
    return 0


async def _main() -> int:
    channel = await Channel.inherited()
    try:
        return await serve(channel)
    finally:
        channel.close()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(asyncio.run(_main()))
