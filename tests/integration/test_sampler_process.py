"""The sampler as a real child over a real channel: its conversation, its records, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ftpstorm.channel import ENVIRONMENT_KEY, Channel, Message
from ftpstorm.clock import monotonic_ns
from ftpstorm.errors import UsageError
from ftpstorm.records.reader import Samples, open_run
from ftpstorm.sampler.standalone import sample

MS = 1_000_000
S = 1_000 * MS
PATIENCE_S = 60


class Child:
    """One sampler process, its channel, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel, raw: socket.socket, folder: Path) -> None:
        self.process = process
        self.channel = channel
        self.raw = raw
        self.folder = folder
        self.heard: list[Message] = []

    async def hear(self, kind: str) -> Message:
        """Return the next message of `kind`; what comes before is kept in `heard`."""
        async with asyncio.timeout(PATIENCE_S):
            while (message := await self.channel.receive()) is not None:
                self.heard.append(message)
                if message["type"] == kind:
                    return message
        raise AssertionError(f"EOF before {kind!r}; heard {self.heard}")

    async def greet(self, ahead_ns: int = 200 * MS, **fields: Any) -> int:
        """Say hello, wait for ready, announce a start `ahead_ns` from now; returns start_at."""
        hello: dict[str, Any] = {
            "role": "sampler",
            "writer": "sampler",
            "spool": str(self.folder / "spool"),
            "sampling": {"every": "20ms", "ports_every": "50ms", "cool_down": "0s"},
            "host": "host",
            "processes": {"worker-0": os.getpid()},
            "server_ports": [],
            "passive_ports": [],
            "port_range": None,
            **fields,
        }
        self.channel.send("hello", **hello)
        ready = await self.hear("ready")
        assert ready["pid"] == self.process.pid
        start_ns = monotonic_ns() + ahead_ns
        self.channel.send("start_at", t_ns=start_ns)
        return start_ns

    async def exit_status(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)

    def samples(self) -> Samples:
        run = open_run(self.folder)
        assert run.manifest is None
        return run.samples


@pytest_asyncio.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    (tmp_path / "spool").mkdir()
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ftpstorm.sampler",
            pass_fds=[theirs.fileno()],
            env={**os.environ, ENVIRONMENT_KEY: str(theirs.fileno())},
        )
    raw = ours.dup()
    started = Child(process, await Channel.open(ours), raw, tmp_path)
    yield started
    raw.close()
    started.channel.close()
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def connect_times(times: int) -> int:
    with socket.create_server(("127.0.0.1", 0), backlog=times) as listener:
        for _ in range(times):
            with socket.create_connection(listener.getsockname(), 10):
                listener.accept()[0].close()
    return times


async def test_a_whole_conversation_leaves_samples_from_a_baseline_before_the_start_to_the_last(child: Child) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=9) as listener:
        port = listener.getsockname()[1]
        await child.greet(ahead_ns=10 * S, server_ports=[port])  # far enough for a baseline on a busy machine
        progress = await child.hear("progress")
        assert progress["time_wait"].keys() == {"client", "server"}
        assert progress["established"] is not None
        connect_times(5)
        child.channel.send("finish")
        counts = (await child.hear("done"))["counts"]
        assert await child.exit_status() == 0
    samples = child.samples()
    ticks = samples.one("sampler.cost_s", key="tick")
    dumps = samples.one("sampler.cost_s", key="dump")
    assert ticks is not None
    assert dumps is not None
    assert len(ticks) == counts["ticks"]
    assert len(dumps) == counts["dumps"]
    assert ticks.t_ns.min() < 0
    assert ticks.t_ns.tolist() == sorted(set(ticks.t_ns.tolist()))
    opens = samples.one("tcp.counter", host="host", key="Tcp.ActiveOpens")
    if opens is not None:  # where there is no /proc, `missing` says so
        assert counts["counters_end"]["Tcp.ActiveOpens"] - counts["counters_start"]["Tcp.ActiveOpens"] >= 5
        assert opens.value[0] == counts["counters_start"]["Tcp.ActiveOpens"]
        assert opens.value[-1] == counts["counters_end"]["Tcp.ActiveOpens"]
    else:
        assert "snmp" in counts["missing"]
    listening = samples.one("tcp.state", host="server", key="listen")
    assert listening is not None
    assert set(listening.value) == {1}
    for role in ("worker-0", "sampler"):
        cpu = samples.one("process.cpu_s", key=role)
        assert cpu is not None
        assert cpu.value[-1] > 0
    assert counts["samples"] == len(samples)
    assert counts["cpu_s"] > 0


