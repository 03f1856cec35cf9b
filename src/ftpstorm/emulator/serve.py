"""Starting an emulator: ports chosen, files laid out, the server up on a loop that suits it.

`open_server` is for those who have a loop already, `run_server` is all of ``ftpstorm serve`` but its printing.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from ftpstorm.emulator.files import Catalogue
from ftpstorm.emulator.listeners import listen_control, passive_ports, read_ephemeral_range
from ftpstorm.emulator.logfile import logging_to
from ftpstorm.emulator.server import EmulatorServer
from ftpstorm.errors import UsageError
from ftpstorm.scenario.target import Emulator

OnReady = Callable[[str, int, tuple[int, ...]], None]
"""Called once with address, control port and passive ports, when the first client can connect."""


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop of uvloop, or of asyncio where there is no uvloop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def raise_file_limit() -> None:
    """Raise this process's soft limit of open files to the hard one: each session needs up to three."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.asynccontextmanager
async def open_server(
    emulator: Emulator, files: Mapping[str, int], host: str, port: int | None = None
) -> AsyncIterator[EmulatorServer]:
    """Serve inside the `async with` block, on `port` of `host` or, for None, on the first free port from 2121 upward.

    `files` maps names to sizes in bytes. Raises EnvironmentUnavailableError when a port cannot be had, and UsageError
    for a file name that cannot be.
    """
    try:
        catalogue = Catalogue(files, modified_s=float(int(time.time())))
    except ValueError as error:
        raise UsageError(f"files: {error}") from error
    taken = () if port is None else (port,)
    with passive_ports(emulator.passive_ports, host, taken, read_ephemeral_range()) as ports:
        listener = listen_control(host, port, emulator.backlog, frozenset(ports))
        async with EmulatorServer(emulator, catalogue, listener, ports) as server:
            yield server


async def serve(
    emulator: Emulator,
    files: Mapping[str, int],
    host: str,
    port: int | None,
    on_ready: OnReady,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set. Errors as `open_server`."""
    async with open_server(emulator, files, host, port) as server:
        address, number = server.address
        on_ready(str(address), number, server.pool.ports)
        await stop.wait()


def run_server(
    emulator: Emulator,
    files: Mapping[str, int],
    host: str,
    port: int | None,
    on_ready: OnReady,
    log: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then end every session and return. Prints nothing. Main thread only.

    `log` gets warnings and errors, None drops them. Errors as `open_server`; OSError for a log that cannot be opened.
    """

    async def until_signal() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await serve(emulator, files, host, port, on_ready, stop)

    raise_file_limit()
    with logging_to(log), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(until_signal())
