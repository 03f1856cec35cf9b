"""Ports and limits in summary.json: what each side had in use, what the passive replies showed, limits beside use."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

import numpy as np

from ftpstorm.limits.limit import Limit
from ftpstorm.records.reader import Array
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import LimitRow, PassivePorts, Ports, SidePorts, Transfers
from ftpstorm.scenario.client import parse_port_range
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, Metric, Side

SEEN_OFTEN: Final = 3
"""Each port of a range must have been seen this often on average before the range is taken for complete."""
ORDERLY: Final = 0.9
"""A share of steps so large makes an order."""

_STATES: Final = {
    "time_wait_peak": "time-wait",
    "close_wait_peak": "close-wait",
    "established_peak": "established",
    "fin_wait2_peak": "fin-wait2",
    "syn_recv_peak": "syn-recv",
}


def ports_of(evidence: Evidence) -> Ports:
    """Return ports and sockets by side, as sampled."""
    in_use, budget = evidence.client_ports
    queue = evidence.peak(Metric.ACCEPT_QUEUE)
    client = SidePorts(range=evidence.plan.port_range, in_use_peak=in_use, budget=budget, **_states(evidence, "client"))
    server = SidePorts(
        range=evidence.declared_range,
        in_use_peak=evidence.pool_peak if evidence.emulator is not None else _passive_in_use(evidence),
        budget=evidence.pool_size,
        accept_queue_peak=queue if queue is not None else evidence.peak(Metric.LISTEN_QUEUE, host=Side.SERVER),
        **_states(evidence, "server"),
    )
    return Ports(client=client, server=server if evidence.sees_server else None, router=_router(evidence))


def _router(evidence: Evidence) -> SidePorts | None:
    """Return what the lab's router tracked, None where there is none."""
    lab = evidence.plan.scenario.lab
    if lab is None or lab.topology != "routed":
        return None
    translated = parse_port_range(lab.nat.ports) if lab.nat is not None and lab.nat.ports is not None else None
    return SidePorts(
        range=translated,
        in_use_peak=evidence.peak(Metric.COUNTER, host=Side.ROUTER, key="conntrack.entries"),
        budget=None if translated is None else translated[1] - translated[0] + 1,
    )


def _passive_in_use(evidence: Evidence) -> int | None:
    """Most passive ports of a real server that had a socket at one time, TIME_WAIT included; None where unsampled."""
    found = evidence.run.samples.select(Metric.PASSIVE_PORTS, host=Side.SERVER)
    if not found:
        return None
    changes = sorted(
        (int(t_ns), series.key, int(value))
        for series, readings in found.items()
        for t_ns, value in zip(readings.t_ns, readings.value, strict=True)
    )
    sockets: dict[str, int] = {}
    by_port: Counter[str] = Counter()
    peak, busy, instant = 0, 0, None
    for t_ns, key, value in changes:
        if t_ns != instant:  # a census is one instant: count once all of it is in
            peak, instant = max(peak, busy), t_ns
        port = key.partition("/")[0]
        before = by_port[port]
        by_port[port] += value - sockets.get(key, 0)
        busy += (by_port[port] > 0) - (before > 0)
        sockets[key] = value
    return max(peak, busy)


def _states(evidence: Evidence, host: str) -> dict[str, int | None]:
    """Peak of each TCP state of one side. A state that no dump met is 0 where dumps were made, else None."""
    sampled = bool(evidence.run.samples.select(Metric.TCP_STATE))
    peaks = {name: evidence.peak(Metric.TCP_STATE, host=host, key=state) for name, state in _STATES.items()}
    return {name: 0 if peak is None and sampled else peak for name, peak in peaks.items()}