async def test_int_and_term_change_nothing(child: Child) -> None:
    await child.greet()
    child.process.send_signal(signal.SIGINT)
    child.process.send_signal(signal.SIGTERM)
    await child.hear("progress")
    child.channel.send("finish")
    await child.hear("done")
    assert await child.exit_status() == 0


async def test_eof_means_flush_and_exit_without_done(child: Child) -> None:
    await child.greet()
    await child.hear("progress")
    child.raw.shutdown(socket.SHUT_WR)
    with pytest.raises(AssertionError, match="EOF before 'done'"):
        await child.hear("done")
    assert await child.exit_status() == 0
    ticks = child.samples().one("sampler.cost_s", key="tick")
    assert ticks is not None
    assert len(ticks) >= 2


async def test_an_eof_in_the_middle_of_a_message_is_an_eof(child: Child) -> None:
    await child.greet()
    await child.hear("progress")
    child.raw.sendall(b'{"type": "fin')
    child.raw.shutdown(socket.SHUT_WR)
    assert await child.exit_status() == 0
    assert len(child.samples()) > 0


@pytest.mark.parametrize("said", [b"", b'{"type": "hel'])
async def test_an_eof_before_the_start_leaves_nothing(child: Child, said: bytes) -> None:
    child.raw.sendall(said)
    child.raw.shutdown(socket.SHUT_WR)
    assert await child.exit_status() == 0
    assert list((child.folder / "spool").iterdir()) == []


async def test_a_kill_leaves_what_was_flushed_and_it_reads_back(child: Child) -> None:
    start_ns = await child.greet()
    await child.hear("progress")
    while monotonic_ns() < start_ns + 300 * MS:
        last = await child.hear("progress")
    child.process.kill()
    await child.exit_status()
    ticks = child.samples().one("sampler.cost_s", key="tick")
    assert ticks is not None
    assert ticks.t_ns.max() > last["t_ns"] - S


async def test_finish_before_the_start_is_done_at_once(child: Child) -> None:
    child.channel.send(
        "hello", writer="sampler", spool=str(child.folder / "spool"), sampling={}, processes={}, server_ports=[]
    )
    await child.hear("ready")
    child.channel.send("finish")
    counts = (await child.hear("done"))["counts"]
    assert counts["ticks"] == 0
    assert await child.exit_status() == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "hello"},
        {"type": "start_at", "t_ns": 1},
        {"type": "hello", "writer": "sampler", "spool": "x", "sampling": {"every": 100}},
        {"type": "hello", "writer": "sampler", "spool": "x", "sampling": {}, "host": "10.0.0.1"},
    ],
)
async def test_a_hello_that_is_none_is_an_error_with_a_reason(child: Child, broken: Message) -> None:
    child.raw.sendall(json.dumps(broken).encode() + b"\n")
    error = await child.hear("error")
    assert error["message"].startswith("sampler: ")
    assert await child.exit_status() == 1


async def test_a_spool_that_cannot_be_created_is_an_error(child: Child) -> None:
    await child.greet(spool=str(child.folder / "nowhere"))
    assert "nowhere" in (await child.hear("error"))["message"]
    assert await child.exit_status() == 1


async def test_the_sampler_alone_leaves_a_folder_that_reads(tmp_path: Path) -> None:
    stop = asyncio.Event()
    counts = await asyncio.wait_for(sample(tmp_path, 20 * MS, 50 * MS, 300 * MS, [21], [], stop), PATIENCE_S)
    run = open_run(tmp_path)
    assert run.manifest is None
    assert len(run.samples) == counts["samples"] > 0
    ticks = run.samples.one("sampler.cost_s", key="tick")
    assert ticks is not None
    assert ticks.t_ns.min() >= 0
    assert ticks.t_ns.max() >= 300 * MS
    with pytest.raises(UsageError, match="already holds samples"):
        await sample(tmp_path, 20 * MS, 50 * MS, None, [], [], stop)


async def test_the_sampler_alone_goes_on_until_it_is_told_to_stop(tmp_path: Path) -> None:
    stop = asyncio.Event()
    heard: list[dict[str, Any]] = []

    def listen(progress: dict[str, Any]) -> None:
        heard.append(progress)
        if len(heard) == 2:
            stop.set()

    counts = await asyncio.wait_for(sample(tmp_path, 20 * MS, 50 * MS, None, [], [], stop, listen), PATIENCE_S)
    assert len(heard) == 2
    assert counts["ticks"] >= 3
