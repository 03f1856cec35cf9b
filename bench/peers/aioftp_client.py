"""aioftp.Client on asyncio or uvloop. It sends TYPE before each data connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import aioftp

from bench.job import HOST, PASSWORD, USER, Job, Measured, answer, read_job, rss_bytes

BLOCK: Final = 262_144


class Tally:
    """Operations and payload bytes that went through."""

    def __init__(self) -> None:
        self.ops = 0
        self.bytes = 0


async def log_in(job: Job) -> aioftp.Client:
    """Return a client that is logged in."""
    client = aioftp.Client()
    await client.connect(HOST, job.port)
    await client.login(USER, PASSWORD)
    return client


async def download(client: aioftp.Client, *command: str) -> int:
    """Read one data connection to its end; return its bytes."""
    size = 0
    async with client.get_stream(*command, "1xx") as stream:
        async for block in stream.iter_by_block(BLOCK):
            size += len(block)
    return size


async def upload(client: aioftp.Client, job: Job) -> int:
    """Send one file; return its bytes."""
    block = bytes(BLOCK)
    left = job.size
    async with client.upload_stream(job.file) as stream:
        while left:
            await stream.write(block if left >= BLOCK else block[:left])
            left -= min(left, BLOCK)
    return job.size


async def one_connection(job: Job, share: int, tally: Tally) -> None:
    """Move `share` files over one control connection."""
    client = await log_in(job)
    for _ in range(share):
        # The size first: `tally.bytes += await ...` would read the sum before the wait and lose what others add.
        size = await (upload(client, job) if job.workload == "stor" else download(client, "RETR " + job.file))
        tally.bytes += size
        tally.ops += 1
    await client.quit()


async def whole_sessions(job: Job, numbers: Iterator[int], tally: Tally) -> None:
    """Do whole sessions of one transfer until none is left."""
    command = "LIST" if job.workload == "burst" else "RETR " + job.file
    for _ in numbers:
        client = await log_in(job)
        size = await download(client, command)
        await client.quit()
        tally.bytes += size
        tally.ops += 1


async def hold(job: Job, measured: Measured, tally: Tally) -> float:
    """Log in everybody, return what one session costs in memory, and quit."""
    gate = asyncio.Semaphore(job.sessions)

    async def enter() -> aioftp.Client:
        async with gate:
            return await log_in(job)

    clients = await asyncio.gather(*(enter() for _ in range(job.operations)))
    cost = (rss_bytes() - measured.rss_before) / job.operations

    async def leave(client: aioftp.Client) -> None:
        async with gate:
            await client.quit()
            tally.ops += 1

    await asyncio.gather(*(leave(client) for client in clients))
    return cost


async def work(job: Job, measured: Measured, tally: Tally) -> float | None:
    """Do the job; return bytes a session where it holds sessions."""
    if job.workload == "hold":
        return await hold(job, measured, tally)
    tasks: list[Awaitable[None]]
    if job.workload in ("retr", "stor"):
        tasks = [one_connection(job, share, tally) for share in job.shares]
    else:
        numbers = iter(range(job.operations))
        at_once = job.operations if job.workload == "burst" else job.sessions
        tasks = [whole_sessions(job, numbers, tally) for _ in range(at_once)]
    await asyncio.gather(*tasks)
    return None


def main() -> None:
    """Run one job and print the answer."""
    job = read_job(("retr", "stor", "full", "burst", "hold"), loop={"choices": ("asyncio", "uvloop"), "required": True})
    run: Callable[..., float | None] = asyncio.run
    if job.rest.loop == "uvloop":
        import uvloop

        run = uvloop.run
    tally = Tally()
    with Measured() as measured:
        cost = run(work(job, measured, tally))
    answer(job, measured, ops=tally.ops, size=tally.bytes, **({} if cost is None else {"bytes_per_session": cost}))


if __name__ == "__main__":
    main()
