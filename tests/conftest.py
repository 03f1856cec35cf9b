"""What every test may use: skips with a reason that CI can forbid, property tests without chance, an emulator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from ftpstorm.emulator.server import EmulatorServer

T = TypeVar("T")

# A machine that others load must not turn a slow example into a failure, nor chance a suite that passed yesterday: the
# examples are the same each time. `make fuzz` looks for new ones.
FUZZ_EXAMPLES = os.environ.get("FTPSTORM_FUZZ")
settings.register_profile("ftpstorm", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=int(FUZZ_EXAMPLES or 100))
settings.load_profile("fuzz" if FUZZ_EXAMPLES else "ftpstorm")

Require = Callable[[str, bool, str], None]
Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden`` and ``--lab-report``."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")
    parser.addoption("--lab-report", action="store_true", help="print what the lab's tests predicted and measured")


LONGEST_FIRST = ("validation", "lab", "integration", "unit")
"""Folders of tests, those whose modules take longest first: several processes then end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules at the front; within a module nothing changes its place."""
    here = Path(__file__).parent
    rank = {folder: place for place, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(here).parts[0], len(rank)))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Give ``golden(name, text)``: compare with tests/golden/<name>, or write it with --update-golden."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} changed; if that is right: pytest --update-golden"

    return check


@pytest.fixture(scope="session")
def require() -> Require:
    """Give ``require(name, present, reason)``: skip where `name` is missing, or fail if FTPSTORM_REQUIRE lists it.

    FTPSTORM_REQUIRE holds names with commas between, such as ``curl,lab,vsftpd``.
    """
    required = {name.strip() for name in os.environ.get("FTPSTORM_REQUIRE", "").split(",")}

    def check(name: str, present: bool, reason: str) -> None:
        if present:
            return
        if name in required:
            pytest.fail(f"{name} is required here, but: {reason}")
        pytest.skip(f"{name}: {reason}")

    return check


class RunningEmulator:
    """An emulator on 127.0.0.1 in a thread of its own, so that blocking clients can use it."""

    def __init__(self, server: EmulatorServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self.stop: Callable[[], None] = lambda: None
        """End the server and wait for its end; stopping twice is allowed."""
        self.host, self.port = server.server_host, server.server_port
        self.passive_ports = server.pool.ports

    def ask(self, question: Callable[[EmulatorServer], T]) -> T:
        """Return the answer that `question` gets in the server's own thread."""

        async def answer() -> T:
            return question(self._server)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(30)

    def wait_until(self, fact: Callable[[EmulatorServer], object], within_s: float = 30) -> None:
        """Return as soon as `fact` holds; fail when it does not within `within_s`."""

        async def poll() -> None:
            async with asyncio.timeout(within_s):
                while not fact(self._server):
                    await asyncio.sleep(0.002)

        asyncio.run_coroutine_threadsafe(poll(), self._loop).result(within_s + 30)


@pytest.fixture
def start_emulator() -> Iterator[Callable[..., RunningEmulator]]:
    """Give ``start_emulator(section, files, **options)``: run an emulator until the test ends.

    `section` is `target.emulator` as in a scenario, `options` go to EmulatorServer. On the way out every session is
    ended, and the test fails if a task is left on the server's loop.
    """
    from ftpstorm.emulator.files import Catalogue
    from ftpstorm.emulator.listeners import listen_control, passive_ports, read_ephemeral_range
    from ftpstorm.emulator.serve import new_loop
    from ftpstorm.emulator.server import EmulatorServer
    from ftpstorm.scenario.target import Emulator

    with contextlib.ExitStack() as running:

        def start(
            section: Mapping[str, Any],
            files: Mapping[str, int] | None = None,
            *,
            host: str = "127.0.0.1",
            loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_loop,
            **options: Any,
        ) -> RunningEmulator:
            emulator = Emulator.model_validate(section)
            started: Future[tuple[RunningEmulator, asyncio.Event]] = Future()

            async def serve() -> None:
                stop = asyncio.Event()
                with passive_ports(emulator.passive_ports, host, (), read_ephemeral_range()) as ports:
                    listener = listen_control(host, None, emulator.backlog, ports)
                    catalogue = Catalogue(files if files is not None else {"small.bin": 1024})
                    async with EmulatorServer(emulator, catalogue, listener, ports, **options) as server:
                        started.set_result((RunningEmulator(server, asyncio.get_running_loop()), stop))
                        await stop.wait()
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, f"tasks left behind: {left}"

            outcome: Future[None] = Future()

            def run() -> None:
                try:
                    with asyncio.Runner(loop_factory=loop_factory) as runner:
                        runner.run(serve())
                except BaseException as error:
                    outcome.set_exception(error)
                    if not started.done():
                        started.set_exception(error)
                else:
                    outcome.set_result(None)

            thread = threading.Thread(target=run, name="emulator")
            thread.start()
            handle, stop = started.result(30)

            def end() -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: stopped already
                    handle._loop.call_soon_threadsafe(stop.set)
                thread.join(30)
                outcome.result(0)

            handle.stop = end
            running.callback(end)
            return handle

        yield start
