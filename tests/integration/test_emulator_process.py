"""The emulator as the conductor runs it: a child process, spoken to over a channel."""

# ruff: noqa: S321 - FTP is what this is about

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.channel import ENVIRONMENT_KEY, Channel, Message
from ftpstorm.clock import monotonic_ns
from ftpstorm.records.schema import HEADER_BYTES, SAMPLES, TEXTS
from ftpstorm.scenario.target import Emulator
from ftpstorm.vocabulary import PoolState

DEADLINE_S = 30
FILES = {"small.bin": 1024}


class Child:
    """A running emulator process and our end of its channel."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel, folder: Path) -> None:
        self.process = process
        self.channel = channel
        self.folder = folder
        self.messages: list[Message] = []

    def hello(self, **section: Any) -> None:
        emulator = Emulator.model_validate(section).model_dump(mode="json", by_alias=True)
        self.channel.send(
            "hello",
            role="emulator",
            writer="emulator",
            spool=str(self.folder),
            emulator=emulator,
            files=FILES,
            host="127.0.0.1",
            log=str(self.folder / "emulator.log"),
        )

    async def expect(self, kind: str) -> Message:
        """Return the next message of `kind`; those before it are kept in `messages`."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = await self.channel.receive()
                assert message is not None, f"the channel ended before {kind}"
                self.messages.append(message)
                if message["type"] == kind:
                    return message

    async def ended(self) -> int:
        """Wait for the process and return its exit code."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()

    def spooled(self) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """Return the samples on disk: (metric, key) to [(t_ns, value), ...]."""
        series = {}
        for number, kind, _, length, text in records(self.folder / "emulator.texts.spool", TEXTS.struct_format):
            assert kind == 1
            named = json.loads(text[:length])
            assert named["host"] == "server"
            series[number] = named["metric"], named["key"]
        samples: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for t_ns, number, value in records(self.folder / "emulator.samples.spool", SAMPLES.struct_format):
            samples.setdefault(series[number], []).append((t_ns, value))
        return samples


def records(path: Path, layout: str) -> list[tuple[Any, ...]]:
    body = path.read_bytes()[HEADER_BYTES:]
    whole = len(body) // struct.calcsize(layout) * struct.calcsize(layout)
    return list(struct.iter_unpack(layout, body[:whole]))


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    ours, theirs = socket.socketpair()
    with theirs, (tmp_path / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ftpstorm.emulator",
            env={**os.environ, ENVIRONMENT_KEY: str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
            stderr=stderr,
        )
    channel = await Channel.open(ours)
    yield Child(process, channel, tmp_path)
    channel.close()
    if process.returncode is None:
        process.kill()
        await process.wait()
    assert (tmp_path / "stderr").read_text() == ""


def use(ready: Message, transfers: int) -> None:
    with ftplib.FTP(timeout=DEADLINE_S) as ftp:
        ftp.connect(ready["host"], ready["port"])
        ftp.login()
        for _ in range(transfers):
            ftp.retrbinary("RETR small.bin", lambda _: None)
            ftp.storbinary("STOR up.bin", io.BytesIO(b"x" * 10))
        with contextlib.suppress(ftplib.error_temp):
            ftp.sendcmd("EPSV")


async def test_a_whole_run_is_served_counted_and_published(child: Child) -> None:
    child.hello(passive_ports=6, hold={"for": "1h"})
    ready = await child.expect("ready")
    assert ready["pid"] == child.process.pid
    assert ready["host"] == "127.0.0.1"
    assert len(ready["passive_ports"]) == 6
    assert not list(child.folder.glob("*.spool")), "spools are created when start_at arrives"

    start_ns = monotonic_ns() + 200_000_000
    child.channel.send("start_at", t_ns=start_ns)
    await asyncio.to_thread(use, ready, 3)
    async with asyncio.timeout(DEADLINE_S):
        while (progress := await child.expect("progress"))["pool"]["held"] < 6 or progress["sessions"]:
            pass
    assert progress["pool"] == {"free": 0, "listening": 0, "in-use": 0, "held": 6}
    assert progress["accept_queue"] == 0
    child.channel.send("finish")
    counts = (await child.expect("done"))["counts"]
    assert counts.pop("cpu_s") > 0
    assert counts == {
        "accepted": 1,
        "refused_connections": 0,
        "logins": 1,
        "passive_replies": 6,
        "passive_refused": 1,
        "data_accepted": 6,
        "transfers_completed": 6,
        "transfers_failed": 0,
        "bytes_sent": 3 * 1024,
        "bytes_received": 30,
        "leaked": 0,
        "backend_requests": 0,
        "backend_connects": 0,
        "backend_refused": 0,
    }
    assert await child.ended() == 0

    samples = child.spooled()
    header = json.loads((child.folder / "emulator.samples.spool").read_bytes()[:HEADER_BYTES])
    assert (header["writer"], header["origin_ns"], header["pid"]) == ("emulator", start_ns, child.process.pid)
    for port in ready["passive_ports"]:
        states = [PoolState(int(value)) for _, value in samples["pool.port", str(port)]]
        assert states[0] is PoolState.FREE
        assert states[-1] is PoolState.HELD
    by_time: dict[int, float] = {}
    for state in PoolState:
        for t_ns, value in samples["pool.count", state.word]:
            by_time[t_ns] = by_time.get(t_ns, 0) + value
    assert set(by_time.values()) == {6}
    assert samples["pool.count", "held"][-1][1] == 6
    assert min(by_time) < 0 <= max(by_time), "the first sample is taken before start_at"
    assert {value for _, value in samples["emulator.sessions", "control"]} <= {0, 1}
    assert samples["emulator.accept_queue", "control"][-1][1] == 0


async def test_interrupt_and_terminate_are_ignored(child: Child) -> None:
    child.hello()
    ready = await child.expect("ready")
    for number in (signal.SIGINT, signal.SIGTERM):
        child.process.send_signal(number)
    child.channel.send("start_at", t_ns=monotonic_ns())
    await child.expect("progress")
    await asyncio.to_thread(use, ready, 1)
    child.channel.send("finish")
    assert (await child.expect("done"))["counts"]["transfers_completed"] == 2
    assert await child.ended() == 0


@pytest.mark.parametrize("stage", ["at once", "after hello", "while serving"])
async def test_the_end_of_the_channel_ends_the_process(child: Child, stage: str) -> None:
    if stage != "at once":
        child.hello()
        ready = await child.expect("ready")
    if stage == "while serving":
        child.channel.send("start_at", t_ns=monotonic_ns())
        await child.expect("progress")
        idle = socket.create_connection((ready["host"], ready["port"]))
    child.channel.close()
    assert await child.ended() == 0
    if stage == "while serving":
        idle.close()
        assert child.spooled()["pool.count", "free"]


async def test_a_killed_emulator_leaves_readable_spools(child: Child) -> None:
    child.hello(passive_ports=4, hold={"for": "1h"})
    ready = await child.expect("ready")
    child.channel.send("start_at", t_ns=monotonic_ns())
    await asyncio.to_thread(use, ready, 2)
    async with asyncio.timeout(DEADLINE_S):
        while (await child.expect("progress"))["pool"]["held"] < 4:
            pass
    await child.expect("progress")  # more than one sample later
    child.process.kill()
    await child.ended()
    samples = child.spooled()
    assert samples["pool.count", "held"][-1][1] == 4


async def test_ports_that_cannot_be_had_are_an_error_that_names_them(child: Child) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        child.hello(passive_ports=f"{port}-{port}")
        error = await child.expect("error")
    assert f"passive ports {port}-{port}: 1 of 1 cannot be bound" in error["message"]
    assert await child.ended() == 120


async def test_a_spool_that_cannot_be_written_is_an_error(child: Child) -> None:
    child.hello()
    await child.expect("ready")
    (child.folder / "emulator.texts.spool").touch()
    child.channel.send("start_at", t_ns=monotonic_ns())
    assert "FileExistsError" in (await child.expect("error"))["message"]
    assert await child.ended() == 1


# --- standing alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_alone_ends_on_a_signal_and_prints_nothing(tmp_path: Path, number: signal.Signals) -> None:
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from ftpstorm.emulator.serve import run_server
        from ftpstorm.scenario.target import Emulator

        def on_ready(host, port, passive_ports):
            print(host, port, *passive_ports, flush=True)

        run_server(Emulator(passive_ports=2), {"small.bin": 1024}, "127.0.0.1", None, on_ready, Path(sys.argv[1]))
        """
    )
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        host, port, *passive_ports = process.stdout.readline().split()
        assert len(passive_ports) == 2
        with ftplib.FTP(timeout=DEADLINE_S) as ftp:
            ftp.connect(host, int(port))
            ftp.login()
            ftp.retrbinary("RETR small.bin", lambda _: None)
            process.send_signal(number)
            assert process.communicate(timeout=DEADLINE_S) == ("", "")
            ftp.close()
        assert process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    assert log.read_text() == ""
