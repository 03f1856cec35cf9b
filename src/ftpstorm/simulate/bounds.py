"""The limits of a plan's path: the equations of `ftpstorm.limits` filled in from scenario, host and shape."""

from __future__ import annotations

from ftpstorm.limits.connections import LITTLE, accept_rate_limit, connection_cap_limit, open_files_limit
from ftpstorm.limits.limit import Counted, Limit, not_applicable
from ftpstorm.limits.passive import SOURCE as POOL_SOURCE
from ftpstorm.limits.passive import passive_pool_limit
from ftpstorm.limits.path import mark_binding, rescale
from ftpstorm.limits.ports import client_ports_limit
from ftpstorm.limits.timewait import Hold
from ftpstorm.plan.plan import Plan
from ftpstorm.scenario.target import Emulator
from ftpstorm.simulate.shape import Shape, mean_hold
from ftpstorm.simulate.world import ClientPorts, client_ports_of
from ftpstorm.units import NS_PER_S, format_duration
from ftpstorm.vocabulary import Cause, Side


def path_limits(plan: Plan, shape: Shape) -> tuple[Limit, ...]:
    """Return the limits of the plan's path in rising order, the least one marked.

    All rates count transfers, or sessions where no flow transfers anything.
    """
    counts: Counted = "transfers" if shape.counts_transfers else "sessions"
    ports = client_ports_of(plan)
    emulator = plan.scenario.target.emulator
    sessions = [_control_ports(ports, shape), _files(plan, shape), *_server_sessions(emulator, shape)]
    limits = [rescale(limit, counts, shape.sessions_per_unit) for limit in sessions]
    if shape.counts_transfers:
        limits.append(_pool(plan, shape))
        limits.append(_data_ports(ports, shape))
    return mark_binding(limits)


def hold_reason(emulator: Emulator) -> str:
    """Return in words how the emulator holds its passive ports."""
    hold = emulator.hold
    if hold.after == "none" or hold.for_ == 0:
        return "the emulator frees a port as soon as its data connection has ended"
    which = "every data connection" if hold.after == "any-close" else "a data connection that the server closed first"
    return f"the emulator holds a port {format_duration(hold.for_)} after {which}"


def _pool(plan: Plan, shape: Shape) -> Limit:
    target = plan.scenario.target
    if target.emulator is None:
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
    hold = mean_hold(shape, target.emulator.hold.for_ / NS_PER_S, hold_reason(target.emulator))
    return passive_pool_limit(target.emulator.passive_count, hold, shape.passive_s)


def _control_ports(ports: ClientPorts, shape: Shape) -> Limit:
    """The port space is one for control and data; the 4-tuple space is one for each destination."""
    data = shape.transfers_per_session if ports.port_space else 0.0
    part = shape.control_client_first_part + data * shape.client_first_part
    limit = client_ports_limit(
        subject="control and data connections" if ports.port_space else "control connections to one server address",
        ports=ports.ports,
        sources=ports.sources,
        space="port" if ports.port_space else "4-tuple",
        life_s=shape.session_s + data * shape.data_s,
        hold=_client_hold(ports.hold, part),
    )
    note = (
        "C and T are sums over a session's control connection and its data connections, T where the client closes first"
    )
    return limit.model_copy(update={"counts": "sessions", "assumptions": (*limit.assumptions, note)})


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


def _server_sessions(emulator: Emulator | None, shape: Shape) -> list[Limit]:
    name, subject = Cause.SERVER_CONNECTION_CAP, "control connections that the server admits"
    if emulator is None:
        reason = "what a server admits shows only in a run"
        return [not_applicable(name, Side.SERVER, subject, "R = K/L", LITTLE, reason, unknown=True)]
    limits = []
    if emulator.max_connections is None:
        reason = "the emulator has no cap"
        limits.append(not_applicable(name, Side.SERVER, subject, "R = K/L", LITTLE, reason))
    else:
        limits.append(connection_cap_limit(emulator.max_connections.count, shape.session_s))
    if emulator.accept_rate is not None:
        limits.append(accept_rate_limit(float(emulator.accept_rate.per_s), emulator.backlog))
    return limits
