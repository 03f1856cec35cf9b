"""The model's world: what all sessions of a plan share, and where their rows and occupancies are gathered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import cycle
from random import Random
from typing import Final

from ftpstorm.arrivals.schedules import Schedule
from ftpstorm.limits.ports import EADDRINUSE, EADDRNOTAVAIL, four_tuple_budget, port_space_budget
from ftpstorm.limits.timewait import Hold
from ftpstorm.plan.plan import AnyLoad, FlowChoice, Plan, load_end_ns
from ftpstorm.scenario.client import parse_port_range
from ftpstorm.scenario.flow import OnFailure, Retry
from ftpstorm.simulate.kernels import Kernel, Kernels, Suppose, kernels_of
from ftpstorm.simulate.listening import Listener
from ftpstorm.simulate.occupancy import Ledgers
from ftpstorm.simulate.pool import (
    PORT_BITS,
    PORT_MASK,
    EscapingPool,
    PassivePool,
    Places,
    PortsByDestination,
    RandomPool,
)
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.serving import POOL_TEXT, Failure, Serving, serving_of
from ftpstorm.simulate.stages import Stage, stages_of
from ftpstorm.simulate.way import Way, way_of
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Phase, Side

NO_PORT_AT_ALL: Final[Failure] = (FailureClass.PASSIVE_EXHAUSTED, Phase.PASSIVE, 1, 425, 0, POOL_TEXT)
"""What a server that escapes its range says when its kernel has no port either."""

CLIENT: Final = Side.CLIENT
SERVER: Final = Side.SERVER

Row = tuple[int, ...]
"""Values in the order of a table's columns."""

Ports = PassivePool | RandomPool | EscapingPool
"""Where the server's passive ports come from."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a plan takes place: both kernels, the server's habits, what stands between."""

    kernels: Kernels
    serving: Serving
    way: Way


def setting_of(plan: Plan, suppose: Suppose | None = None) -> Setting:
    """Return where `plan` takes place; `suppose` puts other platforms at its ends."""
    kernels = kernels_of(plan, suppose)
    return Setting(kernels, serving_of(plan, kernels), way_of(plan, None if suppose is None else suppose.router))


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
class ClientPorts:
    """What the plan says about the client's local ports."""

    ports: int
    sources: int
    addresses: int
    """Addresses of the server that sessions are spread over."""
    destinations: int | None
    """Destination (address, port) pairs of data connections; None where the server's ports are not known."""
    port_space: bool
    hold: Hold
    """How long the client's own TIME_WAIT keeps a port from its next connect."""

    @property
    def each(self) -> int:
        """Connections from one source address to one destination, or in the port space to all, at one time."""
        return port_space_budget(self.ports, 1) if self.port_space else four_tuple_budget(self.ports, 1, 1)

    @property
    def control_budget(self) -> int:
        """Control connections that local ports allow at one time; in the port space, all connections."""
        return port_space_budget(self.ports, self.sources) if self.port_space else self._four(self.addresses)

    @property
    def data_budget(self) -> int | None:
        """Data connections that local ports allow at one time; None for no bound that is known, or a shared one."""
        return None if self.port_space or self.destinations is None else self._four(self.destinations)

    def _four(self, destinations: int) -> int:
        return four_tuple_budget(self.ports, self.sources, destinations)


def client_ports_of(plan: Plan, setting: Setting) -> ClientPorts:
    """Return the client's port facts; the kernel's defaults stand in for what the host did not say."""
    client, kernel, lab = plan.scenario.client, setting.kernels.client, plan.scenario.lab
    hosts = 1 if lab is None else lab.clients
    if lab is not None and "lab" in client.source_addresses:
        sources = hosts * lab.client_addresses
    else:
        sources = max(hosts, len(client.addresses))
    addresses = 1 if lab is None else lab.server_addresses
    ports = setting.serving.ports
    return ClientPorts(
        ports=kernel.ports,
        sources=sources,
        addresses=addresses,
        destinations=None if ports is None else len(ports) * addresses,
        port_space=client.bind == "port",
        hold=kernel.time_wait.hold if client.bind == "port" else kernel.outgoing_hold,
    )


