"""The emulator as a child of the conductor: hello, ready, start_at, progress, finish, done.

The messages stand in ARCHITECTURE.md, "Messages".
It ignores SIGINT and SIGTERM, since the conductor decides when it ends; EOF on the channel ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ftpstorm.channel import Channel, Message
from ftpstorm.clock import monotonic_ns
from ftpstorm.emulator.logfile import logging_to
from ftpstorm.emulator.publisher import Publisher
from ftpstorm.emulator.serve import new_loop, open_server, raise_file_limit
from ftpstorm.emulator.server import EmulatorServer
from ftpstorm.errors import ExitCode, FtpstormError
from ftpstorm.records.spool import FLUSH_EVERY_S
from ftpstorm.scenario.target import Emulator
from ftpstorm.units import NS_PER_S

PUBLISH_EVERY_NS: Final = int(FLUSH_EVERY_S * NS_PER_S)
PROGRESS_EVERY_S: Final = 0.25


async def _publish_on_time(publisher: Publisher, start_ns: int) -> None:
    tick = 0
    while True:
        publisher.publish()
        now_ns = monotonic_ns()
        # On a grid from start_at, so that a late sample does not shift those after it; missed ones are left out.
        tick = max(tick, (now_ns - start_ns) // PUBLISH_EVERY_NS) + 1
        await asyncio.sleep(max(0, start_ns + tick * PUBLISH_EVERY_NS - now_ns) / NS_PER_S)


async def _report_progress(channel: Channel, server: EmulatorServer) -> None:
    while True:
        counts = server.pool.counts(server.clock())
        channel.send(
            "progress",
            pool={state.word: count for state, count in counts.items()},
            sessions=server.sessions,
            accept_queue=server.accept_queue,
        )
        await asyncio.sleep(PROGRESS_EVERY_S)


@contextlib.contextmanager
def _published(server: EmulatorServer, hello: Message, start_ns: int) -> Iterator[Publisher]:
    publisher = Publisher(server, Path(hello["spool"]), hello["writer"], start_ns)
    try:
        yield publisher
    finally:
        publisher.close()


async def _await_message(channel: Channel, kind: str, watched: tuple[asyncio.Task[Any], ...] = ()) -> Message | None:
    """Return the next message of `kind`, None at EOF; others are passed over. Raises what a `watched` task raised."""
    while True:
        receiving = asyncio.ensure_future(channel.receive())
        done, _ = await asyncio.wait((receiving, *watched), return_when=asyncio.FIRST_COMPLETED)
        for task in done - {receiving}:
            receiving.cancel()
            task.result()
        message = receiving.result()
        if message is None or message["type"] == kind:
            return message


async def _serve_run(channel: Channel, hello: Message) -> dict[str, Any] | None:
    """Serve one run and return what the server counted; None when the channel ended first."""
    emulator = Emulator.model_validate(hello["emulator"])
    async with open_server(emulator, hello["files"], hello["host"]) as server:
        host, port = server.address
        channel.send("ready", pid=os.getpid(), host=host, port=port, passive_ports=list(server.pool.ports))
        start = await _await_message(channel, "start_at")
        if start is None:
            return None
        with _published(server, hello, start["t_ns"]) as publisher:
            tasks = (
                asyncio.create_task(_publish_on_time(publisher, start["t_ns"])),
                asyncio.create_task(_report_progress(channel, server)),
            )
            try:
                finished = await _await_message(channel, "finish", tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            publisher.publish()
            if finished is None:
                return None
    return {**asdict(server.counts), "cpu_s": time.process_time()}


async def _converse() -> ExitCode:
    channel = await Channel.inherited()
    try:
        hello = await _await_message(channel, "hello")
        if hello is None:
            return ExitCode.PASS
        log = hello.get("log")
        with logging_to(Path(log) if log else None):
            counts = await _serve_run(channel, hello)
        if counts is not None:
            channel.send("done", counts=counts)
    except FtpstormError as error:
        channel.send("error", message=str(error))
        return error.exit_code
    except Exception as error:
        channel.send("error", message=f"emulator: {type(error).__name__}: {error}")
        return ExitCode.INTERNAL_ERROR
    finally:
        await channel.drain()
        channel.close()
    return ExitCode.PASS


def main() -> int:
    """Run until the conductor has had `done`, or its end of the channel closes. Returns the process's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise_file_limit()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        # Runner.run puts its own SIGINT handler only where the default one stands: the signal stays ignored.
        return runner.run(_converse())


if __name__ == "__main__":
    sys.exit(main())
