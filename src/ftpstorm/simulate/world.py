"""The model's world: what all sessions of a plan share, and where their rows and occupancies are gathered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from ftpstorm.arrivals.schedules import Schedule
from ftpstorm.limits.ports import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    LINUX_EPHEMERAL_RANGE,
    ephemeral_ports,
    four_tuple_budget,
    port_space_budget,
)
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, Hold, outgoing_hold, time_wait_reuse
from ftpstorm.plan.plan import AnyLoad, FlowChoice, Plan, load_end_ns
from ftpstorm.scenario.flow import OnFailure, Retry
from ftpstorm.scenario.target import Emulator
from ftpstorm.simulate.pool import AcceptQueue, Occupancy, PassivePool, Places
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.stages import Stage, on_loopback, stages_of
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Side

Row = tuple[int, ...]
"""Values in the order of a table's columns."""

FIRST_EMULATOR_PORT: Final = 10_000
"""Where the emulator's pool begins when only its size is given."""

POOL_TEXT: Final = 1
CAP_TEXT: Final = 2
"""Ids of the two reply texts that a simulated server says."""

_EXHAUSTED_CODES: Final = frozenset({400, 421, 425})
_FILE_CODES: Final = frozenset({450, 452, 532, 550, 551, 552, 553})
_UNSUPPORTED_CODES: Final = frozenset({500, 501, 502, 504, 522})


def refusal_class(reply: str) -> FailureClass:
    """Return the failure class of a refusal of PASV or EPSV, given the whole reply line."""
    code = int(reply[:3])
    if code in _EXHAUSTED_CODES or (code == 500 and "OOPS" in reply):
        return FailureClass.PASSIVE_EXHAUSTED
    if code in _FILE_CODES:
        return FailureClass.FILE_ERROR
    if code in _UNSUPPORTED_CODES:
        return FailureClass.UNSUPPORTED
    return FailureClass.AUTH_FAILED if code == 530 else FailureClass.PROTOCOL_ERROR


def pool_ports(emulator: Emulator) -> range:
    """Return the ports of the emulator's passive pool, as far as the scenario tells them."""
    if isinstance(emulator.passive_ports, int):
        return range(FIRST_EMULATOR_PORT, FIRST_EMULATOR_PORT + emulator.passive_ports)
    first, last = emulator.passive_ports.split("-")
    return range(int(first), int(last) + 1)


@dataclass(frozen=True, slots=True)
class LoadModel:
    """One load as its sessions see it."""

    index: int
    name: str
    load: AnyLoad
    schedule: Schedule | None
    """When sessions are due; None for a closed load."""
    stages: tuple[Stage, ...]
    retry: Retry | None
    continues: bool
    """Whether the flow goes on after a failed step that control survived."""
    end_ns: int
    """When it starts no more sessions."""
    cut_ns: int
    """When sessions still under way are interrupted."""
    slots: Places | None
    """Session slots of an open load; None where there is no maximum."""
    choice: FlowChoice | None = None
    """Where the load has several flows: which each session runs."""
    by_flow: dict[str, LoadModel] = field(default_factory=dict)
    """The same load with each of its flows; empty where it has one."""

    def pick(self, number: int) -> LoadModel:
        """Return the load as session `number` sees it."""
        return self if self.choice is None else self.by_flow[self.choice.pick(number)]

    def shares(self) -> tuple[tuple[float, LoadModel], ...]:
        """Return the load with each of its flows, and which part of the sessions runs it."""
        if self.choice is None:
            return ((1.0, self),)
        counted = self.choice.counts(self.schedule.count) if self.schedule is not None else {}
        if not any(counted.values()):
            counted = dict(self.load.weights)
        whole = sum(counted.values())
        return tuple((counted.get(flow, 0) / whole, model) for flow, model in self.by_flow.items())


def load_models(plan: Plan, service: ServiceTimes) -> tuple[LoadModel, ...]:
    """Return the plan's loads in record order. The slots of all shards are one: the model is of the whole plan."""
    scenario = plan.scenario
    bound = scenario.stop.max_duration
    models = []
    for index, (name, load) in enumerate(plan.loads):
        schedule = plan.schedule(name)
        most = getattr(load, "max_sessions", None)
        slots = None if most is None else Places(most)
        end = min(load_end_ns(load), bound)
        by_flow = {}
        for used in load.flow_names:
            flow = scenario.flows[used]
            by_flow[used] = LoadModel(
                index=index,
                name=name,
                load=load,
                schedule=schedule,
                stages=stages_of(flow, scenario, service, load),
                retry=flow.on_failure.retry if isinstance(flow.on_failure, OnFailure) else None,
                continues=flow.on_failure != "end-session",
                end_ns=end,
                cut_ns=min(end + load.graceful_stop, bound),
                slots=slots,
            )
        model = next(iter(by_flow.values()))
        models.append(model if len(by_flow) == 1 else replace(model, choice=FlowChoice(load), by_flow=by_flow))
    return tuple(models)


@dataclass(frozen=True, slots=True)
class Occupancies:
    """Every kind of place that the model counts, over time."""

    sessions: Occupancy
    client_ports: Occupancy
    """Local ports of the client: open connections and its own TIME_WAITs, until they may be taken again."""
    client_time_wait: Occupancy
    server_control_time_wait: Occupancy
    """The server's TIME_WAITs of control connections, as if none were replaced by a new connection on its 4-tuple."""
    server_data_time_wait: Occupancy
    passive_pool: Occupancy
    """Passive ports listening, in use or held down."""


