"""What a worker's sessions share: target, sources, credentials, timeouts, flows; made once from the plan."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ftpstorm.arrivals.schedules import Schedule
from ftpstorm.engine.active import ActivePorts
from ftpstorm.engine.filling import Accounts
from ftpstorm.engine.journal import Journal
from ftpstorm.engine.reactor import Reactor
from ftpstorm.engine.scarcity import PortScarcity
from ftpstorm.engine.sockets import Source
from ftpstorm.engine.sources import make_sources
from ftpstorm.engine.tls import Tls, make_tls
from ftpstorm.plan.plan import AnyLoad, FlowChoice, Plan, PlannedStep, session_steps
from ftpstorm.scenario.client import Timeouts, parse_port_range
from ftpstorm.scenario.flow import Flow, OnFailure, Retry
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Operation

Script = tuple[tuple[Operation, Callable[[Any, Any], Awaitable[Any]], Any], ...]
"""The steps of a session: each its operation, the coroutine function that does it, and what that gets."""


@dataclass(slots=True)
class LoadWork:
    """One load as its sessions see it; of a load with several flows, as the sessions of one of them do."""

    index: int
    name: str
    load: AnyLoad
    steps: tuple[PlannedStep, ...]
    script: Script
    """`steps` as the driver's sessions run them."""
    retry: Retry | None
    continues: bool
    """Whether a flow goes on after a failed step that control survived."""
    schedule: Schedule | None = None
    """When sessions are due; None for a closed load."""
    mix: FlowMix | None = None
    """Where the load has several flows: what each session runs."""
    released: bool = False
    """Held sessions need not stay any longer."""

    def release(self) -> None:
        """Let held sessions go."""
        self.released = True
        if self.mix is not None:
            for work in self.mix.works.values():
                work.released = True


class FlowMix:
    """The flows of one load."""

    __slots__ = ("_choice", "works")

    def __init__(self, choice: FlowChoice, works: dict[str, LoadWork]) -> None:
        self._choice = choice
        self.works = works

    def pick(self, number: int) -> LoadWork:
        """Return what session `number` runs."""
        return self.works[self._choice.pick(number)]


def _nobody(_session: object) -> None:
    """Where no dispatcher has said that it wants to hear of a session's end."""


@dataclass(slots=True)
class Work:
    """Everything else that sessions read. They write what they learn for each other: `prefer_pasv`, `asked_sizes` and
    `scarcity`."""

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
    tls: Tls | None = None
    worker: int = 0
    """Number of this worker over all shards."""
    accounts: Accounts | None = None
    """Accounts to log in with in place of `user` and `password`."""
    variables: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """The scenario's `vars`."""
    prefer_pasv: bool = False
    data_sources: tuple[Source, ...] = ()
    """Sources of data connections, by the index of the session's source."""
    active_ports: ActivePorts = field(default_factory=ActivePorts)
    keepalive_s: int | None = None
    greeting_nudge_ns: int | None = None
    asked_sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that the server told, by file: SIZE is asked once."""
    connect_ns: int = 0
    """`timeouts`, flat: what the hot path reads at each wait."""
    reply_ns: int = 0
    data_ns: int = 0
    scarcity: PortScarcity | None = None
    """None until the kernel had no port for a connection."""
    on_end: Callable[[Any], None] = _nobody
    """Hears of each session that has ended; the dispatcher's to set."""


def make_loads(plan: Plan) -> tuple[LoadWork, ...]:
    """Return the plan's loads with their flows unrolled, in record order; their scripts are the dispatcher's to set."""
    loads: list[LoadWork] = []
    for index, (name, load) in enumerate(plan.loads):
        schedule = plan.schedule(name)
        works = {flow: _load_work(index, name, load, plan.scenario.flows[flow], schedule) for flow in load.flow_names}
        work = next(iter(works.values()))
        if len(works) > 1:
            work = replace(work, mix=FlowMix(FlowChoice(load), works))
        loads.append(work)
    return tuple(loads)


def _load_work(index: int, name: str, load: AnyLoad, flow: Flow, schedule: Schedule | None) -> LoadWork:
    return LoadWork(
        index=index,
        name=name,
        load=load,
        steps=session_steps(load, flow),
        script=(),
        retry=flow.on_failure.retry if isinstance(flow.on_failure, OnFailure) else None,
        continues=flow.on_failure != "end-session",
        schedule=schedule,
    )


def make_work(
    plan: Plan,
    reactor: Reactor,
    journal: Journal,
    targets: list[tuple[str, int]],
    password: str | None,
    *,
    worker: int = 0,
    accounts: Sequence[tuple[str, str]] = (),
    client_host: tuple[int, int] = (0, 1),
) -> Work:
    """Return the shared work of one worker. `targets` are resolved addresses of one family.

    `worker` is its number over all shards, `accounts` are the (user, password) pairs of the scenario's `users`.
    `client_host` is the number of the host that it runs on, and how many there are.
    """
    scenario = plan.scenario
    client = scenario.client
    family = socket.AF_INET6 if ":" in targets[0][0] else socket.AF_INET
    host, hosts = client_host if len(client.addresses) > 1 else (0, 1)
    sources, data_sources = make_sources(client, family, host, hosts)
    declared = scenario.target.passive_ports
    passive_range: tuple[int, int] | None = None
    if declared is not None:
        first, last = declared.split("-")
        passive_range = int(first), int(last)
    return Work(
        reactor=reactor,
        journal=journal,
        family=family,
        targets=tuple(targets),
        sources=sources,
        timeouts=client.timeouts,
        user=scenario.target.user,
        password=password if password is not None else "ftpstorm@",
        mode=client.mode,
        pasv_address=client.pasv_address,
        file_sizes=dict(scenario.files),
        passive_range=passive_range,
        tls=make_tls(scenario.target),
        worker=worker,
        accounts=_accounts(scenario, accounts),
        variables=scenario.vars,
        data_sources=data_sources,
        active_ports=ActivePorts(None if client.active_ports is None else parse_port_range(client.active_ports)),
        keepalive_s=None if client.keepalive is None else -(-client.keepalive // NS_PER_S),
        greeting_nudge_ns=client.greeting_nudge,
        connect_ns=client.timeouts.connect,
        reply_ns=client.timeouts.reply,
        data_ns=client.timeouts.data,
    )


def _accounts(scenario: Scenario, pairs: Sequence[tuple[str, str]]) -> Accounts | None:
    if scenario.users is None:
        return None
    return Accounts(pairs, random=scenario.users.pick == "random", seed=scenario.seed)


def header_of(plan: Plan, worker: int) -> dict[str, Any]:
    """Return what every spool header of a worker says beside writer and origin."""
    return {"run_id": plan.run_id, "worker": worker, "loads": [name for name, _ in plan.loads]}
