"""The sampler as a child of the conductor: hello, ready, start_at, progress, finish, done (ARCHITECTURE.md, Messages).

INT and TERM are ignored: the channel alone says when to stop, and its EOF means flush and exit.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from ftpstorm.channel import Channel, Message
from ftpstorm.sampler.census import Watch
from ftpstorm.sampler.loop import Sampler, SamplingSetup, drive
from ftpstorm.sampler.series import SeriesWriter
from ftpstorm.sampler.sources import Source
from ftpstorm.scenario.schema import Sampling

BOTH_SIDES: Final = "host"
"""Host of shared series where client and server live in one namespace."""
CLIENT_ONLY: Final = "client"
HOSTS: Final = (BOTH_SIDES, CLIENT_ONLY, "server", "router")


def read_setup(hello: Message) -> SamplingSetup:
    """Return the setup of a `hello`. Raises ValueError (pydantic's included) or KeyError for one that is none."""
    sampling = Sampling.model_validate(hello["sampling"])
    port_range = hello.get("port_range")
    processes = dict(hello.get("processes") or {})
    processes.setdefault(hello["writer"], os.getpid())
    return SamplingSetup(
        every_ns=sampling.every,
        ports_every_ns=sampling.ports_every,
        watch=Watch(
            frozenset(hello.get("server_ports") or ()),
            frozenset(hello.get("passive_ports") or ()),
            (port_range[0], port_range[1]) if port_range else None,
        ),
        processes=processes,
    )


def read_host(hello: Message, watch: Watch) -> str:
    """Return the host name of shared series: as `hello` says, else by whether the server is here. Raises ValueError."""
    host: Any = hello.get("host") or (BOTH_SIDES if watch.server_ports else CLIENT_ONLY)
    if host not in HOSTS:
        raise ValueError(f"hello.host is {host!r}; it names the host of sample series: {', '.join(HOSTS)}")
    return str(host)


async def _obey(channel: Channel, stop: asyncio.Event) -> bool:
    """Read messages until `finish` (True) or EOF (False), then set `stop`."""
    try:
        while (message := await channel.receive()) is not None:
            if message["type"] == "finish":
                return True
        return False
    finally:
        stop.set()


async def _sample(channel: Channel, hello: Message, source: Source, setup: SamplingSetup) -> None:
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
        sampler = Sampler((source,), series, setup, origin_ns)
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
        with Source(read_host(hello, setup.watch)) as source:
            channel.send("ready", pid=os.getpid())
            await _sample(channel, hello, source, setup)
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
