"""The limits of a plan's path: the equations of `ftpstorm.limits` filled in from scenario, host and shape."""

from __future__ import annotations

from ftpstorm.limits.connections import LITTLE, accept_rate_limit, connection_cap_limit, open_files_limit
from ftpstorm.limits.limit import Counted, Limit, not_applicable
from ftpstorm.limits.passive import SOURCE as POOL_SOURCE
from ftpstorm.limits.passive import PassiveHabit, passive_habit_limit, passive_hold, passive_pool_limit
from ftpstorm.limits.path import mark_binding, rescale
from ftpstorm.limits.ports import client_ports_limit
from ftpstorm.limits.router import connection_count_limit, nat_limit, new_connection_rate_limit
from ftpstorm.limits.timewait import Hold
from ftpstorm.plan.plan import Plan
from ftpstorm.scenario.client import parse_port_range
from ftpstorm.scenario.target import Emulator
from ftpstorm.simulate.serving import Serving
from ftpstorm.simulate.shape import Shape, mean_hold
from ftpstorm.simulate.world import ClientPorts, Setting, client_ports_of, setting_of
from ftpstorm.units import NS_PER_S, format_duration
from ftpstorm.vocabulary import Cause, Side


def path_limits(plan: Plan, shape: Shape, setting: Setting | None = None) -> tuple[Limit, ...]:
    """Return the limits of the plan's path in rising order, the least one marked.

    All rates count transfers, or sessions where no flow transfers anything. `setting` is where the plan takes place, by
    default as it says itself.
    """
    setting = setting_of(plan) if setting is None else setting
    counts: Counted = "transfers" if shape.counts_transfers else "sessions"
    ports = client_ports_of(plan, setting)
    sessions = [_control_ports(ports, shape), _files(plan, shape), *_server_sessions(setting, shape)]
    sessions += _router(plan, ports, shape, setting)
    limits = [rescale(limit, counts, shape.sessions_per_unit) for limit in sessions]
    if shape.counts_transfers or shape.unused_s:
        limits.append(rescale(_pool(plan, shape, setting, counts), counts, shape.sessions_per_unit))
    if shape.counts_transfers:
        limits.append(_data_ports(ports, shape))
        if shape.active_part:
            limits += _active(plan, shape, setting)
        limits += _behind(plan, shape, setting)
    return mark_binding(limits)


def pool_hold(plan: Plan, shape: Shape, setting: Setting) -> Hold | None:
    """Return the mean time that a passive port is held after a transfer; None where the server is not known."""
    emulator = plan.scenario.target.emulator
    if emulator is not None:
        return mean_hold(shape, emulator.hold.for_ / NS_PER_S, hold_reason(emulator))
    if not setting.serving.known:
        return None
    return passive_hold(habit_of(setting.serving), setting.kernels.server.time_wait.hold, shape.server_first_part)


def habit_of(serving: Serving) -> PassiveHabit:
    """Return the server's habit as the equations know it."""
    match serving.choice:
        case "session":
            return PassiveHabit.SESSION
        case "kernel":
            return PassiveHabit.KERNEL
        case _:
            return PassiveHabit.RANGE if serving.held else PassiveHabit.REUSEADDR_RANGE


def hold_reason(emulator: Emulator) -> str:
    """Return in words how the emulator holds its passive ports."""
    hold = emulator.hold
    if hold.after == "none" or hold.for_ == 0:
        return "the emulator frees a port as soon as its data connection has ended"
    which = "every data connection" if hold.after == "any-close" else "a data connection that the server closed first"
    return f"the emulator holds a port {format_duration(hold.for_)} after {which}"


def _pool(plan: Plan, shape: Shape, setting: Setting, counts: Counted) -> Limit:
    target, serving = plan.scenario.target, setting.serving
    if serving.ports is None:
        known = "" if target.passive_ports is None else f"{target.passive_ports} is declared; "
        return not_applicable(
            Cause.SERVER_PASSIVE_POOL,
            Side.SERVER,
            "data connections through the passive pool",
            "R = N/(H + C)",
            POOL_SOURCE,
            f"{known}whether the server can bind a port again while its last connection is in TIME_WAIT (SO_REUSEADDR "
            "on both listeners) shows only in a run",
            unknown=True,
        )
    hold = pool_hold(plan, shape, setting)
    assert hold is not None
    if target.emulator is not None:
        return passive_pool_limit(len(serving.ports), hold, shape.passive_s, unused_s=shape.unused_s, counts=counts)
    limit = passive_habit_limit(
        habit_of(serving),
        len(serving.ports),
        shape.passive_s,
        time_wait=setting.kernels.server.time_wait.hold,
        server_first_part=shape.server_first_part,
        session_s=shape.session_s,
        unused_s=shape.unused_s,
        counts=counts,
    )
    if not serving.escapes:
        return limit
    note = f"beyond it {serving.name} does not refuse: it opens ports outside the range"
    return limit.model_copy(
        update={"name": Cause.SERVER_PASSIVE_POOL_ESCAPED, "assumptions": (*limit.assumptions, note)}
    )


def _active(plan: Plan, shape: Shape, setting: Setting) -> list[Limit]:
    """The client's own ports for the server's connections: bound, so each is gone for all while it is taken."""
    subject, name = "data connections that the server makes to the client's ports", Cause.ACTIVE_PORT_REUSED
    span = active_ports_of(plan)
    if span is None:
        reason = "the kernel chooses the client's ports (`client.active_ports` is null), among all that nobody owns"
        return [not_applicable(name, Side.CLIENT, subject, "R = B/(T + C)", LITTLE, reason)]
    limit = client_ports_limit(
        subject=subject,
        ports=span,
        space="port",
        life_s=shape.data_s,
        hold=_client_hold(setting.kernels.client.time_wait.hold, shape.client_first_part),
    )
    return [limit.model_copy(update={"name": name, "counts": "transfers"})]