def passive_ports_of(evidence: Evidence) -> PassivePorts:
    """Return what the passive replies showed of the server's range."""
    rows = evidence.passive_offers
    ports = rows["passive_port"][np.argsort(rows["passive_ns"], kind="stable")].astype(np.int64)
    distinct = np.unique(ports)
    declared = evidence.declared_range
    outside = None
    if declared is not None:
        outside = int(np.count_nonzero((ports < declared[0]) | (ports > declared[1])))
    complete = len(distinct) > 0 and len(ports) >= SEEN_OFTEN * len(distinct)
    return PassivePorts(
        distinct=len(distinct),
        min=int(distinct[0]) if len(distinct) else None,
        max=int(distinct[-1]) if len(distinct) else None,
        declared_range=declared,
        outside_range=outside,
        order=_order(ports, len(distinct)),
        reuse_interval_s=_reuse_interval_s(evidence.passive_transfers),
        foreign_host=evidence.counted("foreign_hosts"),
        range_estimate=(int(distinct[0]), int(distinct[-1])) if complete else None,
    )


def _order(ports: Array, distinct: int) -> Literal["sequential", "rotating", "random"] | None:
    if distinct < 5 or len(ports) < 2 * distinct:
        return None
    steps = np.diff(ports)
    if np.mean((steps == 1) | (steps == 1 - distinct)) >= ORDERLY:
        return "sequential"
    if np.mean(ports[distinct:] == ports[:-distinct]) >= ORDERLY:
        return "rotating"
    return "random"


def _reuse_interval_s(rows: Array) -> float | None:
    """Shortest time between the end of a port's connection and its next offer; None where no port came twice."""
    if not len(rows):
        return None
    order = np.lexsort((rows["passive_ns"], rows["passive_port"]))
    port, offered, ended = rows["passive_port"][order], rows["passive_ns"][order], rows["data_end_ns"][order]
    again = (port[1:] == port[:-1]) & (ended[:-1] != ABSENT)
    return float((offered[1:] - ended[:-1])[again].min()) / NS_PER_S if again.any() else None


def limit_rows(evidence: Evidence, moved: Transfers) -> list[LimitRow]:
    """Return the prediction's limits beside what was measured of each; empty where the run has no prediction."""
    if evidence.prediction is None:
        return []
    return [_limit_row(evidence, limit, moved) for limit in evidence.prediction.limits]


def _limit_row(evidence: Evidence, limit: Limit, moved: Transfers) -> LimitRow:
    measured = _measured_per_s(evidence, limit, moved) if limit.applies else None
    in_use = _in_use(evidence, limit) if limit.applies else None
    return LimitRow(
        name=limit.name,
        side=limit.side,
        applies=limit.applies,
        per_s=limit.per_s,
        concurrent=limit.concurrent,
        interval=limit.interval,
        measured_per_s=measured,
        ratio=measured / limit.per_s if measured is not None and limit.per_s else None,
        utilisation=in_use / limit.concurrent if in_use is not None and limit.concurrent else None,
        binding=limit.binding,
        equation=limit.equation,
        assumptions=list(limit.assumptions),
        subject=limit.subject,
        counts=limit.counts,
        symbols={name: symbol.model_dump() for name, symbol in limit.symbols.items()},
        source=limit.source,
        not_applicable_reason=limit.not_applicable_reason,
    )


def _measured_per_s(evidence: Evidence, limit: Limit, moved: Transfers) -> float | None:
    if limit.name is Cause.SERVER_PASSIVE_POOL and limit.counts == "transfers":
        return moved.sustained.rate_per_s
    if limit.counts == "transfers":  # asked for, not only granted: a refused one used the client's ports as well
        return moved.attempted / evidence.load_s
    if limit.counts == "sessions":
        return len(evidence.started) / evidence.load_s
    return int(evidence.sessions["connects"].sum(dtype=np.int64)) / evidence.load_s


def _in_use(evidence: Evidence, limit: Limit) -> int | None:
    match limit.name:
        case Cause.SERVER_PASSIVE_POOL:
            return evidence.pool_peak
        case Cause.CLIENT_EPHEMERAL_PORTS:
            # Ports are sampled, not pairs of port and destination: where there are several, one port may serve each.
            destinations = limit.symbols.get("D")
            return evidence.client_ports[0] if destinations is None or destinations.value == 1 else None
        case Cause.SERVER_CONNECTION_CAP:
            return evidence.peak(Metric.SERVER_SESSIONS)
        case _:
            return None
