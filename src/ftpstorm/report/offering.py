"""What a plan asks for: sessions and transfers of each load, how many and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ftpstorm.plan.plan import FlowChoice, Plan, shard_sessions, transfers_of
from ftpstorm.records.reader import Array


def planned_by_load(plan: Plan) -> dict[str, int | None]:
    """Return the sessions that this machine's shard was to start, by load; None where only the run tells."""
    planned = {}
    for name, load in plan.loads:
        total = plan.planned_sessions(name)
        planned[name] = None if total is None else sum(len(shard_sessions(load, total, i, n)) for i, n in _shards(plan))
    return planned


def transfers_each(plan: Plan, load: str, sessions: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return how many transfers each of these sessions of `load` offers, by their numbers; shape as given."""
    choice = FlowChoice(plan.scenario.load[load])
    each = {flow: transfers_of(plan.scenario.flows[flow]) for flow in choice.flows}
    if len(set(each.values())) == 1:
        return np.full(len(sessions), each[choice.flows[0]], np.int64)
    return np.array([each[choice.pick(int(number))] for number in sessions], np.int64)


def offered_by_load(plan: Plan, started: Array) -> dict[str, int]:
    """Return the transfers offered, by load: by all planned sessions; where only the run tells, by the `started`."""
    offered = {}
    for index, (name, planned) in enumerate(planned_by_load(plan).items()):
        if planned is None:
            rows = started[started["load"] == index]
            offered[name] = int(transfers_each(plan, name, rows["session"]).sum())
        else:
            offered[name] = sum(plan.offered_transfers(name, i, n) or 0 for i, n in _shards(plan))
    return offered


def offered_ns(plan: Plan, started: Array) -> npt.NDArray[np.int64]:
    """Return when each transfer was offered, in ns after start_at, sorted: due instants of open loads, starts of closed
    ones' sessions; shape (n,)."""
    parts = []
    for index, (name, load) in enumerate(plan.loads):
        schedule = plan.schedule(name)
        rows = started[started["load"] == index]
        if schedule is None:
            numbers = rows["session"]
            due = rows["start_ns"].astype(np.int64)
        else:
            each = [k for i, n in _shards(plan) for k in shard_sessions(load, schedule.count, i, n)]
            numbers = np.array(each, np.int64)
            due = np.array([schedule.instant_ns(int(k)) for k in numbers], np.int64) + load.start_time
        parts.append(np.repeat(due, transfers_each(plan, name, numbers)))
    return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def _shards(plan: Plan) -> list[tuple[int, int]]:
    return [plan.worker_shard(worker) for worker in range(plan.workers)]