def active_ports_of(plan: Plan) -> int | None:
    """Return how many ports the scenario gives to active mode; None where the kernel chooses."""
    own = plan.scenario.client.active_ports
    if own is None:
        return None
    first, last = parse_port_range(own)
    return last - first + 1


def _behind(plan: Plan, shape: Shape, setting: Setting) -> list[Limit]:
    """The server's own ephemeral ports, where each transfer has it connect to a back end."""
    emulator = plan.scenario.target.emulator
    backend = emulator.backend if emulator is not None else None
    if backend is None or backend.per != "request":
        return []
    kernel = setting.kernels.server
    limit = client_ports_limit(
        subject="connections that the server makes to its back end, one for each transfer",
        ports=kernel.ports,
        life_s=backend.takes / NS_PER_S,
        hold=kernel.outgoing_hold,
    )
    there = {"name": Cause.SERVER_EPHEMERAL_PORTS, "side": Side.SERVER, "counts": "transfers"}
    return [limit.model_copy(update=there)]


def _router(plan: Plan, ports: ClientPorts, shape: Shape, setting: Setting) -> list[Limit]:
    way, lab = setting.way, plan.scenario.lab
    limits = []
    if way.nat_ports is not None:
        subject = "control connections that the router translates to one server address"
        limit = nat_limit(way.nat_ports, shape.session_s, way.nat_hold, destinations=ports.addresses, subject=subject)
        limits.append(limit.model_copy(update={"counts": "sessions"}))
    if way.connection_limit is not None:
        limits.append(connection_count_limit(way.connection_limit, shape.session_s, ports.sources))
    if lab is not None and lab.firewall is not None and lab.firewall.rate_limit is not None:
        limits.append(new_connection_rate_limit(float(lab.firewall.rate_limit.per_s)))
    return limits


def _control_ports(ports: ClientPorts, shape: Shape) -> Limit:
    """The port space is one for control and data; the 4-tuple space is one for each destination."""
    data = shape.transfers_per_session if ports.port_space else 0.0
    part = shape.control_client_first_part + data * shape.client_first_part
    limit = client_ports_limit(
        subject="control and data connections" if ports.port_space else _control_subject(ports),
        ports=ports.ports,
        sources=ports.sources,
        destinations=ports.addresses,
        space="port" if ports.port_space else "4-tuple",
        life_s=shape.session_s + data * shape.data_s,
        hold=_client_hold(ports.hold, part),
    )
    note = (
        "C and T are sums over a session's control connection and its data connections, T where the client closes first"
    )
    return limit.model_copy(update={"counts": "sessions", "assumptions": (*limit.assumptions, note)})


def _control_subject(ports: ClientPorts) -> str:
    return f"control connections to {'one server address' if ports.addresses == 1 else 'the server addresses'}"


def _data_ports(ports: ClientPorts, shape: Shape) -> Limit:
    subject = "data connections to the passive ports"
    equation = "R = B/(T + C), B = P_even x S x D"
    name = Cause.CLIENT_EPHEMERAL_PORTS
    if ports.port_space:
        reason = "with `bind: port` control and data connections share one port space: see there"
        return not_applicable(name, Side.CLIENT, subject, equation, LITTLE, reason)
    if ports.destinations is None:
        reason = "the server's passive ports are the destinations, and how many there are shows only in a run"
        return not_applicable(name, Side.CLIENT, subject, equation, LITTLE, reason, unknown=True)
    limit = client_ports_limit(
        subject=subject,
        ports=ports.ports,
        sources=ports.sources,
        destinations=ports.destinations,
        life_s=shape.data_s,
        hold=_client_hold(ports.hold, shape.client_first_part),
    )
    return limit.model_copy(update={"counts": "transfers"})


def _client_hold(hold: Hold, connections: float) -> Hold:
    """Return the time that `connections` (>= 0, a mean) of those counted as one leave TIME_WAIT with the client."""
    if connections == 0:
        return Hold(0.0, 0.0, 0.0, "the client never closes first, so it keeps no TIME_WAIT")
    return hold.scale(connections)


def _files(plan: Plan, shape: Shape) -> Limit:
    files = plan.host.nofile_hard or plan.host.nofile_soft
    if files is None:
        reason, subject = "the host did not say how many files a process may open", "sockets of the load generator"
        return not_applicable(Cause.CLIENT_FILES, Side.CLIENT, subject, "R = F/(2 L)", LITTLE, reason, unknown=True)
    own = 32
    return open_files_limit(files * plan.workers, shape.session_s, own * plan.workers)


def _server_sessions(setting: Setting, shape: Shape) -> list[Limit]:
    name, subject = Cause.SERVER_CONNECTION_CAP, "control connections that the server admits"
    serving = setting.serving
    caps = [cap for cap in (serving.greeting_cap, serving.login_cap) if cap is not None]
    limits = [connection_cap_limit(cap.count, shape.session_s) for cap in caps]
    if not caps:
        known = f"{serving.name} has no cap" if serving.known else "what a server admits shows only in a run"
        limits.append(not_applicable(name, Side.SERVER, subject, "R = K/L", LITTLE, known, unknown=not serving.known))
    if serving.accept_interval_ns is not None and serving.backlog is not None:
        backlog = min(serving.backlog, setting.kernels.server.somaxconn)
        limits.append(accept_rate_limit(NS_PER_S / serving.accept_interval_ns, backlog))
    return limits
