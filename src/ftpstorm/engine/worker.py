"""One worker process: the asyncio shell around the reactor. Flushes, reports, obeys the channel.

Load sockets never touch asyncio; what runs here is a handful of timers: flush every 100 ms, progress every 250 ms, the
deadline sweep every 50 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
from pathlib import Path
from typing import Any, Final

from ftpstorm.channel import Channel, Message
from ftpstorm.clock import monotonic_ns
from ftpstorm.engine.dispatcher import SWEEP_EVERY_S, Dispatcher, MakeSession
from ftpstorm.engine.journal import Journal
from ftpstorm.engine.reactor import Reactor
from ftpstorm.engine.session import Session
from ftpstorm.engine.work import header_of, make_loads, make_work
from ftpstorm.plan.plan import Plan
from ftpstorm.records.spool import FLUSH_EVERY_S
from ftpstorm.vocabulary import FAILURE_CLASSES

PROGRESS_EVERY_S: Final = 0.25


class Worker:
    """One shard of a plan, from `hello` to `done`."""

    def __init__(self, channel: Channel, hello: Message) -> None:
        self._channel = channel
        self._plan = Plan.model_validate(hello["plan"])
        self._index = int(hello["worker"])
        self._writer = str(hello["writer"])
        self._spool = Path(hello["spool"])
        self._targets = [(str(host), int(port)) for host, port in hello["targets"]]
        self._password: str | None = hello.get("password")
        self._accounts = [(str(user), str(password)) for user, password in hello.get("accounts") or ()]
        host, hosts = hello.get("client_host") or (0, 1)
        self._client_host = int(host), int(hosts)
        self._loads = make_loads(self._plan)
        self._finished = asyncio.Event()
        self._error: BaseException | None = None
        self._stall_ns = 0

    async def run(self, start_at_ns: int) -> dict[str, Any]:
        """Run the shard from `start_at_ns` on; return what the worker counted. Raises what broke the experiment."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        header = header_of(self._plan, self._index) | {"pid": os.getpid()}
        journal = Journal(self._spool, self._writer, start_at_ns, header, self._password)
        before = resource.getrusage(resource.RUSAGE_SELF)
        with contextlib.closing(journal), Reactor(loop) as reactor:
            shard, shards = self._plan.worker_shard(self._index)
            work = make_work(
                self._plan,
                reactor,
                journal,
                self._targets,
                self._password,
                worker=shard,
                accounts=self._accounts,
                client_host=self._client_host,
            )
            dispatcher = Dispatcher(
                work, self._loads, shard, shards, start_at_ns, self._finished.set, session_maker(self._plan)
            )
            files_before = _open_files()
            # What exists now lives to the end and what sessions make has no cycles: the collector could only stall.
            gc.collect()
            gc.freeze()
            gc.disable()
            tasks = [
                asyncio.create_task(self._listen(dispatcher)),
                asyncio.create_task(self._sweep(dispatcher)),
                asyncio.create_task(self._flush(journal)),
                asyncio.create_task(self._report(dispatcher, journal)),
            ]
            try:
                dispatcher.begin()
                await self._wait_finished(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                gc.enable()
            if self._error is not None:
                raise self._error
            await asyncio.sleep(0)  # sockets given to the reactor outside a batch are closed by the loop
            self._send_progress(dispatcher, journal)
            return self._counts(dispatcher, journal, before, files_before)

    async def _wait_finished(self, tasks: list[asyncio.Task[None]]) -> None:
        finished = asyncio.create_task(self._finished.wait())
        done, _ = await asyncio.wait([finished, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
        for task in done:
            if task is not finished and (error := task.exception()) is not None:
                raise error

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that a handler let through is a fault of the engine: the run is worth nothing, so it ends."""
        error = context.get("exception")
        self._error = error if isinstance(error, BaseException) else RuntimeError(str(context.get("message")))
        self._finished.set()

    async def _listen(self, dispatcher: Dispatcher) -> None:
        """Obey `stop`; EOF means that the conductor is gone, and means stop at once."""
        while True:
            message = await self._channel.receive()
            now = monotonic_ns()
            if message is None:
                dispatcher.stop(now)
                await asyncio.Event().wait()
            elif message["type"] == "stop" and message.get("how") == "now":
                dispatcher.stop(now)
            elif message["type"] == "stop":
                dispatcher.drain(now)

    async def _sweep(self, dispatcher: Dispatcher) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + SWEEP_EVERY_S, loop.time())
            await asyncio.sleep(due - loop.time())
            self._stall_ns = max(self._stall_ns, int((loop.time() - due) * 1e9))
            dispatcher.sweep(monotonic_ns())

    async def _flush(self, journal: Journal) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            journal.flush()

    async def _report(self, dispatcher: Dispatcher, journal: Journal) -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            self._send_progress(dispatcher, journal)

    def _send_progress(self, dispatcher: Dispatcher, journal: Journal) -> None:
        counts = journal.counts
        late_ns, dispatcher.late_since_ns = dispatcher.late_since_ns, 0
        self._channel.send(
            "progress",
            t_ns=monotonic_ns() - journal.origin_ns,
            started=counts.started,
            in_flight=counts.in_flight,
            succeeded=counts.succeeded,
            failed=counts.failed,
            dropped=counts.dropped,
            interrupted=counts.interrupted,
            transfers={
                "attempted": counts.transfers_attempted,
                "succeeded": counts.transfers_succeeded,
                "failed": counts.transfers_failed,
            },
            bytes=counts.bytes,
            failures={member.word: counts.failures[member] for member in FAILURE_CLASSES if counts.failures[member]},
            last_reply=counts.last_reply,
            unreachable_streak=counts.unreachable_streak,
            lateness_ns=late_ns,
        )

    def _counts(
        self, dispatcher: Dispatcher, journal: Journal, before: resource.struct_rusage, files_before: int
    ) -> dict[str, Any]:
        counts = journal.counts
        usage = resource.getrusage(resource.RUSAGE_SELF)
        user_s = usage.ru_utime - before.ru_utime
        late = dispatcher.lateness
        return {
            "planned": dispatcher.planned,
            "started": counts.started,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "interrupted": counts.interrupted,
            "dropped": counts.dropped,
            "not_due": dispatcher.not_due,
            "connects": counts.connects,
            "operations": counts.operations,
            "data_handshakes": counts.data_handshakes,
            "data_resumed": counts.data_resumed,
            "foreign_hosts": counts.foreign_hosts if self._plan.scenario.client.driver == "storm" else None,
            "cpu_s": round(user_s + usage.ru_stime - before.ru_stime, 6),
            "cpu_user_s": round(user_s, 6),
            "max_rss_bytes": usage.ru_maxrss * 1024,
            "lateness_ns": {"p50": late.quantile(0.5), "p99": late.quantile(0.99), "max": late.maximum},
            "loop_stall_ns": self._stall_ns,
            "open_files_left": _open_files() - files_before,
            "sessions_left": len(dispatcher.sessions),
        }


def session_maker(plan: Plan) -> MakeSession:
    """Return what makes the sessions of the plan's driver; another driver than the engine's is imported here."""
    if plan.scenario.client.driver == "aioftp":
        from ftpstorm.engine.drivers.aioftp_driver import AioftpSession

        return AioftpSession
    return Session


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts names; no path is made of them


async def serve_channel() -> None:
    """Be the worker at the other end of the inherited channel."""
    channel = await Channel.inherited()
    hello = await channel.receive()
    if hello is None or hello["type"] != "hello":
        return
    worker = Worker(channel, hello)
    channel.send("ready", pid=os.getpid())
    message = await channel.receive()
    if message is None or message["type"] != "start_at":
        return  # stopped before the start: nothing was offered, nothing is recorded
    try:
        counts = await worker.run(int(message["t_ns"]))
    except Exception as error:
        channel.send("error", message=f"{type(error).__name__}: {error}")
        await channel.drain()
        raise
    channel.send("done", counts=counts)
    await channel.drain()
    channel.close()