@dataclass(frozen=True, slots=True)
class ClientPorts:
    """What the plan says about the client's local ports."""

    ports: int
    sources: int
    destinations: int | None
    """Destination (address, port) pairs of data connections; None where the server's ports are not known."""
    port_space: bool
    hold: Hold
    """How long the client's own TIME_WAIT keeps a port from its next connect."""

    @property
    def control_budget(self) -> int:
        """Control connections that local ports allow at one time; in the port space, all connections."""
        return port_space_budget(self.ports, self.sources) if self.port_space else self._four(1)

    @property
    def data_budget(self) -> int | None:
        """Data connections that local ports allow at one time; None for no bound that is known, or a shared one."""
        return None if self.port_space or self.destinations is None else self._four(self.destinations)

    def _four(self, destinations: int) -> int:
        return four_tuple_budget(self.ports, self.sources, destinations)


def client_ports_of(plan: Plan) -> ClientPorts:
    """Return the client's port facts; the kernel's defaults stand in for what the host did not say."""
    host, scenario = plan.host, plan.scenario
    first, last = plan.port_range or LINUX_EPHEMERAL_RANGE
    reuse = time_wait_reuse(
        tcp_tw_reuse=host.tcp_tw_reuse, tcp_timestamps=host.tcp_timestamps, loopback=on_loopback(scenario.target)
    )
    emulator = scenario.target.emulator
    return ClientPorts(
        ports=plan.local_ports or ephemeral_ports(first, last),
        sources=max(1, len(scenario.client.addresses)),
        destinations=None if emulator is None else emulator.passive_count,
        port_space=scenario.client.bind == "port",
        hold=LINUX_TIME_WAIT
        if scenario.client.bind == "port"
        else outgoing_hold(Side.CLIENT, Side.CLIENT, reuse, LINUX_TIME_WAIT),
    )


class World:
    """The shared state of one simulation. Its methods are called in the order of time."""

    def __init__(self, plan: Plan, service: ServiceTimes) -> None:
        scenario = plan.scenario
        emulator = scenario.target.emulator
        ports = client_ports_of(plan)
        self.service = service
        self.greeting_timeout_ns = scenario.client.timeouts.greeting
        self.pool = None if emulator is None else PassivePool(pool_ports(emulator))
        self.refusal = FailureClass.NONE if emulator is None else refusal_class(emulator.reply)
        self.refusal_code = 0 if emulator is None else int(emulator.reply[:3])
        self.queue: AcceptQueue | None = None
        self.cap: Places | None = None
        self.cap_answer = "421"
        if emulator is not None and emulator.accept_rate is not None:
            self.queue = AcceptQueue(emulator.accept_rate.instant_ns(1), emulator.backlog)
        if emulator is not None and emulator.max_connections is not None:
            self.cap = Places(emulator.max_connections.count)
            self.cap_answer = emulator.max_connections.answer
        self.control_ports = Places(ports.control_budget)
        data_budget = ports.data_budget
        self.data_ports = self.control_ports if ports.port_space else Places(data_budget) if data_budget else None
        self.sources = ports.sources
        self.no_port_errno = EADDRINUSE if ports.port_space else EADDRNOTAVAIL
        self.client_hold_ns = round(ports.hold.effective_s * NS_PER_S)
        self.time_wait_ns = round(LINUX_TIME_WAIT.effective_s * NS_PER_S)
        self.occupancies = Occupancies(*(Occupancy() for _ in range(6)))
        self.session_rows: list[Row] = []
        self.operation_rows: list[Row] = []
        self._range = plan.port_range or LINUX_EPHEMERAL_RANGE
        self._next_port = self._range[0]
        self._cpu_free_ns = 0

    def serve(self, now_ns: int, work_ns: int) -> int:
        """Return when the server, which does one thing at a time in order of arrival, has done `work_ns` of work."""
        done = (now_ns if now_ns > self._cpu_free_ns else self._cpu_free_ns) + work_ns
        self._cpu_free_ns = done
        return done

    def draw_port(self) -> int:
        """Return a local port for a record: the range in turn. Which one a kernel would draw changes nothing here."""
        port = self._next_port
        self._next_port = port + 1 if port < self._range[1] else self._range[0]
        return port

    def close_connection(self, opened_ns: int, closed_ns: int, keeper: Side | None, *, control: bool) -> None:
        """Note the life of a control or data connection, and the TIME_WAIT that it leaves with `keeper`."""
        occupancies = self.occupancies
        free_ns = closed_ns
        if keeper is Side.CLIENT:
            free_ns += self.client_hold_ns
            occupancies.client_time_wait.add(closed_ns, closed_ns + self.time_wait_ns)
        elif keeper is Side.SERVER:
            kept = occupancies.server_control_time_wait if control else occupancies.server_data_time_wait
            kept.add(closed_ns, closed_ns + self.time_wait_ns)
        occupancies.client_ports.add(opened_ns, free_ns)
        places = self.control_ports if control else self.data_ports
        if places is not None:
            places.release_at(free_ns)
