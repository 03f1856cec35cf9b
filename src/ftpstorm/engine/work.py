"""What a worker's sessions share: target, sources, credentials, timeouts, flows; made once from the plan."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from ftpstorm.engine.journal import Journal
from ftpstorm.engine.reactor import Reactor
from ftpstorm.engine.sockets import Source
from ftpstorm.plan.plan import AnyLoad, Plan, PlannedStep, unroll
from ftpstorm.scenario.client import Timeouts
from ftpstorm.scenario.flow import OnFailure, Retry


@dataclass(slots=True)
class LoadWork:
    """One load as its sessions see it."""

    index: int
    name: str
    load: AnyLoad
    steps: tuple[PlannedStep, ...]
    retry: Retry | None
    continues: bool
    """Whether a flow goes on after a failed step that control survived."""


@dataclass(slots=True)
class Work:
    """Everything else that sessions read. Written by nobody but `prefer_pasv`, which a refusal of EPSV sets."""

    reactor: Reactor
    journal: Journal
    family: int
    targets: tuple[tuple[str, int], ...]
    sources: tuple[Source, ...]
    timeouts: Timeouts
    user: str
    password: str
    mode: str
    pasv_address: str
    file_sizes: dict[str, int]
    passive_range: tuple[int, int] | None
    prefer_pasv: bool = False


def make_loads(plan: Plan) -> tuple[LoadWork, ...]:
    """Return the plan's loads with their flows unrolled, in record order."""
    loads: list[LoadWork] = []
    unrolled: dict[str, tuple[PlannedStep, ...]] = {}
    for index, (name, load) in enumerate(plan.loads):
        flow = plan.scenario.flows[load.flow]
        steps = unrolled.setdefault(load.flow, unroll(flow))
        retry = flow.on_failure.retry if isinstance(flow.on_failure, OnFailure) else None
        loads.append(LoadWork(index, name, load, steps, retry, continues=flow.on_failure != "end-session"))
    return tuple(loads)


def make_work(
    plan: Plan, reactor: Reactor, journal: Journal, targets: list[tuple[str, int]], password: str | None
) -> Work:
    """Return the shared work of one worker. `targets` are resolved addresses of one family."""
    scenario = plan.scenario
    client = scenario.client
    sources = tuple(Source(address, client.bind != "port") for address in client.source_addresses) or (Source(),)
    declared = scenario.target.passive_ports
    passive_range: tuple[int, int] | None = None
    if declared is not None:
        first, last = declared.split("-")
        passive_range = int(first), int(last)
    return Work(
        reactor=reactor,
        journal=journal,
        family=socket.AF_INET6 if ":" in targets[0][0] else socket.AF_INET,
        targets=tuple(targets),
        sources=sources,
        timeouts=client.timeouts,
        user=scenario.target.user,
        password=password if password is not None else "ftpstorm@",
        mode=client.mode,
        pasv_address=client.pasv_address,
        file_sizes=dict(scenario.files),
        passive_range=passive_range,
    )


def header_of(plan: Plan, worker: int) -> dict[str, Any]:
    """Return what every spool header of a worker says beside writer and origin."""
    return {"run_id": plan.run_id, "worker": worker, "loads": [name for name, _ in plan.loads]}