class World:
    """The shared state of one simulation. Its methods are called in the order of time."""

    __slots__ = (  # more attributes than CPython finds fast in an object without
        "_bind_first",
        "_client_waits",
        "_cpu_free_ns",
        "_server_waits",
        "active_ports",
        "backend_ns",
        "backend_ports",
        "cap",
        "client",
        "control_ports",
        "data_ports",
        "draw_port",
        "escaped",
        "filtered",
        "keeps_port",
        "leak_chances",
        "leak_every",
        "listener",
        "lives",
        "login_cap",
        "nat",
        "nat_hold_ns",
        "no_port_errno",
        "occupancies",
        "open_ports",
        "operation_rows",
        "per_address",
        "pool",
        "port_mask",
        "refusal",
        "server",
        "service",
        "serving",
        "session_hold_ns",
        "session_rows",
        "simple",
        "sources",
        "targets",
        "timeouts",
        "trip_ns",
    )

    def __init__(self, plan: Plan, service: ServiceTimes, setting: Setting) -> None:
        scenario = plan.scenario
        kernels, serving, way = setting.kernels, setting.serving, setting.way
        ports = client_ports_of(plan, setting)
        self.service = service
        self.serving = serving
        self.timeouts = scenario.client.timeouts
        self.pool = _pool_of(serving, kernels.server, Random(scenario.seed))  # noqa: S311 - ports, no secrets
        self.keeps_port = serving.choice == "session"
        self.escaped = self.pool.escaped if isinstance(self.pool, EscapingPool) else None
        self.refusal = serving.refusal or NO_PORT_AT_ALL
        self.listener: Listener | None = None
        if serving.accept_interval_ns is not None and serving.backlog is not None:
            self.listener = Listener(
                serving.accept_interval_ns,
                min(serving.backlog, kernels.server.somaxconn),
                cookies=kernels.server.syncookies != 0,
                abort=kernels.server.abort_on_overflow,
            )
        self.trip_ns = way.trip_ns
        self.cap = None if serving.greeting_cap is None else Places(serving.greeting_cap.count)
        self.login_cap = None if serving.login_cap is None else Places(serving.login_cap.count)
        self.sources, self.targets = ports.sources, ports.addresses
        self.nat = None if way.nat_ports is None else [Places(way.nat_ports) for _ in range(self.targets)]
        most = way.connection_limit
        self.per_address = None if most is None else [Places(most) for _ in range(self.sources)]
        self.open_ports = way.open_ports
        self.nat_hold_ns = round(way.nat_hold.effective_s * NS_PER_S)
        self.filtered = way.refusal(self.timeouts.connect, service.connect_ns)
        self.control_ports = PortsByDestination(ports.each)
        self.data_ports: PortsByDestination | None = self.control_ports
        if not ports.port_space:  # a server whose ports nobody knows may open any: what that leaves is not bounded
            self.data_ports = None if serving.ports is None else PortsByDestination(ports.each)
        own = scenario.client.active_ports
        self.active_ports = None if own is None else PassivePool(_span(parse_port_range(own)))
        emulator = scenario.target.emulator
        backend = emulator.backend if emulator is not None else None
        self.backend_ports: Places | None = None
        """The server's ephemeral ports towards its back end; None where it opens no connection for each transfer."""
        if backend is not None and backend.per == "request":
            self.backend_ports = Places(four_tuple_budget(kernels.server.ports))
        self.session_hold_ns = emulator.session_hold if emulator is not None else 0
        self.backend_ns = 0 if backend is None else backend.takes
        leak = emulator.leak if emulator is not None else None
        self.leak_every = 0 if leak is None else leak.every
        self.leak_chances = 0
        self.no_port_errno = EADDRINUSE if ports.port_space else EADDRNOTAVAIL
        self.client, self.server = kernels.client, kernels.server
        self.lives = Ledgers()
        self.occupancies = self.lives.occupancies()
        self.session_rows: list[Row] = []
        self.operation_rows: list[Row] = []
        self.simple = self.listener is None and self.cap is None and self.nat is None and self.per_address is None
        """Every connection is accepted at once."""
        self._bind_first = ports.port_space
        self.port_mask = 0 if ports.port_space else PORT_MASK
        self._client_waits = _waits(kernels.client)
        self._server_waits = _waits(kernels.server)
        self.draw_port = cycle(_span((kernels.client.first, kernels.client.last))).__next__
        """Return a local port for a record: the range in turn. Which one a kernel would draw changes nothing here."""
        self._cpu_free_ns = 0

    def serve(self, now_ns: int, work_ns: int) -> int:
        """Return when the server, which does one thing at a time in order of arrival, has done `work_ns` of work."""
        done = (now_ns if now_ns > self._cpu_free_ns else self._cpu_free_ns) + work_ns
        self._cpu_free_ns = done
        return done

    def destination(self, session: int) -> int:
        """Return which ports the control connection of session number `session` draws from.

        In the 4-tuple space its source address and the server's address decide, in the port space the source address
        alone. For a data connection ``| port & port_mask`` makes the passive port count as well, where it does.
        """
        source = session % self.sources
        if not self.port_mask:
            return source
        return (source * self.targets + session // self.sources % self.targets) << PORT_BITS

    def leaks(self) -> bool:
        """Tell whether a server that forgets to close some data connections, closed by the client, forgets this one."""
        self.leak_chances += 1
        return self.leak_chances % self.leak_every == 0

    def passive_free_ns(self, stage: Stage, closed_ns: int, keeper: Side | None) -> int:
        """Return when the server can open a passive port again whose data connection closed at `closed_ns`."""
        if self.serving.held and keeper is SERVER:
            return self.server.time_wait.end_ns(closed_ns)
        return closed_ns + stage.hold_ns

    def close_connection(
        self,
        opened_ns: int,
        closed_ns: int,
        keeper: Side | None,
        *,
        control: bool,
        destination: int = 0,
        bound_ns: int | None = None,
    ) -> int:
        """Note the life of a control or data connection, and the TIME_WAIT that it leaves with `keeper`.

        Returns when the client's port is free again. `destination` is where that was taken, at `opened_ns`; `bound_ns`:
        the server connected, to a port that the client had bound then.
        """
        lives = self.lives
        free_ns = closed_ns
        if keeper is SERVER:
            if self._server_waits is None or self._server_waits.take(closed_ns):
                ends_ns = self.server.time_wait.end_ns(closed_ns)
                kept = lives.server_control_time_wait if control else lives.server_data_time_wait
                kept.note((closed_ns, ends_ns))
                if self._server_waits is not None:
                    self._server_waits.release_at(ends_ns)
        elif keeper is CLIENT and (self._client_waits is None or self._client_waits.take(closed_ns)):
            kernel = self.client
            ends_ns = kernel.time_wait.end_ns(closed_ns)
            free_ns = ends_ns if bound_ns is not None or self._bind_first else kernel.outgoing_end_ns(closed_ns)
            lives.client_time_wait.note((closed_ns, ends_ns))
            if self._client_waits is not None:
                self._client_waits.release_at(ends_ns)
        if bound_ns is not None:
            lives.connections.note((opened_ns, closed_ns, bound_ns, free_ns))
            return free_ns
        lives.connections.note((opened_ns, closed_ns, opened_ns, free_ns))
        places = self.control_ports if control else self.data_ports
        if places is not None:
            places.release_at(destination, free_ns)
        return free_ns


def _waits(kernel: Kernel) -> Places | None:
    return None if kernel.time_wait_max is None else Places(kernel.time_wait_max)


def _span(ports: tuple[int, int]) -> range:
    return range(ports[0], ports[1] + 1)


def _pool_of(serving: Serving, kernel: Kernel, drawing: Random) -> Ports | None:
    ports = serving.ports
    if ports is None:
        return None
    if serving.choice in ("oldest", "session"):
        return PassivePool(ports)
    pool = RandomPool(ports, drawing.randrange, serving.tries)
    if not serving.escapes:
        return pool
    elsewhere = (port for port in range(kernel.first, kernel.last + 1) if port not in ports)
    return EscapingPool(pool, RandomPool(elsewhere, drawing.randrange))
