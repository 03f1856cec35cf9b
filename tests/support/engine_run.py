"""Run the engine inside the test's own loop and read its records back."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftpstorm.clock import monotonic_ns
from ftpstorm.engine.dispatcher import Dispatcher
from ftpstorm.engine.journal import Counts, Journal
from ftpstorm.engine.reactor import Reactor
from ftpstorm.engine.work import make_loads, make_work
from ftpstorm.engine.worker import session_maker
from ftpstorm.plan.plan import Plan
from ftpstorm.records.schema import HEADER_BYTES, OPERATIONS, SESSIONS, TEXTS, Table
from ftpstorm.records.spool import spool_path
from ftpstorm.scenario.schema import Scenario

FAST = {"connect": "2s", "greeting": "2s", "reply": "2s", "data": "2s"}


@dataclass
class EngineRun:
    """What a run of the engine left."""

    sessions: list[dict[str, Any]]
    operations: list[dict[str, Any]]
    texts: dict[int, str]
    counts: Counts
    planned: int
    not_due: int
    watched_left: int
    sessions_left: int
    notes: dict[str, Any] = field(default_factory=dict)

    def classes(self) -> list[str]:
        """Failure words of the operations, successes as "none"."""
        return [operation["class"] for operation in self.operations]


def read_spool(folder: Path, table: Table, writer: str = "worker-0") -> list[dict[str, Any]]:
    """Decode a spool without the code under test: words for enumerations."""
    data = spool_path(folder, writer, table).read_bytes()[HEADER_BYTES:]
    rows = []
    for values in struct.iter_unpack(table.struct_format, data):
        row = {}
        for column, value in zip(table.columns, values, strict=True):
            row[column.name] = column.words(value).word if column.words else value
        rows.append(row)
    return rows


def make_scenario(port: int, steps: list[Any], load: dict[str, Any] | None = None, **keys: Any) -> Scenario:
    """Return a scenario against 127.0.0.1:port with one flow of `steps` and one load."""
    flow = {"steps": steps} | ({"on_failure": keys.pop("on_failure")} if "on_failure" in keys else {})
    load = {"flow": "flow", **(load or {"sessions": 1})}
    load.setdefault("executor", "burst")
    document = {
        "version": 1,
        "name": "engine-test",
        "target": {"host": "127.0.0.1", "port": port, **keys.pop("target", {})},
        "client": {"mode": "epsv", "timeouts": FAST, **keys.pop("client", {})},
        "flows": {"flow": flow},
        "load": {"load": load},
        **keys,
    }
    return Scenario.model_validate(document)


async def run_engine(
    scenario: Scenario,
    folder: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    password: str = "secret",
    accounts: Sequence[tuple[str, str]] = (),
    within_s: float = 60,
    meanwhile: Any = None,
    targets: Sequence[tuple[str, int]] | None = None,
) -> EngineRun:
    """Run every load of `scenario` to its end. `meanwhile(dispatcher)` is awaited beside it.

    `targets` are the addresses to use in place of the scenario's one.
    """
    plan = Plan(run_id="test", scenario=scenario)
    origin = monotonic_ns() + 10_000_000
    journal = Journal(folder, "worker-0", origin, {"run_id": "test"}, password)
    finished = asyncio.Event()
    failed: list[BaseException] = []
    loop = asyncio.get_running_loop()

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failed.append(context.get("exception") or RuntimeError(context["message"]))
        finished.set()

    loop.set_exception_handler(on_error)
    with Reactor(loop) as reactor:
        target = scenario.target
        assert target.host is not None
        addresses = list(targets or [(target.host, target.port)])
        work = make_work(plan, reactor, journal, addresses, password, worker=shard[0], accounts=accounts)
        dispatcher = Dispatcher(work, make_loads(plan), *shard, origin, finished.set, session_maker(plan))

        async def sweep() -> None:
            while True:
                await asyncio.sleep(0.02)
                dispatcher.sweep(monotonic_ns())

        sweeping = asyncio.create_task(sweep())
        beside = asyncio.create_task(meanwhile(dispatcher)) if meanwhile is not None else None
        dispatcher.begin()
        try:
            await asyncio.wait_for(finished.wait(), within_s)
            if beside is not None:
                await asyncio.wait_for(beside, within_s)
        finally:
            sweeping.cancel()
        await asyncio.sleep(0)
        watched = reactor.watched
        journal.close()
    if failed:
        raise failed[0]
    return EngineRun(
        sessions=read_spool(folder, SESSIONS),
        operations=read_spool(folder, OPERATIONS),
        texts={row["id"]: row["text"][: row["length"]].decode() for row in read_spool(folder, TEXTS)},
        counts=journal.counts,
        planned=dispatcher.planned,
        not_due=dispatcher.not_due,
        watched_left=watched,
        sessions_left=len(dispatcher.sessions),
    )
